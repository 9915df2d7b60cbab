"""Free parameters: signs and wiring stay, priors are Gaussian, names and transforms are checked."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectofit.connectome.errors import SettingError, UnknownNameError
from connectofit.fit import Free, Parameters

GAIN = Parameters((Free("chemical.log_gain", sd_shared=2.0, sd_type=0.5),))
ANY = st.floats(-1e6, 1e6)


@settings(deadline=None)
@given(ANY, st.lists(ANY, min_size=3, max_size=3))
def test_no_value_changes_the_wiring_or_the_sign_of_a_weight(small, shared, deviation):
    values = {"chemical.log_gain": {"shared": jnp.asarray(shared), "deviation": jnp.asarray(deviation)}}
    fitted, before = GAIN.apply(small, values).projection("chemical"), small.projection("chemical")
    assert np.array_equal(fitted.indptr, before.indptr)
    assert np.array_equal(fitted.post_index, before.post_index)
    assert np.array_equal(fitted.base_weight, before.base_weight)
    weight = np.asarray(fitted.weight(GAIN.apply(small, values).params["chemical"]["log_gain"]))
    assert (weight * before.base_weight >= 0).all()  # where exp underflows or overflows, 0 or infinity of the same sign
    gain = shared + np.asarray(deviation)
    if np.abs(gain).max() < 50:
        assert np.array_equal(np.sign(weight), np.sign(before.base_weight))


def test_add_and_scale_are_what_the_module_says(small):
    free = Parameters((Free("chemical.log_gain"), Free("worm.tau_m_ms", transform="scale")))
    with jax.enable_x64(True):
        values = {
            "chemical.log_gain": {"shared": 0.5, "deviation": jnp.array([0.1, -0.2, 0.3])},
            "worm.tau_m_ms": {"shared": np.log(2.0), "deviation": jnp.array([np.log(1.5)])},
        }
        params = free.apply(small, values).params
    np.testing.assert_allclose(params["chemical"]["log_gain"], [0.6, 0.3, 0.8], rtol=1e-12)
    np.testing.assert_allclose(params["worm"]["tau_m_ms"], [20.0 * 2.0 * 1.5], rtol=1e-12)
    assert np.array_equal(params["chemical"]["slope"], [1.0])
    assert np.array_equal(small.params["chemical"]["log_gain"], [0.0, 0.0, 0.0])


def test_the_penalty_is_minus_the_log_density_of_the_gaussian_priors_without_constants():
    with jax.enable_x64(True):
        values = {"chemical.log_gain": {"shared": jnp.asarray(3.0), "deviation": jnp.array([1.0, -0.5, 0.0])}}
        assert float(GAIN.penalty(values)) == pytest.approx(
            0.5 * (3 / 2) ** 2 + 0.5 * ((1 / 0.5) ** 2 + (0.5 / 0.5) ** 2)
        )
        assert float(Parameters(()).penalty({})) == 0.0


def test_starts_differ_in_the_shared_part_with_the_standard_deviation_asked_for(small):
    free = Parameters((Free("chemical.log_gain", start_sd=0.5), Free("worm.tau_m_ms", start_sd=0.0, transform="scale")))
    keys = jax.random.split(jax.random.key(0), 4000)
    values = jax.vmap(lambda key: free.initial(small, key))(keys)
    shared = np.asarray(values["chemical.log_gain"]["shared"])
    assert abs(shared.mean()) < 4 * 0.5 / np.sqrt(4000)
    assert shared.std() == pytest.approx(0.5, rel=4 / np.sqrt(2 * 4000))
    assert not np.any(values["chemical.log_gain"]["deviation"])
    assert not np.any(values["worm.tau_m_ms"]["shared"])


@pytest.mark.parametrize(("name", "nearest"), [("chemcal.log_gain", "chemical"), ("chemical.loggain", "log_gain")])
def test_names_that_the_network_lacks_are_answered_with_the_nearest(small, name, nearest):
    with pytest.raises(UnknownNameError, match=f"Did you mean '{nearest}'"):
        Parameters((Free(name),)).check(small)


def test_adding_to_what_has_to_stay_positive_is_refused(small):
    with pytest.raises(SettingError, match=r"worm.tau_m_ms has to be .* above 0.*scale"):
        Parameters((Free("worm.tau_m_ms"),)).check(small)
    Parameters((Free("worm.tau_m_ms", transform="scale"), Free("worm.v_rest"))).check(small)


def test_scaling_zero_is_refused(small):
    with pytest.raises(SettingError, match=r"worm\.v_rest is 0"):
        Parameters((Free("worm.v_rest", transform="scale"),)).check(small)


def test_bad_settings_of_a_free_parameter_are_refused():
    for name in ("log_gain", "a.b.c", ""):
        with pytest.raises(SettingError, match=r"owner\.parameter"):
            Free(name)
    for bad in ({"sd_shared": 0.0}, {"sd_type": -1.0}, {"sd_type": float("nan")}, {"start_sd": -0.1}):
        with pytest.raises(SettingError, match=f"{next(iter(bad))} of a.b"):
            Free("a.b", **bad)
    with pytest.raises(UnknownNameError, match="Did you mean 'scale'"):
        Free("a.b", transform="scael")
    with pytest.raises(SettingError, match=r"once.*'a.b'"):
        Parameters((Free("a.b"), Free("a.b")))


def test_parameters_given_as_a_list_are_hashable():
    assert hash(Parameters([Free("a.b")])) == hash(Parameters((Free("a.b"),)))


def test_the_table_has_a_row_for_each_value_with_its_unit_and_type(small):
    free = Parameters((Free("chemical.log_gain"), Free("worm.tau_m_ms", transform="scale")))
    table = free.table(small)
    gains, taus = table[table["parameter"] == "chemical.log_gain"], table[table["parameter"] == "worm.tau_m_ms"]
    assert gains["value"].tolist() == np.asarray(small.params["chemical"]["log_gain"]).tolist()
    assert gains["type"].tolist() == [str(name) for name in small.projection("chemical").types]
    assert set(gains["unit"]) == {"1"}
    assert taus["value"].tolist() == np.asarray(small.params["worm"]["tau_m_ms"]).tolist()
    assert set(taus["unit"]) == {"ms"}
