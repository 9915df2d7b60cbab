"""A SONATA circuit of NEST's point neurons as a connectome, its model's specification, and what was not understood.

(Dai et al. 2020, PLoS Comput Biol 16:e1007696.) A node is a neuron with the id ``population/node_id``; what its tables
say of it are columns. Its model and parameters are those of `connectofit.builders.sonata_models`. Edges become edges
with a count (``nsyns``), a sign and a size (``syn_weight``), a delay and a receptor. What has no counterpart here is
counted in the report and claimed by no rule, so that `build` refuses it rather than leave it out.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from connectofit.builders.sonata_edges import Edges
from connectofit.builders.sonata_files import CircuitFiles, read_circuit_files
from connectofit.builders.sonata_models import OurNeuron, beside, our_neuron
from connectofit.builders.sonata_tables import (
    ParameterSets,
    Told,
    arrow_columns,
    by_value,
    dynamics_of,
    put_column,
    type_columns,
)
from connectofit.builders.spec import Column, Delays, EdgeRule, ModelSpec, NeuronRule
from connectofit.connectome import Connectome
from connectofit.connectome.errors import SettingError
from connectofit.connectome.report import ValidationReport


def read_sonata_circuit(
    config: str | Path,
    *,
    root: str | Path | None = None,
    resolution_ms: float = 0.1,
    pair_delays: Literal["one", "mean"] = "one",
) -> tuple[Connectome, ModelSpec, ValidationReport]:
    """Read the circuit of a SONATA configuration.

    Parameters
    ----------
    config: of the circuit, or of a simulation that names it. root: the folder that all its files have to be in; the
    configuration's own where left out. resolution_ms: the time step that delays are rounded to. pair_delays: ``"one"``
    refuses edges that join the same neurons with different delays; ``"mean"`` makes one of them with the mean of their
    delays, each counted by the charge it brings, and says for how many.

    Returns
    -------
    The connectome; a specification that `build` turns into the network; a report, whose warnings name and count what
    was not understood. Neurons and edges of models that are none here have no rule in the specification.

    Raises
    ------
    MissingFileError, MissingExtraError (h5py, of the extra ``sonata``). SchemaError: files that are not SONATA's, that
    are outside of `root` or point out of themselves, and edges that join the same neurons with different delays (see
    `pair_delays`), signs or receptors. SettingError: a resolution that is not above 0, another `pair_delays`, and a
    circuit without any neuron that is understood.
    """
    if not (np.isfinite(resolution_ms) and resolution_ms > 0):
        raise SettingError(f"resolution_ms has to be above 0; found {resolution_ms!r}.")
    if pair_delays not in ("one", "mean"):
        raise SettingError(f"pair_delays has to be 'one' or 'mean'; found {pair_delays!r}.")
    path = Path(config)
    files = read_circuit_files(path, None if root is None else Path(root))
    told = Told()
    for name in files.unused:
        told.add("info", "section_not_read", "sections", "of the configuration say nothing about the circuit", name)
    first: dict[str, int] = {}
    for population in files.nodes.values():
        first[population.name] = sum(len(files.nodes[name]) for name in first)
    sets = _parameter_sets(files, told)
    neurons = _neuron_table(files, sets, told)
    edges = Edges.of(files, first, sets, told)
    merged = edges.merged(neurons, told, mean_delay=pair_delays == "mean")
    connectome = Connectome.from_edges(
        neurons,
        pre=merged.pre.astype(np.int32),
        post=merged.post.astype(np.int32),
        count=merged.count,
        kind=np.zeros(len(merged.pre), np.int8),
        sign=merged.sign,
        edge_columns=pa.table(
            {
                "weight": merged.weight,
                "delay_ms": merged.delay_ms,
                "receptor": merged.receptor,
                **arrow_columns(merged.further),
            }
        ),
    )
    _tell_rounding(merged.delay_ms, resolution_ms, told)
    spec = _specification(path, files, sets, neurons, edges.receptors, merged, resolution_ms)
    n = {"neurons": connectome.n_neurons, "edges": len(edges.pre)}
    kept = {"neurons": connectome.n_neurons, "edges": connectome.n_edges}
    findings = told.findings()
    return connectome, spec, ValidationReport(tuple(findings), n, kept, source=dict.fromkeys(n, str(path)))


def _parameter_sets(files: CircuitFiles, told: Told) -> ParameterSets:
    neurons: list[OurNeuron | None] = []
    parts = []
    read: dict[str, dict[str, Any]] = {}
    for population in files.nodes.values():
        of_node = np.full(len(population), -1)
        for type_id, rows in by_value(population.type_id):
            kind = population.types.get(type_id, {})
            name = kind.get("model_template", "").removeprefix("nest:")
            where = f"{population.name} (type {type_id}, {name or kind.get('model_type', 'no model')})"
            if kind.get("model_type") == "virtual":
                of_node[rows] = len(neurons)
                neurons.append(OurNeuron("spike_source", {}, {}, "", {}))
                continue
            shared = dynamics_of(files, kind, "point_neuron_models_dir", read)
            own = {key: values[rows] for key, values in population.dynamics.items()}
            for given, some in _distinct(own, len(rows)):
                parameters = {**shared, **given}
                neuron, why = our_neuron(name, parameters)
                if neuron is None:
                    told.add("warning", "model_not_understood", "neurons", "have no rule", f"{where}: {why}", len(some))
                    continue
                for text in beside(name, parameters):
                    told.add(
                        "warning",
                        "parameter_not_used",
                        "neurons",
                        "have parameters that are not used",
                        f"{where}: {text}",
                        len(some),
                    )
                of_node[rows[some]] = len(neurons)
                neurons.append(neuron)
        parts.append(of_node)
    return ParameterSets(neurons, np.concatenate(parts) if parts else np.zeros(0, int))


def _distinct(own: Mapping[str, np.ma.MaskedArray], n: int) -> list[tuple[dict[str, Any], np.ndarray]]:
    """The different combinations of values, without those that are missing, and the rows that have each."""
    if not own:
        return [({}, np.arange(n))]
    rows: dict[tuple[Any, ...], list[int]] = defaultdict(list)
    for k, values in enumerate(zip(*(column.tolist() for column in own.values()), strict=True)):
        rows[tuple(tuple(v) if isinstance(v, list) else v for v in values)].append(k)
    return [
        ({name: v for name, v in zip(own, values, strict=True) if v is not None}, np.array(some))
        for values, some in rows.items()
    ]


def _neuron_table(files: CircuitFiles, sets: ParameterSets, told: Told) -> pa.Table:
    populations = list(files.nodes.values())
    size = len(sets.of_node)
    columns: dict[str, Any] = {
        "id": [f"{each.name}/{k}" for each in populations for k in range(len(each))],
        "population": [each.name for each in populations for _ in range(len(each))],
        "node_id": np.concatenate([np.arange(len(each)) for each in populations]),
        "node_type_id": np.concatenate([each.type_id for each in populations]),
        "parameter_set": pa.array(sets.of_node, mask=sets.of_node < 0),
    }
    told_models = [None if each is None else _kind(each) for each in sets.neurons]
    columns["model"] = pa.array([told_models[k] if k >= 0 else None for k in sets.of_node.tolist()], pa.string())
    for name in dict.fromkeys(name for each in sets.neurons if each is not None for name in each.params):
        known = np.array(
            [np.nan if each is None else each.params.get(name, np.nan) for each in sets.neurons] + [np.nan]
        )
        values = known[sets.of_node]
        columns[name] = pa.array(values, mask=np.isnan(values))
    further: dict[str, np.ma.MaskedArray] = {}
    start = 0
    for each in populations:
        rows = slice(start, start := start + len(each))
        for name, values in {**type_columns(each), **each.attributes}.items():
            put_column(further, name, values, rows, size, columns, told, "neurons")
    return pa.table({**columns, **arrow_columns(further)})


def _kind(neuron: OurNeuron) -> str:
    """The model with its settings, as one text."""
    return neuron.model + "".join(f" {name}={value}" for name, value in neuron.settings.items())


def _tell_rounding(delay_ms: np.ndarray, resolution_ms: float, told: Told) -> None:
    steps = np.maximum(np.round(delay_ms / resolution_ms), 1)
    moved = int((np.abs(steps * resolution_ms - delay_ms) > 1e-6 * resolution_ms).sum())
    if moved:
        told.add(
            "warning",
            "delay_rounded",
            "edges",
            f"have a delay that is no multiple of {resolution_ms:g} ms and is rounded",
            "delay",
            moved,
        )


def _specification(
    path: Path,
    files: CircuitFiles,
    sets: ParameterSets,
    neurons: pa.Table,
    receptors: Sequence[tuple[str, float, float]],
    edges: Edges,
    resolution_ms: float,
) -> ModelSpec:
    """Rules for all that is understood."""
    rules = []
    pairs = dict.fromkeys(
        zip(neurons.column("population").to_pylist(), neurons.column("model").to_pylist(), strict=True)
    )
    by_kind = {_kind(each): each for each in sets.neurons if each is not None}
    for population, kind in pairs:
        if kind is None:
            continue
        several = sum(other == population and k is not None for other, k in pairs) > 1
        neuron = by_kind[kind]
        rules.append(
            NeuronRule(
                name=f"{population} {kind}" if several else population,
                model=neuron.model,
                where=f"population == {population!r} and model == {kind!r}",
                tie_by="parameter_set" if neuron.params else None,
                params={name: Column(name) for name in neuron.params},
                settings=neuron.settings,
            )
        )
    if not rules:
        raise SettingError(
            f"No neuron of the circuit {path} has a model that is understood; see the types of its nodes."
        )
    used = set(np.unique(edges.receptor).tolist())
    names = {rule.name for rule in rules}
    synapses = []
    for k, (synapse, tau_ms, e_rev_mV) in enumerate(receptors):
        if k not in used:
            continue
        params = {"tau_syn_ms": tau_ms, "e_rev_mV": e_rev_mV}
        name = f"{synapse}_{k}"
        synapses.append(
            EdgeRule(
                name=f"{name}_" if name in names else name,
                synapse=synapse,
                where=f"receptor == {k}",
                delay_ms=Delays("delay_ms", resolution_ms),
                params={key: value for key, value in params.items() if not np.isnan(value)},
                weight="weight",
            )
        )
    return ModelSpec(tuple(rules), tuple(synapses), name=path.parent.name or "circuit", description="read from SONATA")
