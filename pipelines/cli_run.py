"""The commands that run pipelines: ``run``, ``clean`` and ``sweep``."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import click

from connectofit.connectome.errors import SettingError
from connectofit.pipelines.clean import clean
from connectofit.pipelines.config import parse_assignment
from connectofit.pipelines.folders import MANIFEST
from connectofit.pipelines.pipeline import Pipeline
from connectofit.pipelines.results import RunResult
from connectofit.pipelines.run_manifest import read_run_manifest
from connectofit.pipelines.sweep import parse_axis, sweep

_ASSIGNMENTS = click.option(
    "--set", "assignments", metavar="A.B=VALUE", multiple=True, help="Override a setting; the value is TOML."
)
_DEMO = click.option("--demo", is_flag=True, help="Lay the recipe's shorter demo settings over the full ones.")


@click.command()
@click.argument("recipe")
@click.option("--out", type=click.Path(path_type=Path), help="Folder of the run; by default runs/<name of the recipe>.")
@click.option("--until", metavar="STAGE", help="Run only this stage and what it needs.")
@click.option("--from", "start", metavar="STAGE", help="Run this stage and all that depend on it, changed or not.")
@click.option("--force", metavar="STAGE", multiple=True, help="Run this stage, changed or not; may be repeated.")
@_ASSIGNMENTS
@_DEMO
@click.option("--dry-run", is_flag=True, help="Say what would run and why, and do nothing.")
@click.option("--explain", is_flag=True, help="Say what changed, for every stage that runs.")
@click.option("--quiet", is_flag=True, help="No progress bars and no lines about stages.")
def run(
    recipe: str,
    out: Path | None,
    until: str | None,
    start: str | None,
    force: Sequence[str],
    assignments: Sequence[str],
    demo: bool,
    dry_run: bool,
    explain: bool,
    quiet: bool,
) -> None:
    """Run RECIPE: the name of one that ships with the package (see `connectofit recipes`), a TOML file, or the
    manifest.json of a finished run, which is then repeated in a new folder and compared.

    A stage whose inputs, settings and code are unchanged is not run again; a run that was killed resumes.
    """
    if quiet:
        logging.getLogger("connectofit").setLevel(logging.WARNING)
    overrides = dict(parse_assignment(text) for text in assignments)
    repeated = Path(recipe) if Path(recipe).name == MANIFEST else None
    if repeated is not None:
        if demo:
            raise SettingError("--demo belongs to a recipe; a manifest already says which settings were used.")
        pipeline = Pipeline.repeat(repeated, overrides)
        out = out or repeated.resolve().parent.with_name(f"{repeated.resolve().parent.name}-again")
    else:
        pipeline = Pipeline.load(recipe, overrides, demo=demo)
    if dry_run:
        for planned in pipeline.plan(out, until=until, start=start, force=force):
            click.echo(f"{planned.name:<12} {planned.action:<7} {planned.reason}")
            for line in planned.details if explain else ():
                click.echo(f"    {line}")
        return
    result = pipeline.run(out, until=until, start=start, force=force, explain=explain, progress=not quiet)
    if pipeline.summary is not None:
        click.echo(pipeline.summary(result))
    if repeated is not None:
        click.echo(comparison(repeated, result))


def comparison(manifest: Path, result: RunResult) -> str:
    """Stage by stage, whether a repeated run made the same files as the run of `manifest`, and on which versions."""
    before = read_run_manifest(manifest)
    contents = {stage["name"]: (stage["content"], stage["key"]) for stage in before["stages"]}
    lines = [f"Compared with {manifest}:"]
    for stage in result.stages:
        if stage.name not in contents:
            lines.append(f"  {stage.name:<12} was not run there")
            continue
        content, key = contents[stage.name]
        same = "the same files" if content == stage.content else "other files"
        lines.append(
            f"  {stage.name:<12} {same}" + ("" if key == stage.key else " (settings, versions or code differ)")
        )
    now = read_run_manifest(result.folder / MANIFEST)["environment"]
    changed = [
        f"{n} {before['environment'].get(n)} -> {v}" for n, v in now.items() if before["environment"].get(n) != v
    ]
    return "\n".join([*lines, *([f"  environment: {', '.join(changed)}"] if changed else [])])


@click.command(name="clean")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--stage", "stages", metavar="STAGE", multiple=True, help="Remove this stage's output too.")
@click.option("--all", "everything", is_flag=True, help="Remove the whole run.")
@click.option("--dry-run", is_flag=True, help="Say what would be removed, and do nothing.")
def clean_command(folder: Path, stages: Sequence[str], everything: bool, dry_run: bool) -> None:
    """Remove what killed runs left in FOLDER, the folder of a run, or more if asked for."""
    removed = clean(folder, stages=stages, everything=everything, dry_run=dry_run)
    for item in removed:
        click.echo(f"{'Would remove' if dry_run else 'Removed'} {item.path} ({item.bytes / 1e6:.1f} MB)")
    if not removed:
        click.echo("Nothing to remove.")


@click.command(name="sweep")
@click.argument("recipe")
@click.option(
    "--grid",
    "axes",
    metavar="A.B=VALUES",
    multiple=True,
    required=True,
    help="Values of a setting: first:stop or first:stop:step of whole numbers, or values of TOML with commas between.",
)
@click.option("--out", type=click.Path(path_type=Path), help="Folder of the sweep; by default runs/<recipe>-sweep.")
@click.option("--jobs", type=click.IntRange(1), default=1, show_default=True, help="Points run at the same time.")
@click.option("--dask", metavar="ADDRESS", help="Run the points on this Dask scheduler instead (tcp://host:port).")
@click.option("--until", metavar="STAGE", help="Run only this stage and what it needs.")
@_ASSIGNMENTS
@_DEMO
@click.option("--quiet", is_flag=True, help="No progress bar.")
def sweep_command(
    recipe: str,
    axes: Sequence[str],
    out: Path | None,
    jobs: int,
    dask: str | None,
    until: str | None,
    assignments: Sequence[str],
    demo: bool,
    quiet: bool,
) -> None:
    """Run RECIPE at every point of a grid of settings, and collect the scores in one table and a plot.

    Every point is a run in a folder of its own; points that are done are kept, so that a sweep that was stopped
    goes on where it was.
    """
    found = sweep(
        recipe,
        dict(parse_axis(text) for text in axes),
        out,
        overrides=dict(parse_assignment(text) for text in assignments),
        demo=demo,
        until=until,
        jobs=jobs,
        dask=dask,
        progress=not quiet,
    )
    click.echo(found.text())
    if len(found.failed):
        raise click.exceptions.Exit(1)
