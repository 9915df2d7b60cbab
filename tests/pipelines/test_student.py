"""The pipeline of teachers and students: what is recorded, what is hidden, and scores by hand."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

from connectofit.builders import build
from connectofit.connectome.errors import SettingError
from connectofit.pipelines import Pipeline
from connectofit.pipelines.arrays import read_arrays
from connectofit.pipelines.student_settings import TeachSettings
from connectofit.pipelines.student_stages import (
    _likelihood,
    currents,
    fisher_information,
    load_case,
    recorded_neurons,
    student_network,
    summary,
)

N = 14


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    rng = np.random.default_rng(0)
    pre, post = np.nonzero((rng.random((N, N)) < 0.25) & ~np.eye(N, dtype=bool))
    folder = tmp_path_factory.mktemp("tables")
    edges = pd.DataFrame({"pre": [f"n{k:02d}" for k in pre], "post": [f"n{k:02d}" for k in post]})
    edges.assign(weight=rng.integers(1, 6, pre.size), type="chemical", pred_sign=np.where(pre % 3, "+", "-")).to_csv(
        folder / "edges.csv", index=False
    )
    names = sorted({*edges["pre"], *edges["post"]})
    pd.DataFrame({"name": names, "nt": "ACh"}).to_csv(folder / "neurons.csv", index=False)
    return {
        "import.edges": str(folder / "edges.csv"),
        "import.neurons": str(folder / "neurons.csv"),
        "teach.trials": 3,
        "teach.test_trials": 2,
        "teach.duration_ms": 400.0,
        "study.fractions": [0.3],
        "study.seeds": [0],
        "study.steps": 40,
    }


@pytest.fixture(scope="module")
def result(settings, tmp_path_factory):
    """The whole of a small run."""
    return Pipeline.load("teacher_student", settings).run(tmp_path_factory.mktemp("run") / "run")


@pytest.fixture(scope="module")
def folders(settings, tmp_path_factory):
    """The folders of a run up to the teacher."""
    run = Pipeline.load("teacher_student", settings).run(tmp_path_factory.mktemp("taught") / "run", until="teach")
    return {name: run.path(name) for name in ("import", "build", "teach")}


def test_the_teacher_makes_its_activity_by_its_own_equation(folders):
    """tau dr/dt = -r + tanh(k (I + b)), exact over a step with the input held, in NumPy."""
    graph, spec, net = load_case(folders)
    data, hidden = (read_arrays(folders["teach"] / f"{n}.npz") for n in ("activity", "hidden"))
    weight = np.zeros((N, N))
    weight[graph.pre, graph.post] = graph.sign * graph.count
    onto = np.abs(weight).sum(0)
    weight *= 2.0 / np.where(onto > 0, onto, 1.0)
    k = np.exp(-20.0 / 100.0)
    for trial in (0, 4):
        r = np.zeros(N)
        for step, given in enumerate(data["inputs"][trial]):
            drive = given + (2.0 * np.tanh(0.5 * r)) @ weight
            r = k * r + (1 - k) * np.tanh(hidden["gain"] * (drive + hidden["bias"]))
            np.testing.assert_allclose(data["values"][trial, step], r, atol=2e-5)
    assert build(graph, spec).ids == net.ids


def test_currents_have_their_size_and_memory():
    s = TeachSettings(amplitude=2.0, correlation_ms=100.0, dt_ms=20.0, duration_ms=4000.0)
    driven = np.array([True] * 30 + [False])
    found = currents(20, driven, s)
    assert found[:, :, 30].std() == 0
    own = found[:, :, :30]
    assert own.std() == pytest.approx(2.0, rel=0.03)
    shifted = (own[:, 5:] * own[:, :-5]).mean() / own.var()  # 100 ms later
    assert shifted == pytest.approx(np.exp(-1.0), abs=0.02)


@pytest.mark.slow
def test_students_see_only_their_neurons(result):
    neurons = pd.read_parquet(result.path("study", "neurons.parquet"))
    assert set(neurons["control"]) == {"student", "rewired", "unwired", "unfitted"}
    recorded = neurons.groupby("control")["recorded"].sum()
    assert (recorded == round(0.3 * N)).all()
    chosen = recorded_neurons(N, 0.3, 0)
    assert set(chosen) <= set(recorded_neurons(N, 0.6, 0))
    own = neurons[neurons["control"] == "student"]
    assert np.flatnonzero(own["recorded"]).tolist() == chosen.tolist()
    unfitted = neurons[neurons["control"] == "unfitted"]
    assert (unfitted["gain_student"] == 1.0).all()


def test_controls_have_the_neurons_and_other_wiring(folders):
    graph, spec, net = load_case(folders)
    unwired = student_network("unwired", graph, spec, net, 0)
    assert not unwired.projections
    rewired = student_network("rewired", graph, spec, net, 0)
    assert rewired.ids == net.ids
    assert not np.array_equal(np.asarray(rewired.projections[0].post_index), np.asarray(net.projections[0].post_index))


@pytest.mark.slow
def test_the_fit_is_better_than_none_on_what_it_saw(result):
    scores = pd.read_parquet(result.path("study", "scores.parquet")).set_index(["control", "neurons"])
    assert scores.loc[("student", "recorded"), "median"] > scores.loc[("unfitted", "recorded"), "median"]
    assert scores.loc[("student", "recorded"), "median"] > 0.8


def test_scores_sum_up_neurons():
    table = pd.DataFrame(
        {
            "control": "student",
            "fraction": 0.5,
            "seed": 0,
            "recorded": [True, True, False, False, False],
            "explained": [1.0, 0.5, 0.2, -5.0, np.nan],
            **{f"{k}_teacher": [1.0, 2.0, 3.0, 4.0, 5.0] for k in ("gain", "bias")},
            **{f"{k}_student": [1.0, 2.0, 9.0, 8.0, 7.0] for k in ("gain", "bias")},
        }
    )
    found = summary(table).set_index("neurons")
    assert found.loc["unrecorded", "median"] == pytest.approx(-2.4)
    assert found.loc["unrecorded", "mean"] == pytest.approx(-0.4)
    assert found.loc["unrecorded", "gain_correlation"] == pytest.approx(-1.0)
    assert found.loc["recorded", "above_half"] == 0.5


def test_what_recordings_determine_is_the_curvature_of_the_likelihood(folders):
    """The Fisher information against finite differences of predictions."""
    _, _, net = load_case(folders)
    data, hidden = (read_arrays(folders["teach"] / f"{n}.npz") for n in ("activity", "hidden"))
    told = TeachSettings(duration_ms=400.0, trials=3, test_trials=2)
    neurons = np.array([1, 5])
    objective = _likelihood(net, None, data["inputs"][:3], neurons, told, forcing=False)
    found = fisher_information(net, objective, hidden, "neurons", told)
    assert found.shape == (2 * N, 2 * N)

    def predicted(k, step):
        gain, bias = hidden["gain"].copy(), hidden["bias"].copy()
        if k < N:
            gain[k] *= np.exp(told.hidden_gain * step)
        else:
            bias[k - N] += told.hidden_bias * step
        changed = net.with_params({"neurons": {"gain": jnp.asarray(gain), "bias": jnp.asarray(bias)}})
        return np.asarray(objective.predict(changed, {}), float).ravel() / told.noise

    columns = {k: (predicted(k, 0.01) - predicted(k, -0.01)) / 0.02 for k in (1, 2, N + 5)}
    for a, one in columns.items():
        for b, other in columns.items():
            assert found[a, b] == pytest.approx(one @ other, rel=0.02, abs=0.02 * np.abs(found).max())


@pytest.mark.slow
def test_the_report_tells_who_wins(result):
    report = result.path("report", "report.html").read_text()
    assert "30% recorded" in report
    assert "student, wiring rewired" in report
    assert "directions halved" in report


def test_shares_that_are_none_are_refused(settings, tmp_path):
    with pytest.raises(SettingError, match="between 0 and 1"):
        Pipeline.load("teacher_student", settings | {"study.fractions": [1.5]}).run(tmp_path / "run")


def test_a_specification_without_rate_units_is_refused(settings, tmp_path):
    spec = tmp_path / "graded.toml"
    text = 'name = "graded"\n[[neurons]]\nname = "n"\nmodel = "graded_leaky"\ntie_by = "id"\n'
    spec.write_text(text + '[[edges]]\nname = "e"\nsynapse = "graded"\n')
    with pytest.raises(SettingError, match="rate units"):
        Pipeline.load("teacher_student", settings | {"build.spec": str(spec)}).run(tmp_path / "run")
