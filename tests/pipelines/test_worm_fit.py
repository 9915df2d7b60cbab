"""The worm recipe's fits and scores, end to end on a few steps: what is held out, compared and scored, and how."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from connectofit.connectome import Connectome, UnknownNameError
from connectofit.data import celegans_paths
from connectofit.pipelines import Pipeline, RunResult, load_model
from connectofit.pipelines.worm import summary
from connectofit.pipelines.worm_evaluate import atlas_scores
from connectofit.pipelines.worm_fit import Data, assay_kinds, load_data, objectives, soma_distance_um, tasks
from connectofit.pipelines.worm_fit_settings import FitSettings
from connectofit.sim import Step, simulate

QUICK = {
    "fit.steps": 4,
    "fit.interval": 2,
    "fit.starts": 2,
    "fit.run_folds": 2,
    "fit.rewirings": 1,
    "fit.fold_seeds": [0],
    "fit.jobs": 1,
}


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> RunResult:
    """The whole recipe on two folds and four steps: too short to fit anything, long enough to show what is done."""
    return Pipeline.load("worm", QUICK, demo=True).run(tmp_path_factory.mktemp("worm") / "run")


@pytest.fixture(scope="module")
def data(run) -> Data:
    settings = Pipeline.load("worm", QUICK, demo=True).sections["fit"]
    assert isinstance(settings, FitSettings)
    shipped = celegans_paths()
    files = {"atlas": shipped["atlas"], "assays": shipped["touch"]}
    return load_data(run["import"].folder, run["build"].folder, files, settings)[0]


def test_every_model_is_scored_on_the_same_held_out_pairs(run):
    predictions = pd.read_parquet(run.path("fit", "predictions.parquet"))
    pairs = {
        model: set(zip(part["stimulated"], part["responding"], part["fold"], strict=True))
        for model, part in predictions.groupby("model")
    }
    assert set(pairs) == {"connectome", "no_connectome", "rewired", "raw_weights"}
    assert all(other == pairs["connectome"] for other in pairs.values())


def test_a_class_of_stimulated_neurons_is_in_one_fold_and_self_responses_in_none(run):
    predictions = pd.read_parquet(run.path("fit", "predictions.parquet"))
    neurons = Connectome.read(run.path("import", "connectome")).to_pandas()[0].set_index("id")
    kind = predictions["stimulated"].map(neurons["cell_class"])
    assert predictions.groupby(kind)["fold"].nunique().max() == 1
    assert set(predictions["fold"]) == {0, 1}
    assert not (predictions["stimulated"] == predictions["responding"]).any()


def test_raw_weights_are_the_counts_of_the_edges_file(run):
    predictions = pd.read_parquet(run.path("fit", "predictions.parquet"))
    raw = predictions[predictions["model"] == "raw_weights"].set_index(["stimulated", "responding"])["score"]
    edges = pd.read_csv(celegans_paths()["edges"])
    chemical = edges[edges["type"] == "chemical"].groupby(["pre", "post"])["weight"].sum()
    gap = edges[edges["type"] == "electrical"]
    both = pd.concat([gap, gap.rename(columns={"pre": "post", "post": "pre"})]).groupby(["pre", "post"])["weight"].max()
    expected = chemical.add(both, fill_value=0).reindex(raw.index, fill_value=0)
    np.testing.assert_array_equal(raw.to_numpy(), expected.to_numpy())


def test_situations_are_scored_once_and_trivial_ones_are_told_apart(run, data):
    assays = pd.read_parquet(run.path("fit", "assays.parquet"))
    real = assays[assays["model"] == "connectome"]
    assert not real.duplicated(["stimulus", "ablated"]).any()
    assert (real.loc[real["stimulus"] == "-", "kind"] == "no_stimulus").all()
    counts = pd.Series(assay_kinds(data)).value_counts()
    assert counts.to_dict() == {"assay": 10, "no_stimulus": 2, "readout": 2}


def test_nothing_of_a_held_out_neuron_is_a_parameter(data):
    readout = objectives(data, "connectome")["atlas"].initial()
    stimulated = set(np.unique(data.responses.stimulated))
    assert set(readout) == {"offset", "slope_raw", "floor_log", "excitability"}
    # One value per class of responding neuron, none per stimulated one.
    assert readout["excitability"].shape == (len(set(data.types)),)
    assert len(stimulated) > len(readout) - 1


def test_distance_is_that_between_the_cell_bodies(data):
    neurons = pd.read_csv(celegans_paths()["neurons"]).set_index("name")[["x_um", "y_um", "z_um"]]
    ids = np.array(data.responses.ids)
    a, b = ids[data.responses.stimulated[:50]], ids[data.responses.responding[:50]]
    expected = np.sqrt(((neurons.loc[a].to_numpy() - neurons.loc[b].to_numpy()) ** 2).sum(1))
    np.testing.assert_allclose(soma_distance_um(data)[:50], expected)


def test_tasks_cover_every_model_and_fold_seed_and_spread_the_rewirings(data):
    settings = data.settings.model_copy(update={"fold_seeds": (3, 4), "rewirings": 5, "distance": True})
    found = tasks(settings)
    assert len({task.name for task in found}) == len(found)
    for model in ("connectome", "no_connectome", "connectome_distance", "rewired_distance", "no_connectome_distance"):
        assert [t.fold_seed for t in found if t.model == model] == [3, 4]
    assert [t.fold_seed for t in found if t.model == "rewired"] == [3, 4, 3, 4, 3]


def test_atlas_scores_are_means_over_folds_of_the_textbook_values():
    part = pd.DataFrame(
        {
            "q": [0.01, 0.5, 0.5, 0.01, 0.01, 0.5],
            "dff": [0.3, -0.1, 0.2, -0.5, 0.1, 0.2],
            "score": [3.0, 1.0, 2.0, 1.0, 3.0, 2.0],
            "fold": [0, 0, 0, 1, 1, 1],
            "stimulated": ["A"] * 3 + ["B"] * 3,
        }
    )
    scores = atlas_scores(part, 0.05, least=1)
    assert scores["auroc"] == pytest.approx((1.0 + 0.5) / 2)
    assert scores["spearman"] == pytest.approx((1.0 - 1.0) / 2)
    assert scores["auroc_within"] == pytest.approx((1.0 + 0.5) / 2)


def test_the_run_ends_with_scores_report_and_model(run):
    text = summary(run)
    assert "2 of 5 folds" in text
    assert "rewired connectome" in text
    assert "difference of the means" in text
    assert run.path("report", "report.html").is_file()
    assert str(run.path("export", "model")) in text


def test_the_exported_model_simulates_bit_for_bit_as_the_fitted_one(run):
    def voltages() -> np.ndarray:
        network = load_model(run.path("export", "model")).network
        recording = simulate(network, duration_ms=300.0, dt_ms=10.0, stimuli=[Step(("AVAL",), 1.0, 0.0, 300.0)])
        return np.asarray(recording.traces["v"].values)

    first = voltages()
    assert np.abs(first).max() > 0.1
    np.testing.assert_array_equal(first, voltages())


def test_a_second_run_keeps_every_stage(run):
    again = Pipeline.load("worm", QUICK, demo=True).run(run.folder)
    assert {stage.status for stage in again.stages} == {"kept"}


def test_the_atlas_and_assays_are_reported(run):
    found = json.loads(run.path("fit", "data.json").read_text(encoding="utf-8"))
    rules = {finding["rule"]: finding["count"] for finding in found["atlas"]["findings"]}
    table = pd.read_parquet(celegans_paths()["atlas"])
    ids = set(Connectome.read(run.path("import", "connectome")).ids)
    outside = ~(table["stim"].isin(ids) & table["response"].isin(ids))
    assert rules["unmatched_id"] == outside.sum()
    assert rules["self_response"] == ((table["stim"] == table["response"]) & ~outside).sum()
    assert [finding["rule"] for finding in found["assays"]["findings"]] == ["repeated_situation"]


def test_a_column_that_no_neuron_has_is_refused(run, data):
    settings = data.settings.model_copy(update={"group_by": "cell_clas"})
    shipped = celegans_paths()
    files = {"atlas": shipped["atlas"], "assays": shipped["touch"]}
    with pytest.raises(UnknownNameError, match="cell_class"):
        load_data(run["import"].folder, run["build"].folder, files, settings)
    settings = data.settings.model_copy(update={"position_columns": ("x_um", "y_um", "z")})
    with pytest.raises(UnknownNameError, match="z_um"):
        soma_distance_um(replace(data, settings=settings))
