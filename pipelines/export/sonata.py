"""SONATA: the network's nodes, edges and their types, a configuration, and the given spikes as input.

(Dai et al. 2020, PLoS Comput Biol 16:e1007696.) A population is a SONATA population whose node types are the different
sets of parameters of its neurons, for the models of NEST that `connectofit.pipelines.export.nest` chooses; sources of
spikes are virtual nodes. A projection is a population of edges of one type, with a weight and a delay for each edge.
Units are SONATA's for point neurons in NEST: ms, mV, pA, pF, nS.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from connectofit.connectome.extras import needed
from connectofit.pipelines.bundle import Model
from connectofit.pipelines.export.given_input import given_input
from connectofit.pipelines.export.nest import NestCells, nest_network
from connectofit.pipelines.export.point_network import Cells, Contacts, PointNetwork, refusal
from connectofit.sim import Stimulus

_ONE_PORT = {"iaf_psc_exp_multisynapse": "iaf_psc_exp", "iaf_psc_alpha_multisynapse": "iaf_psc_alpha"}
_CONFIG, _CIRCUIT, _SIMULATION = "config.json", "circuit_config.json", "simulation_config.json"
_NEST = "nest_config.json"


def write_sonata(
    model: Model,
    path: Path,
    *,
    dt_ms: float = 0.1,
    duration_ms: float = 1000.0,
    stimuli: Sequence[Stimulus] = (),
    seed: int = 0,
) -> None:
    """A folder with ``circuit_config.json``, ``simulation_config.json`` (of a run with the given spikes) and what they
    name; ``config.json`` names both (BMTK), ``nest_config.json`` is both for ``nest.SonataNetwork``.

    dt_ms, duration_ms, seed: of that run. stimuli: onto sources of spikes only.

    Raises `SettingError` for what NEST's models cannot do, Poisson sources, and currents as stimuli.
    """
    h5py = needed("h5py", "sonata", "Writing SONATA")
    point, made = nest_network(model.network, dt_ms, "SONATA")
    given = given_input(model.network, stimuli, duration_ms=duration_ms, dt_ms=dt_ms, seed=seed)
    reasons = _reasons(point, made, given.currents)
    if reasons:
        raise refusal("SONATA", reasons)
    made = {name: _one_port(cells, point.onto(name)) for name, cells in made.items()}
    for folder in ("network", "components/cell_models", "components/synaptic_models", "inputs"):
        (path / folder).mkdir(parents=True)
    nodes, edges, inputs = [], [], {}
    first_type = 100
    for k, cells in enumerate(point.cells):
        file, types = f"network/nodes_{k}.h5", f"network/node_types_{k}.csv"
        type_of, rows = _node_types(path, k, cells, made.get(cells.name), first_type)
        first_type += len(rows)
        _write_csv(path / types, rows)
        _write_nodes(h5py, path / file, cells, type_of)
        virtual = cells.kind == "spike_source"
        populations = {cells.name: {"type": "virtual" if virtual else "point_neuron"}}
        nodes.append({"nodes_file": f"./{file}", "node_types_file": f"./{types}", "populations": populations})
        if virtual:
            place = f"inputs/spikes_{k}.h5"
            neuron, step = given.spikes[cells.name]
            _write_spikes(h5py, path / place, cells.name, neuron, (step + 1) * dt_ms)
            inputs[f"spikes_{k}"] = {
                "input_type": "spikes",
                "module": "h5",
                "input_file": f"./{place}",
                "node_set": {"population": cells.name},
            }
    for k, each in enumerate(point.contacts):
        file, types = f"network/edges_{k}.h5", f"network/edge_types_{k}.csv"
        port, factor = made[each.post].ports[each.name]
        params = {} if port is None else {"receptor_type": port}
        _write_json(path / f"components/synaptic_models/projection_{k}.json", params)
        name = f"projection_{k}.json"
        row = {"edge_type_id": 100 + k, "model_template": "static_synapse", "dynamics_params": name, "name": each.name}
        _write_csv(path / types, [row])
        sizes = (point.of(each.pre).size, point.of(each.post).size)
        _write_edges(h5py, path / file, each, 100 + k, factor * each.weight, each.delay_steps * dt_ms, sizes)
        populations = {each.name: {"type": "chemical"}}
        edges.append({"edges_file": f"./{file}", "edge_types_file": f"./{types}", "populations": populations})
    components = {"point_neuron_models_dir": "./components/cell_models"}
    components["synaptic_models_dir"] = "./components/synaptic_models"
    neurons = [cells.name for cells in point.cells if cells.kind != "spike_source"]
    _write_json(path / "node_sets.json", {"neurons": {"population": neurons}})
    circuit = {"version": 2.3, "components": components}
    circuit |= {"node_sets_file": "./node_sets.json", "networks": {"nodes": nodes, "edges": edges}}
    run = {"tstart": 0.0, "tstop": given.n_steps * dt_ms, "dt": dt_ms, "random_seed": seed, "precise_times": False}
    simulation = {"version": 2.3, "target_simulator": "NEST", "network": f"./{_CIRCUIT}", "run": run, "inputs": inputs}
    output = {"output_dir": "./output", "spikes_file": "spikes.h5", "log_file": "log.txt", "spikes_sort_order": "time"}
    simulation |= {"node_sets_file": "./node_sets.json", "output": output}
    _write_json(path / _CIRCUIT, circuit)
    _write_json(path / _SIMULATION, simulation)
    _write_json(path / _NEST, _for_nest({**simulation, **circuit, "target_simulator": "NEST"}))
    _write_json(path / _CONFIG, {"network": f"./{_CIRCUIT}", "simulation": f"./{_SIMULATION}"})


def _for_nest(config: dict[str, Any]) -> dict[str, Any]:
    """One configuration as NEST's reader wants it: paths by a manifest, and node sets that are names of populations."""

    def based(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: based(v) for key, v in value.items()}
        if isinstance(value, list):
            return [based(v) for v in value]
        return f"$BASE_DIR/{value[2:]}" if isinstance(value, str) and value.startswith("./") else value

    inputs = {name: {**each, "node_set": each["node_set"]["population"]} for name, each in config["inputs"].items()}
    kept = {name: value for name, value in config.items() if name not in ("network", "node_sets_file")}
    return {"manifest": {"$BASE_DIR": "."}, **based({**kept, "inputs": inputs})}


def _reasons(point: PointNetwork, made: dict[str, NestCells], currents: dict[str, Any]) -> list[str]:
    """What SONATA, or its readers, cannot hold beside what NEST cannot run."""
    reasons = [f"stimuli are currents into {name!r}, and only given spikes are written" for name in currents]
    for cells in point.cells:
        if cells.kind == "poisson_source":
            reasons.append(f"{cells.name!r} are Poisson sources (give their spikes to spike sources instead)")
        elif cells.name in made and made[cells.name].model == "glif_psc" and np.any(cells.values["i_bias_pA"] != 0):
            reasons.append(f"{cells.name!r} has a constant current, and glif_psc has none")
    names = [cells.name for cells in point.cells] + [contacts.name for contacts in point.contacts]
    reasons += [f"the name {name!r} has a '/', which parts groups in HDF5" for name in names if "/" in name]
    return reasons


def _one_port(made: NestCells, onto: Sequence[Contacts]) -> NestCells:
    """The same neurons without receptor types where one time constant for each sign of weights is enough: all readers
    of SONATA know these models, and the sign of the weight chooses."""
    if made.model not in _ONE_PORT:
        return made
    sides: dict[str, np.ndarray] = {}
    for each in onto:
        signs = {"ex": bool(np.any(each.weight >= 0)), "in": bool(np.any(each.weight < 0))}
        for side in (side for side, used in signs.items() if used):
            tau = each.values["tau_syn_ms"]
            if not np.array_equal(sides.setdefault(side, tau), tau):
                return made
    params = {name: value for name, value in made.params.items() if name != "tau_syn"}
    params |= {f"tau_syn_{side}": tau for side, tau in sides.items()}
    return NestCells(_ONE_PORT[made.model], params, made.settings, {each.name: (None, 1.0) for each in onto})


def _node_types(
    path: Path, k: int, cells: Cells, made: NestCells | None, first: int
) -> tuple[np.ndarray, list[dict[str, Any]]]:
    """(type of every node, the rows of its types), with a file of parameters for each type."""
    if made is None:
        return np.full(cells.size, first), [{"node_type_id": first, "model_type": "virtual", "pop_name": cells.name}]
    params = dict(made.params)
    if made.model != "glif_psc":
        params["I_e"] = cells.values["i_bias_pA"]
    columns = [np.asarray(value, np.float64).reshape(cells.size, -1) for value in params.values()]
    _, examples, type_of = np.unique(np.hstack(columns), axis=0, return_index=True, return_inverse=True)
    rows = []
    for t, neuron in enumerate(examples.tolist()):
        file = f"population_{k}_type_{t}.json"
        own = {name: value[neuron].tolist() for name, value in params.items()}
        _write_json(path / "components/cell_models" / file, made.settings | own)
        rows.append(
            {
                "node_type_id": first + t,
                "model_type": "point_neuron",
                "model_template": f"nest:{made.model}",
                "dynamics_params": file,
                "pop_name": cells.name,
            }
        )
    return first + type_of.reshape(-1), rows


def _write_nodes(h5py: Any, path: Path, cells: Cells, type_of: np.ndarray) -> None:
    with h5py.File(path, "w") as file:
        _stamp(file)
        group = file.create_group(f"nodes/{cells.name}")
        index = np.arange(cells.size, dtype=np.uint64)
        group["node_id"], group["node_type_id"] = index, type_of.astype(np.uint64)
        group["node_group_id"], group["node_group_index"] = np.zeros(cells.size, np.uint64), index
        own = group.create_group("0")
        if all(isinstance(i, int) for i in cells.ids):
            own["original_id"] = np.array(cells.ids, np.int64)
        else:
            own.create_dataset("original_id", data=list(cells.ids), dtype=h5py.string_dtype())


def _write_edges(
    h5py: Any,
    path: Path,
    each: Contacts,
    edge_type: int,
    weight: np.ndarray,
    delay_ms: np.ndarray,
    sizes: tuple[int, int],
) -> None:
    with h5py.File(path, "w") as file:
        _stamp(file)
        group = file.create_group(f"edges/{each.name}")
        n = len(weight)
        # Sorted by target, as readers expect.
        order = np.lexsort((each.pre_index, each.post_index))
        pre, post = each.pre_index[order], each.post_index[order]
        for end, ids, population in (("source", pre, each.pre), ("target", post, each.post)):
            group[f"{end}_node_id"] = ids.astype(np.uint64)
            group[f"{end}_node_id"].attrs["node_population"] = population
        group["edge_type_id"] = np.full(n, edge_type, np.uint64)
        group["edge_group_id"], group["edge_group_index"] = np.zeros(n, np.uint64), np.arange(n, dtype=np.uint64)
        own = group.create_group("0")
        own["syn_weight"], own["delay"] = weight[order], delay_ms[order]
        for name, ids, size in (("source_to_target", pre, sizes[0]), ("target_to_source", post, sizes[1])):
            _write_index(group.create_group(f"indices/{name}"), ids, size)


def _write_index(group: Any, ids: np.ndarray, size: int) -> None:
    """For every node the ranges of ranges, and the ranges of edges that it has."""
    order = np.argsort(ids, kind="stable")
    starts = np.flatnonzero(np.r_[True, (np.diff(ids[order]) != 0) | (np.diff(order) != 1)]) if len(ids) else order
    stops = np.r_[starts[1:], len(ids)] if len(ids) else starts
    edges = np.stack([order[starts], order[stops - 1] + 1], axis=1) if len(ids) else np.zeros((0, 2))
    owner = ids[order][starts] if len(ids) else ids
    first = np.searchsorted(owner, np.arange(size + 1))
    group["node_id_to_ranges"] = np.stack([first[:-1], first[1:]], axis=1).astype(np.uint64)
    group["range_to_edge_id"] = edges.astype(np.uint64)
    group["node_id_to_range"] = group["node_id_to_ranges"]  # the name that BMTK looks for; a hard link


def _write_spikes(h5py: Any, path: Path, name: str, neuron: np.ndarray, times_ms: np.ndarray) -> None:
    with h5py.File(path, "w") as file:
        _stamp(file)
        group = file.create_group(f"spikes/{name}")
        order = np.lexsort((neuron, times_ms))
        group["node_ids"], group["timestamps"] = neuron[order].astype(np.uint64), np.round(times_ms[order], 9)
        group["timestamps"].attrs["units"] = "ms"
        kinds = h5py.enum_dtype({"none": 0, "by_id": 1, "by_time": 2}, basetype="i")
        group.attrs.create("sorting", 2, dtype=kinds)


def _stamp(file: Any) -> None:
    file.attrs["magic"] = np.uint32(0x0A7A)
    file.attrs["version"] = np.array([0, 1], np.uint32)


def _write_csv(path: Path, rows: list[dict[str, Any]]) -> None:
    """SONATA's tables of types, which are parted by spaces."""
    with path.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.DictWriter(handle, list(rows[0]), delimiter=" ", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def _write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
