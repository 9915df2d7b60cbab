"""Synthetic connectomes have the degrees, fractions and shapes that their closed forms give."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Callable
from itertools import combinations
from math import erf, exp, pi, sqrt
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from scipy.integrate import dblquad
from scipy.stats import binom, chi2, kstest

from connectofit.connectome import Connectome, SettingError
from connectofit.connectome.synthetic import (
    brunel,
    cortical_sheet,
    distance_rule,
    erdos_renyi,
    lognormal,
    potjans_diesmann,
)
from connectofit.connectome.synthetic.drawing import distinct_partners

SMALL: dict[str, Callable[[int], Connectome]] = {
    "lognormal": lambda seed: lognormal(200, edges=3000, seed=seed),
    "erdos_renyi": lambda seed: erdos_renyi(200, probability=0.1, seed=seed),
    "brunel": lambda seed: brunel(n_excitatory=80, n_inhibitory=20, seed=seed),
    "cortical_sheet": lambda seed: cortical_sheet(200, seed=seed),
    "distance_rule": lambda seed: distance_rule(200, seed=seed),
    "potjans_diesmann": lambda seed: potjans_diesmann(scale=0.01, seed=seed),
}


def evenness(counts: Counter[object], states: int) -> float:
    expected = sum(counts.values()) / states
    chi = sum((n - expected) ** 2 / expected for n in counts.values()) + (states - len(counts)) * expected
    return float(chi2.sf(chi, states - 1))


@pytest.mark.parametrize("name", SMALL)
def test_the_seed_decides_the_result(name: str) -> None:
    assert SMALL[name](1).digest() == SMALL[name](1).digest() != SMALL[name](2).digest()
    for seed in (-1, 1.5, True, None):
        with pytest.raises(SettingError, match="seed"):
            SMALL[name](seed)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", SMALL)
def test_neurons_have_types_and_positions_and_edges_the_sign_of_their_neuron(name: str) -> None:
    c = SMALL[name](0)
    assert {"cell_type", "x_um", "y_um", "z_um"} <= set(c.neurons.column_names)
    signs = [set(c.sign[c.pre == i].tolist()) for i in range(c.n_neurons)]
    assert max(len(s) for s in signs) == 1
    assert set().union(*signs) == {1, -1}
    again = Connectome.from_edges(
        c.neurons, pre=c.pre, post=c.post, count=c.count, sign=c.sign, edge_columns=c.edge_columns
    )
    assert again.digest() == c.digest()


@pytest.mark.parametrize("name", ["lognormal", "erdos_renyi", "brunel", "cortical_sheet", "distance_rule"])
def test_there_are_no_self_loops(name: str) -> None:
    c = SMALL[name](0)
    assert not (c.pre == c.post).any()


# ---- drawing ----


@pytest.mark.parametrize("degree", [2, 3])
def test_all_sets_of_partners_are_equally_likely(degree: int) -> None:
    pool, rows = 40, 12_000  # 2 of 40 is drawn one at a time, 3 of 5 at once
    pool = 40 if degree == 2 else 5
    rng = np.random.default_rng(0)
    _, partner = distinct_partners(np.full(rows, degree), pool, rng)
    counts: Counter[object] = Counter(map(tuple, partner.reshape(rows, degree).tolist()))
    assert evenness(counts, len(list(combinations(range(pool), degree)))) > 0.001


@pytest.mark.parametrize("pool", [5, 40])
def test_weighted_partners_are_drawn_one_after_the_other_from_those_left(pool: int) -> None:
    # P({a, b}) = w_a w_b / (1 - w_a) + w_b w_a / (1 - w_b), with weights that add up to 1
    w = np.arange(1, pool + 1) / np.arange(1, pool + 1).sum()
    rows = 20_000
    _, partner = distinct_partners(np.full(rows, 2), pool, np.random.default_rng(1), weight=w)
    pairs = list(combinations(range(pool), 2))
    expected = np.array([rows * w[a] * w[b] * (1 / (1 - w[a]) + 1 / (1 - w[b])) for a, b in pairs])
    found = Counter(map(tuple, partner.reshape(rows, 2).tolist()))
    observed = np.array([found[pair] for pair in pairs])
    keep = expected > 5
    assert chi2.sf(((observed - expected)[keep] ** 2 / expected[keep]).sum(), keep.sum()) > 0.001


def test_partners_are_different_sorted_and_never_the_row_itself() -> None:
    rng = np.random.default_rng(2)
    degree = rng.integers(0, 100, 100)
    skewed = np.exp(3 * rng.standard_normal(100))
    for weight in (None, skewed):
        row, partner = distinct_partners(degree, 100, rng, own=np.arange(100), weight=weight)
        assert np.bincount(row, minlength=100).tolist() == degree.tolist()
        assert (np.diff(row * 100 + partner) > 0).all()
        assert (row != partner).all()
    with pytest.raises(SettingError, match="cannot have 100 different partners; there are 99"):
        distinct_partners(np.full(100, 100), 100, rng, own=np.arange(100))


# ---- log-normal ----


def test_lognormal_has_the_edges_asked_for_and_log_normal_out_degrees() -> None:
    c = lognormal(20_000, edges=600_000, sigma_out=0.8, seed=0)
    degree = np.diff(c.indptr)
    assert c.n_edges == 600_000
    logs = np.log(degree)
    # The mean of exp(sigma z) is exp(sigma² / 2), so the median degree is below the mean by that factor.
    assert np.median(degree) == pytest.approx(30 * exp(-0.32), rel=0.03)
    assert logs.std() == pytest.approx(0.8, rel=0.03)
    assert kstest((logs - logs.mean()) / logs.std(), "norm").statistic < 0.03


def test_lognormal_targets_attract_log_normally() -> None:
    c = lognormal(5000, edges=500_000, sigma_in=0.5, sigma_out=0.0, seed=1)
    into = np.bincount(c.post, minlength=5000)
    # Poisson about exp(0.5 z): the log's variance is 0.25 and about 1/100 more.
    assert np.log(into).std() == pytest.approx(sqrt(0.25 + 0.01), rel=0.05)
    even = np.bincount(lognormal(5000, edges=500_000, sigma_in=0.0, sigma_out=0.0, seed=1).post, minlength=5000)
    # Each of 4,999 others reaches a neuron with probability 100 / 4,999.
    assert even.var() == pytest.approx(binom.var(4999, 100 / 4999), rel=0.1)


def test_equal_degrees_and_counts_where_nothing_spreads() -> None:
    c = lognormal(100, density=0.1, sigma_out=0, count_median=7, count_sigma=0, seed=0)
    assert c.n_edges == 990
    assert set(np.diff(c.indptr).tolist()) == {9, 10}
    assert set(c.count.tolist()) == {7}


def test_lognormal_counts_have_the_median_and_spread_asked_for() -> None:
    c = lognormal(2000, edges=100_000, count_median=50, count_sigma=0.5, seed=0)
    logs = np.log(c.count)
    assert np.median(c.count) == pytest.approx(50, abs=1)
    assert logs.std() == pytest.approx(0.5, rel=0.01)
    assert lognormal(200, edges=2000, count_median=0.01, seed=0).count.min() == 1


def test_lognormal_ids_sides_and_transmitters() -> None:
    first = 720_575_940_596_125_868
    c = lognormal(10_000, edges=50_000, first_id=first, n_types=5, seed=0)
    assert c.neurons.column("id").type == pa.int64()
    assert c.ids[0] == first > 2**53
    assert c.ids[-1] == first + 9999
    transmitter = c.column("transmitter")
    share = Counter(transmitter.tolist())
    for name, expected in (("ACh", 0.6), ("GABA", 0.2), ("Glu", 0.2)):
        assert share[name] / 10_000 == pytest.approx(expected, abs=5 * sqrt(expected * (1 - expected) / 10_000))
    sign = np.where(transmitter == "ACh", 1, -1)
    assert (c.sign == sign[c.pre]).all()
    assert Counter(c.column("side").tolist())["left"] / 10_000 == pytest.approx(0.49, abs=0.025)
    assert set(c.column("cell_type").tolist()) == {f"type_{k}" for k in range(5)}


def test_a_dense_lognormal_graph_is_filled_up_to_the_last_pair() -> None:
    c = lognormal(30, edges=870, seed=0)
    assert np.diff(c.indptr).tolist() == [29] * 30
    nearly = lognormal(30, edges=800, seed=0)
    assert nearly.n_edges == 800
    assert np.diff(nearly.indptr).max() == 29


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "either edges or density"),
        ({"edges": 5, "density": 0.1}, "either edges or density"),
        ({"edges": 91}, "at most 90 edges"),
        ({"density": 1.5}, "density must be a number from 0 to 1"),
        ({"edges": 5, "sigma_out": -1}, "sigma_out"),
        ({"edges": 5, "n_neurons": 0}, "n_neurons"),
        ({"edges": 5, "first_id": -1}, "first_id"),
        ({"edges": 5, "transmitters": {"ACh": (0.0, 1)}}, "transmitters"),
        ({"edges": 5, "transmitters": {"ACh": (1.0, 2)}}, "transmitters"),
        ({"edges": 5, "transmitters": {}}, "transmitters"),
        ({"edges": 5, "transmitters": {"ACh": (np.nan, 1)}}, "share of ACh"),
        ({"edges": 5, "first_id": 2**63 - 10}, "first_id must be a whole number from 0 to"),
        ({"edges": 5, "count_median": 0}, "count_median must be a number above 0"),
        ({"edges": 5, "count_median": 1e12}, "give counts up to .*Lower one of them"),
        ({"edges": 5, "count_sigma": np.inf}, "count_sigma"),
        ({"edges": 5, "n_types": 0}, "n_types"),
        ({"edges": 5, "extent_um": (1.0, 2.0)}, "extent_um must be three numbers"),
        ({"edges": 5, "extent_um": (1.0, 2.0, -1.0)}, r"extent_um\[2\] must be a number of at least 0"),
    ],
)
def test_lognormal_names_the_setting_that_is_wrong(settings: dict[str, object], message: str) -> None:
    with pytest.raises(SettingError, match=message):
        lognormal(**{"n_neurons": 10, "seed": 0, **settings})  # type: ignore[arg-type]


# ---- Erdős-Rényi ----


def test_erdos_renyi_degrees_are_binomial() -> None:
    n, p = 1500, 0.04
    c = erdos_renyi(n, probability=p, seed=0)
    mean, sd = n * (n - 1) * p, sqrt(n * (n - 1) * p * (1 - p))
    assert abs(c.n_edges - mean) < 4 * sd
    for degree in (np.diff(c.indptr), np.bincount(c.post, minlength=n)):
        assert degree.mean() == pytest.approx(binom.mean(n - 1, p), rel=0.02)
        assert degree.var() == pytest.approx(binom.var(n - 1, p), rel=4 * sqrt(2 / n))
    assert (c.count == 1).all()


def test_erdos_renyi_with_a_number_of_edges_draws_every_graph_alike() -> None:
    counts: Counter[object] = Counter()
    for seed in range(900):
        c = erdos_renyi(3, edges=2, seed=seed)
        counts[tuple(zip(c.pre.tolist(), c.post.tolist(), strict=True))] += 1
    assert evenness(counts, 15) > 0.001  # of 6 pairs 2


def test_erdos_renyi_with_a_number_of_edges_takes_any_number_of_neurons() -> None:
    # 40,000 neurons have 1.6 billion pairs; out-degrees are hypergeometric, here almost Poisson.
    n, m = 40_000, 200_000
    c = erdos_renyi(n, edges=m, seed=0)
    assert c.n_edges == m
    assert not (c.pre == c.post).any()
    for degree in (np.diff(c.indptr), np.bincount(c.post, minlength=n)):
        assert degree.var() == pytest.approx(m / n * (1 - 1 / n), rel=4 * sqrt(2 / n))


def test_erdos_renyi_types_and_limits() -> None:
    c = erdos_renyi(50, probability=1.0, inhibitory=0.3, seed=0)
    assert c.n_edges == 50 * 49
    assert Counter(c.column("cell_type").tolist()) == {"E": 35, "I": 15}
    assert ((c.sign == -1) == (c.pre >= 35)).all()
    assert erdos_renyi(50, probability=0.0, seed=0).n_edges == 0
    assert erdos_renyi(1, edges=0, seed=0).n_neurons == 1
    assert erdos_renyi(50, edges=2450, seed=0).n_edges == 2450
    for wrong in (
        {},
        {"probability": 0.1, "edges": 3},
        {"edges": 2451},
        {"probability": -0.1},
        {"probability": np.nan},
    ):
        with pytest.raises(SettingError):
            erdos_renyi(50, seed=0, **wrong)  # type: ignore[arg-type]


# ---- Brunel ----


def test_brunel_neurons_receive_from_fixed_numbers_of_either_type() -> None:
    c = brunel(n_excitatory=400, n_inhibitory=100, epsilon=0.1, seed=0, g=4.5, j_mV=0.2, delay_ms=2.0)
    excitatory = c.pre < 400
    assert np.bincount(c.post[excitatory], minlength=500).tolist() == [40] * 500
    assert np.bincount(c.post[~excitatory], minlength=500).tolist() == [10] * 500
    out = np.diff(c.indptr)
    # Each of the others picks a neuron with probability C_E / N_E; its own type has one fewer to pick from.
    assert out.mean() == 50
    assert out.var() == pytest.approx(500 * 0.1 * 0.9, rel=4 * sqrt(2 / 500))
    weight = c.edge_columns["weight_mV"].to_numpy()
    assert set(weight[excitatory]) == {0.2}
    assert set(weight[~excitatory]) == {0.9}
    assert set(c.edge_columns["delay_ms"].to_numpy()) == {2.0}
    assert ((c.sign > 0) == excitatory).all()
    assert set(c.count.tolist()) == {1}


def test_brunel_refuses_more_inputs_than_there_are_neurons() -> None:
    with pytest.raises(SettingError, match="cannot have 10 different partners; there are 9"):
        brunel(n_excitatory=10, n_inhibitory=4, epsilon=1.0, seed=0)
    for wrong in (
        {"epsilon": 1.1},
        {"g": -1},
        {"g": np.inf},
        {"delay_ms": -1.0},
        {"n_excitatory": 1.5},
        {"n_excitatory": 0, "n_inhibitory": 0},
    ):
        with pytest.raises(SettingError):
            brunel(**{"seed": 0, "n_excitatory": 40, "n_inhibitory": 10, **wrong})  # type: ignore[arg-type]


# ---- sheet ----


def mean_probability(kernel: str, peak: float, reach: float, extent: float) -> float:
    """Of a pair at random places of a torus; the longer half of each axis is never the way."""
    if kernel == "gaussian":
        return peak * (sqrt(2 * pi) * reach / extent * erf(extent / (2 * sqrt(2) * reach))) ** 2
    quarter, _ = dblquad(lambda x, y: exp(-sqrt(x * x + y * y) / reach), 0, extent / 2, 0, extent / 2)
    return peak * 4 * quarter / extent**2


@pytest.mark.parametrize("kernel", ["gaussian", "exponential"])
def test_sheet_neurons_have_as_many_targets_as_the_kernel_gives(kernel: str) -> None:
    n, extent = 3000, 800.0
    c = cortical_sheet(n, kernel=kernel, extent_um=extent, seed=0)  # type: ignore[arg-type]
    assert Counter(c.column("cell_type").tolist()) == {"E": 2400, "I": 600}
    for rows, peak, reach in ((slice(0, 2400), 0.2, 150.0), (slice(2400, 3000), 0.4, 100.0)):
        degree = np.diff(c.indptr)[rows]
        expected = (n - 1) * mean_probability(kernel, peak, reach, extent)
        # Places vary, and with them a neuron's number of near ones: the pairs of one neuron are not independent.
        assert degree.mean() == pytest.approx(expected, rel=0.02)
    wide = mean_probability(kernel, 1.0, 10.0, 1e4)
    assert wide == pytest.approx(2 * pi * 10.0**2 / 1e4**2, rel=1e-3)


@pytest.mark.parametrize("kernel", ["gaussian", "exponential"])
def test_sheet_connections_fall_with_distance_as_the_kernel_does(kernel: str) -> None:
    extent, reach = 500.0, 60.0
    settings: dict[str, Any] = {"kernel": kernel, "extent_um": extent, "reach_e_um": reach, "peak_e": 0.8}
    c = cortical_sheet(2000, inhibitory=0.0, seed=3, **settings)
    xy = np.stack([c.column("x_um"), c.column("y_um")], axis=1)
    apart = np.abs(xy[:, None] - xy[None, :])
    distance = np.sqrt((np.minimum(apart, extent - apart) ** 2).sum(axis=2))
    np.testing.assert_allclose(c.edge_columns["distance_um"].to_numpy(), distance[c.pre, c.post])
    joined = np.zeros_like(distance, bool)
    joined[c.pre, c.post] = True
    off = ~np.eye(2000, dtype=bool)
    for low, high in ((0, 10), (20, 30), (50, 60), (100, 120), (200, 230)):
        ring = (distance >= low) & (distance < high) & off
        p = 0.8 * (
            np.exp(-0.5 * (distance[ring] / reach) ** 2) if kernel == "gaussian" else np.exp(-distance[ring] / reach)
        )
        assert abs(joined[ring].sum() - p.sum()) < 4 * sqrt((p * (1 - p)).sum())


def test_sheet_settings_are_checked() -> None:
    with pytest.raises(SettingError, match="kernel is 'box'"):
        cortical_sheet(10, kernel="box", seed=0)  # type: ignore[arg-type]
    for wrong in ({"peak_e": 1.2}, {"reach_i_um": 0}, {"extent_um": -1}, {"inhibitory": 2}, {"n_neurons": 0}):
        with pytest.raises(SettingError):
            cortical_sheet(**{"n_neurons": 10, "seed": 0, **wrong})  # type: ignore[arg-type]
    assert cortical_sheet(1, seed=0).n_edges == 0


# ---- Potjans & Diesmann: see tests/reference for the published numbers ----


def test_microcircuit_at_a_scale_keeps_fractions_layers_and_probabilities() -> None:
    c = potjans_diesmann(scale=0.05, seed=0)
    sizes = Counter(c.column("cell_type").tolist())
    assert sizes["L4E"] == round(21_915 * 0.05)
    assert sizes["L5I"] == round(1065 * 0.05)
    types, layer = c.column("cell_type"), c.column("layer")
    assert all(t[:-1] == of for t, of in zip(types, layer, strict=True))
    # With the neurons and their inputs scaled alike, a pair's mean number of synapses stays as it is.
    k = int(c.count[(types[c.pre] == "L4I") & (types[c.post] == "L4E")].sum())
    assert k / (sizes["L4I"] * sizes["L4E"]) == pytest.approx(-np.log(1 - 0.135), rel=0.01)
    z = c.column("z_um")
    assert z[layer == "L6"].max() < z[layer == "L5"].min() < z[layer == "L4"].min() < z[layer == "L2/3"].min()


def test_microcircuit_pairs_can_be_joined_more_than_once() -> None:
    c = potjans_diesmann(scale=0.05, seed=1)
    types = c.column("cell_type")
    of = (types[c.pre] == "L5I") & (types[c.post] == "L5E")
    pairs = (types == "L5I").sum() * (types == "L5E").sum()
    # The ends of K synapses fall on N_pre N_post pairs: a share C is hit, and counts are Poisson above 0.
    assert of.sum() / pairs == pytest.approx(0.3726, rel=0.03)
    rate = -np.log(1 - 0.3726)
    for number in (1, 2, 3):
        share = exp(-rate) * rate**number / [1, 2, 6][number - 1]
        assert (c.count[of] == number).sum() == pytest.approx(pairs * share, abs=4 * sqrt(pairs * share))


def test_microcircuit_weights_and_delays() -> None:
    c = potjans_diesmann(scale=0.05, seed=2)
    types = c.column("cell_type")
    weight, delay = c.edge_columns["weight_pA"].to_numpy(), c.edge_columns["delay_ms"].to_numpy()
    single = c.count == 1
    excites = np.char.endswith(types.astype(str), "E")[c.pre]
    doubled = (types[c.pre] == "L4E") & (types[c.post] == "L2/3E")
    for edges, mean in ((excites & ~doubled, 87.8), (doubled, 175.6), (~excites, 351.2)):
        values = weight[single & edges]
        assert values.mean() == pytest.approx(mean, rel=0.01)
        assert values.std() == pytest.approx(0.1 * mean, rel=0.05)
        several = weight[edges & (c.count == 2)]
        assert several.std() == pytest.approx(0.1 * mean / sqrt(2), rel=0.15)
    # A normal with mean m and sd m / 2, drawn again below 0.1 ms; its mean lies a little above m.
    for edges, mean, low in ((excites, 1.5, 0.1), (~excites, 0.75, 0.1)):
        values = delay[single & edges]
        assert values.min() >= low
        a = (low - mean) / (mean / 2)
        density, above = exp(-a * a / 2) / sqrt(2 * pi), 0.5 * (1 - erf(a / sqrt(2)))
        assert values.mean() == pytest.approx(mean + mean / 2 * density / above, rel=0.01)
    assert ((c.sign > 0) == excites).all()


def test_microcircuit_settings_are_checked() -> None:
    with pytest.raises(SettingError, match=r"scale 0\.0001 leaves no neuron in L5E, L5I, L6I; raise it"):
        potjans_diesmann(scale=1e-4, seed=0)
    for wrong in (
        {"scale": 1.5},
        {"scale": 0},
        {"indegree_scale": -0.1},
        {"delay_e_ms": 0},
        {"weight_pA": -1.0},
        {"max_synapses": 0.5},
    ):
        with pytest.raises(SettingError):
            potjans_diesmann(**{"scale": 0.01, "seed": 0, **wrong})  # type: ignore[arg-type]


def test_a_microcircuit_without_synapses_has_its_neurons() -> None:
    c = potjans_diesmann(scale=0.01, indegree_scale=0, seed=0)
    assert (c.n_neurons, c.n_edges) == (207 + 58 + 219 + 55 + 48 + 11 + 144 + 29, 0)
    assert c.edge_columns.column_names == ["weight_pA", "delay_ms"]


def test_more_synapses_than_a_table_bears_are_refused_before_they_are_drawn() -> None:
    start = time.perf_counter()
    with pytest.raises(
        SettingError, match=r"scale 1 with indegree_scale 1 gives 29\d,\d{3},\d{3} synapses.*30,000,000"
    ):
        potjans_diesmann(scale=1, seed=0)
    assert time.perf_counter() - start < 1
    with pytest.raises(SettingError, match="max_synapses=1,000 are drawn") as error:
        potjans_diesmann(scale=0.02, seed=0, max_synapses=1000)
    # What the message proposes is taken.
    (fewer,) = re.findall(r"indegree_scale=([\d.e-]+) at", str(error.value))
    assert potjans_diesmann(scale=0.02, indegree_scale=float(fewer), seed=0, max_synapses=1000).count.sum() > 500
    with pytest.raises(SettingError, match="scale=") as error:
        potjans_diesmann(scale=0.1, seed=0, max_synapses=100_000)
    (smaller,) = re.findall(r"scale=([\d.e-]+) \(with", str(error.value))
    assert potjans_diesmann(scale=float(smaller), seed=0, max_synapses=100_000).count.sum() > 80_000
