"""Small real data sets that ship with the package, each with its licence and citation."""

from connectofit.data.celegans import CELEGANS_COLUMNS, celegans_paths, celegans_tables, citations, licence

__all__ = ["CELEGANS_COLUMNS", "celegans_paths", "celegans_tables", "citations", "licence"]
