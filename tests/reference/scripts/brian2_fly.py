"""Spikes of the model of Shiu et al. 2024 on a small random graph, by Brian2; run with Brian2 2.9.

    python brian2_fly.py ../values/fly_brian2.npz

The equations, reset and parameters are those of the paper's model; in place of Poisson input, frozen spikes of 12
sources reach 12 neurons through 400 synapses each. Times are stored as the
number of the step (0.1 ms) whose start is Brian2's spike time.
"""

from __future__ import annotations

import sys

import brian2 as b
import numpy as np

N, DRIVEN, STEPS = 150, 12, 4_000


def main(path: str) -> None:
    b.prefs.codegen.target = "numpy"
    b.defaultclock.dt = 0.1 * b.ms
    rng = np.random.default_rng(2024)
    pre, post = np.nonzero(rng.random((N, N)) < 0.12)
    count = 1 + rng.negative_binomial(1, 0.06, len(pre))
    sign = np.where(rng.random(N) < 0.7, 1, -1)[pre]
    event_step, event_neuron = np.nonzero(rng.random((STEPS, DRIVEN)) < 0.015)
    names = {"v_0": -52 * b.mV, "t_mbr": 20 * b.ms, "tau": 5 * b.ms, "v_th": -45 * b.mV}
    neurons = b.NeuronGroup(
        N,
        """
        dv/dt = (v_0 - v + g) / t_mbr : volt (unless refractory)
        dg/dt = -g / tau : volt (unless refractory)
        """,
        method="linear",
        threshold="v > v_th",
        reset="v = v_0; g = 0 * mV",
        refractory=2.2 * b.ms,
        namespace=names,
    )
    neurons.v = -52 * b.mV
    synapses = b.Synapses(neurons, neurons, "w : volt", on_pre="g += w", delay=1.8 * b.ms)
    synapses.connect(i=pre, j=post)
    synapses.w = sign * count * 0.275 * b.mV
    source = b.SpikeGeneratorGroup(DRIVEN, event_neuron, event_step * 0.1 * b.ms)
    drive = b.Synapses(source, neurons, on_pre="g += 400 * 0.275 * mV", delay=1.8 * b.ms)
    drive.connect(i=np.arange(DRIVEN), j=np.arange(DRIVEN))
    monitor = b.SpikeMonitor(neurons)
    traces = b.StateMonitor(neurons, "v", record=[20, 40, 60])
    b.Network(neurons, synapses, source, drive, monitor, traces).run(STEPS * 0.1 * b.ms)
    np.savez_compressed(
        path,
        pre=pre.astype(np.int16),
        post=post.astype(np.int16),
        count=count.astype(np.int16),
        sign=sign.astype(np.int8),
        event_step=event_step.astype(np.int16),
        event_neuron=event_neuron.astype(np.int8),
        spike_step=np.round(np.asarray(monitor.t / b.ms) / 0.1).astype(np.int16),
        spike_neuron=np.asarray(monitor.i).astype(np.int16),
        v_mV=np.asarray(traces.v / b.mV)[:, ::20].T.astype(np.float64),
        steps=STEPS,
    )


if __name__ == "__main__":
    main(sys.argv[1])
