"""The pipeline that trains networks on a task: wiring and task as the recipe says, controls beside, a report."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from connectofit.connectome import Connectome
from connectofit.connectome.errors import MissingFileError, SettingError, UnknownNameError
from connectofit.fit.tasks import EvidenceAccumulation
from connectofit.fit.train import evaluate_network
from connectofit.pipelines import Pipeline
from connectofit.pipelines.cli import main
from connectofit.pipelines.task_export import load_trained
from connectofit.pipelines.task_settings import TrainSettings
from connectofit.pipelines.task_stages import Training, accuracy_of, load_task, network_of, trainings
from connectofit.sim import check_network

TINY = {
    "train.delays_ms": [],
    "task.settings": {
        "n_cues": 1,
        "cue_ms": 30.0,
        "gap_ms": 0.0,
        "delay_ms": 10.0,
        "recall_ms": 20.0,
        "neurons_per_group": 5,
    },
    "task.examples": 40,
    "wiring.neurons": 40,
    "wiring.density": 0.2,
}


def test_wiring_and_task_are_what_the_recipe_says(tmp_path):
    result = Pipeline.load("evidence", TINY).run(tmp_path / "run", until="task")
    task = load_task(result.path("task"))
    assert isinstance(task, EvidenceAccumulation)
    assert (task.n_cues, task.duration_ms, task.n_inputs) == (1, 60.0, 20)
    told = json.loads(result.path("task", "task.json").read_text())
    assert told["periods"]["recall"] == [40, 60]
    assert len(pd.read_parquet(result.path("task", "trials.parquet"))) == 40
    assert [stage.name for stage in result.stages] == ["task"]
    graph = Connectome.read(
        Pipeline.load("evidence", TINY).run(tmp_path / "run", until="wiring").path("wiring", "connectome")
    )
    assert graph.n_neurons == 40
    assert abs(graph.n_edges / (40 * 39) - 0.2) < 0.05  # 5 standard deviations
    assert sorted(set(graph.sign)) == [-1, 1]


def test_wiring_may_come_from_distances_or_tables(tmp_path):
    far = Pipeline.load("evidence", TINY | {"wiring.source": "distance"}).run(tmp_path / "far", until="wiring")
    _, _, attributes = next(iter(Connectome.read(far.path("wiring", "connectome")).edges(data=True)))
    assert "distance_um" in attributes
    typed = Pipeline.load("evidence", TINY | {"wiring.random_types": 3}).run(tmp_path / "typed", until="wiring")
    types = Connectome.read(typed.path("wiring", "connectome")).neurons.column("random_type").to_pylist()
    assert set(types) == {"type 0", "type 1", "type 2"}
    edges = tmp_path / "edges.csv"
    edges.write_text("pre,post,count,sign\na,b,3,1\nb,a,2,-1\n")
    given = {"wiring.source": "tables", "wiring.edges": str(edges)}
    own = Pipeline.load("evidence", given).run(tmp_path / "own", until="wiring")
    assert Connectome.read(own.path("wiring", "connectome")).n_edges == 2
    with pytest.raises(MissingFileError, match=r"wiring\.edges"):
        Pipeline.load("evidence", {"wiring.source": "tables"}).run(tmp_path / "none", until="wiring")


def test_a_misspelt_setting_of_the_task_is_told(tmp_path):
    with pytest.raises(UnknownNameError, match="Did you mean 'n_cues'"):
        Pipeline.load("evidence", {"task.settings": {"n_cuse": 3}}).run(tmp_path / "a", until="task")
    with pytest.raises(SettingError, match="odd number"):
        Pipeline.load("evidence", {"task.settings": {"n_cues": 4}}).run(tmp_path / "b", until="task")


def test_every_control_has_its_own_seeds_and_the_model_is_first():
    settings = TrainSettings(seeds=(3, 4), controls=("readout",), control_seeds=(5,))
    assert trainings(settings) == [Training("model", 3), Training("model", 4), Training("readout", 5)]


def test_controls_keep_neurons_and_change_wiring_or_signs_alone(tmp_path):
    run = Pipeline.load("evidence", TINY).run(tmp_path / "run", until="wiring")
    graph, task = Connectome.read(run.path("wiring", "connectome")), EvidenceAccumulation(neurons_per_group=5)
    kinds = ("model", "rewired", "signs", "unwired")
    nets = {c: network_of(Training(c, 0), TrainSettings(), graph, task) for c in kinds}
    unwired = nets.pop("unwired")
    assert {p.name for p in unwired.projections} == {"input_E", "input_I"}
    check_network(unwired)
    recurrent = {c: sum(p.n_edges for p in net.projections if p.pre != "input") for c, net in nets.items()}
    assert set(recurrent.values()) == {graph.n_edges}

    def signs(net) -> tuple[int, int]:
        every = np.concatenate([p.sign for p in net.projections if p.pre != "input"])
        return int((every > 0).sum()), int((every < 0).sum())

    assert signs(nets["model"]) == signs(nets["rewired"]) == signs(nets["signs"])
    targets = {c: np.concatenate([np.asarray(p.post_index) for p in net.projections]) for c, net in nets.items()}
    assert not np.array_equal(targets["model"], targets["rewired"])


def test_accuracy_has_wilsons_interval():
    accuracy, low, high, n = accuracy_of(pd.DataFrame({"correct": [True] * 81 + [False] * 182}))
    assert (accuracy, n) == (81 / 263, 263)
    assert (low, high) == pytest.approx((0.2553, 0.3662), abs=5e-5)  # Newcombe 1998, Stat Med 17:857, table I, method 3


@pytest.mark.slow
def test_a_small_training_runs_to_its_report_and_resumes(tmp_path):
    few = {"train.steps": 4, "train.interval": 2, "train.test_trials": 50, "train.validation": 32, "train.batch": 16}
    settings = TINY | few | {"train.seeds": [0], "train.control_seeds": [0], "train.controls": ["rewired", "readout"]}
    pipeline = Pipeline.load("evidence", settings)
    result = pipeline.run(tmp_path / "run")
    scores = pipeline.scores(result)
    assert scores["control"].tolist() == ["model", "rewired", "readout"]
    assert scores["accuracy"].between(0, 1).all()
    weights = pd.read_parquet(result.path("train", "weights.parquet"))
    assert (np.sign(weights["before"]) == np.sign(weights["after"])).all()
    moved = weights.groupby("control").apply(lambda part: not np.array_equal(part["before"], part["after"]))
    assert moved.to_dict() == {"model": True, "rewired": True, "readout": False}
    report = result.path("report", "report.html").read_text()
    assert "only the readout trained" in report
    assert "log_normal" in report
    for cited in ("Morcos", "Mihalas", "Werbos", "Kingma", "Maslov", "Vuong"):
        assert cited in report, cited
    for other in ("Bellec", "Theodoni"):  # neither e-prop nor distances were asked for
        assert other not in report, other
    net, readout, task = load_trained(result.path("export", "model"))
    trials = pd.read_parquet(result.path("train", "trials.parquet")).query("control == 'model'")
    again = evaluate_network(net, readout, task, n_trials=len(trials), seed=0)
    assert again["answer"].tolist() == trials["answer"].tolist()
    shown = CliRunner().invoke(
        main, ["export", str(tmp_path / "run"), "--format", "parquet", "--out", str(tmp_path / "t")]
    )
    assert shown.exit_code == 0, shown.output
    assert [stage.status for stage in pipeline.run(tmp_path / "run").stages] == ["kept"] * 5
