"""Reference values of NEST: ``python nest_neurons.py`` with nest-simulator 3.10 writes values/nest_neurons.npz.

Every model runs under the five currents of `frozen_currents`, once at an amplitude at which it fires, once at one at
which it does not. Kept: the spike times of the first, and V of the second every 2 ms; of the neurons with an action
potential also the upward crossings of a voltage, since NEST stamps a spike at the maximum.
"""

from __future__ import annotations

from pathlib import Path

import nest
import numpy as np
from frozen_currents import DT_MS, DURATION_MS, NAMES, waves

VALUES = Path(__file__).parent.parent / "values"
GLIF = {"g": 9.43, "E_L": -78.85, "V_th": -51.68, "C_m": 58.72, "t_ref": 3.0, "V_reset": -78.85, "V_m": -78.85}
GLIF |= {"th_spike_add": 0.37, "th_spike_decay": 0.009, "voltage_reset_fraction": 0.2, "voltage_reset_add": 18.51}
GLIF |= {"th_voltage_index": 0.005, "th_voltage_decay": 0.09, "asc_init": [0.0, 0.0], "asc_r": [0.8, 1.0]}
GLIF |= {"asc_decay": [0.003, 0.1], "asc_amps": [-9.18, -198.94]}


def glif(r: bool, asc: bool, a: bool) -> dict:
    return GLIF | {"spike_dependent_threshold": r, "after_spike_currents": asc, "adapting_threshold": a}


LIF = {"C_m": 200.0, "tau_m": 20.0, "E_L": -70.0, "V_m": -70.0, "V_th": -55.0, "V_reset": -65.0, "t_ref": 2.0}
ADEX = {"C_m": 281.0, "g_L": 30.0, "E_L": -70.6, "V_m": -70.6, "V_th": -50.4, "Delta_T": 2.0, "V_peak": 0.0}
ADEX |= {"V_reset": -60.0, "tau_w": 144.0, "a": 4.0, "b": 80.5, "t_ref": 2.0, "w": 0.0, "gsl_error_tol": 1e-9}
IZHIKEVICH = {"a": 0.02, "b": 0.2, "c": -65.0, "d": 8.0, "V_th": 30.0, "V_m": -70.0, "U_m": -14.0}
SQUID = {"C_m": 100.0, "g_Na": 12000.0, "g_K": 3600.0, "g_L": 30.0, "E_Na": 50.0, "E_K": -77.0, "E_L": -54.402}
SQUID |= {"V_m": -65.0, "t_ref": 2.0}
TRAUB = {"C_m": 200.0, "g_Na": 20000.0, "g_K": 6000.0, "g_L": 10.0, "E_Na": 50.0, "E_K": -90.0, "E_L": -65.0}
TRAUB |= {"V_T": -63.0, "V_m": -65.0, "t_ref": 3.0}

# name: (NEST's model, its parameters, dt in ms, amplitude in pA that fires, and that does not, crossing in mV)
RUNS = {
    "lif": ("iaf_psc_exp", LIF, 0.1, 250.0, 45.0, None),
    "glif1": ("glif_psc", glif(False, False, False), 0.1, 400.0, 70.0, None),
    "glif2": ("glif_psc", glif(True, False, False), 0.1, 400.0, 70.0, None),
    "glif3": ("glif_psc", glif(False, True, False), 0.1, 400.0, 70.0, None),
    "glif4": ("glif_psc", glif(True, True, False), 0.1, 400.0, 70.0, None),
    "glif5": ("glif_psc", glif(True, True, True), 0.1, 400.0, 70.0, None),
    "adex": ("aeif_psc_delta", ADEX, 0.025, 1500.0, 150.0, None),
    "izhikevich": ("izhikevich", IZHIKEVICH, 0.1, 10.0, 1.0, None),
    "izhikevich_half_steps": ("izhikevich", IZHIKEVICH | {"consistent_integration": False}, 0.1, 10.0, 1.0, None),
    "hodgkin_huxley": ("hh_psc_alpha", SQUID, 0.025, 1000.0, 60.0, 0.0),
    "traub_miles": ("hh_cond_exp_traub", TRAUB, 0.025, 400.0, 6.0, -20.0),
}


def steady_gates(model: str, v: float) -> dict[str, float]:
    """Gates at their steady state at v (NEST's own start of the Traub neuron leaves V_T out)."""
    if model == "hh_psc_alpha":
        a_m, b_m = 0.1 * (v + 40) / (1 - np.exp(-(v + 40) / 10)), 4 * np.exp(-(v + 65) / 18)
        a_h, b_h = 0.07 * np.exp(-(v + 65) / 20), 1 / (1 + np.exp(-(v + 35) / 10))
        a_n, b_n = 0.01 * (v + 55) / (1 - np.exp(-(v + 55) / 10)), 0.125 * np.exp(-(v + 65) / 80)
    else:
        u = v + 63.0
        a_m, b_m = 0.32 * (13 - u) / (np.exp((13 - u) / 4) - 1), 0.28 * (u - 40) / (np.exp((u - 40) / 5) - 1)
        a_h, b_h = 0.128 * np.exp((17 - u) / 18), 4 / (1 + np.exp((40 - u) / 5))
        a_n, b_n = 0.032 * (15 - u) / (np.exp((15 - u) / 5) - 1), 0.5 * np.exp((10 - u) / 40)
    names = {"Act_m": a_m / (a_m + b_m), "Inact_h": a_h / (a_h + b_h), "Act_n": a_n / (a_n + b_n)}
    return {k: float(x) for k, x in names.items()}


def run(model: str, params: dict, dt_ms: float, amplitude: float, crossing: float | None) -> tuple[list, list, list]:
    """(spike times, crossing times, V every 2 ms) of the five currents."""
    nest.ResetKernel()
    nest.resolution = dt_ms
    neurons = nest.Create(model, len(NAMES), params=params)
    if crossing is not None:
        neurons.set(steady_gates(model, params["V_m"]))
    currents = amplitude * waves().astype(np.float64)
    every = nest.Create("multimeter", params={"record_from": ["V_m"], "interval": dt_ms})
    recorder = nest.Create("spike_recorder")
    for k in range(len(NAMES)):
        changes = np.flatnonzero(np.diff(currents[:, k])) + 1
        # An amplitude set at t acts from t + dt on: the time that its event takes to the neuron.
        times = np.round(changes * DT_MS - dt_ms, 6)
        generator = nest.Create(
            "step_current_generator", params={"amplitude_times": times, "amplitude_values": currents[changes, k]}
        )
        nest.Connect(generator, neurons[k], syn_spec={"delay": dt_ms})
    nest.Connect(every, neurons)
    nest.Connect(neurons, recorder)
    nest.Simulate(DURATION_MS + dt_ms)
    events, fired = every.events, recorder.events
    spikes, crossings, voltages = [], [], []
    for neuron in neurons.tolist():
        t, v = (events[name][events["senders"] == neuron] for name in ("times", "V_m"))
        v = v[np.argsort(t)]
        spikes.append(np.sort(fired["times"][fired["senders"] == neuron]))
        if crossing is not None:
            up = np.flatnonzero((v[1:] >= crossing) & (v[:-1] < crossing)) + 1
            crossings.append(np.sort(t)[up])
        each = round(2.0 / dt_ms)
        voltages.append(v[each - 1 :: each][: round(DURATION_MS / 2.0)])
    return spikes, crossings, voltages


def refractory_jumps(keep: bool) -> tuple[np.ndarray, np.ndarray]:
    """(spike times, V at every step) of a neuron that gets 3 mV every 0.7 ms, most in its refractory period."""
    nest.ResetKernel()
    nest.resolution = 0.1
    params = LIF | {"t_ref": 4.0, "refractory_input": keep}
    neuron = nest.Create("iaf_psc_delta", params=params)
    source = nest.Create("spike_generator", params={"spike_times": np.round(1.0 + 0.7 * np.arange(80), 1)})
    recorder = nest.Create("spike_recorder")
    every = nest.Create("multimeter", params={"record_from": ["V_m"], "interval": 0.1})
    nest.Connect(source, neuron, syn_spec={"weight": 3.0, "delay": 0.1})
    nest.Connect(neuron, recorder)
    nest.Connect(every, neuron)
    nest.Simulate(60.1)
    return recorder.events["times"], every.events["V_m"][:600]


def main() -> None:
    nest.verbosity = nest.VerbosityLevel.ERROR
    kept: dict[str, np.ndarray] = {"waves": waves(), "version": np.array(nest.__version__)}
    for name, (model, params, dt_ms, strong, weak, crossing) in RUNS.items():
        spikes, crossings, _ = run(model, params, dt_ms, strong, crossing)
        silent, _, voltages = run(model, params, dt_ms, weak, crossing)
        if any(len(train) for train in silent) or not all(len(train) for train in spikes):
            raise SystemExit(
                f"{name}: {[len(s) for s in spikes]} spikes, {[len(s) for s in silent]} at the weak current"
            )
        print(name, [len(train) for train in spikes])
        for k, current in enumerate(NAMES):
            kept[f"{name}/{current}/spikes"] = spikes[k]
            if crossings:
                kept[f"{name}/{current}/crossings"] = crossings[k]
        kept[f"{name}/v"] = np.stack(voltages, axis=1).astype(np.float32)
    for keep in (False, True):
        times, v = refractory_jumps(keep)
        kept[f"refractory_jumps/{keep}/spikes"], kept[f"refractory_jumps/{keep}/v"] = times, v.astype(np.float32)
        print("refractory jumps", keep, times)
    np.savez_compressed(VALUES / "nest_neurons.npz", **kept)


if __name__ == "__main__":
    main()
