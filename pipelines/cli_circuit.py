"""``connectofit circuit``: a SONATA circuit as a connectome and a model specification, in a new folder."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Literal

import click

from connectofit.builders import read_sonata_circuit
from connectofit.connectome.errors import FolderError, MissingFileError
from connectofit.pipelines.folders import publish_new, temporary_folder, write_text


@click.command(name="circuit")
@click.argument("config", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), metavar="FOLDER", help="Where to write what was read.")
@click.option("--root", type=click.Path(path_type=Path), help="The folder that all files have to be in; CONFIG's own.")
@click.option("--resolution-ms", type=float, default=0.1, show_default=True, help="What delays are rounded to.")
@click.option(
    "--pair-delays",
    type=click.Choice(["one", "mean"]),
    default="one",
    show_default=True,
    help="Edges that join the same neurons with different delays: refuse them, or average.",
)
def circuit_command(
    config: Path, out: Path | None, root: Path | None, resolution_ms: float, pair_delays: Literal["one", "mean"]
) -> None:
    """Read a SONATA circuit and say what was not understood.

    CONFIG is the configuration of a circuit, or of a simulation that names one. FOLDER gets the connectome (for
    `Connectome.read`), the model (model.toml, for `ModelSpec.load`) and the report.
    """
    if out is not None and out.exists():
        raise FolderError(f"{str(out)!r} exists already. Name a folder that does not.")
    if out is not None and not out.absolute().parent.is_dir():
        raise MissingFileError(f"There is no folder {str(out.parent)!r} to write into. Make it first.")
    connectome, spec, report = read_sonata_circuit(
        config, root=root, resolution_ms=resolution_ms, pair_delays=pair_delays
    )
    click.echo(str(report))
    for rule in spec.neurons:
        click.echo(f"{rule.name}: {rule.model}")
    if out is None:
        return
    made = temporary_folder(out)
    try:
        connectome.write(made / "connectome")
        spec.dump(made / "model.toml")
        write_text(made / "report.txt", f"{report}\n")
        publish_new(made, out)
    except OSError as error:
        raise FolderError(f"The circuit cannot be written to {str(out)!r}: {error.strerror or error}.") from error
    finally:
        shutil.rmtree(made, ignore_errors=True)
    click.echo(f"Written: {out}")
