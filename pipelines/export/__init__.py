"""Models in formats that other programs read or run."""

from connectofit.pipelines.export.formats import FORMATS, Format, export, listing
from connectofit.pipelines.export.tables import to_networkx

__all__ = ["FORMATS", "Format", "export", "listing", "to_networkx"]
