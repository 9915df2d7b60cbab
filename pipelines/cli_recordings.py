"""``connectofit recordings``: recordings of any format that is read, as one Parquet file of checked sweeps."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import click

from connectofit.connectome.errors import FolderError, MissingFileError, SettingError
from connectofit.fit import read_recordings, write_recordings


@click.command(name="recordings")
@click.argument("source", type=click.Path(path_type=Path), nargs=-1, required=True)
@click.option("--out", type=click.Path(path_type=Path), metavar="FILE.parquet", help="Where to write the sweeps.")
@click.option(
    "--current", type=click.Path(path_type=Path), multiple=True, metavar="FILE", help="Igor's waves of the current."
)
@click.option("--columns", metavar="NAME=COLUMN", multiple=True, help="Columns of a table, or channels of an ABF file.")
@click.option("--units", metavar="NAME=UNIT", multiple=True, help="What they are in, for example current=nA.")
@click.option("--electrode", "electrodes", metavar="NAME", multiple=True, help="Of an NWB file, to take; default all.")
@click.option("--stimulus-ms", type=(float, float), help="Onset and offset; found in the current where left out.")
@click.option("--bridge-MOhm", "bridge", type=float, default=0.0, help="Series resistance to take off, in all.")
@click.option("--junction-mV", "junction", type=float, default=0.0, help="Junction potential to take off.")
@click.option("--force", is_flag=True, help="Overwrite the file if it exists.")
def recordings_command(
    source: Sequence[Path],
    out: Path | None,
    current: Sequence[Path],
    columns: Sequence[str],
    units: Sequence[str],
    electrodes: Sequence[str],
    stimulus_ms: tuple[float, float] | None,
    bridge: float,
    junction: float,
    force: bool,
) -> None:
    """Read current-clamp sweeps, say what is odd about them, and write them as a table.

    SOURCE is a long table (CSV, Parquet, Feather), an NWB file, an Axon Binary File, or the voltage as one or more Igor
    waves. The table that --out names is what `connectofit run cell` and other programs read.
    """
    if len(source) > 1 and any(path.suffix.lower() != ".ibw" for path in source):
        raise SettingError("Only Igor's waves are read several at a time; give one file of any other format.")
    if out is not None:
        _check_output(out, force)
    recordings, report = read_recordings(
        list(source) if source[0].suffix.lower() == ".ibw" else source[0],
        current=list(current) or None,
        columns=_named("--columns", columns) or None,
        units=_named("--units", units) or None,
        electrodes=list(electrodes) or None,
        stimulus_ms=stimulus_ms,
        bridge_MOhm=bridge,
        junction_mV=junction,
    )
    click.echo(str(report))
    for sweep in recordings:
        click.echo(
            f"{sweep.label}: {sweep.n_samples} samples, {sweep.dt_ms:g} ms apart, stimulus {sweep.onset_ms:g} to "
            f"{sweep.offset_ms:g} ms, {sweep.step_pA:.1f} pA"
        )
    if out is None:
        return
    aside = out.with_name(f".{out.name}.{os.getpid()}.part")
    try:
        write_recordings(recordings, aside)
        aside.replace(out)
    except OSError as error:
        raise FolderError(f"The sweeps cannot be written to {str(out)!r}: {error.strerror}.") from error
    finally:
        aside.unlink(missing_ok=True)
    click.echo(f"Written: {out}")


def _check_output(out: Path, force: bool) -> None:
    """Refuse a path that cannot become the table, before any work is done."""
    if out.suffix != ".parquet":
        raise SettingError(f"--out has to name a .parquet file; found {str(out)!r}.")
    if out.is_dir() or (out.exists() and not force):
        raise FolderError(f"{str(out)!r} exists already. Name another file, or overwrite a file with --force.")
    if not out.parent.is_dir():
        raise MissingFileError(f"There is no folder {str(out.parent)!r} for the table. Make it first.")


def _named(option: str, given: Sequence[str]) -> Mapping[str, str]:
    named = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals or not name.strip() or not value.strip():
            raise SettingError(f"{option} expects NAME=VALUE, for example current=nA; found {text!r}.")
        named[name.strip()] = value.strip()
    return named
