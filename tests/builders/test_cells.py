"""Cells as files, and specifications that name them."""

from __future__ import annotations

import pytest

from connectofit.builders import Cell, ModelSpec
from connectofit.connectome.errors import MissingFileError, SettingError, UnknownNameError
from connectofit.sim.neurons import TraubMiles

PARAMS = {"tau_m_ms": 12.5, "v_threshold_mV": -48.0}


def spec(folder, rule):
    path = folder / "model.toml"
    path.write_text(f'name = "m"\n[[neurons]]\nname = "all"\n{rule}\n')
    return path


def test_a_cell_is_the_same_after_writing_and_reading(tmp_path):
    cell = Cell("B6_hh", "traub_miles", {"v_t_mV": -63.0}, {"method": "rk4"}, {}, {"cell": "B6", "held_out": ["183"]})
    path = cell.dump(tmp_path / "cells")
    assert path == tmp_path / "cells" / "B6_hh.toml"
    assert Cell.load(path) == cell


@pytest.mark.parametrize("folder", ["", "cells"])
def test_a_rule_that_names_a_cell_has_its_model_and_parameters(tmp_path, folder):
    Cell("B6", "lif", PARAMS).dump(tmp_path / folder)
    (rule,) = ModelSpec.load(spec(tmp_path, 'cell = "B6"')).neurons
    assert (rule.model, dict(rule.params)) == ("lif", PARAMS)


def test_a_rules_own_parameters_and_settings_go_before_those_of_the_cell(tmp_path):
    Cell("B6", "traub_miles", {"v_t_mV": -63.0, "c_m_pF": 90.0}, {"method": "rk4"}).dump(tmp_path)
    own = 'cell = "B6"\n[neurons.params]\nc_m_pF = 150.0\n[neurons.settings]\nmethod = "euler"'
    (rule,) = ModelSpec.load(spec(tmp_path, own)).neurons
    assert dict(rule.params) == {"v_t_mV": -63.0, "c_m_pF": 150.0}
    assert rule.neuron_model() == TraubMiles(method="euler")


def test_a_specification_with_a_cell_is_written_without_needing_its_file(tmp_path):
    Cell("B6", "lif", PARAMS).dump(tmp_path)
    loaded = ModelSpec.load(spec(tmp_path, 'cell = "B6"'))
    (tmp_path / "elsewhere").mkdir()
    assert ModelSpec.load(loaded.dump(tmp_path / "elsewhere" / "m.toml")) == loaded


def test_a_cell_that_is_not_there_says_where_it_was_looked_for(tmp_path):
    with pytest.raises(MissingFileError, match=r"'all' names the cell 'B7'.*B7\.toml.*cells.*B7\.toml"):
        ModelSpec.load(spec(tmp_path, 'cell = "B7"'))


def test_a_rule_with_a_model_and_a_cell_is_refused(tmp_path):
    Cell("B6", "lif", PARAMS).dump(tmp_path)
    with pytest.raises(SettingError, match="names a model and a cell"):
        ModelSpec.load(spec(tmp_path, 'cell = "B6"\nmodel = "lif"'))


def test_wrong_cells_are_refused():
    with pytest.raises(UnknownNameError, match="Did you mean 'lif'"):
        Cell("B6", "lifs", PARAMS)
    with pytest.raises(UnknownNameError, match="Did you mean 'tau_m_ms'"):
        Cell("B6", "lif", {"tau_ms": 12.5})
    with pytest.raises(SettingError, match="tau_m_ms"):
        Cell("B6", "lif", {"tau_m_ms": -1.0})
