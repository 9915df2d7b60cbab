"""The formats that a model can be written in, with what each keeps, loses and refuses, and the one door to them."""

from __future__ import annotations

import inspect
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from connectofit.connectome.errors import FolderError, SettingError, unknown_name
from connectofit.connectome.synthetic.drawing import number, whole_number
from connectofit.pipelines.bundle import Model, write_bundle
from connectofit.pipelines.export import parameters, tables
from connectofit.pipelines.export.brian2 import write_brian2
from connectofit.pipelines.export.nest import write_nest
from connectofit.pipelines.export.neuroml import write_neuroml
from connectofit.pipelines.export.nir import write_nir
from connectofit.pipelines.export.sonata import write_sonata
from connectofit.pipelines.export.stablehlo import write_stablehlo
from connectofit.pipelines.folders import aside, make_folder, publish_new
from connectofit.sim import Stimulus

_LONGEST_MS = 1e9  # eleven days


@dataclass(frozen=True)
class Format:
    """A format. write(model, path, **options) makes a file (of the name's ending `suffix`) or, where that is "", a
    folder. extra: the optional dependency that it needs."""

    name: str
    write: Callable[..., None]
    keeps: str
    loses: str
    refuses: str
    suffix: str = ""
    extra: str | None = None

    @property
    def options(self) -> tuple[str, ...]:
        """The names of its options."""
        given = inspect.signature(self.write).parameters.values()
        return tuple(p.name for p in given if p.kind is inspect.Parameter.KEYWORD_ONLY)


def _bundle(model: Model, path: Path) -> None:
    raise TypeError("a bundle is written by write_bundle, which renames its own folder into place")


_ALL = (
    Format(
        "bundle",
        _bundle,
        keeps="everything, to the bit; `load_model` reads it back",
        loses="nothing",
        refuses="a network that its connectome and specification do not give",
    ),
    Format(
        "nest",
        write_nest,
        keeps="LIF and GLIF networks: parameters, weights, delays, given stimuli; a program that runs them in NEST, "
        "spike times within a step of ours",
        loses="types, what is fitted, surrogates; Poisson sources have NEST's random numbers",
        refuses="noise in the membrane, plasticity, graded synapses and gap junctions, other neurons; mixtures of "
        "synapses that no model of NEST takes",
    ),
    Format(
        "brian2",
        write_brian2,
        keeps="LIF and GLIF networks: equations, parameters, weights, delays, given stimuli; a program that runs them "
        "in Brian2, spike times within a step of ours",
        loses="types, what is fitted, surrogates; Poisson sources have Brian2's random numbers",
        refuses="noise in the membrane, plasticity, NMDA and graded synapses, gap junctions, other neurons; jumps that "
        "are kept in the refractory period",
    ),
    Format(
        "sonata",
        write_sonata,
        keeps="what `nest` keeps, as nodes, edges, types, configuration and given spikes; libsonata and bluepysnap "
        "open it, BMTK's PointNet and NEST's reader run it, spike times within a step of ours",
        loses="columns of the neurons but their ids, what is fitted",
        refuses="what `nest` refuses; Poisson sources, currents as stimuli, constant currents into GLIF neurons",
        extra="sonata",
    ),
    Format(
        "stablehlo",
        write_stablehlo,
        keeps="all that a network computes: a step and a run as compiled functions of parameters, state and inputs, "
        "the same to the digit; JAX alone runs them",
        loses="names of types, the connectome's columns, kernels other than pure JAX",
        refuses="nothing",
        extra="stablehlo",
    ),
    Format(
        "nir",
        write_nir,
        keeps="LIF networks without refractory period: parameters, weights, a delay for each projection",
        loses="the bias as a parameter of its own (it goes into v_leak), types, stimuli, rates of Poisson sources",
        refuses="refractory periods, delays of edges, conductances, several time constants onto a population, noise, "
        "plasticity, other neurons",
        suffix=".nir",
        extra="nir",
    ),
    Format(
        "neuroml",
        write_neuroml,
        keeps="LIF networks: parameters, weights, delays, given spikes; valid against NeuroML's schema, and jNeuroML "
        "runs it, spike times within its own error",
        loses="what is fitted, types beyond their values",
        refuses="delta synapses and NMDA, currents as stimuli, noise, plasticity, other neurons",
        suffix=".nml",
        extra="neuroml",
    ),
    Format(
        "networkx",
        tables.write_node_link,
        keeps="graph, attributes, fitted values (node-link JSON; `to_networkx` gives the graph itself)",
        loses="models, delays",
        refuses="infinities, times and bytes, which JSON does not have",
        suffix=".json",
    ),
    Format(
        "graphml",
        tables.write_graphml,
        keeps="graph, typed attributes, fitted values",
        loses="models, delays",
        refuses="text with control characters, which XML cannot hold; columns of lists, times or bytes",
        suffix=".graphml",
    ),
    Format(
        "parquet",
        tables.write_parquet,
        keeps="both tables with their types, fitted values",
        loses="models, delays",
        refuses="nothing",
    ),
    Format(
        "csv",
        tables.write_csv,
        keeps="both tables, fitted values, all digits; text that looks like a formula gets an apostrophe in front",
        loses="types of columns, models, delays",
        refuses="columns of lists, structures or bytes",
    ),
    Format(
        "npz",
        parameters.write_npz,
        keeps="parameters with names, units and types",
        loses="wiring, models, delays",
        refuses="nothing",
        suffix=".npz",
    ),
    Format(
        "safetensors",
        parameters.write_safetensors,
        keeps="parameters with names, units and types",
        loses="wiring, models, delays",
        refuses="nothing",
        suffix=".safetensors",
        extra="safetensors",
    ),
)
FORMATS: dict[str, Format] = {each.name: each for each in _ALL}


def export(model: Model, path: str | Path, format: str = "bundle", **options: Any) -> Path:  # noqa: A002 (documented)
    """Write a model; the file or folder appears whole or not at all. Returns its path.

    Parameters
    ----------
    model : what `load_model` returns, or a `Model` made of a network with its connectome and spec
    path : a file or folder that does not exist yet
    format : a name in `FORMATS`, which says what each keeps, loses and refuses
    options : of the format, see its writer

    Raises
    ------
    UnknownNameError (a format or option that does not exist), FolderError (the path is taken), MissingExtraError (an
    optional library is not installed), SettingError or SchemaError (what the format cannot hold, with the reason).
    """
    if format not in FORMATS:
        raise unknown_name("format", format, FORMATS)
    chosen, target = FORMATS[format], Path(path)
    for name in options:
        if name not in chosen.options:
            raise unknown_name("option", name, chosen.options, f"format {format!r}")
        _check_option(name, options[name])
    if format == "bundle":
        return write_bundle(model, target)
    if target.exists() or target.is_symlink():
        raise FolderError(f"{str(target)!r} exists already. Name another path, or remove it first.")
    make_folder(target.parent)
    beside = aside(target)
    _remove(beside)
    try:
        chosen.write(model, beside, **options)
        publish_new(beside, target)
    finally:
        _remove(beside)
    return target


def _check_option(name: str, value: Any) -> None:
    """What every format asks of an option of that name; the rest is the format's own."""
    if name in ("dt_ms", "duration_ms"):
        number(name, value, 0.0, _LONGEST_MS, above=True)
    elif name == "seed":
        whole_number(name, value, 0, 2**63 - 1)
    elif name == "stimuli" and not (isinstance(value, Sequence) and all(isinstance(each, Stimulus) for each in value)):
        raise SettingError(
            f"stimuli are stimuli of connectofit.sim, in a list; found {value!r:.60}. They can be given from "
            "Python only: connectofit.pipelines.export.export(model, path, format=..., stimuli=[...])."
        )
    elif name == "platforms" and not (isinstance(value, Sequence) and all(isinstance(each, str) for each in value)):
        raise SettingError(f"platforms are names in a list, such as ['cpu']; found {value!r:.60}.")


def _remove(path: Path) -> None:
    """Remove a file, link or folder, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def listing() -> str:
    """All formats as text: the extra that each needs, and what it keeps, loses and refuses."""
    lines = []
    for each in FORMATS.values():
        extra = f" (needs connectofit[{each.extra}])" if each.extra else ""
        lines += [f"{each.name}{extra}", f"    keeps:   {each.keeps}", f"    loses:   {each.loses}"]
        lines += [f"    refuses: {each.refuses}"]
        names = [f"{name} (from Python)" if name == "stimuli" else name for name in each.options]
        lines += [f"    options: {', '.join(names)}"] if names else []
    return "\n".join(lines)
