"""NEST's point neurons, as SONATA circuits name them, in the models and parameters of this package.

Defaults are those of NEST 3.10 (`nest.GetDefaults`). Parameters that set where a simulation starts, such as ``V_m``,
are no part of a model here. Membranes are given by C_m and tau_m there, by R_m = tau_m / C_m and tau_m here.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

_LIF = {"E_L": -70.0, "C_m": 250.0, "tau_m": 10.0, "t_ref": 2.0, "V_th": -55.0, "V_reset": -70.0, "I_e": 0.0}
_SYNAPSES = {"tau_syn_ex": 2.0, "tau_syn_in": 2.0}
_COND = {name: value for name, value in _LIF.items() if name != "tau_m"} | {
    "V_reset": -60.0, "g_L": 16.6667, "E_ex": 0.0, "E_in": -85.0, "tau_syn_ex": 0.2, "tau_syn_in": 2.0
}  # fmt: skip
_GLIF = {
    "V_th": -51.68, "g": 9.43, "E_L": -78.85, "C_m": 58.72, "t_ref": 3.75, "V_reset": -78.85, "tau_syn": (2.0,),
    "asc_init": (0.0, 0.0), "asc_decay": (0.003, 0.1), "asc_amps": (-9.18, -198.94), "asc_r": (1.0, 1.0),
    "th_spike_add": 0.37, "th_spike_decay": 0.009, "voltage_reset_fraction": 0.2, "voltage_reset_add": 18.51,
    "spike_dependent_threshold": False, "after_spike_currents": False, "adapting_threshold": False,
}  # fmt: skip
_GLIF_LEVELS = {(False, False): "glif1", (True, False): "glif2", (False, True): "glif3", (True, True): "glif4"}


@dataclass(frozen=True)
class NestModel:
    """A model of NEST. synapse: what spikes onto it are, by our name. defaults: of the parameters that are known."""

    synapse: str
    defaults: Mapping[str, Any]


NEST_MODELS: Mapping[str, NestModel] = {
    "iaf_psc_exp": NestModel("exponential", _LIF | _SYNAPSES),
    "iaf_psc_exp_multisynapse": NestModel("exponential", _LIF | {"tau_syn": (2.0,)}),
    "iaf_psc_alpha": NestModel("alpha", _LIF | _SYNAPSES),
    "iaf_psc_alpha_multisynapse": NestModel("alpha", _LIF | {"tau_syn": (2.0,)}),
    "iaf_psc_delta": NestModel("delta", _LIF | {"refractory_input": False}),
    "iaf_cond_exp": NestModel("exponential_conductance", _COND),
    "iaf_cond_alpha": NestModel("alpha_conductance", _COND),
    "glif_psc": NestModel("alpha", _GLIF),
}
"""The models that are understood, by their names in NEST."""


@dataclass(frozen=True)
class OurNeuron:
    """A neuron model with its settings and parameters, and what its synapses need.

    receptors: (tau_syn_ms, e_rev_mV or NaN) by port: "ex" and "in" for those that the sign of a weight chooses, 1, 2,
    ... for the ones that an edge names.
    """

    model: str
    settings: Mapping[str, Any]
    params: Mapping[str, float]
    synapse: str
    receptors: Mapping[str | int, tuple[float, float]]


def our_neuron(name: str, given: Mapping[str, Any]) -> tuple[OurNeuron | None, str]:
    """A NEST neuron in our terms; None, and why, for one that is not the same here.

    Parameters: `name` without ``nest:``; `given` its parameters, NEST's defaults for the others.
    """
    if name not in NEST_MODELS:
        return None, f"model {name!r} is not one of {', '.join(NEST_MODELS)}"
    known = NEST_MODELS[name]
    wrong = [key for key, value in given.items() if key in known.defaults and not _fits(value, known.defaults[key])]
    if wrong:
        return None, f"parameter {wrong[0]!r} of {name!r} is {given[wrong[0]]!r}"
    p = {**known.defaults, **{key: value for key, value in given.items() if key in known.defaults}}
    if p["C_m"] <= 0 or p.get("tau_m", 1.0) <= 0 or p.get("g_L", 1.0) <= 0 or p.get("g", 1.0) <= 0:
        return None, f"a membrane of {name!r} has no size"
    if name != "glif_psc":
        return _lif(p, known.synapse), ""
    if p["adapting_threshold"]:
        return None, "the threshold of glif_psc at level 5 does not follow synaptic input as here"
    if p["after_spike_currents"] and min(len(p[key]) for key in ("asc_amps", "asc_decay", "asc_r")) != 2:
        return None, "glif_psc has two after-spike currents here"
    return _glif(p), ""


def beside(name: str, given: Mapping[str, Any]) -> list[str]:
    """What of the given parameters has no counterpart here, as texts; nothing for a start at rest without currents."""
    known = NEST_MODELS[name].defaults
    starts = {"V_m": given.get("E_L", known["E_L"]), "asc_init": [0.0, 0.0], "rho": 0.01, "delta": 0.0}
    return [
        f"{key} = {value!r:.40}"
        for key, value in given.items()
        if (key not in known or key == "asc_init") and not (key in starts and value == starts[key])
    ]


def _fits(value: Any, default: Any) -> bool:
    """Of the sort of the default: a number, a list of numbers, or a truth value."""
    if isinstance(default, bool):
        return isinstance(value, bool | int) and value in (0, 1)
    if isinstance(default, tuple):
        return isinstance(value, list | tuple) and bool(value) and all(_fits(each, 0.0) for each in value)
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= sys.float_info.max


def _lif(p: Mapping[str, Any], synapse: str) -> OurNeuron:
    tau_m = p["tau_m"] if "tau_m" in p else p["C_m"] / p["g_L"]
    params = {
        "tau_m_ms": tau_m,
        "r_m_GOhm": tau_m / p["C_m"],
        "v_rest_mV": p["E_L"],
        "v_threshold_mV": p["V_th"],
        "v_reset_mV": p["V_reset"],
        "t_ref_ms": p["t_ref"],
        "i_bias_pA": p["I_e"],
    }
    settings = {"refractory_input": "keep"} if p.get("refractory_input") else {}
    return OurNeuron("lif", settings, {k: float(v) for k, v in params.items()}, synapse, _receptors(p))


def _glif(p: Mapping[str, Any]) -> OurNeuron:
    rules, currents = bool(p["spike_dependent_threshold"]), bool(p["after_spike_currents"])
    params = {
        "c_m_pF": p["C_m"],
        "g_nS": p["g"],
        "e_l_mV": p["E_L"],
        "v_threshold_mV": p["V_th"],
        "t_ref_ms": p["t_ref"],
    }
    if rules:
        params |= {
            "reset_fraction": p["voltage_reset_fraction"],
            "reset_add_mV": p["voltage_reset_add"],
            "theta_spike_add_mV": p["th_spike_add"],
            "theta_spike_decay_per_ms": p["th_spike_decay"],
        }
    else:
        params["v_reset_mV"] = p["V_reset"]
    if currents:
        for theirs, ours in (("asc_amps", "add_pA"), ("asc_decay", "decay_per_ms"), ("asc_r", "fraction")):
            params |= {f"asc_{k}_{ours}": value for k, value in enumerate(p[theirs][:2], 1)}
    numbers = {name: float(value) for name, value in params.items()}
    return OurNeuron(_GLIF_LEVELS[rules, currents], {}, numbers, "alpha", _receptors(p))


def _receptors(p: Mapping[str, Any]) -> dict[str | int, tuple[float, float]]:
    if "tau_syn" in p:
        return {k: (float(tau), np.nan) for k, tau in enumerate(p["tau_syn"], 1)}
    if "tau_syn_ex" not in p:  # delta synapses have no time course
        return {"ex": (np.nan, np.nan), "in": (np.nan, np.nan)}
    return {side: (float(p[f"tau_syn_{side}"]), float(p.get(f"E_{side}", np.nan))) for side in ("ex", "in")}
