"""The network type: parameters apart from structure, names, and the checks before a run."""

from __future__ import annotations

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from connectofit.connectome.errors import SettingError, UnknownNameError
from connectofit.sim import Exponential, GapJunction, Network, check_network


def test_weight_is_base_weight_times_the_exponential_of_its_types_log_gain(random_worm):
    projection = random_worm.projection("chemical")
    log_gain = np.array([0.1, -2.0, 1.0])
    expected = projection.base_weight * np.exp(log_gain[projection.type_index])
    np.testing.assert_allclose(projection.weight(jnp.asarray(log_gain)), expected, rtol=1e-6)
    assert np.array_equal(np.sign(expected), projection.sign)


def test_pre_index_expands_the_rows(random_worm):
    projection = random_worm.projection("chemical")
    for neuron in range(12):
        first, last = projection.indptr[neuron : neuron + 2]
        assert set(projection.pre_index[first:last]) <= {neuron}


def test_network_passes_through_jit_with_its_names(random_worm):
    moved = jax.jit(lambda net: net.with_params({"gap": {"log_gain": net.params["gap"]["log_gain"] + 1}}))(random_worm)
    assert isinstance(moved, Network)
    assert moved.ids == random_worm.ids
    assert moved.params["gap"]["log_gain"] == 1.0
    assert random_worm.params["gap"]["log_gain"] == 0.0


def test_jit_compiles_once_for_networks_that_differ_in_parameters_only(random_worm):
    traced = []

    @jax.jit
    def f(net):
        traced.append(1)
        return net.params["gap"]["log_gain"]

    f(random_worm)
    f(random_worm.with_params({"gap": {"log_gain": np.ones(1)}}))
    assert len(traced) == 1


def test_find_gives_population_and_index_and_suggests_the_nearest_name(random_worm):
    assert random_worm.find(["n3", "n0"]) == [("worm", 3), ("worm", 0)]
    with pytest.raises(UnknownNameError, match="Did you mean 'n1"):
        random_worm.find("n1x")
    with pytest.raises(UnknownNameError, match="2 in all"):
        random_worm.find(["zz", "n1", "yy"])


def test_with_params_refuses_unknown_names_and_other_shapes(random_worm):
    with pytest.raises(UnknownNameError, match="Did you mean 'tau_m_ms'"):
        random_worm.with_params({"worm": {"tau_ms": np.ones(12)}})
    with pytest.raises(UnknownNameError, match="Did you mean 'worm'"):
        random_worm.with_params({"worms": {}})
    with pytest.raises(SettingError, match="one value per type"):
        random_worm.with_params({"worm": {"tau_m_ms": np.ones(3)}})


@pytest.mark.parametrize(
    ("owner", "name", "value", "message"),
    [
        ("worm", "tau_m_ms", np.nan, r"'n2 = nan' \(1 in all\)"),
        ("worm", "tau_m_ms", 0.0, "above 0"),
        ("worm", "noise", -1.0, "at least 0"),
        ("chemical", "log_gain", np.inf, "finite"),
    ],
)
def test_parameters_that_are_not_finite_or_out_of_bounds_are_named(random_worm, owner, name, value, message):
    values = np.array(random_worm.params[owner][name])
    values[2] = value
    with pytest.raises(SettingError, match=message):
        check_network(random_worm.with_params({owner: {name: values}}))


def test_networks_that_cannot_run_are_refused_with_the_reason(random_worm):
    (population,), (chemical, gap) = random_worm.populations, random_worm.projections

    def changed(**changes):
        return replace(random_worm, projections=(replace(chemical, **changes), gap))

    for net, message in (
        (changed(synapse=Exponential(), delay_ms=1.0), "do not spike"),
        (changed(synapse=GapJunction()), "conductances"),
        (changed(post_index=chemical.post_index + 5), "between 0 and 11"),
        (changed(indptr=chemical.indptr[:-1]), "rise from 0"),
        (changed(name="gap"), "used twice"),
        (replace(random_worm, populations=(replace(population, ids=("a",) * 12),)), "one neuron each"),
    ):
        with pytest.raises(SettingError, match=message):
            check_network(net)
    with pytest.raises(UnknownNameError, match="Did you mean 'worm'"):
        check_network(changed(pre="wor"))
