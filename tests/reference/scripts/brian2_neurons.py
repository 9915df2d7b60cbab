"""Reference values of Brian2: ``python brian2_neurons.py`` with brian2 2.9 writes values/brian2_neurons.npz.

Every model runs under the five currents of `frozen_currents`, once at an amplitude at which it fires, once at one at
which it does not. Kept: the steps of the spikes of the first, and V of the second at the end of every 2 ms.

Brian2 stamps a spike with the start of its step, and counts that step as part of the refractory period, so that its
`refractory` is a step longer here than the t_ref it is compared with. Currents are held over their step. Izhikevich's
neuron is the regular spiking cell: in the fast spiking one V's overshoot moves u so far that under a constant current
a difference of 1e-13 in u decides the steps of spikes after some forty of them.
"""

from __future__ import annotations

from pathlib import Path

import brian2 as b2
import numpy as np
from brian2 import TimedArray, defaultclock, ms, mV, pA
from frozen_currents import DT_MS, DURATION_MS, NAMES, waves

b2.prefs.codegen.target = "numpy"
VALUES = Path(__file__).parent.parent / "values"
INPUT = "I = amplitude * wave(t, i % 5) : amp (constant over dt)\namplitude : amp\n"

LIF = (
    "dv/dt = (-70*mV - v + 0.1*Gohm * I) / (20*ms) : volt (unless refractory)\n",
    {"threshold": "v >= -55*mV", "reset": "v = -65*mV"},
)
ALIF = (
    "dv/dt = (-70*mV - v + 0.1*Gohm * I) / (20*ms) : volt (unless refractory)\nda/dt = -a / (100*ms) : volt\n",
    {"threshold": "v >= -55*mV + a", "reset": "v = -68*mV; a += 2*mV"},
)
GIF = (
    "dv/dt = (-70*mV - v + 0.02*Gohm * (I + I1 + I2)) / (20*ms) : volt\n"
    "dtheta/dt = 0.005/ms * (v + 70*mV) - 0.01/ms * (theta + 50*mV) : volt\n"
    "dI1/dt = -0.2/ms * I1 : amp\ndI2/dt = -0.02/ms * I2 : amp\n",
    {
        "threshold": "v >= theta",
        "reset": "I1 = 200*pA; I2 = 0.5*I2 - 150*pA; v = -70*mV; theta = clip(theta, -60*mV, 1*volt)",
    },
)
EXP_IF = (
    "dv/dt = (10*nS * (-65*mV - v) + 10*nS * 3.48*mV * exp((v + 59.9*mV) / (3.48*mV)) + I) / (100*pF) : volt"
    " (unless refractory)\n",
    {"threshold": "v >= -40*mV", "reset": "v = -68*mV"},
)
ADEX = (
    "dv/dt = (30*nS * (-70.6*mV - v) + 30*nS * 2*mV * exp((v + 50.4*mV) / (2*mV)) - w + I) / (281*pF) : volt"
    " (unless refractory)\n"
    "dw/dt = (4*nS * (v + 70.6*mV) - w) / (144*ms) : amp\n",
    {"threshold": "v >= -40*mV", "reset": "v = -70.6*mV; w += 80.5*pA"},
)
ADEX_WITHOUT_REFRACTORINESS = (ADEX[0].replace(" (unless refractory)", ""), ADEX[1])
QIF = (
    "dv/dt = ((v + 65*mV) * (v + 50*mV) / (15*mV) + 0.1*Gohm * I) / (10*ms) : volt\n",
    {"threshold": "v >= 20*mV", "reset": "v = -80*mV"},
)
IZHIKEVICH = (
    "dv/dt = 0.04/ms/mV * v**2 + 5/ms * v + 140*mV/ms - u + I / pF : volt\n"
    "du/dt = 0.02/ms * (0.2/ms * v - u) : volt/second\n",
    {"threshold": "v >= 30*mV", "reset": "v = -65*mV; u += 8*mV/ms"},
)
GATES = (
    "dm/dt = a_m * (1 - m) - b_m * m : 1\ndh/dt = a_h * (1 - h) - b_h * h : 1\ndn/dt = a_n * (1 - n) - b_n * n : 1\n"
)
SQUID = (
    "dv/dt = (12000*nS * m**3 * h * (50*mV - v) + 3600*nS * n**4 * (-77*mV - v) + 30*nS * (-54.387*mV - v) + I)"
    " / (100*pF) : volt\n"
    + GATES
    + "a_m = 1 / exprel(-(v/mV + 40) / 10) / ms : Hz\nb_m = 4 * exp(-(v/mV + 65) / 18) / ms : Hz\n"
    "a_h = 0.07 * exp(-(v/mV + 65) / 20) / ms : Hz\nb_h = 1 / (1 + exp(-(v/mV + 35) / 10)) / ms : Hz\n"
    "a_n = 0.1 / exprel(-(v/mV + 55) / 10) / ms : Hz\nb_n = 0.125 * exp(-(v/mV + 65) / 80) / ms : Hz\n",
    {"threshold": "v >= 0*mV", "refractory": "v >= 0*mV"},
)
TRAUB = (
    "dv/dt = (20*usiemens * m**3 * h * (50*mV - v) + 6*usiemens * n**4 * (-90*mV - v) + 10*nS * (-65*mV - v) + I)"
    " / (200*pF) : volt\n" + GATES + "x = v/mV + 63 : 1\n"
    "a_m = 0.32 * 4 / exprel((13 - x) / 4) / ms : Hz\nb_m = 0.28 * 5 / exprel((x - 40) / 5) / ms : Hz\n"
    "a_h = 0.128 * exp((17 - x) / 18) / ms : Hz\nb_h = 4 / (1 + exp((40 - x) / 5)) / ms : Hz\n"
    "a_n = 0.032 * 5 / exprel((15 - x) / 5) / ms : Hz\nb_n = 0.5 * exp((10 - x) / 40) / ms : Hz\n",
    {"threshold": "v >= -20*mV", "refractory": "v >= -20*mV"},
)
WANG = (
    "dv/dt = (3500*nS * (a_m / (a_m + b_m))**3 * h * (55*mV - v) + 900*nS * n**4 * (-90*mV - v)"
    " + 10*nS * (-65*mV - v) + I) / (100*pF) : volt\n"
    "dh/dt = 5 * (a_h * (1 - h) - b_h * h) : 1\ndn/dt = 5 * (a_n * (1 - n) - b_n * n) : 1\n"
    "a_m = 1 / exprel(-(v/mV + 35) / 10) / ms : Hz\nb_m = 4 * exp(-(v/mV + 60) / 18) / ms : Hz\n"
    "a_h = 0.07 * exp(-(v/mV + 58) / 20) / ms : Hz\nb_h = 1 / (1 + exp(-(v/mV + 28) / 10)) / ms : Hz\n"
    "a_n = 0.1 / exprel(-(v/mV + 34) / 10) / ms : Hz\nb_n = 0.125 * exp(-(v/mV + 44) / 80) / ms : Hz\n",
    {"threshold": "v >= 0*mV", "refractory": "v >= 0*mV"},
)

# name: (equations, method, dt in ms, t_ref in ms, amplitude in pA that fires, and that does not, start)
RUNS = {
    "lif": (LIF, "exact", 0.1, 2.0, 250.0, 45.0, {"v": -70 * mV}),
    "alif": (ALIF, "exact", 0.1, 2.0, 250.0, 45.0, {"v": -70 * mV}),
    "gif": (GIF, "rk4", 0.1, None, 2500.0, 250.0, {"v": -70 * mV, "theta": -50 * mV}),
    "exp_if": (EXP_IF, "rk4", 0.05, 1.7, 60.0, 4.0, {"v": -65 * mV}),
    "adex": (ADEX_WITHOUT_REFRACTORINESS, "rk4", 0.05, None, 800.0, 150.0, {"v": -70.6 * mV}),
    "adex_euler": (ADEX, "euler", 0.05, 2.0, 800.0, 150.0, {"v": -70.6 * mV}),
    "qif": (QIF, "rk4", 0.05, None, 60.0, 10.0, {"v": -65 * mV}),
    "izhikevich": (IZHIKEVICH, "euler", 0.1, None, 10.0, 1.0, {"v": -70 * mV, "u": -14 * mV / ms}),
    "izhikevich_rk4": (IZHIKEVICH, "rk4", 0.1, None, 10.0, 1.0, {"v": -70 * mV, "u": -14 * mV / ms}),
    "hodgkin_huxley": (SQUID, "exponential_euler", 0.025, "gates", 1000.0, 60.0, {"v": -65 * mV}),
    "hodgkin_huxley_rk4": (SQUID, "rk4", 0.025, "gates", 1000.0, 60.0, {"v": -65 * mV}),
    "traub_miles": (TRAUB, "exponential_euler", 0.025, "gates", 400.0, 6.0, {"v": -65 * mV}),
    "wang_buzsaki": (WANG, "rk4", 0.025, "gates", 100.0, 4.0, {"v": -64 * mV}),
}


def run(model, method, dt_ms, t_ref, strong, weak, start) -> tuple[list[np.ndarray], np.ndarray]:
    """(steps of the spikes under the strong currents, V every 2 ms under the weak ones)."""
    (equations, options), count = model, len(NAMES)
    b2.start_scope()
    defaultclock.dt = dt_ms * ms
    wave = TimedArray(waves().astype(np.float64), dt=DT_MS * ms)  # noqa: F841 (Brian2 finds it by its name)
    options = dict(options)
    if isinstance(t_ref, float):
        options["refractory"] = (t_ref + dt_ms) * ms
    group = b2.NeuronGroup(2 * count, equations + INPUT, method=method, **options)
    group.amplitude = np.repeat([strong, weak], count) * pA
    for name, value in start.items():
        setattr(group, name, value)
    if t_ref == "gates":
        for gate in ("m", "h", "n"):
            if gate in group.variables:
                setattr(group, gate, f"a_{gate} / (a_{gate} + b_{gate})")
    spikes = b2.SpikeMonitor(group)
    # Recorded at the start of a step: the first value is that of time 0, the last but one that after the last step.
    voltage = b2.StateMonitor(group, "v", record=range(count, 2 * count), dt=2 * ms, when="start")
    b2.run((DURATION_MS + 2.0) * ms)
    steps = np.round(np.asarray(spikes.t / (dt_ms * ms))).astype(np.int32)
    within = steps < round(DURATION_MS / dt_ms)
    steps, cells = steps[within], np.asarray(spikes.i)[within]
    if np.any(cells >= count) or len(np.unique(cells)) < count:
        raise SystemExit(f"neurons that fire: {np.unique(cells)}, where only and all of the first {count} have to")
    return [steps[cells == k] for k in range(count)], np.asarray(voltage.v / mV)[:, 1:].T


def main() -> None:
    kept: dict[str, np.ndarray] = {"waves": waves(), "version": np.array(b2.__version__)}
    for name, settings in RUNS.items():
        steps, v = run(*settings)
        print(name, [len(s) for s in steps], v.shape)
        for current, train in zip(NAMES, steps, strict=True):
            kept[f"{name}/{current}/steps"] = train
        kept[f"{name}/v"] = v.astype(np.float32)
    np.savez_compressed(VALUES / "brian2_neurons.npz", **kept)


if __name__ == "__main__":
    main()
