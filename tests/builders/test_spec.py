"""Specifications: TOML there and back, and what is refused."""

from __future__ import annotations

import pytest

from connectofit.builders import ByType, Column, Distance, EdgeRule, ModelSpec, NeuronRule, examples
from connectofit.connectome.errors import MissingFileError, SettingError, UnknownNameError
from connectofit.sim import LIF, Sigmoid

RULE = {"name": "all", "model": "graded_leaky"}


def full() -> ModelSpec:
    return ModelSpec(
        neurons=(
            NeuronRule("a", "graded_leaky", "cell_class == 'A'", "id", {"tau_m_ms": Column("tau", 3.0), "v_rest": 1.0}),
            NeuronRule("b", "lif", params={"tau_m_ms": ByType("cell_class", {"B": 2.0}, 4.0)},
                       settings={"surrogate": {"kind": "sigmoid", "width_mV": 3.0}}),
        ),
        edges=(
            EdgeRule("chem", "graded", "kind == 'chemical'", normalise="post_sum", gain=2.0, unknown_sign="drop",
                     tie_by=("pre.cell_class", "post.cell_class"), delay_ms=Distance(100.0, ("x_um",), 1.0, 0.5),
                     params={"slope": 3.0}),
            EdgeRule("chem2", "exponential", gain=ByType("pre.cell_class", {"A": 3.0}), tie_by="pre.cell_class",
                     unknown_sign=-1, delay_ms=1.5),
        ),
        name="full", description="two\nlines", unclaimed_edges="drop",
    )  # fmt: skip


def test_what_is_dumped_is_loaded_equal(tmp_path):
    assert ModelSpec.load(full().dump(tmp_path / "m.toml")) == full()


@pytest.mark.parametrize("name", examples())
def test_examples_load_and_survive_the_round_trip(name, tmp_path):
    spec = ModelSpec.example(name)
    assert spec.name == name
    assert ModelSpec.load(spec.dump(tmp_path / "x.toml")) == spec


def test_settings_reach_the_model():
    assert full().neurons[1].neuron_model() == LIF(surrogate=Sigmoid(width_mV=3.0))


@pytest.mark.parametrize(
    ("values", "error", "message"),
    [
        ({"neurons": [{**RULE, "were": "x"}]}, UnknownNameError, "No key named 'were'.*Did you mean 'where'"),
        ({"neuron": []}, UnknownNameError, "Did you mean 'neurons'"),
        ({}, SettingError, "lacks 'neurons'"),
        ({"neurons": []}, SettingError, "no neuron rule"),
        ({"neurons": [{"name": "a"}]}, SettingError, "entry 1 lacks 'model'|entry 1.*lacks 'model'"),
        ({"neurons": [RULE, RULE]}, SettingError, "used twice"),
        ({"neurons": {"name": "a"}}, SettingError, "has to be a list"),
        ({"neurons": [{**RULE, "model": "graded_leeky"}]}, UnknownNameError, "Did you mean 'graded_leaky'"),
        ({"neurons": [{**RULE, "params": {"tau_ms": 1.0}}]}, UnknownNameError, "Did you mean 'tau_m_ms'"),
        ({"neurons": [{**RULE, "params": {"tau_m_ms": -1.0}}]}, SettingError, "above 0"),
        ({"neurons": [{**RULE, "params": {"tau_m_ms": "5"}}]}, SettingError, "has to be a number or a table"),
        ({"neurons": [{**RULE, "params": {"tau_m_ms": {"colum": "x"}}}]}, UnknownNameError, "Did you mean 'column'"),
        ({"neurons": [{**RULE, "settings": {"methd": "euler"}}]}, UnknownNameError, "Did you mean 'method'"),
        ({"neurons": [{**RULE, "settings": {"method": "eulr"}}]}, UnknownNameError, "Did you mean 'euler'"),
        ({"neurons": [{**RULE, "where": 3}]}, SettingError, "has to be text"),
    ],
)
def test_bad_specifications_are_refused_with_the_reason(values, error, message):
    with pytest.raises(error, match=message):
        ModelSpec.from_dict(values)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"synapse": "grade"}, UnknownNameError, "Did you mean 'graded'"),
        ({"normalise": "postsum"}, UnknownNameError, "Did you mean 'post_sum'"),
        ({"tie_by": "cell_class"}, SettingError, "'pre.cell_class'"),
        ({"unknown_sign": 2}, SettingError, "unknown_sign"),
        ({"unknown_sign": "dorp"}, SettingError, "unknown_sign"),
        ({"delay_ms": -1.0}, SettingError, "0 ms or more"),
        ({"delay_ms": {"velocity_um_per_ms": 0.0}}, SettingError, "above 0"),
        ({"gain": 0.0}, SettingError, "above 0"),
        ({"gain": {"by": "pre.cell_class", "table": {"A": 1.0}}}, SettingError, "Tie them by the same column"),
        ({"params": {"slop": 1.0}}, UnknownNameError, "Did you mean 'slope'"),
    ],
)
def test_bad_edge_rules_are_refused_with_the_reason(changes, error, message):
    with pytest.raises(error, match=message):
        ModelSpec.from_dict({"neurons": [RULE], "edges": [{"name": "e", "synapse": "graded", **changes}]})


def test_missing_files_and_files_that_are_no_toml_are_named(tmp_path):
    with pytest.raises(MissingFileError, match=r"nowhere\.toml"):
        ModelSpec.load(tmp_path / "nowhere.toml")
    (tmp_path / "bad.toml").write_text("neurons = [")
    with pytest.raises(SettingError, match="not valid TOML"):
        ModelSpec.load(tmp_path / "bad.toml")
    with pytest.raises(UnknownNameError, match="Did you mean 'worm_graded'"):
        ModelSpec.example("worm_grade")
