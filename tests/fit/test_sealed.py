"""Held-out sweeps: opened once, after the fit, for the parameters that it ended with."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest

from connectofit.connectome.errors import SchemaError, SettingError, UnknownNameError
from connectofit.fit import Recordings, SealedRecordings, Sweep, split

DT, N = 0.5, 800
T = DT * np.arange(N)


def sweep(name: str, step_pA: float, cell: str = "A", seed: int = 0) -> Sweep:
    rng = np.random.default_rng([seed, *name.encode()])
    current = np.where((T >= 100) & (T < 300), step_pA, 0.0) + rng.normal(0, 1.0, N)
    return Sweep(name, current, -70 + rng.normal(0, 1, N), DT, 100.0, 300.0, cell=cell)


@pytest.fixture
def recordings() -> Recordings:
    return Recordings(
        (sweep("1", 50.0), sweep("2", 100.0), sweep("3", 150.0), sweep("4", 80.0, "B"), sweep("5", 20.0, "B"))
    )


PARAMETERS = {"tau_ms": 20.0, "weights": np.array([1.0, 2.0])}


def test_a_split_shows_the_training_sweeps_and_only_the_names_of_the_others(recordings):
    cut = split(recordings, ["2", "B/4"])
    assert cut.training.labels == ("A/1", "A/3", "B/5")
    assert cut.held_out.labels == ("A/2", "B/4")
    assert (len(cut.held_out), cut.held_out.state) == (2, "sealed")
    assert "voltage" not in repr(cut.held_out)
    reachable = [value for value in vars(cut.held_out).values() if isinstance(value, Recordings | Sweep | np.ndarray)]
    assert reachable == []


def test_sealed_sweeps_cannot_be_read_before_the_fit_is_finished(recordings):
    held = split(recordings, ["2"]).held_out
    with pytest.raises(SettingError, match=r"'A/2'.*sealed until the fit is finished"):
        held.open(PARAMETERS)
    assert held.state == "sealed"


def test_committed_parameters_open_them_once(recordings):
    held = split(recordings, ["2"]).held_out
    held.commit(PARAMETERS)
    assert held.state == "committed"
    opened = held.open({"weights": np.array([1.0, 2.0]), "tau_ms": 20.0})
    np.testing.assert_array_equal(opened["2"].voltage_mV, recordings["2"].voltage_mV)
    with pytest.raises(SettingError, match="were opened before"):
        held.open(PARAMETERS)
    with pytest.raises(SettingError, match="opened already"):
        held.commit(PARAMETERS)


def test_other_parameters_do_not_open_them_and_do_not_use_the_opening_up(recordings):
    held = split(recordings, ["2"]).held_out
    digest = held.commit(PARAMETERS)
    with pytest.raises(SettingError, match=f"not those that were committed.*committed {digest[:12]}"):
        held.open(PARAMETERS | {"tau_ms": 20.0000001})
    with pytest.raises(SettingError, match="committed already"):
        held.commit(PARAMETERS | {"tau_ms": 21.0})
    assert len(held.open(PARAMETERS)) == 1


def test_a_seal_cannot_be_copied_or_stored(recordings):
    held = split(recordings, ["2"]).held_out
    for attempt in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(SettingError, match="cannot be copied"):
            attempt(held)


@pytest.mark.parametrize("parameters", [{}, None, {"a": object()}, {"a": ["x", object()]}])
def test_parameters_have_to_be_numbers(recordings, parameters):
    with pytest.raises(SettingError, match="arameter"):
        SealedRecordings(recordings).commit(parameters)


def test_hold_outs_that_leave_nothing_or_hold_nothing_are_refused(recordings):
    with pytest.raises(SettingError, match="names no sweep"):
        split(recordings, [])
    with pytest.raises(SettingError, match="names all sweeps"):
        split(recordings, list(recordings.labels))
    with pytest.raises(SettingError, match=r"all sweeps of 'B' \(1 in all\)"):
        split(recordings, ["4", "5"])
    with pytest.raises(UnknownNameError, match="No sweep named '9'"):
        split(recordings, ["9"])
    with pytest.raises(SchemaError, match="more than once"):
        split(recordings, ["1", "1"])


def test_a_repeat_of_a_training_stimulus_is_no_held_out_stimulus(recordings):
    repeated = Recordings((*recordings.sweeps, sweep("6", 100.0, seed=9)))
    with pytest.raises(SettingError, match="'A/6 repeats A/2'"):
        split(repeated, ["6"])
    assert split(repeated, ["6", "2"]).training.labels == ("A/1", "A/3", "B/4", "B/5")
    assert split(repeated, ["6"], allow_repeats=True).held_out.labels == ("A/6",)
    # The same step in another cell is another experiment.
    other = Recordings((*recordings.sweeps, sweep("6", 100.0, "B", seed=9)))
    assert split(other, ["6"]).held_out.labels == ("B/6",)
