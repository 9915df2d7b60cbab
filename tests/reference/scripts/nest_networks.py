"""Reference statistics of NEST: ``python nest_networks.py NETWORK [SEED ...]`` with nest-simulator 3.10 puts those of
coba, cuba, brunel or brunel_small into values/nest_networks.npz, of all seeds by default.

Every seed has random wiring and input of its own. Kept for each seed: the statistics of `network_statistics`, over the
time after the start-up. COBA and CUBA are benchmarks 1 and 2 of Brette et al. 2007 (J Comput Neurosci 23:349); their
neurons start at rest, and those of COBA receive Poisson spikes for the first 50 ms. The network of Brunel 2000 (J
Comput Neurosci 8:183) has full size; the small one has a fifth of the neurons and inputs, each input five times as
strong. Both go through regimes of his figure 8 one after the other, the small one through all four.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path

import nest
import numpy as np
from network_statistics import DT_MS, NAMES, statistics

VALUES = Path(__file__).parent.parent / "values" / "nest_networks.npz"

SEEDS = {"coba": 10, "cuba": 10, "brunel": 5, "brunel_small": 10}
# name: (start-up and measured time in ms), and for Brunel's before it (g, nu_ext / nu_thr)
VOGELS_ABBOTT = {"coba": (300.0, 1000.0), "cuba": (300.0, 1000.0)}
REGIMES = {
    "brunel_si_fast": (6.0, 4.0, 300.0, 300.0),
    "brunel_ai": (5.0, 2.0, 300.0, 450.0),
    "brunel_si_slow": (4.5, 0.9, 300.0, 900.0),
}
SMALL = {
    "brunel_small_sr": (3.0, 2.0, 100.0, 200.0),
    "brunel_small_si_fast": (6.0, 4.0, 300.0, 600.0),
    "brunel_small_ai": (5.0, 2.0, 300.0, 900.0),
    "brunel_small_si_slow": (4.5, 0.9, 300.0, 1200.0),
}
KICK_HZ = 100.0  # of the excitatory spikes that every neuron of COBA receives for 50 ms


def fresh(seed: int) -> None:
    nest.ResetKernel()
    nest.resolution = DT_MS
    nest.rng_seed = seed + 1


def vogels_abbott(name: str, seed: int) -> Iterator[tuple[str, dict[str, float]]]:
    """The name and statistics of benchmark 1 or 2."""
    fresh(seed)
    rest = -60.0 if name == "coba" else -49.0
    params = {"V_th": -50.0, "V_reset": -60.0, "E_L": rest, "V_m": rest, "t_ref": 5.0, "C_m": 200.0}
    params |= {"tau_syn_ex": 5.0, "tau_syn_in": 10.0}
    if name == "coba":
        neurons = nest.Create("iaf_cond_exp", 4_000, params=params | {"g_L": 10.0, "E_ex": 0.0, "E_in": -80.0})
        weights = (6.0, -67.0)
        kick = nest.Create("poisson_generator", params={"rate": KICK_HZ, "start": 0.0, "stop": 50.0})
        nest.Connect(kick, neurons, syn_spec={"weight": weights[0], "delay": DT_MS})
    else:
        neurons = nest.Create("iaf_psc_exp", 4_000, params=params | {"tau_m": 20.0})
        weights = (16.2, -90.0)
    rule = {"rule": "pairwise_bernoulli", "p": 0.02, "allow_autapses": False}
    for pre, weight in zip((neurons[:3_200], neurons[3_200:]), weights, strict=True):
        nest.Connect(pre, neurons, rule, {"weight": weight, "delay": DT_MS})
    recorder = nest.Create("spike_recorder")
    nest.Connect(neurons, recorder)
    yield name, measured(neurons, recorder, *VOGELS_ABBOTT[name])


def brunel(name: str, seed: int) -> Iterator[tuple[str, dict[str, float]]]:
    """The regimes of the sparse network with delta synapses, and their statistics."""
    fresh(seed)
    n_excitatory, j = (2_000, 0.5) if name == "brunel_small" else (10_000, 0.1)
    params = {"C_m": 1.0, "tau_m": 20.0, "E_L": 0.0, "V_m": 0.0, "V_th": 20.0, "V_reset": 10.0, "t_ref": 2.0}
    neurons = nest.Create("iaf_psc_delta", n_excitatory * 5 // 4, params=params)
    inputs = n_excitatory // 10
    threshold_Hz = 20.0 / (j * inputs * 0.020)
    source = nest.Create("poisson_generator")
    nest.Connect(source, neurons, syn_spec={"weight": j, "delay": DT_MS})
    for model, pre, degree in (
        ("excitatory", neurons[:n_excitatory], inputs),
        ("inhibitory", neurons[n_excitatory:], inputs // 4),
    ):
        nest.CopyModel("static_synapse_hom_w", model, {"weight": j})
        rule = {"rule": "fixed_indegree", "indegree": degree, "allow_autapses": False, "allow_multapses": False}
        nest.Connect(pre, neurons, rule, {"synapse_model": model, "delay": 1.5})
    recorder = nest.Create("spike_recorder")
    nest.Connect(neurons, recorder)
    for regime, (g, ratio, start_ms, measured_ms) in (SMALL if name == "brunel_small" else REGIMES).items():
        nest.SetDefaults("inhibitory", {"weight": -g * j})  # of all synapses of this model
        source.rate = ratio * threshold_Hz * inputs
        yield regime, measured(neurons, recorder, start_ms, measured_ms)


def measured(
    neurons: nest.NodeCollection, recorder: nest.NodeCollection, start_ms: float, measured_ms: float
) -> dict[str, float]:
    """Statistics of the time that begins `start_ms` from now."""
    begin = nest.biological_time + start_ms
    nest.Simulate(start_ms + measured_ms + 2.0)  # the last spikes take 1 ms to the recorder
    events = recorder.events
    recorder.n_events = 0
    return statistics(
        events["times"], events["senders"] - neurons.tolist()[0], len(neurons), begin, begin + measured_ms
    )


def main(network: str, *seeds: str) -> None:
    nest.verbosity = nest.VerbosityLevel.ERROR
    run = vogels_abbott if network in VOGELS_ABBOTT else brunel
    windows = VOGELS_ABBOTT | {name: row[2:] for name, row in (REGIMES | SMALL).items()}
    for seed in map(int, seeds or range(SEEDS[network])):
        began = time.perf_counter()
        for name, row in run(network, seed):
            kept = dict(np.load(VALUES)) if VALUES.exists() else {}
            kept["version"] = np.array(nest.__version__)
            for key in NAMES:
                old = kept.get(f"{name}/{key}", np.zeros(0))
                kept[f"{name}/{key}"] = np.append(old, np.full(max(seed + 1 - old.size, 0), np.nan))
                kept[f"{name}/{key}"][seed] = row[key]
            kept[f"{name}/window_ms"] = np.cumsum(windows[name])
            np.savez_compressed(VALUES, **kept)
            found = ", ".join(f"{key} {value:.4g}" for key, value in row.items())
            print(f"{name} {seed}: {found} ({time.perf_counter() - began:.0f} s)", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
