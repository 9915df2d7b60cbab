"""Models to export: a graded one with strange names, and spiking ones with given wiring."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pandas as pd
import pytest

from connectofit.builders import ModelSpec, build
from connectofit.connectome import read_connectome
from connectofit.pipelines import Model
from connectofit.sim import Sine, SpikeTrains, Where, simulate

GRADED = {
    "neurons": [{"name": "neurons", "model": "graded_leaky", "tie_by": "cell_class"}],
    "edges": [
        {"name": "chemical", "where": "kind == 'chemical'", "synapse": "graded", "gain": 0.1},
        {"name": "electrical", "where": "kind == 'electrical'", "synapse": "gap_junction", "gain": 0.2},
    ],
}


@pytest.fixture
def graded() -> Callable[..., Model]:
    """graded(ids, columns): a model on three neurons, their columns as given, whose gains are not the spec's."""

    def make(ids: list[Any], columns: dict[str, list[Any]] | None = None) -> Model:
        a, b, c = ids
        neurons = pd.DataFrame({"id": ids, "cell_class": ["X", "X", "Y"], **(columns or {})})
        edges = pd.DataFrame(
            {
                "pre": [a, b, c, a],
                "post": [b, c, a, c],
                "count": [3, 1, 2, 4],
                "kind": ["chemical"] * 3 + ["electrical"],
                "sign": ["+", "-", "+", None],
            }
        )
        connectome, _ = read_connectome(edges, neurons)
        spec = ModelSpec.from_dict(GRADED)
        network = build(connectome, spec)
        gains = {"chemical": {"log_gain": np.array([0.25])}, "neurons": {"tau_m_ms": np.array([7.0, 11.0])}}
        return Model(network.with_params(gains), connectome, spec)

    return make


@pytest.fixture
def spiking() -> Callable[..., Model]:
    """spiking(neurons, edges, kinds, counts): a model of random wiring between kinds of neurons.

    neurons, edges: rules of the specification; a neuron's kind is its column ``kind_of``. kinds: {kind: how many}.
    probability: of an edge between two neurons. signs: {kind: 1 or -1} of what it sends.
    """

    def make(
        neurons: list[dict[str, Any]],
        edges: list[dict[str, Any]],
        kinds: dict[str, int],
        *,
        probability: float = 0.2,
        signs: dict[str, int] | None = None,
        onto: tuple[str, ...] | None = None,
        seed: int = 3,
    ) -> Model:
        rng = np.random.default_rng(seed)
        kind_of = np.repeat(list(kinds), list(kinds.values()))
        n = len(kind_of)
        ids = np.array([f"{kind}{k}" for k, kind in enumerate(kind_of)])
        joined = rng.random((n, n)) < probability
        if onto is not None:
            joined &= np.isin(kind_of, onto)[None, :]
        pre, post = np.nonzero(joined)
        sign = np.array([(signs or {}).get(kind, 1) for kind in kind_of])
        table = pd.DataFrame(
            {
                "pre": ids[pre],
                "post": ids[post],
                "count": rng.integers(1, 6, len(pre)),
                "sign": sign[pre],
                "delay_ms": rng.integers(5, 40, len(pre)) * 0.1,
            }
        )
        cells = pd.DataFrame({"id": ids, "kind_of": kind_of, "half": [f"h{k % 2}" for k in range(n)]})
        connectome, _ = read_connectome(table, cells)
        spec = ModelSpec.from_dict({"neurons": neurons, "edges": edges, "unclaimed_edges": "drop"})
        return Model(build(connectome, spec), connectome, spec)

    return make


@pytest.fixture
def interpreter() -> Callable[[str], Path]:
    """interpreter(name): the Python that another simulator is installed in, from the environment; skips without."""

    def find(variable: str) -> Path:
        if not os.environ.get(variable):
            pytest.skip(f"{variable} does not name a Python with that simulator")
        return Path(os.environ[variable])

    return find


DT_MS, DURATION_MS = 0.1, 200.0


def steady(amplitudes: dict[str, float]) -> list[Any]:
    """Currents that keep neurons firing: a sine of its own frequency for each kind, from 20 to 180 ms."""
    waves = enumerate(amplitudes.items())
    return [
        Sine(Where(f"kind_of == '{kind}'"), 0.4 * a, 11.0 + 3.0 * k, offset=a, start_ms=20.0, stop_ms=180.0)
        for k, (kind, a) in waves
    ]


LIF_PARAMS = {"tau_m_ms": {"by": "half", "table": {"h0": 18.0, "h1": 10.0}}, "r_m_GOhm": 0.1, "i_bias_pA": 20.0}
E_CELLS = {"name": "exc", "model": "lif", "where": "kind_of == 'e'", "tie_by": "half", "params": LIF_PARAMS}
I_CELLS = {"name": "inh", "model": "lif", "where": "kind_of == 'i'", "params": {"t_ref_ms": 1.26, "v_reset_mV": -62.0}}
PULSES = {"name": "given", "model": "spike_source", "where": "kind_of == 's'"}
DELAY = {"column": "delay_ms", "resolution_ms": 0.1}


def synapses(kind: str, gains: tuple[float, float], excitatory: dict[str, float], inhibitory: dict[str, float]) -> list:
    """Excitatory synapses with a delay for each edge and inhibitory ones with one for all."""
    of_e = {"where": "sign == 1", "gain": gains[0], "params": excitatory, "tie_by": "post.half", "delay_ms": DELAY}
    of_i = {"where": "sign == -1", "gain": gains[1], "params": inhibitory, "delay_ms": 1.5}
    return [{"name": "excites", "synapse": kind, **of_e}, {"name": "inhibits", "synapse": kind, **of_i}]


def glif_cells(level: int) -> dict[str, Any]:
    return {"name": "cells", "model": f"glif{level}", "where": "kind_of != 's'", "params": {"t_ref_ms": 3.0}}


# name: (rules of neurons, rules of edges, pA of the stimuli by kind of neuron)
NETWORKS: dict[str, tuple[list, list, dict[str, float]]] = {
    "exponential": (
        [E_CELLS, I_CELLS, PULSES],
        synapses("exponential", (40.0, 60.0), {"tau_syn_ms": 3.0}, {"tau_syn_ms": 9.0}),
        {"e": 160.0, "i": 120.0},
    ),
    "alpha": (
        [E_CELLS, I_CELLS, PULSES],
        synapses("alpha", (30.0, 10.0), {"tau_syn_ms": 2.0}, {"tau_syn_ms": 10.0}),
        {"e": 160.0, "i": 120.0},
    ),
    "delta": (
        [{**E_CELLS, "settings": {"refractory_input": "drop"}}, I_CELLS, PULSES],
        synapses("delta", (0.7, 0.9), {}, {}),
        {"e": 170.0, "i": 130.0},
    ),
    "exponential_conductance": (
        [E_CELLS, I_CELLS, PULSES],
        synapses(
            "exponential_conductance",
            (0.5, 1.0),
            {"tau_syn_ms": 3.0, "e_rev_mV": 0.0},
            {"tau_syn_ms": 8.0, "e_rev_mV": -80.0},
        ),
        {"e": 160.0, "i": 120.0},
    ),
    "alpha_conductance": (
        [E_CELLS, I_CELLS, PULSES],
        synapses(
            "alpha_conductance",
            (0.4, 0.8),
            {"tau_syn_ms": 2.0, "e_rev_mV": 0.0},
            {"tau_syn_ms": 4.0, "e_rev_mV": -80.0},
        ),
        {"e": 160.0, "i": 120.0},
    ),
    **{
        f"glif{level}": (
            [glif_cells(level), PULSES],
            synapses("alpha", (20.0, 20.0), {"tau_syn_ms": 2.0}, {"tau_syn_ms": 4.0}),
            {"e": 260.0, "i": 300.0},
        )
        for level in (1, 2, 3, 4)
    },
}


@pytest.fixture
def network(spiking) -> Callable[[str], tuple[Model, list[Any]]]:
    """network(name): a recurrent network of `NETWORKS` with what drives it: 16 excitatory and 8 inhibitory neurons, and
    4 sources of given spikes."""

    def make(name: str) -> tuple[Model, list[Any]]:
        neurons, edges, amplitudes = NETWORKS[name]
        kinds = {"e": 16, "i": 8, "s": 4}
        model = spiking(neurons, edges, kinds, signs={"i": -1}, onto=("e", "i"))
        sources = [i for i in model.network.ids if str(i).startswith("s")]
        rng = np.random.default_rng(8)
        times = [np.sort(rng.uniform(0.0, DURATION_MS, 25)) for _ in sources]
        return model, [*steady(amplitudes), SpikeTrains(sources, times)]

    return make


@pytest.fixture
def our_spikes() -> Callable[..., dict[Any, np.ndarray]]:
    """our_spikes(model, stimuli): {id: steps at whose end it fires}, counted from 1, in float64."""

    def run(model: Model, stimuli: list[Any], duration_ms: float = DURATION_MS, dt_ms: float = DT_MS) -> dict:
        with jax.enable_x64(True):
            spikes = simulate(
                model.network,
                duration_ms=duration_ms,
                dt_ms=dt_ms,
                stimuli=stimuli,
                record=["spikes"],
                dtype="float64",
            ).spikes
        steps = np.rint(spikes.time_ms / dt_ms).astype(int)
        return {i: np.sort(steps[spikes.ids == i]) for i in model.network.ids}

    return run


@pytest.fixture
def their_spikes() -> Callable[..., dict[Any, np.ndarray]]:
    """their_spikes(python, folder): the same of an exported folder, run by that Python without this package."""

    def run(python: Path, folder: Path, *arguments: str) -> dict:
        command = [str(python), str(folder / "run.py"), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, cwd=folder, env={"PATH": os.environ["PATH"]})
        assert done.returncode == 0, done.stderr[-3000:]
        facts = json.loads((folder / "network.json").read_text())
        with np.load(folder / "arrays.npz") as arrays, np.load(folder / "spikes.npz") as spikes:
            steps = np.rint(spikes["time_ms"] / facts["dt_ms"]).astype(int)
            found = {}
            for k in range(len(facts["populations"])):
                for neuron, i in enumerate(arrays[f"population/{k}/ids"].tolist()):
                    found[i] = np.sort(steps[(spikes["population"] == k) & (spikes["neuron"] == neuron)])
        return found

    return run


@pytest.fixture
def within_a_step() -> Callable[..., None]:
    """within_a_step(ours, theirs): every neuron has as many spikes in both, each at most a step apart."""

    def check(ours: dict[Any, np.ndarray], theirs: dict[Any, np.ndarray], least: float = 3.0) -> None:
        assert set(ours) == set(theirs)
        assert np.mean([len(train) for train in ours.values()]) > least
        for i, train in ours.items():
            assert len(train) == len(theirs[i]), (i, train, theirs[i])
            np.testing.assert_allclose(train, theirs[i], atol=1, rtol=0, err_msg=str(i))

    return check
