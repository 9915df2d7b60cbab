"""Cross-validation: a fold's predictions come from a model that its own labels cannot have touched."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from connectofit.connectome import SettingError
from connectofit.fit import Detection, Free, Parameters, Protocol, Responses, Schedule, cross_validate

FOLDS = np.repeat(np.arange(7), 6) % 2  # by the stimulated neuron
SETTINGS = {
    "free": Parameters((Free("chemical.log_gain"),)),
    "which": (0, 1),
    "starts": 1,
    "schedule": Schedule(steps=4, interval=4),
}


@pytest.fixture(scope="module")
def answers() -> Detection:
    stimulated, responding = np.nonzero(~np.eye(7, dtype=bool))
    q = np.random.default_rng(0).random(stimulated.size)
    trials = np.ones(stimulated.size, np.int64)
    responses = Responses(tuple(f"n{k}" for k in range(7)), stimulated, responding, q, trials, q)
    return Detection.from_responses(responses, neuron_types=range(7), protocol=Protocol(duration_ms=300.0), q_below=0.4)


@pytest.fixture(scope="module")
def predicted(small, answers) -> np.ndarray:
    return cross_validate(small, {"atlas": answers}, {"atlas": FOLDS}, **SETTINGS).predictions["atlas"]


@pytest.mark.few(1)
@pytest.mark.parametrize("fold", [0, 1])
def test_the_labels_of_a_fold_change_the_other_folds_predictions_and_never_its_own(small, answers, predicted, fold):
    mine = fold == FOLDS
    garbled = replace(answers, detected=np.where(mine, 1.0 - answers.detected, answers.detected).astype(np.float32))
    again = cross_validate(small, {"atlas": garbled}, {"atlas": FOLDS}, **SETTINGS).predictions["atlas"]
    np.testing.assert_array_equal(again[mine], predicted[mine])
    assert (again[~mine] != predicted[~mine]).any()


def test_folds_that_are_not_run_have_no_predictions(small, answers, predicted):
    settings = SETTINGS | {"which": (1,)}
    result = cross_validate(small, {"atlas": answers}, {"atlas": FOLDS}, **settings)
    assert np.isnan(result.predictions["atlas"][FOLDS == 0]).all()
    np.testing.assert_array_equal(result.predictions["atlas"][FOLDS == 1], predicted[FOLDS == 1])
    assert set(result.history["fold"]) == {1}


def test_folds_of_another_length_are_refused(small, answers):
    with pytest.raises(SettingError, match="42 rows"):
        cross_validate(small, {"atlas": answers}, {"atlas": FOLDS[:-1]}, **SETTINGS)
