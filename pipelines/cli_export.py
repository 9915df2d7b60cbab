"""``connectofit export``: write a model that a run made in another format, or list the formats."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np
import pyarrow as pa

from connectofit.builders import Cell, ModelSpec, NeuronRule, build
from connectofit.connectome import Connectome
from connectofit.connectome.errors import MissingFileError, SettingError, offenders
from connectofit.pipelines.bundle import Model, load_model
from connectofit.pipelines.export import FORMATS, export, listing
from connectofit.pipelines.folders import MANIFEST

_FORMATS = ", ".join(FORMATS)


@click.command(name="export")
@click.argument("run", type=click.Path(path_type=Path), required=False)
@click.option("--format", "format_", metavar="FORMAT", help=f"What to write: {_FORMATS}.")
@click.option(
    "--out", type=click.Path(path_type=Path), metavar="PATH", help="Where to; by default the run's name, here."
)
@click.option(
    "--set", "given", multiple=True, metavar="NAME=VALUE", help="An option of the format, as --set dt_ms=0.1."
)
@click.option("--list", "list_", is_flag=True, help="List the formats, and what each keeps, loses and refuses.")
def export_command(run: Path | None, format_: str | None, out: Path | None, given: Sequence[str], list_: bool) -> None:
    """Write a fitted model in another format.

    RUN is the folder of a run, a model bundle in it, or the file of a fitted cell (fit/cells/NAME.toml).
    """
    if list_:
        click.echo(listing())
        return
    if run is None or format_ is None:
        raise click.UsageError("Name a run and a --format, or ask for the formats with --list.")
    options = _options(given)
    model = _cell_model(run) if run.suffix == ".toml" else load_model(_bundle_of(run))
    if out is None:
        ending = FORMATS[format_].suffix or f"-{format_}" if format_ in FORMATS else ""
        out = Path(f"{run.resolve().name.removesuffix('.toml')}{ending}")
    click.echo(f"Written: {export(model, out, format=format_, **options)}")


def _bundle_of(run: Path) -> Path:
    """The model bundle in the folder of a run, or the folder itself."""
    found = sorted(path.parent for path in run.glob(f"*/model/{MANIFEST}"))
    if len(found) > 1:
        names = [str(path) for path in found]
        raise MissingFileError(f"The run {str(run)!r} holds several models: {offenders(names)}. Name one of them.")
    cells = sorted(str(path) for path in run.glob("*/cells/*.toml"))
    if cells and not found:
        raise MissingFileError(f"The run {str(run)!r} holds fitted cells: {offenders(cells)}. Name one of them.")
    return found[0] if found else run


def _cell_model(path: Path) -> Model:
    """A network of one neuron, the fitted cell."""
    cell = Cell.load(path)
    none = np.zeros(0, np.int32)
    graph = Connectome.from_edges(pa.table({"id": [cell.name]}), pre=none, post=none, count=none)
    rule = NeuronRule(cell.name, cell.model, params=cell.params, settings=cell.settings)
    spec = ModelSpec((rule,), name=cell.name, description="a fitted cell")
    return Model(build(graph, spec), graph, spec, {"fitted": dict(cell.fitted)})


def _options(given: Sequence[str]) -> dict[str, Any]:
    """{name: value} of NAME=VALUE, the values as TOML writes them."""
    options: dict[str, Any] = {}
    for text in given:
        name, equals, value = text.partition("=")
        try:
            options[name.strip()] = tomllib.loads(f"value = {value}")["value"]
        except tomllib.TOMLDecodeError:
            equals = ""
        if not equals or not name.strip():
            raise SettingError(
                f"--set expects NAME=VALUE with a value as TOML writes it, for example dt_ms=0.1; found {text!r}."
            )
    return options
