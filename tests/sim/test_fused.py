"""The fused kernel gives what `rollout` gives step by step, which other tests hold against closed forms and Brian2."""

from __future__ import annotations

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from connectofit.connectome.errors import SettingError
from connectofit.sim import (
    GLIF1,
    GLIF2,
    GLIF3,
    GLIF4,
    GLIF5,
    LIF,
    Ablate,
    AdEx,
    Alpha,
    Clamp,
    Cut,
    Delta,
    Exponential,
    ExponentialConductance,
    Network,
    PoissonSource,
    Population,
    Projection,
    Record,
    Silence,
    SpikeSource,
    SpikeTrains,
    Step,
    TsodyksMarkram,
    WhiteNoise,
    simulate,
)
from connectofit.sim.fused import obstacle, run
from connectofit.sim.native import compiled_kernels
from connectofit.sim.rollout import initial_state

pytestmark = pytest.mark.skipif(not compiled_kernels().available, reason=compiled_kernels().reason)

N = 130  # more than a run of 64, no multiple of it


def defaults(model, n_types: int = 1, **changes) -> dict[str, np.ndarray]:
    values = {k: np.full(n_types, v.default) for k, v in model.parameters.items()}
    return values | {k: np.broadcast_to(v, n_types).astype(float) for k, v in changes.items()}


def wire(name, pre, post, synapse, sizes, n_edges, delay_ms, weight, seed=0, **changes) -> tuple[Projection, dict]:
    """Random edges, with repeated ones, self-loops and neurons without any."""
    rng = np.random.default_rng(seed)
    n_pre, n_post = sizes[pre], sizes[post]
    start = np.sort(rng.integers(0, n_pre, n_edges))
    indptr = np.concatenate([[0], np.cumsum(np.bincount(start, minlength=n_pre))]).astype(np.int32)
    target = rng.integers(0, n_post, n_edges).astype(np.int32)
    strength = weight * rng.random(n_edges)
    types = np.zeros(n_edges, np.int32)
    projection = Projection(name, pre, post, synapse, indptr, target, strength, types, ("all",), delay_ms)
    return projection, {"log_gain": np.zeros(1), **defaults(synapse, **changes)}


def network(model=None, projections=(), n_types: int = 1, sources=(), **changes) -> Network:
    """`cells` with the given projections, and populations of sources."""
    model = LIF() if model is None else model
    rng = np.random.default_rng(1)
    populations = [Population("cells", model, tuple(range(N)), rng.integers(0, n_types, N), tuple(range(n_types)))]
    params = {"cells": defaults(model, n_types, **changes)}
    sizes = {"cells": N} | {name: 20 for name, _ in sources}
    for k, (name, source) in enumerate(sources):
        ids = tuple(range(1000 * (k + 1), 1000 * (k + 1) + 20))
        populations.append(Population(name, source, ids, np.zeros(20, int), ("all",)))
        params[name] = defaults(source)
    made = []
    for k, (name, pre, synapse, n_edges, delay_ms, weight, values) in enumerate(projections):
        projection, its_params = wire(name, pre, "cells", synapse, sizes, n_edges, delay_ms, weight, seed=k, **values)
        made.append(projection)
        params[name] = its_params
    return Network(tuple(populations), tuple(made), params)


EXC = ("exc", "cells", Exponential(), 4000, 1.5, 60.0, {})
INH = ("inh", "cells", Exponential(), 2000, 0.7, -150.0, {"tau_syn_ms": 8.0})
JUMPS = ("jumps", "cells", Delta(), 1500, 1.1, 1.0, {})
MORE = ("more", "cells", Exponential(), 900, 2.3, 30.0, {"tau_syn_ms": 2.0})
OPEN = ("open", "cells", ExponentialConductance(), 4000, 1.5, 0.6, {})
SHUT = ("shut", "cells", ExponentialConductance(), 2000, 0.7, 2.0, {"tau_syn_ms": 8.0, "e_rev_mV": -80.0})
WIDE = ("wide", "cells", ExponentialConductance(), 900, 2.3, 0.5, {"tau_syn_ms": 2.0, "e_rev_mV": -20.0})


def with_delays_of_edges(net: Network, longest_ms: float) -> Network:
    """Every edge of every projection with a delay of its own, from the projection's up to `longest_ms`."""
    rng = np.random.default_rng(5)
    changed = []
    for projection in net.projections:
        delays = rng.integers(round(projection.delay_ms * 10), round(longest_ms * 10) + 1, projection.n_edges) / 10
        changed.append(replace(projection, edge_delay_ms=delays, longest_delay_ms=longest_ms))
    return replace(net, projections=tuple(changed))


def with_two_gains(net: Network) -> Network:
    """Every other edge of the first projection of another type, with a gain of its own."""
    first = net.projections[0]
    first = replace(first, type_index=np.arange(first.n_edges, dtype=np.int8) % 2, types=("even", "odd"))
    params = net.params | {first.name: net.params[first.name] | {"log_gain": np.array([0.3, -0.4])}}
    return Network(net.populations, (first, *net.projections[1:]), params)


def side_by_side(*nets: Network) -> Network:
    """One network of several that do not know of each other, which is compiled once."""
    populations, projections, params = [], [], {}
    for k, net in enumerate(nets):
        populations += [
            replace(p, name=f"{p.name}_{k}", ids=tuple(i + 10_000 * k for i in p.ids)) for p in net.populations
        ]
        projections += [
            replace(p, name=f"{p.name}_{k}", pre=f"{p.pre}_{k}", post=f"{p.post}_{k}") for p in net.projections
        ]
        params |= {f"{name}_{k}": values for name, values in net.params.items()}
    return Network(tuple(populations), tuple(projections), params)


THREE_DELAYS = network(projections=(EXC, INH, JUMPS, MORE))
CASES = {
    "no edges": network(),
    "three delays, four projections": THREE_DELAYS,
    "currents": side_by_side(
        network(projections=(("none", "cells", Exponential(), 0, 1.0, 1.0, {}),)),
        network(projections=(EXC,)),
        network(projections=(JUMPS,)),
        network(projections=(EXC,), v_reset_mV=-50.0),  # above the threshold
        network(projections=(EXC,), tau_m_ms=5.0),  # the synapse's time constant
        network(LIF(clears_synapses=True), (EXC, INH)),
        with_two_gains(network(projections=(EXC, INH))),
        network(
            projections=(EXC, INH),
            n_types=3,
            tau_m_ms=[10.0, 20.0, 31.0],
            t_ref_ms=[0.0, 0.3, 2.0],
            i_bias_pA=[5, 0, -3.0],
        ),
    ),
    "delays of edges": side_by_side(
        with_delays_of_edges(network(projections=(EXC, INH, JUMPS)), 4.4),
        with_delays_of_edges(network(projections=(EXC, INH)), 30.0),  # more steps than a byte counts
    ),
    "conductances": side_by_side(
        network(projections=(OPEN,)),
        network(projections=(OPEN, SHUT)),
        network(projections=(OPEN, SHUT, WIDE, JUMPS)),
        network(projections=(OPEN, SHUT), n_types=3, tau_m_ms=[10.0, 20.0, 31.0]),
        network(LIF(clears_synapses=True), (OPEN, SHUT, WIDE)),
    ),
    "glif": side_by_side(
        *(
            network(model, projections=(EXC, INH, JUMPS), i_bias_pA=60.0)
            for model in (GLIF1(), GLIF2(), GLIF3(), GLIF4(), GLIF5())
        ),
        network(GLIF5(), (EXC, INH), n_types=3, i_bias_pA=90.0, c_m_pF=[60.0, 75.0, 110.0], t_ref_ms=[0.5, 2, 4]),
    ),
}


def pairs(recording) -> tuple[list, list]:
    return recording.spikes.time_ms.tolist(), recording.spikes.ids.tolist()


def runs(net: Network, methods=("event", "fused"), dtype: str = "float64", duration_ms: float = 61.3, **settings):
    every_other = [i for i in net.ids if i % 2 == 0 and i % 10_000 < N]
    settings = {"stimuli": [Step(every_other, 230.0)], "record": ["v_mV", "spikes"], "seed": 3} | settings
    with jax.enable_x64(dtype == "float64"):
        return [
            simulate(net, duration_ms=duration_ms, dt_ms=0.1, method=method, dtype=dtype, **settings)
            for method in methods
        ]


def assert_same(a, b, tolerance: float) -> None:
    assert pairs(a) == pairs(b)
    np.testing.assert_allclose(b.trace("v_mV"), a.trace("v_mV"), rtol=0, atol=tolerance)
    for x, y in zip(jax.tree.leaves(a.state), jax.tree.leaves(b.state), strict=True):
        np.testing.assert_allclose(y, x, rtol=tolerance, atol=tolerance)


@pytest.mark.few(2)
@pytest.mark.parametrize("case", [pytest.param(c, marks=pytest.mark.slow if c == "glif" else ()) for c in CASES])
def test_fused_runs_are_those_of_single_steps_in_float64(case):
    slow, fused = runs(CASES[case])
    assert (slow.method, fused.method) == ("event", "fused")
    rates = slow.rates_Hz()
    for population in CASES[case].populations:
        assert sum(rates[i] for i in population.ids) > 0, population.name
    assert_same(slow, fused, 1e-12)


def test_compiled_products_are_those_of_the_loops():
    assert_same(*runs(THREE_DELAYS, ("event", "native")), 1e-12)


def test_fused_runs_have_the_same_spikes_in_float32():
    slow, fused = runs(
        side_by_side(THREE_DELAYS, network(LIF(clears_synapses=True), (EXC, INH)), network(projections=(OPEN, SHUT))),
        dtype="float32",
        duration_ms=30.0,
    )
    assert len(slow.spikes) > 50
    assert_same(slow, fused, 1e-3)


@pytest.mark.slow
def test_chunks_and_states_do_not_change_a_fused_run():
    net = THREE_DELAYS
    (whole,) = runs(net, ("fused",))
    (chunked,) = runs(net, ("fused",), chunk_steps=35)
    assert_same(whole, chunked, 0.0)
    (first,) = runs(net, ("fused",), duration_ms=20.0)
    (second,) = runs(net, ("event",), duration_ms=41.3, state=first.state)  # a state serves every method
    assert pairs(whole) == tuple(a + b for a, b in zip(pairs(first), pairs(second), strict=True))


@pytest.mark.slow
def test_sources_masks_and_cuts_are_those_of_single_steps():
    times = [[0.5 * k, 7.0 + k] for k in range(20)]
    net = network(
        projections=(
            EXC,
            ("given", "trains", Exponential(), 300, 1.0, 300.0, {}),
            ("random", "poisson", Delta(), 300, 0.9, 2.0, {}),
        ),
        sources=(("trains", SpikeSource()), ("poisson", PoissonSource())),
    )
    settings = {
        "stimuli": [SpikeTrains(range(1000, 1020), times), Step(range(0, N, 3), 240.0)],
        "interventions": [Ablate([0, 3, 1001, 2002]), Cut(range(60), None, start_ms=20.0, stop_ms=40.0)],
        "record": ["spikes", Record("v_mV", [5, 2, 77]), Record("rate_Hz", None, 5.0)],
        "duration_ms": 60.0,
    }
    slow, fused = runs(net, **settings)
    silent = {0, 3, 1001, 2002}
    assert not silent & set(slow.spikes.ids.tolist())
    assert {1000, 1019} <= set(slow.spikes.ids.tolist())
    assert any(i >= 2000 for i in slow.spikes.ids.tolist())
    assert_same(slow, fused, 1e-12)
    assert fused.traces["v_mV"].ids == (5, 2, 77)
    np.testing.assert_allclose(fused.trace("rate_Hz"), slow.trace("rate_Hz"), rtol=1e-12)


def test_a_neuron_with_a_hundred_thousand_inputs_gets_them_all():
    rng = np.random.default_rng(0)
    n, e = 50, 100_000
    start = np.sort(rng.integers(0, n, e))
    indptr = np.concatenate([[0], np.cumsum(np.bincount(start, minlength=n))]).astype(np.int32)
    weight = rng.normal(size=e)
    cells = Population("cells", LIF(), tuple(range(n)), np.zeros(n, int), ("all",))
    onto_one = Projection(
        "p", "cells", "cells", Exponential(), indptr, np.full(e, 7, np.int32), weight, np.zeros(e, int), ("all",), 1.0
    )
    net = Network((cells,), (onto_one,), {"cells": defaults(LIF), "p": {"log_gain": [0.0], "tau_syn_ms": [5.0]}})
    (fused,) = runs(net, ("fused",), stimuli=[Step(range(0, 50, 2), 1e5, 0.0, 0.1)], duration_ms=1.2)
    assert set(fused.spikes.ids.tolist()) == set(range(0, 50, 2))
    # All spike in the first step, and arrive at the end of the eleventh; after another step one fade has passed.
    expected = weight[start % 2 == 0].sum() * np.exp(-0.1 / 5.0)
    np.testing.assert_allclose(fused.state.projections["p"]["y"][7], expected, rtol=1e-10)


@pytest.mark.few(1)
@pytest.mark.parametrize("kind", ["one delay, two gains", "delays of edges"])
def test_a_fused_run_takes_fourteen_bytes_an_edge(kind):
    n, e = 1_000, 400_000
    rng = np.random.default_rng(0)
    start = np.sort(rng.integers(0, n, e))
    indptr = np.concatenate([[0], np.cumsum(np.bincount(start, minlength=n))]).astype(np.int32)
    cells = Population("cells", LIF(), tuple(range(n)), np.zeros(n, np.int8), ("all",))
    two = kind == "one delay, two gains"
    projection = Projection(
        "p", "cells", "cells", Exponential(), indptr, rng.integers(0, n, e, dtype=np.int32),
        rng.random(e, dtype=np.float32), (rng.random(e) < 0.5 * two).astype(np.int8), ("a", "b") if two else ("a",),
        1.0, edge_delay_ms=None if two else rng.integers(10, 20, e).astype(np.float16) / 10, longest_delay_ms=2.0,
    )  # fmt: skip
    log_gain = np.zeros(2 if two else 1)
    net = Network((cells,), (projection,), {"cells": defaults(LIF), "p": {"log_gain": log_gain, "tau_syn_ms": [5.0]}})
    state = initial_state(net, dt_ms=0.1)
    one = jax.jit(lambda net, state: run(net, state, {}, {}, {}, dt_ms=0.1, n_steps=10, room=(("cells", 100),)))
    used = one.lower(jax.tree.map(jnp.asarray, net), state).compile().memory_analysis()
    neurons = 40 * n + 2 * 4 * 20 * n  # parameters and state; what is under way, before and after
    assert used.argument_size_in_bytes + used.temp_size_in_bytes + used.output_size_in_bytes < 14 * e + 3 * neurons


def test_more_spikes_than_there_was_room_for_are_not_lost():
    net = network(t_ref_ms=0.0)
    settings = {"stimuli": [Step(None, 1e5)], "duration_ms": 100.0}  # every neuron in every step: 10 kHz
    (fused,) = runs(net, ("fused",), **settings)
    assert len(fused.spikes) == N * 1000


def test_a_population_that_threads_share_has_the_same_spikes():
    n, e = 6_000, 60_000  # enough for a second thread to be asked for
    rng = np.random.default_rng(2)
    start = np.sort(rng.integers(0, n, e))
    indptr = np.concatenate([[0], np.cumsum(np.bincount(start, minlength=n))]).astype(np.int32)
    cells = Population("cells", LIF(), tuple(range(n)), np.zeros(n, int), ("all",))
    projection = Projection(
        "p", "cells", "cells", Exponential(), indptr, rng.integers(0, n, e, dtype=np.int32), rng.normal(0, 40, e),
        np.zeros(e, np.int8), ("all",), 2.0,
    )  # fmt: skip
    net = Network((cells,), (projection,), {"cells": defaults(LIF), "p": {"log_gain": [0.0], "tau_syn_ms": [5.0]}})
    settings = {"stimuli": [Step(range(0, n, 2), 230.0)], "record": ["spikes"], "duration_ms": 40.0}
    slow, fused, again = runs(net, ("native", "fused", "fused"), **settings)
    assert len(slow.spikes) > 3_000
    assert pairs(slow) == pairs(fused) == pairs(again)


def test_rows_in_the_order_of_delays_are_walked_as_they_fall_due():
    n, per_row, longest = 2_000, 600, 71  # in steps: the line is too large for the second cache
    rng = np.random.default_rng(6)
    indptr = (np.arange(n + 1) * per_row).astype(np.int32)
    delays = np.sort(rng.integers(3, longest + 1, (n, per_row)), axis=1).ravel() / 10
    cells = Population("cells", LIF(), tuple(range(n)), np.zeros(n, int), ("all",))
    projection = Projection(
        "p", "cells", "cells", Exponential(), indptr, rng.integers(0, n, delays.size, dtype=np.int32),
        rng.normal(0, 10, delays.size), np.zeros(delays.size, np.int8), ("all",), 0.3, edge_delay_ms=delays,
        longest_delay_ms=longest / 10,
    )  # fmt: skip
    net = Network((cells,), (projection,), {"cells": defaults(LIF), "p": {"log_gain": [0.2], "tau_syn_ms": [5.0]}})
    settings = {"stimuli": [Step(range(0, n, 2), 400.0)], "record": ["spikes"], "duration_ms": 30.0}
    slow, fused, cut = (
        runs(net, (method,), **settings, chunk_steps=steps)[0]
        for method, steps in (("native", None), ("fused", None), ("fused", 70))
    )
    assert len(slow.spikes) > 1_000
    assert pairs(slow) == pairs(fused) == pairs(cut)
    for x, y, z in zip(*(jax.tree.leaves(r.state) for r in (slow, fused, cut)), strict=True):
        np.testing.assert_allclose(y, x, rtol=0, atol=1e-10)
        np.testing.assert_allclose(z, x, rtol=0, atol=1e-10)


@pytest.mark.slow
def test_trials_are_those_of_single_steps():
    net = network(
        projections=(EXC, ("random", "poisson", Delta(), 300, 0.9, 9.0, {})), sources=(("poisson", PoissonSource()),)
    )
    settings = {"trials": 3, "duration_ms": 40.0, "stimuli": [Step(None, 150.0), WhiteNoise(range(N), 300.0)]}
    slow, fused = runs(net, **settings, record=["spikes", "v_mV", Record("rate_Hz", None, 5.0)])
    assert (fused.method, fused.trials) == ("fused", 3)
    assert slow.spikes.trial.tolist() == fused.spikes.trial.tolist()
    assert len({tuple(slow.spikes.time_ms[slow.spikes.trial == k]) for k in range(3)}) == 3
    assert_same(slow, fused, 1e-11)
    np.testing.assert_allclose(fused.trace("rate_Hz"), slow.trace("rate_Hz"), rtol=1e-12)


@pytest.mark.slow
def test_a_batch_of_fused_runs_is_that_of_single_ones():
    net = THREE_DELAYS
    with jax.enable_x64(True):
        state = initial_state(net, dt_ms=0.1)
        currents = jnp.asarray(np.random.default_rng(4).random((3, 200, 10)) * 900.0)
        index = np.arange(10, 20)
        room = (("cells", N * 200),)

        def counts(rows):
            return run(net, state, {"cells": (index, rows)}, {}, {}, dt_ms=0.1, n_steps=200, room=room).counts["cells"]

        together = jax.jit(jax.vmap(counts))(currents)
        assert together.sum() > 50
        np.testing.assert_array_equal(together, jnp.stack([jax.jit(counts)(rows) for rows in currents]))


@pytest.mark.few(2)
@pytest.mark.parametrize(
    ("net", "why"),
    [
        (network(AdEx()), "population 'cells' is of adex neurons"),
        (network(LIF(refractory_input="keep")), "keeps the input of its refractory period"),
        (network(noise_mV=1.0), "has noise"),
        (network(projections=(EXC, OPEN)), "population 'cells' gets both currents and conductances"),
        (network(GLIF3(), (OPEN,)), "exponential_conductance synapses onto glif3 neurons"),
        (network(projections=[("a", "cells", Alpha(), 9, 1.0, 1.0, {})]), "projection 'a' has alpha synapses"),
    ],
)
def test_networks_that_do_not_qualify_say_why(net, why):
    assert why in obstacle(net)
    with pytest.raises(SettingError, match="'fused' cannot run this"):
        simulate(net, duration_ms=1.0, dt_ms=0.1, method="fused")
    assert simulate(net, duration_ms=1.0, dt_ms=0.1).method == "auto"


def test_plastic_projections_do_not_qualify():
    net = network(projections=(EXC,))
    (projection,) = net.projections
    plastic = replace(net, projections=(replace(projection, plasticity=TsodyksMarkram()),))
    assert "plasticity" in obstacle(plastic)


@pytest.mark.few(1)
@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"interventions": [Clamp([1], -60.0)]}, "clamped"),
        ({"interventions": [Silence([1], 1.0, 2.0)]}, "silenced for a while"),
        ({"record": ["refractory_steps"]}, "'refractory_steps' of population 'cells' is recorded"),
    ],
)
def test_runs_that_do_not_qualify_say_why_and_go_by_another_way(settings, why):
    net = network(projections=(EXC,))
    with pytest.raises(SettingError, match=why):
        simulate(net, duration_ms=3.0, dt_ms=0.1, method="fused", **settings)
    assert simulate(net, duration_ms=3.0, dt_ms=0.1, **settings).method == "auto"


def test_other_devices_take_another_way(monkeypatch):
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    with pytest.raises(SettingError, match="for CPUs, and JAX works on a gpu here"):
        simulate(network(), duration_ms=1.0, dt_ms=0.1, method="fused")


def test_a_fused_run_that_diverges_says_where_and_when():
    net = network(projections=(("a", "cells", Exponential(), 500, 1.0, 1e38, {}),))
    with pytest.raises(Exception, match=r"diverged: .* of population 'cells', neuron .* ms"):
        simulate(net, duration_ms=60.0, dt_ms=0.1, method="fused", stimuli=[Step(None, 1000.0)])
