"""What can be fitted, and what of it is free."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

from connectofit.connectome.errors import SettingError, UnknownNameError
from connectofit.fit.cells.models import FITTABLE, TYPICAL, cell_model
from connectofit.sim.neurons import GLIF2, GLIF3


@pytest.mark.parametrize("name", [*FITTABLE, "hh"])
def test_starts_lie_inside_of_their_bounds_and_every_parameter_has_a_value(name):
    model = cell_model(name)
    assert (model.box.low < model.start).all()
    assert (model.start < model.box.high).all()
    named = model.named(model.start)
    assert set(named) == set(model.neuron.parameters)
    for parameter, described in model.neuron.parameters.items():
        assert described.allowed(np.array([named[parameter]])).all(), parameter


def test_bounds_free_start_and_fixed_merge_with_the_defaults():
    model = cell_model("glif3", bounds={"g_nS": (5.0, 20.0)}, start={"g_nS": 8.0}, fixed={"asc_2_add_pA": 0.0})
    k = model.box.names.index("g_nS")
    assert (model.box.low[k], model.box.high[k], model.start[k]) == (5.0, 20.0, 8.0)
    assert model.box.log[k]
    assert "asc_2_add_pA" not in model.box.names
    assert model.fixed["asc_2_add_pA"] == 0.0
    few = cell_model("glif3", free=["v_threshold_mV", "c_m_pF"])
    assert few.box.names == ("v_threshold_mV", "c_m_pF")
    assert few.fixed["g_nS"] == pytest.approx(TYPICAL.g_nS)
    fractions = cell_model("glif3", free=["asc_1_fraction"], bounds={"asc_1_fraction": (0.0, 1.0)})
    assert fractions.start.tolist() == [0.5]


def test_parameters_come_in_the_order_of_the_box():
    model = cell_model("glif1", free=["v_reset_mV", "g_nS"])
    values = model.values(jnp.array([-61.0, 9.0]))
    assert float(values["v_reset_mV"]) == -61.0
    assert float(values["g_nS"]) == 9.0
    assert model.named(np.array([-61.0, 9.0]))["e_l_mV"] == TYPICAL.e_mV


@pytest.mark.parametrize(
    ("error", "match", "settings"),
    [
        (UnknownNameError, "Did you mean 'glif3'", {"name": "gliff3"}),
        (UnknownNameError, "Did you mean 'v_reset_mV'", {"free": ["v_rest_mV"]}),
        (UnknownNameError, "bounds of the cell model", {"bounds": {"g_ns": (1.0, 2.0)}}),
        (SettingError, "exclude the start", {"bounds": {"e_l_mV": (-60.0, -50.0)}}),
        (SettingError, "exclude the start given", {"bounds": {"e_l_mV": (-80.0, -50.0)}, "start": {"e_l_mV": -40.0}}),
        (SettingError, "the lower one first", {"bounds": {"e_l_mV": (-50.0, -60.0)}}),
        (SettingError, "two numbers", {"bounds": {"e_l_mV": -50.0}}),
        (SettingError, "leave what the model allows", {"bounds": {"g_nS": (-1.0, 20.0)}}),
        (SettingError, "no default range", {"free": ["i_bias_pA"]}),
        (SettingError, "cannot be fitted", {"free": ["t_ref_ms"], "bounds": {"t_ref_ms": (1.0, 4.0)}}),
        (SettingError, "both free and fixed", {"free": ["g_nS"], "fixed": {"g_nS": 9.0}}),
        (SettingError, "more than once", {"free": ["g_nS", "g_nS"]}),
        (SettingError, "not free", {"free": ["g_nS"], "bounds": {"e_l_mV": (-90.0, -50.0)}}),
        (SettingError, "one of its kind", {"neuron": GLIF2()}),
    ],
)
def test_what_cannot_be_is_refused(error, match, settings):
    with pytest.raises(error, match=match):
        cell_model(**{"name": "glif3", "neuron": GLIF3(), **settings})
