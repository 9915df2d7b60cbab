"""Reports: one self-contained HTML file from sections of text, tables and figures.

All text is escaped by the template (neurons' names come from users' files); figures are PNGs inside the file, each
with a text alternative; nothing is loaded from elsewhere, so the file can be mailed and read offline.
"""

from __future__ import annotations

import base64
import io
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import jinja2
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from connectofit.connectome.errors import SettingError

TEMPLATE = Path(__file__).parent / "templates" / "report.html.j2"


@dataclass(frozen=True)
class Text:
    """A paragraph; `style` is ``"plain"``, ``"note"`` (set apart), or ``"code"`` (as typed, in a scrolling box)."""

    text: str
    style: Literal["plain", "note", "code"] = "plain"
    kind: Literal["text"] = "text"


@dataclass(frozen=True)
class Table:
    """A table: `numeric` columns are set right; rows in `strong` (by number from 0) stand out."""

    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[object]]
    numeric: Sequence[int] = ()
    strong: Sequence[int] = ()
    kind: Literal["table"] = "table"

    def __post_init__(self) -> None:
        for i, row in enumerate(self.rows):
            if len(row) != len(self.columns):
                raise SettingError(
                    f"Row {i} of the table {self.caption!r} has {len(row)} cells, where there are {len(self.columns)}."
                )


@dataclass(frozen=True)
class Picture:
    """A PNG with its text alternative (what a reader who cannot see it must know) and caption."""

    png: bytes
    alt: str
    caption: str
    width: int
    height: int
    kind: Literal["picture"] = "picture"

    def __post_init__(self) -> None:
        if not self.alt.strip():
            raise SettingError(f"The picture {self.caption!r} has no text alternative.")

    @property
    def source(self) -> str:
        """The picture as a data URL."""
        return "data:image/png;base64," + base64.b64encode(self.png).decode("ascii")


@dataclass(frozen=True)
class Section:
    """A titled part of a report."""

    title: str
    blocks: Sequence[Text | Table | Picture]

    @property
    def anchor(self) -> str:
        """The title as an identifier."""
        return "-".join("".join(c if c.isalnum() else " " for c in self.title.lower()).split())


def picture(figure: Figure, alt: str, caption: str, dots_per_inch: int = 144) -> Picture:
    """Draw a figure as a `Picture`; its bytes depend on nothing but the figure and matplotlib's version."""
    canvas = FigureCanvasAgg(figure)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dots_per_inch, metadata={"Software": None})
    width, height = (round(inches * 96) for inches in canvas.figure.get_size_inches())
    return Picture(buffer.getvalue(), alt, caption, width, height)


def render(title: str, lead: Sequence[Text | Table], sections: Sequence[Section]) -> str:
    """The report as HTML. `lead` stands before the first section."""
    loader = jinja2.FileSystemLoader(TEMPLATE.parent)
    environment = jinja2.Environment(loader=loader, autoescape=True, undefined=jinja2.StrictUndefined)
    numbers = itertools.count(1).__next__  # tables are numbered for their captions
    return environment.get_template(TEMPLATE.name).render(title=title, lead=lead, sections=sections, numbers=numbers)
