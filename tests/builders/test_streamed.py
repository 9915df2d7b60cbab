"""Networks drawn as a stream: the numbers that the rules say, the distributions of textbooks, arrays JAX shares."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pyarrow as pa
import pytest
from scipy import stats

from connectofit.builders import (
    Bernoulli,
    Delays,
    EdgeRule,
    FixedInDegree,
    FixedTotal,
    ModelSpec,
    NeuronGroup,
    NeuronRule,
    Normal,
    RandomEdges,
    Synapses,
    build,
    draw_network,
    streamed_blocks,
)
from connectofit.builders.streamed_blocks import delay_dtype
from connectofit.connectome import Connectome
from connectofit.connectome.errors import SettingError, UnknownNameError
from connectofit.sim import LIF, Delta, Exponential, ExponentialConductance, GradedLeaky, initial_state, simulate

E, I = NeuronGroup("E", 400), NeuronGroup("I", 100)  # noqa: E741


def edges(rule, pre="E", post="E", weight=1.0, delay_ms=1.5, **settings) -> RandomEdges:
    return RandomEdges(pre, post, rule, weight, delay_ms, **settings)


def drawn(*rules, groups=(E, I), seed=0, **settings):
    """(network, its only projection)."""
    net = draw_network(groups, rules, seed=seed, **settings)
    return net, net.projections[0]


def pairs(net, projection) -> Counter:
    """How many edges there are from each group to each."""
    pre, post = (np.asarray(net.population(end).type_index) for end in (projection.pre, projection.post))
    types = net.population(projection.pre).types, net.population(projection.post).types
    return Counter(
        (types[0][a], types[1][b]) for a, b in zip(pre[projection.pre_index], post[projection.post_index], strict=True)
    )


@pytest.fixture
def small_blocks(monkeypatch):
    """Blocks of three neurons, so that small networks have many."""
    monkeypatch.setattr(streamed_blocks, "_BLOCK_ROWS", 3)


# --- numbers of edges -------------------------------------------------------------------------------------------------


def test_a_fixed_total_is_the_number_of_edges_of_each_pair_of_groups(small_blocks):
    numbers = {("E", "E"): 5_000, ("E", "I"): 1_234, ("I", "E"): 777, ("I", "I"): 1}
    net, projection = drawn(*[edges(FixedTotal(n), *ends) for ends, n in numbers.items()])
    assert pairs(net, projection) == numbers
    assert projection.indptr[0] == 0
    assert projection.indptr[-1] == projection.n_edges == sum(numbers.values())


def test_a_fixed_in_degree_is_that_of_every_target(small_blocks):
    net, projection = drawn(edges(FixedInDegree(20), "I", "E"), edges(FixedInDegree(7), "E", "E"))
    assert pairs(net, projection) == {("I", "E"): 20 * 400, ("E", "E"): 7 * 400}
    from_i = projection.pre_index >= 400
    assert set(np.bincount(projection.post_index[from_i], minlength=400)[:400].tolist()) == {20}
    assert set(np.bincount(projection.post_index[~from_i], minlength=400)[:400].tolist()) == {7}


def test_pairs_joined_by_bernoulli_trials_are_joined_once(small_blocks):
    net, projection = drawn(edges(Bernoulli(0.3), "E", "I"), edges(Bernoulli(0.9), "I", "I"))
    pair = projection.pre_index * 500 + projection.post_index
    assert len(np.unique(pair)) == len(pair)
    found = pairs(net, projection)
    for ends, n, p in ((("E", "I"), 400 * 100, 0.3), (("I", "I"), 100 * 100, 0.9)):
        assert abs(found[ends] - n * p) < 5 * np.sqrt(n * p * (1 - p))


def test_bernoulli_trials_of_probability_0_and_1_join_none_and_all():
    assert drawn(edges(Bernoulli(0.0)))[1].n_edges == 0
    _, projection = drawn(edges(Bernoulli(1.0), "I", "I"))
    assert projection.n_edges == 100 * 100
    assert (np.bincount(projection.post_index)[400:] == 100).all()


def test_rules_without_edges_make_a_network_that_runs():
    net, projection = drawn(edges(FixedTotal(0), delay_ms=Normal(1.5, 0.5)))
    assert projection.n_edges == 0
    assert len(simulate(net, duration_ms=5.0, dt_ms=0.1, record=["spikes"]).spikes) == 0


# --- distributions ----------------------------------------------------------------------------------------------------


def share_of_chi_square(observed, expected) -> float:
    """The probability of a chi-square at least as large, on one degree of freedom less than there are classes."""
    return float(stats.chi2.sf(np.sum((observed - expected) ** 2 / expected), len(expected) - 1))


@pytest.mark.parametrize("threads", [1, 2])
def test_degrees_of_a_fixed_total_are_multinomial(small_blocks, threads):
    _, projection = drawn(edges(FixedTotal(40_000)), seed=3, threads=threads)
    for degree in (np.diff(projection.indptr)[:400], np.bincount(projection.post_index, minlength=400)[:400]):
        # Of a multinomial sample over 400 neurons, the sum of squared deviations over 100 is chi-square with 399.
        assert 1e-3 < share_of_chi_square(degree, np.full(400, 100.0)) < 1 - 1e-3


def test_both_ends_are_independent(small_blocks):
    _, projection = drawn(edges(FixedTotal(90_000), "I", "I"), seed=1)
    times = np.bincount((projection.pre_index - 400) * 100 + projection.post_index - 400, minlength=10_000)
    assert 1e-3 < share_of_chi_square(times, np.full(10_000, 9.0)) < 1 - 1e-3


@pytest.mark.parametrize(
    ("rule", "total"), [(FixedInDegree(30), 12_000), (FixedTotal(12_000), 12_000), (Bernoulli(0.3), None)]
)
def test_out_degrees_are_binomial_within_and_across_blocks(small_blocks, rule, total):
    _, projection = drawn(edges(rule, "I", "E"), seed=2)
    degree = np.diff(projection.indptr)[400:]
    n, p = (400, 0.3) if total is None else (total, 0.01)
    classes = stats.binom.ppf([0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0], n, p)
    classes[0] = -1
    expected = 100 * np.diff(stats.binom.cdf(classes, n, p))
    observed = np.histogram(degree, classes + 0.5)[0]
    assert share_of_chi_square(observed, expected) > 1e-3


@pytest.mark.few(1)
@pytest.mark.parametrize("rule", [FixedTotal(60), FixedInDegree(6), Bernoulli(0.5)])
def test_edges_fall_into_blocks_as_if_all_were_drawn_at_once(small_blocks, rule):
    # 12 neurons onto 10, in 4 blocks: the first block's edges are binomial with a quarter of them, over many seeds.
    groups = (NeuronGroup("a", 12), NeuronGroup("b", 10))
    firsts = [drawn(edges(rule, "a", "b"), groups=groups, seed=k)[1].indptr[3] for k in range(300)]
    n, p = (30, 0.5) if isinstance(rule, Bernoulli) else (60, 0.25)
    mean, sd = n * p, np.sqrt(n * p * (1 - p))
    assert abs(np.mean(firsts) - mean) < 4 * sd / np.sqrt(300)
    # The variance of a sample's variance: of about normal values 2 sd^4 / n.
    assert abs(np.var(firsts) - sd**2) < 4 * sd**2 * np.sqrt(2 / 300)


def test_weights_are_normal_with_the_sign_of_their_mean():
    groups = (NeuronGroup("E", 50), NeuronGroup("I", 50))
    _, projection = drawn(
        edges(FixedTotal(20_000), "E", "I", Normal(10.0, 1.0)),
        edges(FixedTotal(20_000), "I", "E", Normal(-40.0, 30.0)),
        edges(FixedTotal(300), "E", "E", 2.5),
        groups=groups,
    )
    inhibits, within = projection.pre_index >= 50, projection.post_index < 50
    weight = projection.base_weight
    excitatory, inhibitory = weight[~inhibits & ~within], weight[inhibits]
    assert abs(excitatory.mean() - 10.0) < 4 / np.sqrt(20_000)
    assert excitatory.std() == pytest.approx(1.0, rel=0.03)
    assert stats.kstest(-inhibitory, stats.truncnorm(-40 / 30, np.inf, 40, 30).cdf).pvalue > 1e-3
    assert (weight[~inhibits] > 0).all()
    assert (inhibitory < 0).all()
    assert (weight[~inhibits & within] == 2.5).all()


def test_delays_are_normal_drawn_again_below_half_a_step_and_rounded():
    _, projection = drawn(edges(FixedTotal(50_000), delay_ms=Normal(0.4, 0.3)))
    steps = np.rint(projection.edge_delay_ms.astype(np.float64) / 0.1).astype(int)
    assert steps.min() == 1
    assert projection.delay_ms == 0.1
    assert projection.longest_delay_ms == pytest.approx(steps.max() * 0.1, abs=1e-12)
    cdf = stats.truncnorm((0.5 - 4) / 3, np.inf, 4, 3).cdf
    expected = 50_000 * np.diff(cdf(np.array([0.5, *np.arange(1.5, 14), np.inf])))
    assert share_of_chi_square(np.bincount(np.minimum(steps, 14), minlength=15)[1:], expected) > 1e-3


def test_edges_of_a_neuron_ascend_by_delay_then_by_target():
    _, projection = drawn(edges(FixedTotal(9_000), delay_ms=Normal(1.0, 0.5)), edges(FixedTotal(900), "E", "I"))
    order = np.lexsort((projection.post_index, projection.edge_delay_ms, projection.pre_index))
    assert (projection.edge_delay_ms[order] == projection.edge_delay_ms).all()
    assert (projection.post_index[order] == projection.post_index).all()


# --- seeds ------------------------------------------------------------------------------------------------------------

MIXED = (
    edges(FixedTotal(3_000), weight=Normal(5.0, 1.0), delay_ms=Normal(1.5, 0.7)),
    edges(FixedInDegree(5), "I", "E", -3.0, 0.8),
    edges(Bernoulli(0.1), "E", "I", Normal(1.0, 0.1), 0.3),
)


def arrays(projection) -> list[np.ndarray]:
    names = ("indptr", "post_index", "base_weight", "type_index", "edge_delay_ms")
    return [getattr(projection, name) for name in names]


def equal(a, b) -> bool:
    return all(np.array_equal(x, y) for x, y in zip(arrays(a), arrays(b), strict=True))


def test_the_network_does_not_depend_on_the_number_of_threads(small_blocks):
    alone = drawn(*MIXED, threads=1)[1]
    assert equal(alone, drawn(*MIXED, threads=2)[1])
    assert equal(alone, drawn(*MIXED, threads=5)[1])


def test_seeds_decide():
    assert equal(drawn(*MIXED, seed=5)[1], drawn(*MIXED, seed=5)[1])
    other = drawn(*MIXED, seed=6)[1]
    assert not np.array_equal(drawn(*MIXED, seed=5)[1].indptr, other.indptr)


def test_a_rule_that_is_added_leaves_the_ends_and_delays_of_the_others():
    def without_i(net, projection):
        kept = (projection.pre_index < 400) & (projection.post_index < 400)
        return [a[kept] for a in (projection.pre_index, projection.post_index, projection.edge_delay_ms)]

    alone, with_others = without_i(*drawn(MIXED[0])), without_i(*drawn(*MIXED))
    assert all(np.array_equal(a, b) for a, b in zip(alone, with_others, strict=True))


# --- arrays -----------------------------------------------------------------------------------------------------------


def test_an_edge_takes_ten_bytes_and_jax_shares_them():
    _, projection = drawn(*MIXED)
    dtypes = [a.dtype for a in arrays(projection)]
    assert dtypes == [np.int32, np.int32, np.float32, np.int8, np.float16]
    for array in arrays(projection):
        assert array.ctypes.data % 64 == 0
        shared = jax.device_put(array)
        assert shared.dtype == array.dtype
        assert shared.unsafe_buffer_pointer() == array.ctypes.data


def test_one_delay_for_all_edges_is_not_kept_for_each():
    _, projection = drawn(edges(FixedTotal(100)), edges(FixedTotal(100), "I", "E", -1.0))
    assert projection.edge_delay_ms is None
    assert projection.delay_ms == 1.5
    assert projection.longest_delay_ms is None


def test_float16_tells_steps_of_a_tenth_of_a_millisecond_apart_up_to_128_ms():
    steps = np.arange(1, 1_280)
    assert delay_dtype(127.9, 0.1) is np.float16
    assert (np.rint((steps * 0.1).astype(np.float16).astype(np.float64) / 0.1) == steps).all()
    assert delay_dtype(128.0, 0.1) is np.float32
    assert delay_dtype(16.0, 0.01) is np.float32
    assert delay_dtype(15.9, 0.01) is np.float16
    fine = np.arange(1, 1_600)
    assert (np.rint((fine * 0.01).astype(np.float16).astype(np.float64) / 0.01) == fine).all()
    assert delay_dtype(1e5, 1e3) is np.float32  # beyond the largest float16


def test_groups_are_types_with_their_parameters_ids_and_columns():
    groups = (NeuronGroup("E", 3, {"tau_m_ms": 15.0}), NeuronGroup("I", 2, {"i_bias_pA": 7.0}))
    net, projection = drawn(edges(FixedTotal(5), synapses=Synapses("fast", params={"tau_syn_ms": 0.5})), groups=groups)
    cells = net.population("cells")
    assert net.ids == ("E_0", "E_1", "E_2", "I_0", "I_1")
    assert cells.types == ("E", "I")
    assert cells.table.column("cell_type").to_pylist() == ["E"] * 3 + ["I"] * 2
    assert net.params["cells"]["tau_m_ms"].tolist() == [15.0, LIF.parameters["tau_m_ms"].default]
    assert net.params["cells"]["i_bias_pA"].tolist() == [0.0, 7.0]
    assert projection.name == "fast"
    assert {k: v.tolist() for k, v in net.params["fast"].items()} == {"log_gain": [0.0], "tau_syn_ms": [0.5]}


def test_gains_by_pairs_of_groups_give_each_pair_its_own():
    net, projection = drawn(*MIXED, gains="pairs")
    assert projection.types == (("E", "E"), ("I", "E"), ("E", "I"))
    group = np.asarray(net.population("cells").type_index)
    ends = zip(group[projection.pre_index], group[projection.post_index], strict=True)
    expected = [projection.types.index((("E", "I")[a], ("E", "I")[b])) for a, b in ends]
    assert projection.type_index.tolist() == expected
    assert net.params["synapses"]["log_gain"].tolist() == [0.0, 0.0, 0.0]


def test_populations_and_synapses_of_several_names_make_projections():
    other = NeuronGroup("G", 30, population="other", model=LIF(clears_synapses=True))
    slow = Synapses("slow", Exponential(), {"tau_syn_ms": 10.0})
    rules = [edges(FixedTotal(50)), edges(FixedTotal(60), "E", "G"), edges(FixedTotal(70), "G", "I", synapses=slow)]
    net = draw_network((E, other, I), rules, seed=0)
    found = {p.name: (p.pre, p.post, p.n_edges, int(p.post_index.min()) >= 0) for p in net.projections}
    assert found == {
        "synapses:cells->cells": ("cells", "cells", 50, True),
        "synapses:cells->other": ("cells", "other", 60, True),
        "slow:other->cells": ("other", "cells", 70, True),
    }
    assert (net.projection("slow:other->cells").post_index >= 400).all()
    assert net.params["slow:other->cells"]["tau_syn_ms"].tolist() == [10.0]


# --- the same as by way of a table ------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("method", ["event", "auto"])
def test_the_same_edges_by_way_of_a_connectome_give_the_same_spikes(method):
    cell = {"tau_m_ms": 10.0, "r_m_GOhm": 0.04, "i_bias_pA": 450.0}
    groups = (NeuronGroup("E", 80, cell), NeuronGroup("I", 20, cell))
    rules = [
        edges(Bernoulli(0.2), pre, post, Normal(w, 0.1 * abs(w)), Normal(d, 0.5 * d))
        for pre, w, d in (("E", 90.0, 1.5), ("I", -360.0, 0.8))
        for post in "EI"
    ]
    net, projection = drawn(*rules, groups=groups)
    connectome = Connectome.from_edges(
        net.population("cells").table,
        pre=projection.pre_index,
        post=projection.post_index,
        count=np.ones(projection.n_edges, int),
        sign=np.sign(projection.base_weight).astype(np.int8),
        edge_columns=pa.table(
            {"size": np.abs(projection.base_weight), "delay": projection.edge_delay_ms.astype(np.float64)}
        ),
    )
    rule = EdgeRule("synapses", "exponential", weight="size", delay_ms=Delays("delay", resolution_ms=0.1))
    spec = ModelSpec(neurons=(NeuronRule("cells", "lif", params=cell),), edges=(rule,))
    with jax.enable_x64(True):
        found = [spikes_of(network, method) for network in (net, build(connectome, spec))]
    assert len(found[0]) > 200
    assert found[0] == found[1]


def spikes_of(net, method) -> list[tuple[float, str]]:
    state = initial_state(net, dt_ms=0.1, dtype=jnp.float64)
    state.populations["cells"]["v_mV"] = jnp.linspace(-70.0, -55.0, net.n_neurons)
    spikes = simulate(
        net, duration_ms=100.0, dt_ms=0.1, record=["spikes"], method=method, dtype="float64", state=state
    ).spikes
    return sorted(zip(np.round(spikes.time_ms, 6).tolist(), spikes.ids.tolist(), strict=True))


# --- errors -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (lambda: drawn(groups=()), SettingError, "no group"),
        (lambda: drawn(groups=(NeuronGroup("E", 0),)), SettingError, "size of group 'E'.*at least 1; it is 0"),
        (lambda: drawn(groups=(NeuronGroup("E", 2.5),)), SettingError, "it is 2.5"),
        (lambda: drawn(groups=(E, E)), SettingError, "Two groups of neurons are named 'E'"),
        (lambda: drawn(groups=(E, replace(I, model=GradedLeaky()))), SettingError, "'E', 'I'.*differ in their model"),
        (lambda: drawn(groups=(NeuronGroup("E", 2, {"tau_ms": 1.0}),)), UnknownNameError, "'tau_ms' in group 'E'"),
        (lambda: FixedTotal(-1), SettingError, "number of FixedTotal.*-1"),
        (lambda: FixedInDegree(1.5), SettingError, "number of FixedInDegree.*1.5"),
        (lambda: Bernoulli(-0.1), SettingError, "from 0 to 1; it is -0.1"),
        (lambda: Bernoulli(1.1), SettingError, "from 0 to 1; it is 1.1"),
        (lambda: drawn(edges(FixedTotal(1), "X")), UnknownNameError, "'X' in the edges 'X' -> 'E'"),
        (lambda: drawn(edges(FixedTotal(1), delay_ms=0.05)), SettingError, "delay_ms of the edges 'E' -> 'E'.*0.05"),
        (lambda: drawn(edges(FixedTotal(1), delay_ms=0.15)), SettingError, "1.5 steps of dt_ms = 0.1"),
        (lambda: drawn(edges(FixedTotal(1), delay_ms=Normal(1, -1))), SettingError, "sd of delay_ms"),
        (lambda: drawn(edges(FixedTotal(1), weight=Normal(0, 1))), SettingError, "no sign to keep"),
        (lambda: drawn(edges(FixedTotal(1), weight=np.nan)), SettingError, "weight of the edges 'E' -> 'E'"),
        (lambda: drawn(edges(FixedTotal(2**31))), SettingError, "2,147,483,648 edges.*at most 2,147,483,647"),
        (lambda: drawn(edges(FixedTotal(1)), dt_ms=0.0), SettingError, "dt_ms"),
        (lambda: drawn(edges(FixedTotal(1)), seed=-1), SettingError, "seed"),
        (lambda: drawn(edges(FixedTotal(1)), gains="pair"), UnknownNameError, "Did you mean 'pairs'"),
        (
            lambda: drawn(edges(FixedTotal(1)), edges(FixedTotal(1), synapses=Synapses(model=Delta()))),
            SettingError,
            "another model or other parameters",
        ),
        (
            lambda: drawn(edges(FixedTotal(1), synapses=Synapses(params={"tau_ms": 1.0}))),
            UnknownNameError,
            "'tau_ms' in synapses 'synapses'",
        ),
        (
            lambda: drawn(edges(FixedTotal(9), weight=-1.0, synapses=Synapses(model=ExponentialConductance()))),
            SettingError,
            "0 or more",
        ),
    ],
)
def test_what_cannot_be_drawn_is_named(make, error, text):
    with pytest.raises(error, match=text):
        make()
