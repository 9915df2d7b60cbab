"""A network of three populations with all kinds of delays and both kinds of plasticity: however its run is cut, it is
the same run, and names mean the same neurons everywhere."""

from __future__ import annotations

from dataclasses import replace

import jax
import numpy as np
import pyarrow as pa
import pytest

from connectofit.builders import Delays, Distance, EdgeRule, ModelSpec, NeuronRule, build
from connectofit.connectome import Connectome
from connectofit.connectome.errors import SettingError
from connectofit.connectome.synthetic import erdos_renyi
from connectofit.sim import (
    Activate,
    Clamp,
    Cut,
    Network,
    PoissonPulses,
    Record,
    Recording,
    Series,
    Silence,
    SpikeTrains,
    Step,
    Where,
    simulate,
)

LIF = {"v_rest_mV": -60.0, "v_reset_mV": -60.0, "v_threshold_mV": -50.0}
SPEC = ModelSpec(
    neurons=(
        NeuronRule("input", "poisson_source", "id < 20", params={"rate_Hz": 60.0}),
        NeuronRule("E", "lif", "id >= 20 and cell_type == 'E'", params=LIF | {"noise_mV": 1.0}),
        NeuronRule("I", "lif", "cell_type == 'I'", params=LIF),
    ),
    edges=(
        EdgeRule("in", "exponential", "pre < 20 and post >= 20 and post.cell_type == 'E'", gain=200.0, delay_ms=1.5,
                 plasticity="tsodyks_markram", params={"tau_facil_ms": 50.0}),
        EdgeRule("ee", "exponential", "pre >= 20 and sign == 1 and post.cell_type == 'E' and post >= 20", gain=60.0,
                 delay_ms=Distance(30.0, minimum_ms=0.4)),
        EdgeRule("ei", "exponential", "pre >= 20 and sign == 1 and post.cell_type == 'I'", gain=150.0, delay_ms=0.5,
                 plasticity="stdp", params={"w_max": 300.0, "a_plus": 0.02, "a_minus": 0.021}),
        EdgeRule("ie", "exponential_conductance", "sign == -1 and post >= 20 and post.cell_type == 'E'", gain=4.0,
                 delay_ms=1.0, params={"e_rev_mV": -80.0}),
    ),
    unclaimed_edges="drop",
)  # fmt: skip
SETTINGS = {"dt_ms": 0.1, "seed": 3, "record": ("spikes", Record("v_mV", Where("id in (25, 40, 97)"))), "trials": 2}
STIMULI = (PoissonPulses(Where("cell_type == 'E' and id >= 20"), 200.0, 300.0), Step(Where("id >= 96"), 400.0, 5.0))
INTERVENTIONS = (
    Silence(Where("id < 10"), 3.0, 17.0),
    Activate([30, 100, 31], 400.0, 6.05, 25.0),
    Clamp(40, -58.0, 8.0, 21.3),
    Cut(Where("cell_type == 'I'"), Where("id < 60"), start_ms=10.0, stop_ms=20.0),
    Cut(projection="ei:E->I", start_ms=20.0),
)


@pytest.fixture(scope="module")
def net() -> Network:
    return build(erdos_renyi(120, probability=0.15, seed=5), SPEC)


def run(net: Network, duration_ms: float, **changes) -> Recording:
    return simulate(net, duration_ms=duration_ms, stimuli=STIMULI, interventions=INTERVENTIONS, **SETTINGS | changes)


@pytest.fixture(scope="module")
def whole(net) -> Recording:
    return run(net, 30.0)


def assert_same_run(parts: list[Recording], whole: Recording) -> None:
    trial = np.concatenate([part.spikes.trial for part in parts])
    order = np.argsort(trial, kind="stable")
    for name in ("time_ms", "ids", "trial"):
        joined = np.concatenate([getattr(part.spikes, name) for part in parts])[order]
        np.testing.assert_array_equal(joined, getattr(whole.spikes, name), err_msg=name)
    joined = np.concatenate([part.trace("v_mV") for part in parts], axis=1)
    np.testing.assert_array_equal(joined, whole.trace("v_mV"))
    jax.tree.map(np.testing.assert_array_equal, parts[-1].state, whole.state)


def test_the_network_is_what_the_tests_of_this_module_need(net, whole):
    assert [p.name for p in net.populations] == ["input", "E", "I"]
    delays = {p.name: (p.delay_ms, p.longest_delay_ms) for p in net.projections}
    assert delays["ei:E->I"] == (0.5, None)
    assert delays["ee:E->E"][0] == 0.4
    assert delays["ee:E->E"][1] > 3.0
    spiking = {name: np.isin(whole.spikes.ids, net.population(name).ids).sum() for name in ("input", "E", "I")}
    assert min(spiking.values()) > 30, spiking
    weight = whole.state.projections["ei:E->I"]["weight"]
    assert np.unique(weight).size > 50
    assert not np.array_equal(weight[0], weight[1])


@pytest.mark.slow
def test_a_run_continued_from_its_state_is_the_unbroken_run(net, whole):
    # 50 steps are no whole number of blocks of the shortest delay, 4, and end while spikes are under way on every edge.
    first = run(net, 5.0)
    second = run(net, 5.0, state=first.state)
    assert_same_run([first, second, run(net, 20.0, state=second.state)], whole)


def test_a_run_in_single_steps_is_the_unbroken_run(lif):
    net = lif(np.random.default_rng(0).normal(size=(20, 20)) * 100, delay_ms=1.5, noise_mV=5.0)
    settings = {"dt_ms": 0.5, "stimuli": (Step(None, 500.0),), "seed": 3}
    whole = simulate(net, duration_ms=10.0, **settings)
    assert len(whole.spikes) > 10
    parts: list[Recording] = []
    for _ in range(20):
        parts.append(simulate(net, duration_ms=0.5, **settings, state=parts[-1].state if parts else None))
    np.testing.assert_array_equal(np.concatenate([part.trace("v_mV") for part in parts]), whole.trace("v_mV"))
    jax.tree.map(np.testing.assert_array_equal, parts[-1].state, whole.state)


@pytest.fixture(scope="module")
def alone(net) -> list[Recording]:
    """Two runs of 10 ms with one trial each, the second after the first, recorded at intervals of 0.7 and 4 ms."""
    record = ("spikes", Record("v_mV", Where("id in (25, 40, 97)"), 0.7), Record("rate_Hz", None, 4.0))
    first = run(net, 10.0, trials=1, record=record)
    return [first, run(net, 10.0, trials=1, record=record, state=first.state)]


def test_trials_are_runs_of_their_own_and_the_first_is_that_without_trials(whole, alone):
    early = whole.spikes.time_ms < 20.05
    first, second = early & (whole.spikes.trial == 0), early & (whole.spikes.trial == 1)
    times, ids = (np.concatenate([getattr(part.spikes, name) for part in alone]) for name in ("time_ms", "ids"))
    np.testing.assert_array_equal(times, whole.spikes.time_ms[first])
    np.testing.assert_array_equal(ids, whole.spikes.ids[first])
    second &= whole.spikes.ids < 96  # those with noise and random input of their own
    other = set(zip(whole.spikes.time_ms[second], whole.spikes.ids[second], strict=True))
    both = other & set(zip(times, ids, strict=True))
    assert len(both) < 0.2 * len(other)


def test_several_trials_go_on_from_one(net, alone):
    many = run(net, 10.0, state=alone[0].state)
    first = many.spikes.trial == 0
    np.testing.assert_array_equal(many.spikes.time_ms[first], alone[1].spikes.time_ms)
    np.testing.assert_array_equal(many.spikes.ids[first], alone[1].spikes.ids)
    assert set(many.spikes.trial) == {0, 1}


def test_recording_at_its_own_interval_goes_on_over_continued_runs(net, whole, alone):
    sampled = np.concatenate([part.trace("v_mV") for part in alone])
    np.testing.assert_array_equal(sampled, whole.trace("v_mV")[0, 6:200:7])
    # An interval that the cut falls into belongs to neither part.
    np.testing.assert_allclose(alone[0].traces["rate_Hz"].t_ms, [4.0, 8.0])
    np.testing.assert_allclose(alone[1].traces["rate_Hz"].t_ms, [16.0, 20.0])
    for k, population in enumerate(net.populations):
        mine = (whole.spikes.trial == 0) & np.isin(whole.spikes.ids, population.ids)
        for part, edges in zip(alone, ([0.05, 4.05, 8.05], [12.05, 16.05, 20.05]), strict=True):
            counts = np.histogram(whole.spikes.time_ms[mine], edges)[0]
            np.testing.assert_allclose(part.trace("rate_Hz")[:, k], counts / population.size / 4e-3, rtol=1e-5)


def test_interventions_do_in_their_windows_what_they_say(net, whole):
    t, ids = whole.spikes.time_ms, whole.spikes.ids
    inside = (t > 3.05) & (t < 17.05)  # a spike of a step has the time of its end
    assert not (inside & (ids < 10)).any()
    assert (inside & (ids >= 10) & (ids < 20)).any()
    assert (~inside & (ids < 10)).any()
    v = whole.trace("v_mV", 40)
    np.testing.assert_array_equal(v[:, 80:213], -58.0)
    assert not (v[:, [79, 213]] == -58.0).any()
    driven = np.isin(ids, [30, 31, 100])
    inside = (t > 6.05) & (t < 25.05)
    expected = 3 * 2 * 19.0 * 0.4
    assert (driven & inside).sum() == pytest.approx(expected, abs=4 * np.sqrt(expected))
    # What the excitatory neurons send from 20 ms on is lost: after the delay nothing arrives any more.
    before, after = (r.state.projections["ei:E->I"]["y"] for r in (whole, run(net, 10.0, state=whole.state)))
    np.testing.assert_allclose(after, before * np.exp(-10.0 / 5.0), rtol=1e-5)


@pytest.fixture
def interleaved() -> Network:
    """Neurons 0, 2, 4 of population even and 1, 3, 5 of population odd, and no edges."""
    connectome = Connectome.from_edges(
        pa.table({"id": np.arange(6), "side": ["even", "odd"] * 3}),
        pre=np.zeros(0, int),
        post=np.zeros(0, int),
        count=np.zeros(0, int),
    )
    return build(
        connectome,
        ModelSpec((NeuronRule("even", "lif", "side == 'even'"), NeuronRule("odd", "spike_source", "side == 'odd'"))),
    )


@pytest.mark.parametrize("ids", [[3, 0, 1, 4], [4, 3, 1, 0], None, Where("id > 2")])
def test_what_is_given_for_each_neuron_follows_the_order_of_the_ids_across_populations(interleaved, ids):
    order = {None: [0, 2, 4, 1, 3, 5]}.get(ids, [4, 3, 5]) if not isinstance(ids, list) else ids
    at = [1.0 + k for k in range(len(order))]
    current = np.zeros((8, len(order)))
    current[np.arange(1, len(order) + 1), np.arange(len(order))] = 1e6
    for stimulus in (Series(ids, current), SpikeTrains(ids, [[t] for t in at], 1e6)):
        fired = simulate(interleaved, duration_ms=8.0, dt_ms=1.0, stimuli=(stimulus,), record=("spikes",)).spikes
        assert fired.ids.tolist() == order
        np.testing.assert_allclose(fired.time_ms, np.array(at) + 1.0)


def test_a_neuron_that_a_stimulus_names_twice_is_refused(interleaved):
    twice = SpikeTrains([5, 2, 5], [[0.1], [0.2], [0.3]])
    with pytest.raises(SettingError, match=r"SpikeTrains stimulus names neurons 5 \(1 in all\) more than once"):
        simulate(interleaved, duration_ms=1.0, dt_ms=0.1, stimuli=(twice,))


def test_numbers_of_numpy_are_ids_too(net, whole):
    assert net.find(np.int64(97)) == net.find(97)
    np.testing.assert_array_equal(whole.trace("v_mV", np.int64(40)), whole.trace("v_mV", 40))
    np.testing.assert_array_equal(whole.trace("v_mV", np.array([40, 25])), whole.trace("v_mV", [40, 25]))


def test_poisson_sources_that_only_their_input_drives_draw_their_spikes():
    spec = ModelSpec((NeuronRule("n", "poisson_source", params={"rate_Hz": 0.0}),), unclaimed_edges="drop")
    sources = build(erdos_renyi(50, probability=0.0, seed=0), spec)
    done = simulate(sources, duration_ms=100.0, dt_ms=0.1, stimuli=(Step(None, 100.0),), record=("spikes",))
    expected = 50 * 100.0 * 0.1
    assert len(done.spikes) == pytest.approx(expected, abs=4 * np.sqrt(expected))


def delays_of(connectome: Connectome, delay) -> dict[tuple[int, int], float]:
    rule = EdgeRule("e", "delta", delay_ms=delay)
    net = build(connectome, ModelSpec((NeuronRule("n", "lif"),), (rule,)))
    (p,) = net.projections
    each = np.full(p.n_edges, p.delay_ms) if p.edge_delay_ms is None else p.edge_delay_ms
    return {(int(i), int(j)): float(d) for i, j, d in zip(p.pre_index, p.post_index, each, strict=True)}


@pytest.fixture
def four() -> Connectome:
    return Connectome.from_edges(
        pa.table({"id": [0, 1, 2, 3], "x_um": [0.0, 30.0, 70.0, 0.0], "y_um": [0.0, 40.0, 0.0, 1.0]}),
        pre=np.array([0, 0, 0, 1]),
        post=np.array([1, 2, 3, 2]),
        count=np.ones(4, np.int32),
        sign=np.ones(4, np.int8),
        edge_columns=pa.table({"delay_ms": [0.75, 1.2, 0.01, 2.0]}),
    )


def test_delays_are_rounded_to_the_nearest_multiple_of_their_resolution_and_halves_to_the_even_one(four):
    assert delays_of(four, 1.2) == dict.fromkeys([(0, 1), (0, 2), (0, 3), (1, 2)], 1.2)
    # 1.5 and 2.4 steps of 0.5 ms, 0.02 steps (a spike takes one at least), 4 steps.
    assert delays_of(four, Delays("delay_ms", 0.5)) == {(0, 1): 1.0, (0, 2): 1.0, (0, 3): 0.5, (1, 2): 2.0}
    # 50, 70, 1 and 56.6 µm at 100 µm a ms.
    by_distance = Distance(100.0, ("x_um", "y_um"), resolution_ms=0.1)
    assert delays_of(four, by_distance) == {(0, 1): 0.5, (0, 2): 0.7, (0, 3): 0.1, (1, 2): 0.6}


@pytest.mark.parametrize("delay", [0.5, Delays("delay_ms", 0.1), Distance(100.0, ("x_um", "y_um"))])
def test_a_spike_arrives_after_the_delay_of_its_edge(four, delay):
    net = build(four, ModelSpec((NeuronRule("n", "lif"),), (EdgeRule("e", "delta", delay_ms=delay, gain=2.0),)))
    done = simulate(net, duration_ms=4.0, dt_ms=0.1, stimuli=(Series(0, np.array([1e6])),), record=("v_mV",))
    for (pre, post), delay_ms in delays_of(four, delay).items():
        if pre == 0:
            moved = np.flatnonzero(done.trace("v_mV", post) > -69.0)
            assert moved[0] == round(delay_ms / 0.1)  # sent at the end of step 0


@pytest.mark.parametrize(
    ("dt_ms", "delay_ms", "message"),
    [
        (0.3, 1.0, r"delay of projection 'e' of 1 ms is 3.33333 steps"),
        (0.1, 0.05, r"delay of 0.05 ms, shorter than dt_ms = 0.1"),
        (0.1, 0.0, r"delay of 0 ms, shorter than dt_ms = 0.1"),
        (0.4, Delays("delay_ms", 0.2), "have to be whole numbers of steps|is .* steps of dt_ms|shorter than dt_ms"),
    ],
)
def test_delays_that_do_not_fit_the_step_are_refused_before_anything_is_compiled(four, dt_ms, delay_ms, message):
    net = build(four, ModelSpec((NeuronRule("n", "lif"),), (EdgeRule("e", "delta", delay_ms=delay_ms),)))
    with jax.log_compiles(False), pytest.raises(SettingError, match=message):
        simulate(net, duration_ms=12.0, dt_ms=dt_ms)


def test_stimuli_that_are_no_list_of_stimuli_are_refused(net):
    for wrong in (Step(25, 1.0), ["25"], None, [Step(25, 1.0), Silence(25, 1.0, 2.0)]):
        with pytest.raises(SettingError, match="stimuli has to be a list of stimuli"):
            simulate(net, duration_ms=1.0, dt_ms=0.1, stimuli=wrong)
    with pytest.raises(SettingError, match="interventions has to be a list"):
        simulate(net, duration_ms=1.0, dt_ms=0.1, interventions=(Step(25, 1.0),))
    with pytest.raises(SettingError, match="named by text or a Record"):
        simulate(net, duration_ms=1.0, dt_ms=0.1, record=[25])
    with pytest.raises(SettingError, match="seed has to be a whole number"):
        simulate(net, duration_ms=1.0, dt_ms=0.1, seed=1.5)


def test_windows_that_hold_no_step_are_refused(net):
    for wrong in ({"stimuli": [Step(25, 1.0, 1.01, 1.04)]}, {"interventions": [Silence(25, 0.0, 0.04)]}):
        with pytest.raises(SettingError, match=r"holds no step of dt_ms = 0\.1"):
            simulate(net, duration_ms=2.0, dt_ms=0.1, **wrong)


def test_long_durations_have_to_be_whole_numbers_of_steps_too(net):
    with pytest.raises(SettingError, match="whole number of steps"):
        simulate(net, duration_ms=2_000_000.05, dt_ms=0.1)
    slow = replace(SPEC.edges[0], delay_ms=100_000.04)
    late = build(erdos_renyi(60, probability=0.2, seed=0), replace(SPEC, edges=(slow,)))
    with pytest.raises(SettingError, match="whole number of steps"):
        simulate(late, duration_ms=1.0, dt_ms=0.1)
