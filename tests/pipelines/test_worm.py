"""The worm recipe's own stages, on the worm's tables and on a user's."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import networkx as nx
import numpy as np
import pandas as pd
import pytest

from connectofit.connectome import Connectome, ValidationReport
from connectofit.connectome.errors import SettingError, UnknownNameError
from connectofit.data import celegans_paths
from connectofit.pipelines import Pipeline, RunResult, load_model
from connectofit.pipelines.arrays import flatten_params, write_arrays
from connectofit.pipelines.stages import StageContext
from connectofit.pipelines.worm_settings import ExportSettings
from connectofit.pipelines.worm_stages import export_model, load_network


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> RunResult:
    return Pipeline.load("worm").run(tmp_path_factory.mktemp("worm") / "run", until="simulate")


def test_the_worm_has_its_302_neurons_and_its_traps_are_reported(run):
    connectome = Connectome.read(run.path("import", "connectome"))
    assert connectome.n_neurons == 302
    report = ValidationReport.from_json(run.path("import", "validation.json").read_text(encoding="utf-8"))
    files = celegans_paths()
    with files["neurons"].open(newline="") as handle:
        names = {row["name"] for row in csv.DictReader(handle)}
    with files["edges"].open(newline="") as handle:
        outside = [not {row["pre"], row["post"]} <= names for row in csv.DictReader(handle)]
    (unmatched,) = report.find("unmatched_id")
    assert unmatched.count == sum(outside)
    assert unmatched.policy == "unmatched=drop"


def test_the_network_is_described_by_name(run):
    network = json.loads(run.path("build", "network.json").read_text(encoding="utf-8"))
    assert sum(population["neurons"] for population in network["populations"]) == 302
    assert {projection["synapse"] for projection in network["projections"]} == {"graded", "gap_junction"}


def test_touch_depolarises_the_touch_neurons_and_nothing_moves_before(run):
    traces = pd.read_parquet(run.path("simulate", "traces.parquet")).set_index("t_ms")
    protocol = json.loads(run.path("simulate", "protocol.json").read_text(encoding="utf-8"))
    assert protocol["stimulated"] == ["ALML", "ALMR", "AVM"]
    assert traces.shape == (1000, 302)
    before = traces.loc[: protocol["start_ms"] - 1]
    assert np.abs(before.to_numpy()).max() == 0
    assert (traces.loc[protocol["stop_ms"], protocol["stimulated"]] > 0.1).all()


def test_every_neuron_named_in_the_recipe_exists(run):
    simulate = Pipeline.load("worm").sections["simulate"]
    assert set(simulate.show) | set(simulate.stimulate) <= set(Connectome.read(run.path("import", "connectome")).ids)


def test_fitted_parameters_are_exported_and_come_back(run, tmp_path):
    out, fit = tmp_path / "out", tmp_path / "fit"
    out.mkdir()
    fit.mkdir()
    inputs = {"import": run["import"].folder, "build": run["build"].folder, "fit": fit}
    context = StageContext(settings=ExportSettings(), out=out, inputs=inputs, files={}, work=tmp_path)
    _, _, network = load_network(context)
    gains = np.linspace(-1, 1, len(network.params["chemical"]["log_gain"])).astype(np.float32)
    write_arrays(fit / "parameters.npz", flatten_params({"chemical": {"log_gain": gains}}))
    (fit / "readouts.json").write_text(json.dumps({"atlas": {"offset": 0.5}}))
    export_model(context)
    loaded = load_model(out / "model")
    np.testing.assert_array_equal(loaded.network.params["chemical"]["log_gain"], gains)
    assert loaded.provenance["readouts"]["atlas"]["offset"] == 0.5
    assert sorted(path.name for path in out.iterdir()) == ["model", "model.graphml", "model.json", "tables"]
    graph = nx.read_graphml(out / "model.graphml")
    assert len(graph) == 302
    edges = pd.read_parquet(out / "tables" / "edges.parquet")
    chemical = edges[edges["kind"] == "chemical"]
    assert (np.sign(chemical["model.weight"]) == chemical["sign"]).all()


@pytest.fixture
def users_recipe(tmp_path) -> Path:
    """A recipe on tables of one's own, with other column names and without signs."""
    edges = "source,target,synapses\nn1,n2,5\nn2,n3,2\nn3,n1,4\n"
    (tmp_path / "edges.csv").write_text(edges)
    (tmp_path / "neurons.csv").write_text("cell,cell_class,nt\nn1,A,ACh\nn2,B,GABA\nn3,B,ACh\n")
    recipe = """
    [recipe]
    name = "mine"
    base = "worm"
    [import]
    edges = "edges.csv"
    neurons = "neurons.csv"
    columns = {pre = "source", post = "target", count = "synapses", id = "cell", kind = "", sign = ""}
    [simulate]
    stimulate = ["n1"]
    show = ["n1", "n2"]
    duration_ms = 700.0
    """
    (tmp_path / "mine.toml").write_text(recipe)
    return tmp_path / "mine.toml"


def test_the_recipe_runs_on_a_users_tables(users_recipe, tmp_path):
    (tmp_path / "spec.toml").write_text(
        '[[neurons]]\nname = "all"\nmodel = "graded_leaky"\n[[edges]]\nname = "syn"\nsynapse = "graded"\ngain = 0.1\n'
    )
    pipeline = Pipeline.load(users_recipe, {"build.spec": tmp_path / "spec.toml"})
    result = pipeline.run(tmp_path / "run", until="simulate")
    connectome = Connectome.read(result.path("import", "connectome"))
    assert list(connectome.edges(data="sign")) == [("n1", "n2", 1), ("n2", "n3", -1), ("n3", "n1", 1)]
    assert pd.read_parquet(result.path("simulate", "traces.parquet")).columns.tolist() == ["t_ms", "n1", "n2", "n3"]


def test_a_stimulated_neuron_that_does_not_exist_is_refused_and_nothing_is_written(users_recipe, tmp_path):
    pipeline = Pipeline.load(users_recipe, {"simulate.stimulate": ["n7"]})
    with pytest.raises(UnknownNameError, match="n7"):
        pipeline.run(tmp_path / "run", until="simulate")
    assert not (tmp_path / "run" / "simulate").exists()
    assert not list((tmp_path / "run").glob(".tmp*"))


@pytest.mark.parametrize(
    ("overrides", "error", "message"),
    [
        ({"import.policies.unmatched": "dorp"}, SettingError, "Did you mean 'drop'"),
        ({"import.policies.unmached": "drop"}, UnknownNameError, "Did you mean 'unmatched'"),
        ({"import.neurons": "x.csv"}, SettingError, "give both tables"),
        ({"build.example": "worm_grade"}, UnknownNameError, "Did you mean 'worm_graded'"),
        ({"simulate.stop_ms": 50.0}, SettingError, "must start before it stops"),
        ({"simulate.show": []}, SettingError, "simulate.show"),
    ],
)
def test_wrong_settings_are_refused_before_anything_is_written(tmp_path, overrides, error, message):
    with pytest.raises(error, match=message):
        Pipeline.load("worm", overrides).run(tmp_path / "run")
    assert not (tmp_path / "run").exists()
