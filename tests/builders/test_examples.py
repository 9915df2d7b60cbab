"""The specifications that come with the package, on real and made-up connectomes."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from connectofit.builders import ModelSpec, build
from connectofit.connectome import Connectome, read_connectome
from connectofit.connectome.synthetic import brunel, erdos_renyi
from connectofit.data import CELEGANS_COLUMNS, celegans_tables
from connectofit.sim import Ablate, PoissonPulses, Step, Where, simulate


@pytest.fixture(scope="module")
def worm():
    tables = celegans_tables()
    return read_connectome(tables["edges"], tables["neurons"], columns=CELEGANS_COLUMNS)[0]


def test_worm_spec_makes_the_302_neurons_with_all_their_edges(worm):
    net = build(worm, ModelSpec.example("worm_graded"))
    assert net.n_neurons == 302
    assert net.projection("chemical").n_edges == worm.chemical.n_edges
    assert net.projection("electrical").n_edges == worm.electrical.n_edges
    assert net.ids == worm.ids
    chemical = net.projection("chemical")
    sums = np.bincount(chemical.post_index, np.abs(chemical.base_weight), minlength=302)
    np.testing.assert_allclose(sums[sums > 0], 1.0, atol=1e-5)
    assert net.population("neurons").types == tuple(sorted(set(worm.column("cell_class"))))


def test_stimulated_worm_neuron_moves_its_targets_unless_it_is_ablated(worm):
    net = build(worm, ModelSpec.example("worm_graded"))
    settings = {"duration_ms": 500.0, "dt_ms": 10.0, "stimuli": (Step("AVAL", 1.0),)}
    moved = np.abs(simulate(net, **settings).trace("v")[-1])
    assert moved[net.ids.index("AVAR")] > 1e-3
    assert moved.max() < 2.0
    assert np.abs(simulate(net, **settings, interventions=(Ablate("AVAL"),)).trace("v")).max() == 0.0


@pytest.mark.few(1)
@pytest.mark.parametrize(
    ("name", "connectome", "weights", "delay_ms"),
    [
        ("coba", erdos_renyi(200, probability=0.1, seed=0), {6.0, 67.0}, 0.1),
        ("cuba", erdos_renyi(200, probability=0.1, seed=0), {16.2, -90.0}, 0.1),
        ("brunel", brunel(n_excitatory=160, n_inhibitory=40, j_mV=0.4, g=6.0, delay_ms=2.0, seed=0), {0.4, -2.4}, 2.0),
    ],
)
def test_spiking_networks_run_on_synthetic_connectomes(name, connectome, weights, delay_ms):
    net = build(connectome, ModelSpec.example(name))
    assert net.n_neurons == 200
    assert sum(p.n_edges for p in net.projections) == connectome.n_edges
    found = {
        round(float(w), 4)
        for p in net.projections
        for w in np.unique(np.asarray(p.base_weight) * np.exp(net.params[p.name]["log_gain"]))
    }
    assert found == weights
    assert {p.delay_ms for p in net.projections} == {delay_ms}
    silent = simulate(net, duration_ms=60.0, dt_ms=0.1, record=("spikes",))
    assert (len(silent.spikes) > 0) == (name == "cuba")  # it rests above its threshold
    # 20 mV above rest on average, in steps of 1.2 mV.
    charge = 1.2 * (1.0 if name == "brunel" else 200.0)
    driven = simulate(
        net, duration_ms=60.0, dt_ms=0.1, stimuli=(PoissonPulses(None, 1_000.0, charge),), record=("spikes",)
    )
    assert driven.rates_Hz().mean() > 5.0


def balanced(n_exc: int = 160, n_inh: int = 40, seed: int = 0) -> Connectome:
    """Random edges, one in five pairs, from excitatory and inhibitory neurons with 64-bit ids."""
    rng = np.random.default_rng(seed)
    n = n_exc + n_inh
    neurons = pa.table(
        {"id": pa.array(2**60 + np.arange(n)), "cell_type": ["excitatory"] * n_exc + ["inhibitory"] * n_inh}
    )
    pre, post = np.nonzero(rng.random((n, n)) < 0.2)
    return Connectome.from_edges(
        neurons,
        pre=pre,
        post=post,
        count=np.ones(len(pre), np.int32),
        sign=np.where(pre < n_exc, 1, -1).astype(np.int8),
    )


def test_excitatory_and_inhibitory_spiking_network_builds_and_fires():
    connectome = balanced()
    net = build(connectome, ModelSpec.example("cuba"))
    assert [p.name for p in net.projections] == ["excitatory", "inhibitory"]
    assert sum(p.n_edges for p in net.projections) == connectome.n_edges
    assert [bool((p.base_weight > 0).all()) for p in net.projections] == [True, False]
    settings = {"duration_ms": 100.0, "dt_ms": 0.1, "stimuli": (Step(None, 100.0),)}
    recording = simulate(net, **settings)
    assert set(recording.spikes.ids) <= set(connectome.ids)
    assert recording.rates_Hz().mean() > 1.0
    # Without inhibition the excitatory neurons fire more.
    disinhibited = simulate(net, **settings, interventions=(Ablate(Where("cell_type == 'inhibitory'")),))
    excitatory = connectome.ids[:160]
    assert disinhibited.rates_Hz()[list(excitatory)].mean() > recording.rates_Hz()[list(excitatory)].mean()


def test_spiking_network_is_that_of_an_independent_simulation_in_numpy():
    """The LIF network, step by step with a dense matrix and a list of pending spikes."""
    connectome = balanced(16, 4, seed=3)
    net = build(connectome, ModelSpec.example("cuba"))
    n, dt, steps = 20, 0.1, 600
    drive = np.linspace(0.0, 200.0, n)
    recording = simulate(
        net,
        duration_ms=60.0,
        dt_ms=dt,
        stimuli=tuple(Step(i, float(a)) for i, a in zip(connectome.ids, drive, strict=True)),
    )
    weights = np.zeros((n, n))
    weights[connectome.pre, connectome.post] = np.where(connectome.sign > 0, 16.2, -90.0)
    v, current = np.full(n, -49.0), {1: np.zeros(n), -1: np.zeros(n)}
    rest, times, pending = np.zeros(n, int), [], np.zeros(n)
    for step in range(steps):
        new = -49.0 + 0.1 * drive + (v + 49.0 - 0.1 * drive) * np.exp(-dt / 20.0)
        for sign, tau in ((1, 5.0), (-1, 10.0)):
            new += 0.1 * current[sign] * tau / (tau - 20.0) * (np.exp(-dt / tau) - np.exp(-dt / 20.0))
            arriving = (pending * (np.arange(n) < 16 if sign > 0 else np.arange(n) >= 16)) @ weights
            current[sign] = current[sign] * np.exp(-dt / tau) + arriving
        new = np.where(rest > 0, -60.0, new)
        fired = (new >= -50.0) & (rest == 0)
        v, rest = np.where(fired, -60.0, new), np.where(fired, 50, np.maximum(rest - 1, 0))
        pending = fired.astype(float)
        times += [(round((step + 1) * dt, 6), connectome.ids[k]) for k in np.flatnonzero(fired)]
    assert len(times) > 50
    found = [(round(float(t), 6), int(i)) for t, i in zip(recording.spikes.time_ms, recording.spikes.ids, strict=True)]
    assert sorted(found) == sorted(times)
