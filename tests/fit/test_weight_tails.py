"""Laws of weights: parameters and tests on samples of known law, against closed forms."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from connectofit.connectome.errors import SchemaError, SettingError, UnknownNameError
from connectofit.fit.weight_tails import LAWS, weight_tails

N = 3000
DRAWN = {
    "half_normal": stats.halfnorm(scale=0.2),
    "log_normal": stats.lognorm(0.9, scale=0.3),
    "exponential": stats.expon(scale=3.0),
    "gamma": stats.gamma(2.5, scale=0.1),
    "weibull": stats.weibull_min(1.6, scale=2.0),
}


def sample(name: str, seed: int = 0, n: int = N) -> np.ndarray:
    return DRAWN[name].rvs(n, random_state=seed)


def test_whole_samples_give_the_maxima_that_are_known_in_closed_form():
    w = sample("gamma")
    fits = weight_tails(w, laws=("half_normal", "log_normal", "exponential", "gamma", "weibull")).fits
    assert fits["half_normal"].parameters["s"] == pytest.approx(np.sqrt(np.mean(w**2)), rel=1e-6)
    assert fits["log_normal"].parameters["m"] == pytest.approx(np.log(w).mean(), rel=1e-6)
    assert fits["log_normal"].parameters["s"] == pytest.approx(np.log(w).std(), rel=1e-6)
    assert fits["exponential"].parameters["s"] == pytest.approx(w.mean(), rel=1e-6)
    for name, distribution in (("gamma", stats.gamma), ("weibull", stats.weibull_min)):
        shape, _, scale = distribution.fit(w, floc=0)
        assert fits[name].parameters["k"] == pytest.approx(shape, rel=1e-4)
        assert fits[name].parameters["s"] == pytest.approx(scale, rel=1e-4)
        assert fits[name].total == pytest.approx(distribution.logpdf(w, shape, 0, scale).sum(), abs=1e-3)


def test_the_tail_of_an_exponential_is_one_above_the_threshold():
    w = sample("exponential")
    tails = weight_tails(w, threshold=2.0, laws=("exponential", "pareto"))
    above = w[w > 2.0]
    assert tails.n == above.size
    assert tails.fits["exponential"].parameters["s"] == pytest.approx(np.mean(above - 2.0), rel=1e-6)
    assert tails.fits["exponential"].total == pytest.approx(stats.expon.logpdf(above, 2.0, np.mean(above - 2.0)).sum())
    assert tails.fits["pareto"].parameters["a"] == pytest.approx(1.0 / np.mean(np.log(above / 2.0)), rel=1e-6)


def test_a_cut_off_gaussian_is_found_from_its_tail():
    w = stats.norm(1.0, 0.5).rvs(40_000, random_state=1)
    found = weight_tails(w[w > 1.2], threshold=1.2, laws=("gaussian",)).fits["gaussian"].parameters
    assert found["m"] == pytest.approx(1.0, abs=0.1)
    assert found["s"] == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize("name", DRAWN)
def test_the_law_that_a_sample_was_drawn_from_is_not_rejected_against_any_other(name):
    tails = weight_tails(sample(name))
    for other in tails.fits:
        test = tails.compare(name, other)
        if other != name and not test.nested:
            assert test.better in (name, None)
        elif other != name:
            assert test.p > 1e-3 or test.better == name


@pytest.mark.parametrize(("name", "other"), [("half_normal", "log_normal"), ("log_normal", "half_normal")])
def test_gaussian_and_log_normal_weights_are_told_apart_whole_and_by_the_upper_half(name, other):
    for fraction in (1.0, 0.5):
        test = weight_tails(sample(name, seed=3), upper_fraction=fraction).compare(name, other)
        assert test.better == name
        assert test.p < (1e-3 if fraction == 1.0 else 0.05)


def test_the_best_by_aic_is_the_true_law_of_a_large_sample():
    assert weight_tails(sample("log_normal")).best == "log_normal"
    assert weight_tails(sample("gamma")).best == "gamma"
    assert weight_tails(sample("weibull")).best == "weibull"


def test_aic_and_vuong_are_what_their_definitions_say():
    tails = weight_tails(sample("gamma", n=500), laws=("log_normal", "exponential"))
    a, b = tails.fits["log_normal"], tails.fits["exponential"]
    assert a.aic == pytest.approx(4.0 - 2.0 * a.log_likelihood.sum())
    assert b.aic == pytest.approx(2.0 - 2.0 * b.log_likelihood.sum())
    test = tails.compare("log_normal", "exponential")
    difference = a.log_likelihood - b.log_likelihood
    z = difference.mean() / (difference.std() / np.sqrt(500))
    assert test.z == pytest.approx(z)
    assert test.p == pytest.approx(2 * stats.norm.cdf(-abs(z)))
    assert test.ratio == pytest.approx(difference.sum())


def test_of_nested_laws_chi_squared_decides_at_its_level():
    tests = [
        weight_tails(sample("exponential", seed, 200), laws=("exponential", "gamma")).compare("gamma", "exponential")
        for seed in range(60)
    ]
    assert all(test.nested and test.ratio > -1e-6 for test in tests)
    rejected = sum(test.better == "gamma" for test in tests)
    assert stats.binomtest(rejected, 60, 0.05).pvalue > 1e-3


def test_fits_do_not_depend_on_the_unit():
    w = sample("gamma", n=300)
    one, other = weight_tails(w), weight_tails(1000.0 * w)
    for name in one.fits:
        a, b = one.fits[name], other.fits[name]
        assert b.total == pytest.approx(a.total - 300 * np.log(1000.0), abs=1e-4)


def test_the_table_has_the_best_first_and_weights_that_sum_to_one():
    tails = weight_tails(sample("log_normal"))
    table = tails.table()
    assert table["law"][0] == tails.best
    assert table["delta_aic"].is_monotonic_increasing
    assert table["akaike_weight"].sum() == pytest.approx(1.0)
    assert set(table["law"]) == set(LAWS) - {"pareto"}


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: weight_tails(np.array([1.0, -2.0, 0.0])), SchemaError, r"row 1: -2.*\(2 in all\)"),
        (lambda: weight_tails(np.arange(1.0, 9.0)), SchemaError, "at least 10"),
        (lambda: weight_tails(np.ones(20)), SchemaError, "not all equal"),
        (lambda: weight_tails(np.arange(1.0, 30.0), threshold=25.0), SchemaError, "Lower the threshold"),
        (lambda: weight_tails(np.arange(1.0, 30.0), threshold=-1.0), SettingError, "0 or more"),
        (lambda: weight_tails(np.arange(1.0, 30.0), upper_fraction=0.0), SettingError, "above 0"),
        (lambda: weight_tails(np.arange(1.0, 30.0), laws=("pareto",)), SettingError, "begins at the threshold"),
        (lambda: weight_tails(np.arange(1.0, 30.0), laws=("lognormal",)), UnknownNameError, "log_normal"),
        (lambda: weight_tails(np.arange(1.0, 30.0)).compare("gamma", "pareto"), UnknownNameError, "pareto"),
    ],
)
def test_what_cannot_be_fitted_is_refused(call, error, words):
    with pytest.raises(error, match=words):
        call()
