"""What a run would do: for each stage whether its output is kept or made, and why.

A stage is kept where its sealed output has the key that the stage has now and is intact. `decide` says so of one stage,
`plan_stages` of a whole run without running or writing anything.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from connectofit.connectome.errors import unknown_name
from connectofit.pipelines import folders, keys
from connectofit.pipelines.config import Settings
from connectofit.pipelines.stages import Stage, dependents, needed_for

logger = logging.getLogger(__name__)

ASKED = "asked for"
_FEW = 5  # differences that are told of one part


@dataclass(frozen=True)
class Selection:
    """Which stages of a pipeline are looked at, in order, and which of them run even if nothing changed."""

    stages: tuple[Stage, ...]
    forced: frozenset[str]

    @classmethod
    def of(
        cls, stages: Sequence[Stage], recipe: str, until: str | None, start: str | None, force: Collection[str]
    ) -> Selection:
        """until: that stage and all that it needs. start: that stage and all that depend on it run anew. force: these
        run anew. Raises `UnknownNameError` for a stage that does not exist or that `until` leaves out."""
        names = [stage.name for stage in stages]
        for name in [n for n in (until, start) if n is not None] + list(force):
            if name not in names:
                raise unknown_name("stage", name, names, where=f"recipe {recipe!r}")
        chosen = tuple(stages) if until is None else needed_for(stages, until)
        forced = set(force) | ({start, *dependents(stages, start)} if start is not None else set())
        left_out = [name for name in (*([start] if start else []), *force) if name not in {s.name for s in chosen}]
        if left_out:
            raise unknown_name("stage", left_out[0], [s.name for s in chosen], where=f"what {until!r} needs")
        return cls(chosen, frozenset(forced))


@dataclass(frozen=True)
class Decision:
    """What becomes of one stage.

    manifest: of the output that is kept; None where the stage has to run. reason: in a few words. details: what changed
    in each part of the key. parts, key: of the stage as it is now.
    """

    manifest: dict[str, Any] | None
    reason: str
    details: tuple[str, ...]
    parts: keys.KeyParts
    key: str


def decide(place: Path, parts: keys.KeyParts, *, forced: bool) -> Decision:
    """Whether the output at `place` is that of a stage with these key parts, finished and intact."""
    key = keys.stage_key(parts)
    manifest, reason, details = _found(place, key, parts)
    if forced and manifest is not None:
        return Decision(None, ASKED, (), parts, key)
    return Decision(manifest, reason, details, parts, key)


def _found(place: Path, key: str, parts: keys.KeyParts) -> tuple[dict[str, Any] | None, str, tuple[str, ...]]:
    if not place.exists():
        return None, "no result yet", ()
    try:
        manifest = folders.verify(place)
    except folders.DamagedError as error:
        logger.warning("The result of an earlier run is damaged and is made again: %s", error)
        return None, "damaged", (str(error),)
    before, entries = manifest.get("key_parts"), manifest["files"].values()
    if manifest.get("key") != key:
        had = before if isinstance(before, dict) else {}
        changed = [part for part in parts.digests if had.get(part) != parts.digests[part]]
        told = manifest.get("key_told")
        details = tuple(_difference(part, told if isinstance(told, dict) else {}, parts) for part in changed)
        return None, f"changed: {', '.join(changed)}", details
    whole = isinstance(manifest.get("seconds"), int | float) and {"peak_memory_bytes", "seal"} <= manifest.keys()
    if not whole or not all(isinstance(entry, dict) for entry in entries):
        return None, "its manifest has been edited", ()
    return manifest, "nothing changed", ()


def _difference(part: str, told: Mapping[str, Any], parts: keys.KeyParts) -> str:
    """What differs in one part of the key, in words: ``settings: steps 10 -> 20``."""
    before, now = told.get(part), parts.told.get(part)
    if not isinstance(before, dict) or now is None:
        return part
    names = [name for name in sorted({*before, *now}) if before.get(name) != now.get(name)]
    shown = [f"{name} {_told(before.get(name))} -> {_told(now.get(name))}" for name in names[:_FEW]]
    more = f" and {len(names) - _FEW} more" if len(names) > _FEW else ""
    return f"{part}: {', '.join(shown)}{more}" if shown else part


def _told(value: object) -> str:
    """A value of a key part; of a digest its first characters."""
    if value is None:
        return "(none)"
    text = str(value)
    return text[:8] if len(text) == 64 and set(text) <= set("0123456789abcdef") else text


@dataclass(frozen=True)
class Planned:
    """What a run would do with a stage: "keep", "run", or "unsure": that depends on what a stage before it writes."""

    name: str
    action: Literal["keep", "run", "unsure"]
    reason: str
    details: tuple[str, ...] = ()


def plan_stages(selection: Selection, sections: Mapping[str, Settings], out: Path) -> tuple[Planned, ...]:
    """What a run on the folder `out` would do, stage by stage. Nothing is run or written.

    Raises `MissingFileError` for a data file that is not there.
    """
    planned: list[Planned] = []
    contents: dict[str, str] = {}
    made: dict[str, str] = {}
    for stage in selection.stages:
        files = declared_files(stage, sections)
        anew = [name for name in stage.inputs if name not in contents]
        if anew or (stage.documents_run and len(made) < len(planned)):
            which = ", ".join(anew) or "a stage before it"
            forced = stage.name in selection.forced or not (out / stage.name).exists()
            action: Literal["run", "unsure"] = "run" if forced or stage.documents_run else "unsure"
            reason = "no result yet" if not (out / stage.name).exists() else f"depends on what {which} writes"
            planned.append(Planned(stage.name, action, ASKED if stage.name in selection.forced else reason))
            continue
        read = {name: contents[name] for name in stage.inputs}
        parts = keys.key_parts(stage, sections.get(stage.name), files, read, made)
        decision = decide(out / stage.name, parts, forced=stage.name in selection.forced)
        if decision.manifest is None:
            planned.append(Planned(stage.name, "run", decision.reason, decision.details))
            continue
        planned.append(Planned(stage.name, "keep", decision.reason))
        contents[stage.name] = content_digest(decision.manifest)
        made[stage.name] = decision.key
    return tuple(planned)


def content_digest(manifest: Mapping[str, Any]) -> str:
    """The digest of all files of a stage's output, from its manifest."""
    return keys.value_digest({name: entry["sha256"] for name, entry in manifest["files"].items()})


def declared_files(stage: Stage, sections: Mapping[str, Settings]) -> dict[str, Path]:
    """The data files that a stage reads, with its settings. Raises `MissingFileError`."""
    files = dict(stage.files(sections.get(stage.name))) if stage.files is not None else {}
    for path in files.values():
        keys.file_digest(path)
    return files
