"""NEST: a folder with ``run.py``, which needs only NEST and NumPy, and the network's arrays.

NEST's model is chosen by the neurons and what comes onto them:

| neurons | synapses onto them | NEST's model |
|---|---|---|
| lif | exponential, or none | iaf_psc_exp_multisynapse |
| lif | alpha | iaf_psc_alpha_multisynapse |
| lif | delta | iaf_psc_delta |
| lif | exponential_conductance, alpha_conductance (at most two kinds of receptors) | iaf_cond_exp, iaf_cond_alpha |
| glif1 to glif4 | alpha, or none | glif_psc |
| glif5 | none | glif_psc |

NEST's Theta_v of level 5 does not follow synaptic input (`connectofit.sim.neurons.glif`), so that synapses onto it are
refused. Currents reach NEST's neurons one step after their generator; the script starts two steps early, with neurons
at rest, so that they act when they do here.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from connectofit.pipelines.arrays import write_arrays
from connectofit.pipelines.bundle import Model
from connectofit.pipelines.export.given_input import given_input
from connectofit.pipelines.export.point_network import (
    SOURCES,
    Cells,
    Contacts,
    Limits,
    PointNetwork,
    point_network,
    refusal,
    whole_steps,
)
from connectofit.sim import LIF, Network, Stimulus

TEMPLATES = Path(__file__).parents[1] / "templates"
_GLIF = ("glif1", "glif2", "glif3", "glif4", "glif5")
_CURRENTS = {"exponential": "iaf_psc_exp_multisynapse", "alpha": "iaf_psc_alpha_multisynapse", "delta": "iaf_psc_delta"}
_CONDUCTANCES = {"exponential_conductance": "iaf_cond_exp", "alpha_conductance": "iaf_cond_alpha"}
_RESETS = {
    "th_spike_add": "theta_spike_add_mV",
    "th_spike_decay": "theta_spike_decay_per_ms",
    "voltage_reset_fraction": "reset_fraction",
    "voltage_reset_add": "reset_add_mV",
}
_VOLTAGE_THRESHOLD = {
    "th_voltage_index": "theta_voltage_index_per_ms",
    "th_voltage_decay": "theta_voltage_decay_per_ms",
}
_AFTER_SPIKE = {"asc_amps": "add_pA", "asc_decay": "decay_per_ms", "asc_r": "fraction"}


@dataclass(frozen=True, eq=False)
class NestCells:
    """A population for NEST. params: {parameter: [neuron] or [neuron, entry]}. settings: the same for all neurons.
    ports: {projection: (receptor type or None, factor on the weights)}."""

    model: str
    params: dict[str, np.ndarray]
    settings: dict[str, Any] = field(default_factory=dict)
    ports: dict[str, tuple[int | None, float]] = field(default_factory=dict)


def nest_network(net: Network, dt_ms: float, target: str = "NEST") -> tuple[PointNetwork, dict[str, NestCells]]:
    """The network, and NEST's model of each population that is no source of spikes.

    Raises `SettingError` with the reasons where NEST has no such model.
    """
    limits = Limits(
        target,
        cells=("lif", *_GLIF, *SOURCES),
        synapses=(*_CURRENTS, *_CONDUCTANCES),
        refractory_input=("drop", "keep"),
        further=partial(_against, dt_ms=dt_ms),
    )
    point = point_network(net, dt_ms, limits)
    made = {}
    for cells in point.cells:
        if cells.kind in SOURCES:
            continue
        onto = point.onto(cells.name)
        lif = cells.kind == "lif"
        chosen = nest_lif(cells, onto, dt_ms) if lif else nest_glif(cells, onto, dt_ms)
        model = net.population(cells.name).model
        if chosen.model == "iaf_psc_delta" and isinstance(model, LIF):
            chosen.settings["refractory_input"] = model.refractory_input == "keep"
        made[cells.name] = chosen
    return point, made


def _against(net: PointNetwork, dt_ms: float) -> Sequence[str]:
    """What NEST's models cannot do together."""
    reasons = []
    for cells in net.cells:
        onto = net.onto(cells.name)
        kinds = sorted({each.kind for each in onto})
        if cells.kind in _GLIF and set(kinds) - {"alpha"}:
            reasons.append(f"{cells.kind} {cells.name!r} gets {', '.join(kinds)} synapses, and glif_psc has alpha ones")
        elif cells.kind == "glif5" and kinds:
            reasons.append(f"the threshold of glif5 {cells.name!r} follows synaptic input, that of glif_psc does not")
        elif len(kinds) > 1:
            reasons.append(f"no model of NEST takes all synapses onto {cells.name!r}: {', '.join(kinds)}")
        elif kinds and kinds[0] in _CONDUCTANCES and len(receptors(onto)[0]) > 2:
            reasons.append(
                f"population {cells.name!r} has {len(receptors(onto)[0])} kinds of receptors, and "
                f"{_CONDUCTANCES[kinds[0]]} has two"
            )
        elif kinds == ["exponential"] and any(
            np.any(each.values["tau_syn_ms"] == cells.values["tau_m_ms"]) for each in onto
        ):
            reasons.append(
                f"NEST's neurons need time constants of synapses that differ from that of the membrane, and some of "
                f"{cells.name!r} are equal (a difference of a thousandth is enough)"
            )
        t_ref = cells.values.get("t_ref_ms", np.zeros(0))
        if cells.kind in _GLIF[1:] and np.any(_nest_t_ref(t_ref, dt_ms) != t_ref):
            reasons.append(
                f"the refractory period of {cells.kind} {cells.name!r} is rounded down to steps of {dt_ms:g} ms, and "
                "NEST rounds up (take one that is a multiple)"
            )
        if "v_reset_mV" in cells.values and np.any(cells.values["v_reset_mV"] >= cells.values["v_threshold_mV"]):
            reasons.append(f"population {cells.name!r} has resets that are not below the threshold")
    return reasons


def _nest_t_ref(t_ref_ms: np.ndarray, dt_ms: float) -> np.ndarray:
    """The refractory period that NEST, which rounds up to steps, is given: its own length where both round alike, since
    the rules of GLIF let variables decay over it."""
    alike = np.ceil(t_ref_ms / dt_ms - 1e-6) == np.round(t_ref_ms / dt_ms)
    return np.where(alike, t_ref_ms, whole_steps(t_ref_ms, dt_ms))


def receptors(onto: Sequence[Contacts]) -> tuple[list[dict[str, np.ndarray]], dict[str, int]]:
    """(the different parameters of synapses onto a population, {projection: which of them it has})."""
    found: list[dict[str, np.ndarray]] = []
    which: dict[str, int] = {}
    for each in onto:
        same = [k for k, v in enumerate(found) if all(np.array_equal(v[name], each.values[name]) for name in v)]
        if not same:
            found.append(each.values)
        which[each.name] = same[0] if same else len(found) - 1
    return found, which


def nest_lif(cells: Cells, onto: Sequence[Contacts], dt_ms: float) -> NestCells:
    """An integrate-and-fire model with exponential, alpha or delta currents, or with conductances."""
    p = cells.values
    params = {
        "C_m": p["tau_m_ms"] / p["r_m_GOhm"],
        "E_L": p["v_rest_mV"],
        "V_m": p["v_rest_mV"],
        "V_th": p["v_threshold_mV"],
        "V_reset": p["v_reset_mV"],
        "t_ref": whole_steps(p["t_ref_ms"], dt_ms),
    }
    kind = onto[0].kind if onto else "exponential"
    kinds, which = receptors(onto)
    if kind in _CONDUCTANCES:
        params["g_L"] = 1.0 / p["r_m_GOhm"]
        for values, side in zip(kinds, ("ex", "in"), strict=False):
            params |= {f"tau_syn_{side}": values["tau_syn_ms"], f"E_{side}": values["e_rev_mV"]}
        return NestCells(_CONDUCTANCES[kind], params, {}, {n: (None, 1.0 - 2.0 * k) for n, k in which.items()})
    params["tau_m"] = p["tau_m_ms"]
    if kind == "delta":
        return NestCells(_CURRENTS[kind], params, {}, dict.fromkeys(which, (None, 1.0)))
    if kinds:
        params["tau_syn"] = np.stack([values["tau_syn_ms"] for values in kinds], axis=1)
    return NestCells(_CURRENTS[kind], params, {}, {name: (k + 1, 1.0) for name, k in which.items()})


def nest_glif(cells: Cells, onto: Sequence[Contacts], dt_ms: float) -> NestCells:
    """``glif_psc`` at the level of the model."""
    p = cells.values
    params = {
        "C_m": p["c_m_pF"],
        "g": p["g_nS"],
        "E_L": p["e_l_mV"],
        "V_m": p["e_l_mV"],
        "V_th": p["v_threshold_mV"],
        "V_reset": p.get("v_reset_mV", p["e_l_mV"]),
        "t_ref": _nest_t_ref(p["t_ref_ms"], dt_ms),
    }
    rules, currents = "reset_fraction" in p, "asc_1_add_pA" in p
    if rules:
        params |= {theirs: p[ours] for theirs, ours in _RESETS.items()}
    if currents:
        for theirs, ours in _AFTER_SPIKE.items():
            params[theirs] = np.stack([p[f"asc_{j}_{ours}"] for j in (1, 2)], axis=1)
        params["asc_init"] = np.zeros((cells.size, 2))
    if cells.kind == "glif5":
        params |= {theirs: p[ours] for theirs, ours in _VOLTAGE_THRESHOLD.items()}
    kinds, which = receptors(onto)
    if kinds:
        params["tau_syn"] = np.stack([values["tau_syn_ms"] for values in kinds], axis=1)
    settings = {
        "spike_dependent_threshold": rules,
        "after_spike_currents": currents,
        "adapting_threshold": cells.kind == "glif5",
    }
    return NestCells("glif_psc", params, settings, {name: (k + 1, 1.0) for name, k in which.items()})


def write_nest(
    model: Model,
    path: Path,
    *,
    dt_ms: float = 0.1,
    duration_ms: float = 1000.0,
    stimuli: Sequence[Stimulus] = (),
    seed: int = 0,
) -> None:
    """``run.py``, ``network.json`` and ``arrays.npz``; ``python run.py`` runs the network and writes its spikes.

    dt_ms, duration_ms: of the run. stimuli: as for `connectofit.sim.simulate`, written as given currents and spikes.
    seed: of random stimuli; Poisson sources are NEST's own.
    """
    point, made = nest_network(model.network, dt_ms)
    given = given_input(model.network, stimuli, duration_ms=duration_ms, dt_ms=dt_ms, seed=seed)
    refuse_driven_sources(point, given.currents, "NEST")
    arrays: dict[str, np.ndarray] = {}
    places = {cells.name: k for k, cells in enumerate(point.cells)}
    populations, projections = [], []
    for k, cells in enumerate(point.cells):
        entry: dict[str, Any] = {"name": cells.name, "size": cells.size, "kind": cells.kind}
        arrays[f"population/{k}/ids"] = np.array(cells.ids)
        if cells.kind == "poisson_source":
            arrays[f"population/{k}/rate_Hz"] = cells.values["rate_Hz"]
        elif cells.kind == "spike_source":
            arrays[f"population/{k}/spike_neuron"], arrays[f"population/{k}/spike_step"] = given.spikes[cells.name]
        else:
            nest = made[cells.name]
            entry |= {"kind": "neurons", "model": nest.model, "settings": nest.settings, "params": sorted(nest.params)}
            entry["bias"] = "dc_generator" if nest.model == "glif_psc" else "I_e"
            arrays |= {f"population/{k}/params/{name}": value for name, value in nest.params.items()}
            arrays[f"population/{k}/I_e"] = cells.values["i_bias_pA"]
        if cells.name in given.currents:
            arrays[f"population/{k}/driven"], arrays[f"population/{k}/current_pA"] = given.currents[cells.name]
        populations.append(entry)
    for k, each in enumerate(point.contacts):
        receptor, factor = made[each.post].ports[each.name]
        projections.append(
            {"name": each.name, "pre": places[each.pre], "post": places[each.post], "receptor_type": receptor}
        )
        arrays |= {f"projection/{k}/pre": each.pre_index, f"projection/{k}/post": each.post_index}
        arrays |= {f"projection/{k}/weight": factor * each.weight, f"projection/{k}/delay_steps": each.delay_steps}
    facts = {
        "format": "connectofit network for NEST",
        "version": 1,
        "dt_ms": dt_ms,
        "n_steps": given.n_steps,
        "populations": populations,
        "projections": projections,
    }
    write_script(path, "run_nest.py.txt", facts, arrays)


def refuse_driven_sources(point: PointNetwork, currents: dict[str, Any], target: str) -> None:
    """Raise `SettingError` where a stimulus changes the rate of Poisson sources, which stays the same there."""
    driven = [cells.name for cells in point.cells if cells.kind == "poisson_source" and cells.name in currents]
    if driven:
        raise refusal(target, [f"a stimulus changes the rate of the Poisson sources {name!r}" for name in driven])


def write_script(path: Path, template: str, facts: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
    """A folder with a program, ``network.json`` and ``arrays.npz``. Names are data there, never code."""
    path.mkdir()
    (path / "run.py").write_text((TEMPLATES / template).read_text(encoding="utf-8"), encoding="utf-8")
    (path / "network.json").write_text(json.dumps(facts, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    write_arrays(path / "arrays.npz", arrays)
