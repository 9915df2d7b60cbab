"""A recorded cell as a problem: what is checked before a fit, how sweeps become arrays, and the voltage loss."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from connectofit.connectome.errors import SchemaError, SettingError, UnknownNameError
from connectofit.data import RAT_CORTEX_COLUMNS, RAT_CORTEX_STIMULUS_MS, rat_cortex_step_currents
from connectofit.fit import Recordings, Sweep, read_recordings
from connectofit.fit.cells.losses import VoltageError, WeightedSum
from connectofit.fit.cells.models import cell_model
from connectofit.fit.cells.problem import cell_problem
from connectofit.fit.cells.simulation import run_cell
from connectofit.fit.cells.teacher_forced import ForcedLikelihood

DT = 0.05


@pytest.fixture(scope="module")
def hh(by_network, steps_and_noise):
    """Two sweeps of unlike length of a Traub-Miles cell, without noise, started at rest."""
    model = cell_model("hh", free=["g_leak_nS", "g_na_nS", "g_k_nS", "v_t_mV"])
    values = model.named(model.start) | {"v_rest_mV": -65.0}
    current = steps_and_noise(1200, 2, mean=500.0)
    v, _ = by_network(model.neuron, values, current, DT)
    v = np.concatenate([np.full((1, 2), -65.0), v[:-1]])
    sweeps = [
        Sweep("a", current[:, 0], v[:, 0], DT, 0.0, 60.0),
        Sweep("b", current[:800, 1], v[:800, 1], DT, 0.0, 40.0),
    ]
    return Recordings(tuple(sweeps)), values


def _hh_problem(hh, **settings):
    recordings, values = hh
    free = ["g_leak_nS", "g_na_nS", "g_k_nS", "v_t_mV"]
    return cell_problem(
        recordings,
        "hh",
        "voltage",
        free=free,
        start={k: values[k] for k in free},
        fixed={k: v for k, v in values.items() if k not in free},
        **{"initial": "rest", **settings},
    )


@pytest.mark.few(1)
def test_the_voltage_error_of_the_cell_itself_is_0_and_elsewhere_a_mean_over_the_samples(hh):
    recordings, values = hh
    with jax.enable_x64(True):
        problem = _hh_problem(hh)
        objective = problem.objective
        x = jnp.asarray(problem.start)
        assert float(objective.loss(x, objective.data)) < 1e-12
        assert objective.simulated_s == pytest.approx((1199 + 799) * DT * 1e-3)
        assert objective.data["valid"].shape == (1199, 2)
        moved = problem.start * np.array([1.1, 0.9, 1.05, 1.0])
        traces = problem.simulate(moved)
        squares = [np.square(t["v_mV"] - s.voltage_mV)[1:] for t, s in zip(traces, recordings, strict=True)]
        assert float(objective.loss(jnp.asarray(moved), objective.data)) == pytest.approx(
            np.concatenate(squares).mean(), rel=1e-9
        )
    assert problem.named(problem.start)["g_k_nS"] == values["g_k_nS"]


@pytest.mark.slow
def test_coupling_brings_the_model_to_the_recording_and_its_gradient_is_that_of_finite_differences(hh):
    with jax.enable_x64(True):
        problem = _hh_problem(hh)
        objective, x = problem.objective, problem.start * np.array([1.3, 0.8, 1.2, 1.0])
        data = objective.data
        nudged = jax.jit(objective.nudged)
        free = float(objective.loss(jnp.asarray(x), data))
        values = [float(nudged(jnp.asarray(x), data, c)) for c in (0.0, 100.0, 10000.0)]
        assert values[0] == pytest.approx(free, rel=1e-9)
        assert values[0] > 2 * values[1] > 4 * values[2]
        slope = np.asarray(jax.jit(jax.jacfwd(objective.nudged))(jnp.asarray(x), data, 1000.0))
        for k, h in enumerate(1e-6 * np.abs(x)):
            step = h * np.eye(4)[k]
            ends = [float(nudged(jnp.asarray(x + s), data, 1000.0)) for s in (step, -step)]
            assert slope[k] == pytest.approx((ends[0] - ends[1]) / (2 * h), rel=1e-4)
        folded = jax.jit(objective.squares)(jnp.asarray(x), data, 1000.0)
        assert float(folded[0]) == pytest.approx(float(nudged(jnp.asarray(x), data, 1000.0)), rel=1e-9)
        np.testing.assert_allclose(folded[1], slope, rtol=1e-6)
        assert np.linalg.eigvalsh(folded[2]).min() > 0
    assert objective.couplings[-1] == 0.0
    assert list(objective.couplings) == sorted(objective.couplings, reverse=True)


@pytest.mark.slow
def test_a_cell_with_channels_recorded_at_long_intervals_takes_short_steps(hh, by_network):
    """Every fifth sample of a current that changes every fifth: the same model, looked at every 0.25 ms."""
    model = cell_model("hh")
    values = {**model.named(model.start), "v_rest_mV": -65.0}
    current = np.repeat(np.random.default_rng(3).normal(500.0, 120.0, (300, 1)), 5, axis=0)
    v, spikes = by_network(model.neuron, values, current, DT)
    assert spikes.sum() > 2
    with jax.enable_x64(True):
        p = {k: jnp.asarray(x) for k, x in values.items()}
        out = run_cell(model.neuron, p, jnp.asarray(current[::5]), dt_ms=5 * DT)
    np.testing.assert_allclose(out["v_mV"], v[4::5], atol=1e-6)
    assert float(out["spikes"].sum()) == spikes.sum()


def test_within_counts_the_first_share_of_the_time(hh):
    recordings, _ = hh
    with jax.enable_x64(True):
        problem = _hh_problem(hh)
        moved = problem.start * np.array([1.1, 0.9, 1.05, 1.0])
        found = float(problem.objective.within(jnp.asarray(moved), problem.objective.data, jnp.asarray(0.25)))
        shown = int(np.ceil(0.25 * 1199))
        traces = problem.simulate(moved)
        parts = [(t["v_mV"] - s.voltage_mV)[1 : shown + 1] for t, s in zip(traces, recordings, strict=True)]
    assert found == pytest.approx(np.square(np.concatenate(parts)).mean(), rel=1e-9)


def test_validation_sweeps_are_left_out_of_the_data_and_checked(hh):
    with jax.enable_x64(True):
        problem = _hh_problem(hh, validation=["b"])
        assert problem.recordings.labels == ("a",)
        assert problem.objective.data["valid"].shape == (1199, 1)
        assert problem.objective.check_data["valid"].shape == (799, 1)
        assert float(problem.objective.check(jnp.asarray(problem.start), problem.objective.check_data)) < 1e-12


@pytest.mark.slow
def test_sums_weigh_their_parts(hh):
    with jax.enable_x64(True):
        problem = _hh_problem(hh)
        moved = jnp.asarray(problem.start * np.array([1.1, 0.9, 1.05, 1.0]))
        one = float(problem.objective.loss(moved, problem.objective.data))
        both = _hh_problem(hh)
        cell, data = both.cell, both.objective.data
        p = {**data["fixed"], **{k: moved[i] for i, k in enumerate(cell.box.names)}}
        total = WeightedSum(((2.0, VoltageError()), (0.5, VoltageError()))).value(cell, p, {}, data, DT)
        assert float(total) == pytest.approx(2.5 * one)
    with pytest.raises(SettingError, match="weights above 0"):
        WeightedSum(((0.0, VoltageError()),))


def test_the_mask_reaches_from_before_a_spike_to_the_end_of_the_refractory_period(steps_and_noise, sweeps_of):
    current = steps_and_noise(1000, 1)
    voltage = -65.0 + 0.02 * current + np.random.default_rng(0).normal(size=current.shape)
    recordings = sweeps_of(current, voltage, 0.1)
    spike = [np.array([400])]
    counted = np.asarray(cell_problem(recordings, "glif1", onsets=spike).objective.data["counted"])[:, 0]
    left_out = np.flatnonzero(counted == 0) + 1  # samples
    assert (left_out[0], left_out[-1]) == (350, 420)  # 5 ms before, 2 ms after
    own = cell_problem(recordings, "glif1", onsets=spike, mask_ms=(1.0, 0.5)).objective.data
    assert (np.flatnonzero(np.asarray(own["counted"])[:, 0] == 0) + 1).tolist() == list(range(390, 406))
    bare = cell_problem(recordings, "glif1", onsets=spike, mask_ms=(0.0, 0.0)).objective.data
    assert (np.flatnonzero(np.asarray(bare["counted"])[:, 0] == 0) + 1).tolist() == [400]
    assert np.flatnonzero(np.asarray(bare["spikes"])[:, 0]).tolist() == [399]


@pytest.mark.slow
def test_the_likelihood_of_a_neuron_with_a_voltage_of_its_own_is_of_the_spikes_alone():
    recordings, _ = read_recordings(
        rat_cortex_step_currents(), columns=RAT_CORTEX_COLUMNS, stimulus_ms=RAT_CORTEX_STIMULUS_MS
    )
    cell = recordings.cell("B6")
    assert cell_problem(cell, "izhikevich").loss == ForcedLikelihood(voltage=False)
    assert cell_problem(cell, "adex").loss == ForcedLikelihood()


def test_real_cells_become_problems_that_are_finite_at_their_start():
    cells, _ = read_recordings(
        rat_cortex_step_currents(), columns=RAT_CORTEX_COLUMNS, stimulus_ms=RAT_CORTEX_STIMULUS_MS
    )
    short = Recordings(tuple(s.window(s.onset_ms - 100.0, s.onset_ms + 300.0) for s in cells.cell("B6")))
    for model in ("lif", "glif3", "adex", "gif"):
        problem = cell_problem(short, model)
        assert isinstance(problem.loss, ForcedLikelihood)
        assert problem.names[-1] == "delta_v_mV"
        assert np.isfinite(float(problem.objective.loss(jnp.asarray(problem.start), problem.objective.data)))
    # A program that was compiled for one cell serves another; one of another model or loss does not.
    other = cell_problem(Recordings(short.sweeps[:2]), "gif").objective.loss
    assert (other, hash(other)) == (problem.objective.loss, hash(problem.objective.loss))
    assert other not in (
        cell_problem(short, "glif3").objective.loss,
        cell_problem(short, "gif", free=["tau_m_ms"]).objective.loss,
    )
    hh = cell_problem(short, "hh")
    assert isinstance(hh.loss, VoltageError)
    assert np.asarray(hh.objective.data["counted"]).all()


def test_recordings_that_cannot_be_fitted_are_refused_before_anything_runs(steps_and_noise, sweeps_of):
    current = steps_and_noise(1000, 2)
    voltage = -65.0 + 0.02 * current + np.random.default_rng(0).normal(size=current.shape)
    recordings = sweeps_of(current, voltage, 0.1)
    silent = [np.zeros(0, int)] * 2
    spikes = [np.array([300, 310]), np.array([500])]
    with pytest.raises(SettingError, match=r'has a spike .*loss="voltage"'):
        cell_problem(recordings, "glif1", "likelihood", onsets=silent)
    assert isinstance(cell_problem(recordings, "glif1", onsets=silent).loss, VoltageError)
    with pytest.raises(SettingError, match="longer than intervals"):
        cell_problem(recordings, "glif1", onsets=spikes, fixed={"t_ref_ms": 1.0})
    with pytest.raises(SchemaError, match="samples from 1 to 999"):
        cell_problem(recordings, "glif1", onsets=[np.array([0]), np.array([1200])])
    with pytest.raises(SchemaError, match="each once"):
        cell_problem(recordings, "glif1", onsets=[np.array([5, 5]), np.array([7])])
    with pytest.raises(SchemaError, match="of 1 sweeps"):
        cell_problem(recordings, "glif1", onsets=[np.array([5])])
    with pytest.raises(UnknownNameError, match="Did you mean 'delta_v_mV'"):
        cell_problem(recordings, "glif1", onsets=spikes, start={"delta_v_mv": 1.0})
    with pytest.raises(SettingError, match="exclude the start"):
        cell_problem(recordings, "glif1", onsets=spikes, bounds={"delta_v_mV": (5.0, 6.0)})
    with pytest.raises(UnknownNameError, match="Did you mean 'likelihood'"):
        cell_problem(recordings, "glif1", "likelyhood", onsets=spikes)
    with pytest.raises(UnknownNameError, match="initial"):
        cell_problem(recordings, "glif1", onsets=spikes, initial="recoded")
    with pytest.raises(SettingError, match="two times of 0 or more"):
        cell_problem(recordings, "glif1", onsets=spikes, mask_ms=(-1.0, 2.0))
    with pytest.raises(SettingError, match="No sample of the voltage"):
        cell_problem(recordings, "glif1", onsets=spikes, mask_ms=(100.0, 100.0))
    with pytest.raises(SettingError, match="leave some"):
        cell_problem(recordings, "glif1", onsets=spikes, validation=["0", "1"])
    slow = Recordings((recordings.sweeps[0], recordings.sweeps[1].resampled(0.2)))
    with pytest.raises(SchemaError, match="sampled alike"):
        cell_problem(slow, "glif1", onsets=[np.array([5]), np.array([7])])
