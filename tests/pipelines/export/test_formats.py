"""The registry of formats, the one door to them, and the command."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from connectofit.builders import Cell
from connectofit.connectome.errors import FolderError, MissingExtraError, SettingError, UnknownNameError
from connectofit.pipelines.bundle import load_model, write_bundle
from connectofit.pipelines.cli import main
from connectofit.pipelines.export import FORMATS, export, listing


@pytest.fixture
def model(graded):
    return graded(["AVAL", "AVAR", "PVC"])


@pytest.fixture
def call(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: CliRunner().invoke(main, ["export", *arguments])


def test_every_format_says_what_it_keeps_loses_and_refuses():
    for name, each in FORMATS.items():
        assert each.name == name
        assert all((each.keeps, each.loses, each.refuses))
        assert f"\n{name}" in f"\n{listing()}"


def test_misspelt_formats_and_options_suggest_the_nearest(model, tmp_path):
    with pytest.raises(UnknownNameError, match="Did you mean 'graphml'"):
        export(model, tmp_path / "x", format="grahpml")
    with pytest.raises(UnknownNameError, match="No option named 'dt'"):
        export(model, tmp_path / "x", format="csv", dt=0.1)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["csv", "npz", "graphml"])
def test_a_path_that_is_taken_is_refused_and_kept(model, tmp_path, name):
    (tmp_path / "x").write_text("mine")
    with pytest.raises(FolderError, match="exists already"):
        export(model, tmp_path / "x", format=name)
    assert (tmp_path / "x").read_text() == "mine"
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    with pytest.raises(FolderError, match="exists already"):
        export(model, tmp_path / "link", format=name)
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize("name", ["csv", "npz"])
def test_what_breaks_while_it_is_written_leaves_nothing(model, tmp_path, monkeypatch, name):
    write = FORMATS[name].write

    def broken(model, path):
        write(model, path)
        raise RuntimeError("the disk is gone")

    monkeypatch.setitem(FORMATS, name, replace(FORMATS[name], write=broken))
    with pytest.raises(RuntimeError, match="the disk is gone"):
        export(model, tmp_path / "x", format=name)
    assert not list(tmp_path.iterdir())


def test_what_a_killed_export_left_aside_is_no_hindrance(model, tmp_path):
    (tmp_path / ".tmp-x").mkdir()
    (tmp_path / ".tmp-x" / "half.csv").write_text("a")
    assert sorted(p.name for p in export(model, tmp_path / "x", format="csv").iterdir()) == ["edges.csv", "neurons.csv"]
    assert [p.name for p in tmp_path.iterdir()] == ["x"]


def test_a_missing_library_is_named_with_the_extra_that_brings_it(model, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "safetensors.numpy", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'connectofit\[safetensors\]'"):
        export(model, tmp_path / "x", format="safetensors")
    assert not list(tmp_path.iterdir())


def test_the_command_takes_a_run_or_a_bundle_and_a_default_name(model, tmp_path, call):
    write_bundle(model, tmp_path / "runs" / "tiny" / "export" / "model")
    assert call("runs/tiny", "--format", "graphml").output == "Written: tiny.graphml\n"
    assert call("runs/tiny/export/model", "--format", "csv", "--out", "tables").output == "Written: tables\n"
    assert Path("tiny.graphml").is_file()
    assert Path("tables/edges.csv").is_file()
    again = call("runs/tiny", "--format", "graphml")
    assert again.exit_code == 2
    assert "exists already" in again.output


def test_the_command_lists_the_formats(call):
    assert call("--list").output == listing() + "\n"
    assert call().exit_code == 2
    assert call("there", "--format", "csv").exit_code == 2


def test_a_fitted_cell_is_a_network_of_one_neuron(tmp_path, call):
    """glif3's file in NEST's script holds the cell's own numbers; a run with cells alone asks for one of them."""
    cells = tmp_path / "run" / "fit" / "cells"
    path = Cell("B6_glif3", "glif3", {"c_m_pF": 121.5, "e_l_mV": -71.25}).dump(cells)
    result = call(str(path), "--format", "nest", "--out", str(tmp_path / "nest"))
    assert result.exit_code == 0, result.output
    with np.load(tmp_path / "nest" / "arrays.npz") as arrays:
        values = {float(x) for name in arrays.files for x in np.ravel(arrays[name]) if arrays[name].dtype.kind == "f"}
    assert {121.5, -71.25} <= values
    assert call(str(path), "--format", "bundle", "--out", str(tmp_path / "bundle")).exit_code == 0
    assert load_model(tmp_path / "bundle").network.ids == ("B6_glif3",)
    asked = call(str(tmp_path / "run"), "--format", "nest")
    assert (asked.exit_code, "B6_glif3.toml" in asked.output) == (2, True)
    missing = call(str(cells / "B7.toml"), "--format", "nest")
    assert (missing.exit_code, "no cell file" in missing.output) == (2, True)


def test_a_run_with_several_models_is_asked_for_one(model, tmp_path, call):
    for name in ("a", "b"):
        write_bundle(model, tmp_path / "run" / name / "model")
    done = call("run", "--format", "csv")
    assert done.exit_code == 2
    assert "several models" in done.output


@pytest.mark.parametrize(
    ("text", "message"),
    [("dt_ms", "NAME=VALUE"), ("dt_ms=[", "NAME=VALUE"), ("=3", "NAME=VALUE"), ("dt=1", "No option")],
)
def test_wrong_options_of_the_command_give_one_message(model, tmp_path, call, text, message):
    write_bundle(model, tmp_path / "model")
    done = call("model", "--format", "csv", "--set", text)
    assert done.exit_code == 2
    assert message in done.output
    assert not Path("model-csv").exists()


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("dt_ms", "x"),
        ("dt_ms", True),
        ("dt_ms", 0),
        ("dt_ms", float("nan")),
        pytest.param("dt_ms", 10**400, id="beyond all floats"),
        ("duration_ms", [1]),
        ("duration_ms", 1e300),
        ("seed", -1),
        ("seed", 10**23),
        ("stimuli", 5),
        ("stimuli", [1]),
    ],
)
def test_options_of_the_wrong_sort_are_refused_before_anything_is_written(model, tmp_path, option, value):
    with pytest.raises(SettingError, match=option):
        export(model, tmp_path / "out", format="nest", **{option: value})
    assert not any(tmp_path.glob("out*"))


@pytest.mark.parametrize("platforms", [5, [[1]], "cpu"])
def test_platforms_are_a_list_of_names(model, tmp_path, platforms):
    with pytest.raises(SettingError, match="platforms"):
        export(model, tmp_path / "out", format="stablehlo", platforms=platforms)
