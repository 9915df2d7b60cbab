"""``connectofit inspect``: what is in a connectome's tables, as one HTML file with findings, numbers and pictures."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from connectofit.connectome import Connectome, Summary, ValidationReport
from connectofit.connectome.errors import FolderError, MissingFileError
from connectofit.connectome.summary import QUANTILES
from connectofit.pipelines import inspect_figures as figures
from connectofit.pipelines.report import Picture, Section, Table, Text, picture, render
from connectofit.pipelines.validation import validation_tables

_HUBS = 10


def check_output(out: Path, force: bool) -> None:
    """Refuse a path that cannot become the report, before any work is done.

    Raises `FolderError` if it is a folder, or exists and `force` is not set; `MissingFileError` if its folder is not
    there.
    """
    if out.is_dir():
        raise FolderError(
            f"{str(out)!r} is a folder. Name a file for the report, such as {str(out / 'inspect.html')!r}."
        )
    if out.exists() and not force:
        raise FolderError(f"{str(out)!r} exists already. Name another file, or overwrite it with --force.")
    if not out.parent.is_dir():
        raise MissingFileError(f"There is no folder {str(out.parent)!r} for the report. Make it first.")


def write_inspection(html: str, out: Path) -> Path:
    """Write the report; the file appears whole or not at all. Raises `FolderError` if it cannot be written."""
    aside = out.with_name(f".{out.name}.{os.getpid()}.part")
    try:
        aside.write_text(html, encoding="utf-8")
        aside.replace(out)
    except OSError as error:
        raise FolderError(f"The report cannot be written to {str(out)!r}: {error.strerror}.") from error
    finally:
        aside.unlink(missing_ok=True)
    return out


def inspection(
    connectome: Connectome, validation: ValidationReport, *, title: str, by: str | None = None, max_types: int = 20
) -> str:
    """The report on a connectome as HTML.

    Parameters: `validation` is what `read_connectome` found; `by` the column of types (by default one that is called
    like it); `max_types` how many of them the matrix shows.
    """
    summary = connectome.summary(by=by, max_types=max_types)
    sections = [
        Section("Data validation", [*validation_tables([validation]), *_columns(validation)]),
        Section("Size", _size(summary)),
        Section("Degrees and counts", _distributions(connectome, summary)),
        Section("Reciprocity and components", _structure(summary)),
        Section("Types", _types(summary)),
        Section("Positions", _positions(connectome, summary)),
    ]
    return render(title, [Text(_lead(summary, validation))], sections)


def _lead(summary: Summary, validation: ValidationReport) -> str:
    kinds = " and ".join(f"{row['edges']:,.0f} {kind}" for kind, row in _rows(summary.kinds)) or "no"
    warnings = sum(finding.severity != "info" for finding in validation.findings)
    found = f"Reading the tables gave {len(validation.findings)} findings, {warnings} of them warnings."
    return f"{summary.n_neurons:,} neurons with {kinds} edges. {found}"


def _columns(validation: ValidationReport) -> list[Table]:
    if not validation.columns:
        return []
    return [Table("Columns, as they were read", ("meaning", "column"), list(validation.columns.items()))]


def _size(summary: Summary) -> list[Text | Table | Picture]:
    rows = [
        (kind, f"{row['edges']:,.0f}", _number(row["count"]), _number(row["density"]), f"{row['self_loops']:,.0f}")
        for kind, row in _rows(summary.kinds)
    ]
    kinds = Table(
        "Edges by kind. A gap junction counts as two edges, one in each direction; density is edges between different "
        "neurons over all ordered pairs.",
        ("kind", "edges", "summed count", "density", "self-loops"),
        rows,
        numeric=(1, 2, 3, 4),
    )
    rows = []
    for name, row in _rows(summary.signs):
        numbers = (
            f"{row['edges']:,.0f}",
            f"{row['edges_share']:.1%}",
            _number(row["count"]),
            f"{row['count_share']:.1%}",
        )
        rows.append((name, *numbers))
    signs = Table(
        "Signs of the chemical edges: each sign's share of the edges, and of their summed count",
        ("sign", "edges", "share", "summed count", "share of count"),
        rows,
        numeric=(1, 2, 3, 4),
    )
    return [kinds, *([signs] if "chemical" in summary.kinds.index else [])]


def _distributions(connectome: Connectome, summary: Summary) -> list[Text | Table | Picture]:
    table = summary.distributions
    if table.empty:
        return [Text("There are no edges.")]
    said = {
        quantity: "; ".join(
            f"{kind}: median {_number(row['50%'])}, largest {_number(row['largest'])}"
            for (kind, name), row in _rows(table)
            if name == quantity
        )
        for quantity in ("in-degree", "out-degree", "count")
    }
    degrees = picture(
        figures.degree_distribution(connectome),
        "Share of neurons against degree, both axes logarithmic. "
        f"In-degree: {said['in-degree']}. Out-degree: {said['out-degree']}.",
        "Degree distribution: the share of neurons with at least so many edges. Neurons without any do not show on a "
        "logarithmic axis; they are why a line may start below 1.",
    )
    counts = picture(
        figures.count_distribution(connectome),
        f"Share of edges against their count, both axes logarithmic. {said['count'].capitalize()}.",
        "Distribution of counts (synapses, contacts or sections, as the table has them): the share of edges with at "
        "least such a count.",
    )
    names = ["mean", "smallest", *(f"{q:.0%}" for q in QUANTILES), "largest"]
    numbers = Table(
        "Edges and summed counts per neuron, and count per edge: a quantile is the smallest value that this share does "
        "not exceed.",
        ("kind", "quantity", *names),
        [(kind, quantity, *(_number(row[name]) for name in names)) for (kind, quantity), row in _rows(table)],
        numeric=range(2, 2 + len(names)),
    )
    return [degrees, counts, numbers, _hubs(connectome, summary)]


def _hubs(connectome: Connectome, summary: Summary) -> Table:
    degrees = {name: connectome.degrees(name) for name in ("in", "out")}
    strengths = {name: connectome.degrees(name, "count") for name in ("in", "out")}
    top = np.argsort(-(degrees["in"] + degrees["out"]), kind="stable")[:_HUBS]
    types = connectome.column(summary.type_column) if summary.type_column else None
    rows = []
    for i in top:
        kind = () if types is None else ("-" if types[i] is None else str(types[i]),)
        numbers = [values[name][i] for values in (degrees, strengths) for name in ("in", "out")]
        rows.append((str(connectome.ids[i]), *kind, *map(_number, numbers)))
    columns = ("neuron", summary.type_column) if summary.type_column else ("neuron",)
    return Table(
        "The neurons with most edges, all kinds together",
        (*columns, "in-degree", "out-degree", "input (count)", "output (count)"),
        rows,
        numeric=range(len(columns), len(columns) + 4),
    )


def _structure(summary: Summary) -> list[Text | Table | Picture]:
    blocks: list[Text | Table | Picture] = []
    chemical = dict(_rows(summary.kinds)).get("chemical", {})
    share, density = chemical.get("reciprocity", np.nan), chemical.get("density", np.nan)
    if np.isfinite(share) and density > 0:
        blocks.append(
            Text(
                f"Of the chemical edges between different neurons {share:.1%} are answered by one in reverse, "
                f"{share / density:,.1f} times as many as among as many edges placed at random."
            )
        )
    components = Table(
        "Connected components over all edges: weakly, whatever the edges' direction; strongly, along it both ways",
        ("connected", "components", "neurons in the largest", "share of neurons"),
        [
            (name, f"{row['number']:,}", f"{row['largest']:,}", f"{row['largest'] / max(summary.n_neurons, 1):.1%}")
            for name, row in _rows(summary.components)
        ],
        numeric=(1, 2, 3),
    )
    return [*blocks, components, Text(f"Neurons without any edge: {summary.n_isolated:,}.")]


def _types(summary: Summary) -> list[Text | Table | Picture]:
    if summary.types is None or summary.type_sizes is None:
        return [Text("The neurons have no column that is called like one of types; name one with --by.", style="note")]
    values, names = summary.types.to_numpy(), list(summary.types.index)
    ranked = np.argsort(-values, axis=None, kind="stable")[:3]
    cells = [(*np.unravel_index(cell, values.shape), values.flat[cell]) for cell in ranked]
    largest = "; ".join(f"{names[pre]} to {names[post]} {_number(count)}" for pre, post, count in cells if count)
    inside = np.trace(values) / (float(values.sum()) or 1.0)
    matrix = picture(
        figures.type_matrix(summary),
        f"Matrix of summed counts between {len(summary.types)} groups of neurons by {summary.type_column}. Largest: "
        f"{largest or 'none'}. {inside:.0%} of all counts lie within a group.",
        f"Summed counts of all edges between the types ({summary.type_column}) with the most neurons: row presynaptic, "
        "column postsynaptic, on a logarithmic scale; pale grey where there is no edge.",
    )
    columns = summary.type_sizes, values.sum(axis=0), values.sum(axis=1), np.diag(values)
    sizes = Table(
        f"Neurons by {summary.type_column}: the types of the matrix",
        ("type", "neurons", "input (count)", "output (count)", "within the type"),
        [(name, *map(_number, row)) for name, *row in zip(names, *columns, strict=True)],
        numeric=(1, 2, 3, 4),
    )
    return [matrix, sizes]


def _positions(connectome: Connectome, summary: Summary) -> list[Text | Table | Picture]:
    if summary.extent is None:
        text = "The neurons have no columns of positions (numbers that are called like x, y and z)."
        return [Text(text, style="note")]
    extent = summary.extent
    rows = [(name, *(_number(row[end]) for end in ("smallest", "largest", "missing"))) for name, row in _rows(extent)]
    ranges = Table(
        "Positions, in the units of the table", ("column", "smallest", "largest", "missing"), rows, numeric=(1, 2, 3)
    )
    columns = tuple(map(str, extent.index))
    if len(columns) < 2 or extent["smallest"].isna().any():
        return [ranges]
    said = "; ".join(
        f"{name} from {_number(row['smallest'])} to {_number(row['largest'])}" for name, row in _rows(extent)
    )
    coloured = f", the largest values of {summary.type_column} coloured" if summary.type_column else ""
    return [
        picture(
            figures.positions(connectome, columns, summary.type_column),
            f"Positions of the neurons, the longest axis against the others: {said}.",
            f"Where the neurons are, on one scale for all axes{coloured}.",
        ),
        ranges,
    ]


def _rows(frame: pd.DataFrame) -> Iterator[tuple[Any, dict[str, Any]]]:
    """Every row's name, and its values by column."""
    records = frame.to_dict("records")
    return zip(
        frame.index.tolist(), ({str(name): value for name, value in row.items()} for row in records), strict=True
    )


def _number(value: float) -> str:
    """Whole numbers in full, others to four digits."""
    if not np.isfinite(value):
        return "-"
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:,.4g}"
