"""The command line: ``connectofit run | sweep | clean | recipes | validate | inspect | recordings | circuit | export |
doctor``.

Exit codes: 0 done, 1 the run failed (an error in the program, or interrupted), 2 bad input (one message, no traceback).
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import click
from tqdm import tqdm

from connectofit.connectome import Connectome, ValidationReport, presets, read_connectome
from connectofit.connectome.errors import ConnectofitError, DivergedError, SettingError
from connectofit.pipelines.cli_circuit import circuit_command
from connectofit.pipelines.cli_export import export_command
from connectofit.pipelines.cli_recordings import recordings_command
from connectofit.pipelines.cli_run import clean_command, run, sweep_command
from connectofit.pipelines.doctor import installation
from connectofit.pipelines.inspect import check_output, inspection, write_inspection
from connectofit.pipelines.pipeline import recipes


class _Group(click.Group):
    """Turns the package's errors into one message and exit code 2, or 1 for a run that diverged."""

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except ConnectofitError as error:
            notes = getattr(error, "__notes__", [])
            click.echo(" ".join([f"Error: {error}", *notes]), err=True)
            # A simulation or fit that diverged had good input: that is a run that failed.
            ctx.exit(1 if isinstance(error, DivergedError) else 2)


class _LogHandler(logging.Handler):
    """Writes log lines to standard error without tearing a progress bar."""

    def emit(self, record: logging.LogRecord) -> None:
        tqdm.write(self.format(record), file=sys.stderr)


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="connectofit")
def main() -> None:
    """From connectome tables to fitted, runnable, exportable models of neurons and networks."""
    logger = logging.getLogger("connectofit")
    if not any(isinstance(handler, _LogHandler) for handler in logger.handlers):
        handler = _LogHandler()
        handler.setFormatter(logging.Formatter("%(message)s"))
        logger.addHandler(handler)
    logger.setLevel(logging.INFO)


main.add_command(run)
main.add_command(clean_command)
main.add_command(sweep_command)
main.add_command(export_command)
main.add_command(recordings_command)
main.add_command(circuit_command)


@main.command(name="recipes")
def list_recipes() -> None:
    """List the recipes that ship with the package."""
    for name, title in recipes().items():
        click.echo(f"{name:<12} {title}")


def _table_options(command: Callable[..., None]) -> Callable[..., None]:
    """The arguments and options that say which tables to read, and how."""
    known = ", ".join(presets())
    options = [
        click.argument("edges", type=click.Path(path_type=Path)),
        click.argument("neurons", type=click.Path(path_type=Path), required=False),
        click.option(
            "--columns",
            metavar="NAME=COLUMN",
            multiple=True,
            help="Which column of your tables is which, for example --columns pre=source --columns count=weight.",
        ),
        click.option(
            "--id-type", type=click.Choice(["string", "int64"]), help="Type of the neurons' ids; never guessed."
        ),
        click.option(
            "--preset",
            metavar="NAME",
            help=f"Layout of the tables: {known}. Without it, and without --columns, it is recognised.",
        ),
    ]
    for option in reversed(options):
        command = option(command)
    return command


def _read_tables(
    edges: Path, neurons: Path | None, columns: Sequence[str], id_type: str | None, preset: str | None
) -> tuple[Connectome, ValidationReport]:
    named = {}
    for text in (part for given in columns for part in given.split(",")):
        name, equals, column = text.partition("=")
        if not equals or not name.strip() or not column.strip():
            raise SettingError(f"--columns expects NAME=COLUMN, for example pre=source; found {text!r}.")
        named[name.strip()] = column.strip()
    chosen = preset or (None if named else "auto")
    return read_connectome(edges, neurons, columns=named or None, id_type=id_type, preset=chosen)


@main.command()
@_table_options
def validate(
    edges: Path, neurons: Path | None, columns: Sequence[str], id_type: str | None, preset: str | None
) -> None:
    """Read connectome tables, EDGES and optionally NEURONS, and say what is wrong with them.

    Each is a CSV, Parquet or Feather file or a folder of such files; EDGES may also be an adjacency matrix (npz).
    """
    _, report = _read_tables(edges, neurons, columns, id_type, preset)
    click.echo(str(report))


@main.command()
@_table_options
@click.option("--out", type=click.Path(path_type=Path), required=True, metavar="FILE.html", help="The report to write.")
@click.option("--by", metavar="COLUMN", help="Column of the neurons' types; by default one that is called like it.")
@click.option("--types", "max_types", type=click.IntRange(1, 100), default=20, show_default=True, help="Types shown.")
@click.option("--force", is_flag=True, help="Overwrite the report if it exists.")
def inspect(
    edges: Path,
    neurons: Path | None,
    columns: Sequence[str],
    id_type: str | None,
    preset: str | None,
    out: Path,
    by: str | None,
    max_types: int,
    force: bool,
) -> None:
    """Read connectome tables, EDGES and optionally NEURONS, and report what is in them as one HTML file.

    The report has the findings of `validate`, sizes, degrees and counts, reciprocity, components, the matrix of types
    and positions. The tables are given as for `validate`.
    """
    check_output(out, force)
    connectome, report = _read_tables(edges, neurons, columns, id_type, preset)
    html = inspection(connectome, report, title=f"Connectome: {edges.name}", by=by, max_types=max_types)
    click.echo(f"Written: {write_inspection(html, out)}")


@main.command()
def doctor() -> None:
    """Say what this installation runs on: versions, devices, and which kernels it has and why."""
    click.echo(installation())
