"""Reference values of NEST: ``python nest_plasticity.py`` with nest-simulator 3.10 writes values/nest_plasticity.npz.

Kept of every rule: the spike times of both sides, and of `tsodyks2_synapse` the current I_syn that each spike has left
when it arrives, of `stdp_synapse` and `stdp_triplet_synapse` the weight at each presynaptic spike, after its changes.

NEST counts a delay as dendritic: it sees a postsynaptic spike at t + DELAY_MS, and a presynaptic one at once; the times
kept are those at the synapse. A generator's spikes pass a parrot neuron, and gain 0.1 ms on each of the two ways.
"""

from __future__ import annotations

from pathlib import Path

import nest
import numpy as np

VALUES = Path(__file__).parent.parent / "values"
DT_MS, DELAY_MS, DURATION_MS = 0.1, 1.0, 2000.0

TSODYKS = {
    "depression": {"U": 0.5, "tau_rec": 800.0, "tau_fac": 0.0},
    "facilitation": {"U": 0.05, "tau_rec": 60.0, "tau_fac": 700.0},
    "both": {"U": 0.25, "tau_rec": 300.0, "tau_fac": 200.0},
}
# name: (lambda, alpha, mu, tau_plus, tau_minus in ms)
PAIRS = {
    "additive": (0.01, 1.05, 0.0, 20.0, 30.0),
    "between": (0.02, 1.2, 0.4, 16.8, 33.7),
    "multiplicative": (0.03, 1.1, 1.0, 20.0, 20.0),
}
# Pfister & Gerstner 2006, table 4 (visual cortex, all to all, full), on weights from 0 to 1.
TRIPLET = {"Aplus": 5e-10, "Aplus_triplet": 6.2e-3, "Aminus": 7e-3, "Aminus_triplet": 2.3e-4}
TRIPLET |= {"tau_plus": 16.8, "tau_plus_triplet": 101.0}
POST = {"tau_minus": 33.7, "tau_minus_triplet": 125.0}


def train(rate_Hz: float, seed: int) -> np.ndarray:
    """Steps of a spike train of about that rate, no two of them next to each other."""
    rng = np.random.default_rng(seed)
    steps = np.flatnonzero(rng.random(round(DURATION_MS / DT_MS)) < rate_Hz * DT_MS * 1e-3)
    steps = steps[steps > 50]
    return steps[np.diff(steps, prepend=0) > 3]


def parrot(times_ms: np.ndarray) -> nest.NodeCollection:
    """A neuron that spikes at these times."""
    generator = nest.Create("spike_generator", params={"spike_times": np.round(times_ms - DT_MS, 1)})
    neuron = nest.Create("parrot_neuron")
    nest.Connect(generator, neuron, syn_spec={"delay": DT_MS})
    return neuron


def reset() -> None:
    nest.ResetKernel()
    nest.resolution = DT_MS


def short_term(params: dict, steps: np.ndarray) -> np.ndarray:
    """I_syn in pA at the arrivals of the spikes through a synapse of 100 pA and 5 ms that begins at rest."""
    reset()
    neuron = nest.Create("iaf_psc_exp", params={"tau_syn_ex": 5.0, "V_th": 1e6})
    every = nest.Create("multimeter", params={"record_from": ["I_syn_ex"], "interval": DT_MS})
    # At rest NEST's u, which the next spike sends, is U.
    rest = {"u": params["U"], "x": 1.0}
    synapse = {"synapse_model": "tsodyks2_synapse", "weight": 100.0, "delay": DELAY_MS, **rest, **params}
    nest.Connect(parrot(steps * DT_MS), neuron, syn_spec=synapse)
    nest.Connect(every, neuron)
    nest.Simulate(DURATION_MS + 10.0)
    current = np.zeros(round((DURATION_MS + 10.0) / DT_MS) + 1)
    current[np.round(every.events["times"] / DT_MS).astype(int)] = every.events["I_syn_ex"]
    return current[steps + round(DELAY_MS / DT_MS)]


def long_term(synapse: dict, post: dict, pre_steps: np.ndarray, post_steps: np.ndarray) -> np.ndarray:
    """The weight at each presynaptic spike; both trains as the synapse sees them."""
    reset()
    recorder = nest.Create("weight_recorder")
    nest.CopyModel(synapse["synapse_model"], "recorded", {"weight_recorder": recorder})
    sender, receiver = parrot(pre_steps * DT_MS), parrot(post_steps * DT_MS - DELAY_MS)
    receiver.set(post)
    # Port 1 of a parrot does not pass spikes on.
    synapse = synapse | {"synapse_model": "recorded", "delay": DELAY_MS, "receptor_type": 1}
    nest.Connect(sender, receiver, syn_spec=synapse)
    nest.Simulate(DURATION_MS + 10.0)
    times, weights = recorder.events["times"], recorder.events["weights"]
    order = np.argsort(times)
    if not np.array_equal(np.round(times[order] / DT_MS).astype(int), pre_steps):
        raise SystemExit("the recorder's times are not those of the presynaptic spikes")
    return weights[order]


def main() -> None:
    nest.verbosity = nest.VerbosityLevel.ERROR
    pre, post = train(20.0, 1), train(25.0, 2)
    # Some spikes of both sides meet at the synapse.
    post = np.unique(np.concatenate([post, pre[::7]]))
    post = post[np.diff(post, prepend=0) > 3]
    kept: dict[str, np.ndarray] = {"version": np.array(nest.__version__), "pre": pre, "post": post}
    apart = np.setdiff1d(post, pre)  # where weights matter, NEST takes spikes that meet one after the other
    kept["post_apart"] = apart
    print(len(pre), "presynaptic,", len(post), "postsynaptic spikes,", len(np.intersect1d(pre, post)), "of them meet")
    for name, params in TSODYKS.items():
        kept[f"tsodyks/{name}"] = short_term(params, pre)
        print(name, kept[f"tsodyks/{name}"][:5])
    for name, (size, alpha, mu, tau_plus, tau_minus) in PAIRS.items():
        synapse = {"synapse_model": "stdp_synapse", "weight": 40.0, "Wmax": 100.0, "lambda": size, "alpha": alpha}
        synapse |= {"mu_plus": mu, "mu_minus": mu, "tau_plus": tau_plus}
        kept[f"pairs/{name}"] = long_term(synapse, {"tau_minus": tau_minus}, pre, post if mu == 0 else apart)
        print(name, kept[f"pairs/{name}"][[0, 1, 2, -1]])
    synapse = {"synapse_model": "stdp_triplet_synapse", "weight": 0.4, "Wmax": 1.0, **TRIPLET}
    kept["triplets"] = long_term(synapse, POST, pre, post)
    print("triplets", kept["triplets"][[0, 1, 2, -1]])
    np.savez_compressed(VALUES / "nest_plasticity.npz", **kept)


if __name__ == "__main__":
    main()
