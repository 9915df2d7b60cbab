"""Brian2: a folder with ``run.py``, which needs only Brian2 and NumPy, the equations and the network's arrays.

Equations are the models' own, integrated by the classic Runge-Kutta method. Three conventions differ and are
translated: Brian2 stamps a spike with the start of its step (`run.py` adds a step); it counts the step of the spike as
refractory (so its period is t_ref + dt); and a spike that arrives moves V after the threshold test, where here jumps
of delta synapses count before it (with such synapses `run.py` delivers spikes before the test).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from connectofit.pipelines.bundle import Model
from connectofit.pipelines.export.given_input import given_input
from connectofit.pipelines.export.nest import refuse_driven_sources, write_script
from connectofit.pipelines.export.point_network import (
    SOURCES,
    Cells,
    Contacts,
    Limits,
    PointNetwork,
    point_network,
    whole_steps,
)
from connectofit.sim import LIF, Network, Stimulus

_GLIF = ("glif1", "glif2", "glif3", "glif4", "glif5")
_SYNAPSES = (
    "delta",
    "exponential",
    "alpha",
    "dual_exponential",
    "exponential_conductance",
    "alpha_conductance",
    "dual_exponential_conductance",
)
_UNITS = {"per_ms": "1/ms", "mV": "mV", "ms": "ms", "pA": "pA", "pF": "pF", "nS": "nS", "GOhm": "Gohm"}
_BASE = {"mV": "volt", "ms": "second", "pA": "amp", "pF": "farad", "nS": "siemens", "Gohm": "ohm"}
_BASE |= {"1/ms": "Hz", "1": "1"}


@dataclass(eq=False)
class _Group:
    """The text and numbers of a population while it is put together. values: {name: (unit, [neuron])}."""

    equations: list[str]
    threshold: str
    reset: str
    start: dict[str, str]
    values: dict[str, tuple[str, np.ndarray]] = field(default_factory=dict)
    at_start: str = ""  # code at the start of every step

    def parameter(self, name: str, unit: str, values: np.ndarray) -> None:
        self.values[name] = (unit, values)
        self.equations.append(f"{name} : {_BASE[unit]} (constant)")


def _unit(name: str) -> str:
    """Brian2's unit of a parameter, which ends its name."""
    return next((_UNITS[ending] for ending in _UNITS if name.endswith(f"_{ending}")), "1")


def _lif(current: str) -> _Group:
    unless = " (unless refractory)"
    return _Group(
        [f"dv/dt = (v_rest_mV - v + r_m_GOhm*({current})) / tau_m_ms : volt{unless}"],
        "v >= v_threshold_mV",
        "v = v_reset_mV",
        {"v": "v_rest_mV"},
    )


def _glif(cells: Cells, current: str) -> _Group:
    p, unless = cells.values, " (unless refractory)"
    rules, after_spike, follows = "reset_fraction" in p, "asc_1_add_pA" in p, cells.kind == "glif5"
    total = f"{current} + asc_1 + asc_2" if after_spike else current
    equations = [f"dv/dt = (g_nS*(e_l_mV - v) + {total}) / c_m_pF : volt{unless}", "v_before : volt"]
    threshold, reset = "v_threshold_mV", ["v = v_reset_mV"]
    if rules:
        equations.append(f"dtheta_spike/dt = -theta_spike_decay_per_ms*theta_spike : volt{unless}")
        threshold += " + theta_spike"
        reset = [
            "v = e_l_mV + reset_fraction*(v_before - e_l_mV) + reset_add_mV",
            "theta_spike = theta_spike*exp(-theta_spike_decay_per_ms*t_ref_ms) + theta_spike_add_mV",
        ]
    if follows:
        rates = "theta_voltage_index_per_ms*(v - e_l_mV) - theta_voltage_decay_per_ms*theta_voltage"
        equations.append(f"dtheta_voltage/dt = {rates} : volt{unless}")
        threshold += " + theta_voltage"
    for j in (1, 2) if after_spike else ():
        equations.append(f"dasc_{j}/dt = -asc_{j}_decay_per_ms*asc_{j} : amp{unless}")
        reset.append(f"asc_{j} = asc_{j}_fraction*asc_{j}*exp(-asc_{j}_decay_per_ms*t_ref_ms) + asc_{j}_add_pA")
    return _Group(equations, f"v >= {threshold}", "\n".join(reset), {"v": "e_l_mV"}, at_start="v_before = v")


def _synaptic(group: _Group, k: int, each: Contacts, cleared: bool) -> tuple[str, str]:
    """Add the variables of projection k to its target; returns (the variables that get the weight, its unit)."""
    conducts = each.kind.endswith("conductance")
    unit = "nS" if conducts else "pA"
    of, course = _BASE[unit], each.kind.removesuffix("_conductance")
    unless = " (unless refractory)" if cleared else ""
    for name, values in each.values.items():
        group.parameter(f"{name.rsplit('_', 1)[0]}_{k}", _unit(name), values)
    if course == "exponential":
        group.equations.append(f"dy_{k}/dt = -y_{k}/tau_syn_{k} : {of}{unless}")
        into = f"y_{k}_post += w"
    elif course == "alpha":
        group.equations.append(f"dy_{k}/dt = (x_{k} - y_{k})/tau_syn_{k} : {of}{unless}")
        group.equations.append(f"dx_{k}/dt = -x_{k}/tau_syn_{k} : {of}{unless}")
        into = f"x_{k}_post += w*e"
    else:
        group.equations.append(f"y_{k} = d_{k} - x_{k} : {of}")
        group.equations.append(f"dd_{k}/dt = -d_{k}/tau_decay_{k} : {of}{unless}")
        group.equations.append(f"dx_{k}/dt = -x_{k}/tau_rise_{k} : {of}{unless}")
        group.parameter(f"norm_{k}", "1", _dual_norm(each.values["tau_rise_ms"], each.values["tau_decay_ms"]))
        into = f"d_{k}_post += w*norm_{k}_post\nx_{k}_post += w*norm_{k}_post"
    if cleared:
        variables = {"exponential": ("y",), "alpha": ("y", "x")}.get(course, ("d", "x"))
        group.reset += "".join(f"\n{v}_{k} = 0*{unit}" for v in variables)
    return into, unit


def _dual_norm(rise: np.ndarray, decay: np.ndarray) -> np.ndarray:
    """What makes the peak of exp(-t / decay) - exp(-t / rise) 1."""
    peak = rise * decay / (decay - rise) * np.log(decay / rise)
    return 1.0 / (np.exp(-peak / decay) - np.exp(-peak / rise))


def brian2_group(net: Network, point: PointNetwork, cells: Cells, dt_ms: float, driven: bool) -> tuple[_Group, dict]:
    """The population's equations and values, and {projection: (code on a spike, unit of the weight)}."""
    numbers = {each.name: k for k, each in enumerate(point.contacts)}
    onto = point.onto(cells.name)
    terms = ["i_bias_pA"] + (["given"] if driven else [])
    for each in onto:
        k = numbers[each.name]
        if each.kind.endswith("conductance"):
            terms.append(f"y_{k}*(e_rev_{k} - v)")
        elif each.kind != "delta":
            terms.append(f"y_{k}")
    model = net.population(cells.name).model
    current = " + ".join(terms)
    group = _lif(current) if isinstance(model, LIF) else _glif(cells, current)
    cleared = isinstance(model, LIF) and model.clears_synapses
    ports = {}
    for each in onto:
        jump = each.kind == "delta"
        ports[each.name] = ("v_post += w", "mV") if jump else _synaptic(group, numbers[each.name], each, cleared)
    for name, values in cells.values.items():
        if name != "noise_mV":
            group.parameter(name, _unit(name), values)
    group.parameter("refractory_period", "ms", whole_steps(cells.values["t_ref_ms"], dt_ms) + dt_ms)
    if driven:
        # Held over the step: the method would otherwise take the next step's current at the end of this one.
        group.equations += ["given : amp", "column : integer (constant)"]
        group.at_start += "\ngiven = given_current(t, column)*int(column >= 0)"
    return group, ports


def write_brian2(
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
    seed: of random stimuli; Poisson sources are Brian2's own.
    """
    limits = Limits("Brian2", cells=("lif", *_GLIF, *SOURCES), synapses=_SYNAPSES, clears_synapses=True)
    point = point_network(model.network, dt_ms, limits)
    given = given_input(model.network, stimuli, duration_ms=duration_ms, dt_ms=dt_ms, seed=seed)
    refuse_driven_sources(point, given.currents, "Brian2")
    arrays: dict[str, np.ndarray] = {}
    places = {cells.name: k for k, cells in enumerate(point.cells)}
    populations: list[dict[str, Any]] = []
    ports: dict[str, tuple[str, str]] = {}
    for k, cells in enumerate(point.cells):
        entry: dict[str, Any] = {"name": cells.name, "size": cells.size, "kind": cells.kind}
        arrays[f"population/{k}/ids"] = np.array(cells.ids)
        if cells.kind == "poisson_source":
            arrays[f"population/{k}/rate_Hz"] = cells.values["rate_Hz"]
        elif cells.kind == "spike_source":
            arrays[f"population/{k}/spike_neuron"], arrays[f"population/{k}/spike_step"] = given.spikes[cells.name]
        else:
            group, own = brian2_group(model.network, point, cells, dt_ms, cells.name in given.currents)
            ports |= own
            entry |= {"kind": "neurons", "equations": group.equations, "threshold": group.threshold}
            entry |= {"reset": group.reset, "start": group.start, "at_start_of_step": group.at_start.strip()}
            entry["parameters"] = {name: unit for name, (unit, _) in group.values.items()}
            arrays |= {f"population/{k}/parameters/{name}": values for name, (_, values) in group.values.items()}
            if cells.name in given.currents:
                driven, current = given.currents[cells.name]
                column = np.full(cells.size, -1)
                column[driven] = np.arange(len(driven))
                arrays |= {f"population/{k}/column": column, f"population/{k}/current_pA": current}
        populations.append(entry)
    projections = []
    for k, each in enumerate(point.contacts):
        code, unit = ports[each.name]
        ends = {"pre": places[each.pre], "post": places[each.post]}
        projections.append({"name": each.name, **ends, "on_spike": code, "unit": unit, "dimension": _BASE[unit]})
        arrays |= {f"projection/{k}/pre": each.pre_index, f"projection/{k}/post": each.post_index}
        arrays |= {f"projection/{k}/weight": each.weight, f"projection/{k}/delay_steps": each.delay_steps}
    facts = {
        "format": "connectofit network for Brian2",
        "version": 1,
        "dt_ms": dt_ms,
        "n_steps": given.n_steps,
        "spikes_arrive_before_the_test": any(each.kind == "delta" for each in point.contacts),
        "populations": populations,
        "projections": projections,
    }
    write_script(path, "run_brian2.py.txt", facts, arrays)
