"""A GLIF that fires by its escape rate: what voltage and spikes identify, and the gauge that spikes alone leave."""

from __future__ import annotations

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from connectofit.fit.cells.models import cell_model
from connectofit.fit.cells.problem import cell_data, cell_problem
from connectofit.fit.cells.teacher_forced import ForcedLikelihood, draw_spikes
from connectofit.fit.cells.uncertainty import laplace, polished
from connectofit.fit.cells.uncertainty_bootstrap import block_bootstrap
from connectofit.fit.cells.uncertainty_likelihood import Likelihood
from connectofit.fit.cells.uncertainty_profile import profile
from connectofit.fit.recordings import Recordings, Sweep

TRUTH = {"c_m_pF": 200.0, "g_nS": 10.0, "e_l_mV": -70.0, "v_threshold_mV": -50.0, "v_reset_mV": -60.0, "t_ref_ms": 2.0}
DELTA_MV, NOISE_MV = 2.0, 1.0
GAUGE = ("c_m_pF", "g_nS", "e_l_mV", "v_threshold_mV", "v_reset_mV", "delta_v_mV")


def _fired(seed, n=2500, sweeps=2, dt=0.5):
    """Sweeps of filtered noise (5 ms), with the voltage and the onsets of a GLIF that starts at rest."""
    rng = np.random.default_rng(seed)
    keep, current, state = np.exp(-dt / 5.0), np.zeros((n, sweeps)), np.zeros(sweeps)
    for k in range(n):
        state = keep * state + np.sqrt(1 - keep**2) * rng.normal(size=sweeps)
        current[k] = 180.0 + 120.0 * state
    cell = cell_model("glif1", start=TRUTH)
    p = {name: jnp.float32(v) for name, v in {**cell.fixed, **TRUTH}.items()}
    data = {"current_pA": jnp.asarray(current, jnp.float32)}
    spikes, voltage = draw_spikes(cell.neuron, p, jnp.float32(DELTA_MV), data, dt, jax.random.key(seed))
    made, onsets = [], []
    for k in range(sweeps):
        seen = np.concatenate([[TRUTH["e_l_mV"]], np.asarray(voltage)[:, k]]) + NOISE_MV * rng.normal(size=n + 1)
        made.append(Sweep(f"s{k}", np.append(current[:, k], 0.0), seen, dt, 0.0, (n + 1) * dt))
        onsets.append(np.flatnonzero(np.asarray(spikes)[:, k] > 0.5) + 1)
    return Recordings(tuple(made)), tuple(onsets)


def _glif(loss, model="glif1", seed=1):
    recordings, onsets = _fired(seed)
    settings = {"fixed": {"t_ref_ms": 2.0}, "onsets": onsets, "mask_ms": (0.0, 2.0), "initial": "rest"}
    return cell_problem(recordings, model, loss, **settings)


@pytest.fixture(scope="module")
def both():
    problem = _glif(ForcedLikelihood(sd_mV=None, correlation_ms=None))
    x = polished(problem, problem.start)
    return problem, x, laplace(problem, x)


@pytest.fixture(scope="module")
def spikes_alone():
    problem = _glif(ForcedLikelihood(voltage=False))
    x = polished(problem, problem.start)
    return problem, x, laplace(problem, x)


def test_voltage_and_spikes_identify_a_glif_and_find_it(both):
    _, _, found = both
    assert found.unidentified == ()
    assert found.soft == ()
    assert found.findings == ()
    for name, e in found.estimates.items():
        truth = {**TRUTH, "delta_v_mV": DELTA_MV, "voltage_sd_mV": NOISE_MV}[name]
        assert abs(e.value - truth) < 4 * e.standard_error, name


def test_second_derivatives_are_those_of_differences(both):
    problem, _, found = both
    box, u = problem.objective.box, found.share
    with jax.enable_x64(True):
        data = jax.tree.map(lambda a: jnp.asarray(np.asarray(a, float)), problem.objective.data)
        loss = jax.jit(jax.vmap(lambda x: problem.objective.loss(x, data)))
        log, k = np.array(box.log), box.size
        width = 1e-3 * np.minimum(1.0, 30.0 / np.sqrt(np.diag(found.hessian)))
        places = []
        for i in range(k):
            for j in range(k):
                for a, b in ((1, 1), (1, -1), (-1, 1), (-1, -1)):
                    v = u.copy()
                    v[i] += a * width[i]
                    v[j] += b * width[j]
                    ratio = box.high / np.where(log, box.low, 1.0)
                    on_log = box.low * np.where(log, ratio, 1.0) ** v
                    places.append(np.where(log, on_log, box.low + (box.high - box.low) * v))
        values = np.asarray(loss(jnp.asarray(np.array(places)))).reshape(k, k, 4)
    expected = (values @ [1, -1, -1, 1]) / (4 * np.outer(width, width))
    scale = np.sqrt(np.outer(np.diag(found.hessian), np.diag(found.hessian)))
    np.testing.assert_allclose(found.hessian / scale, expected / scale, atol=2e-3)


def test_spikes_alone_do_not_identify_resistance_and_potentials(spikes_alone):
    _, _, found = spikes_alone
    assert found.unidentified == GAUGE
    assert len(found.soft) == 2
    assert all(np.isinf(found.estimates[name].standard_error) for name in GAUGE)
    for name in GAUGE:
        assert found.reasons[name].startswith(f"{name} is not identified by these data: its 95 % interval is endless")
    first = found.findings[0]
    assert "g_nS, e_l_mV" in first
    assert "Spikes alone fix neither the zero nor the unit of the voltage" in first


def test_the_soft_directions_of_spikes_alone_are_the_gauge(spikes_alone):
    problem, x, found = spikes_alone
    box, at = problem.objective.box, dict(zip(problem.names, x, strict=True))
    shift = np.array([0.0, 0.0, 1.0, 1.0, 1.0, 0.0])
    e = at["e_l_mV"]
    # V - E_L, and the width, doubled while conductance and capacitance halve: by how much per e-fold.
    scale = np.array([-at["c_m_pF"], -at["g_nS"], 0, at["v_threshold_mV"] - e, at["v_reset_mV"] - e, at["delta_v_mV"]])
    own = np.stack([shift, scale]) / found.slope
    soft = np.array([[d.weights[name] for name in problem.names] for d in found.soft])
    for gauge in own:
        unit = gauge / np.linalg.norm(gauge)
        np.testing.assert_allclose(soft.T @ (soft @ unit), unit, atol=2e-3)
    assert any(
        all(f"{name} +1" in text for name in ("e_l_mV", "v_threshold_mV", "v_reset_mV")) and "g_nS" not in text
        for text in found.combinations
    )
    assert box.size == 6
    assert found.soft[0].rise_nats < 0.1


@pytest.mark.slow
def test_what_no_gauge_touches_stays_known_from_spikes_alone(spikes_alone):
    _, _, found = spikes_alone
    tau = found.derived(lambda p: p["c_m_pF"] / p["g_nS"], log=True)
    assert tau.low < 20.0 < tau.high
    assert tau.standard_error < 6.0
    rheobase = found.derived(lambda p: (p["v_threshold_mV"] - p["e_l_mV"]) * p["g_nS"])
    assert rheobase.low < 200.0 < rheobase.high
    assert rheobase.standard_error < 30.0


@pytest.mark.slow
def test_refits_do_not_make_a_gauge_look_known(spikes_alone):
    problem, x, _ = spikes_alone
    found = block_bootstrap(problem, x, 2, 250.0, seed=0)
    table = found.table.set_index("parameter")
    assert not table.identifiable.any()
    assert np.isinf(table.standard_error).all()
    np.testing.assert_allclose(table.low, problem.objective.box.low)
    assert "not identified" in found.findings[0]


@pytest.mark.slow
def test_the_terms_of_complementary_blocks_add_up_to_the_likelihood_of_spikes(spikes_alone):
    problem, _, found = spikes_alone
    likelihood = Likelihood(problem)
    with jax.enable_x64(True):
        block = jnp.asarray(np.repeat(np.arange(10).reshape(2, 5), 500, axis=1).T)
    weights = np.random.default_rng(0).integers(0, 2, 10) * np.array([[1.0], [-1.0]]) + np.array([[0.0], [1.0]])
    losses, slopes = likelihood.gradients(np.tile(found.share, (2, 1)), block, weights)
    np.testing.assert_allclose(losses.sum(), found.loss, rtol=1e-9)
    np.testing.assert_allclose(slopes.sum(axis=0), found.gradient, atol=1e-6 * np.abs(slopes).max())
    assert (losses > 0.1 * found.loss).all()


def test_a_hessian_that_curves_down_is_told(both):
    problem, x, _ = both
    away = x.copy()
    away[problem.names.index("delta_v_mV")] = 14.0
    found = laplace(problem, away)
    assert np.linalg.eigvalsh(found.hessian).min() < 0
    assert not found.positive_definite
    assert any("not positive definite" in text for text in found.findings)
    assert any("not at the optimum" in text for text in found.findings)


@pytest.mark.slow
def test_the_profile_of_a_gauge_is_open_and_that_of_the_threshold_agrees_with_curvature(spikes_alone, both):
    problem, x, _ = spikes_alone
    found = profile(problem, x, "e_l_mV", 8)
    near = found.table[(found.table.value - found.value).abs() < 5.0]
    assert near.rise_nats.max() < 0.01
    assert found.low_open or found.limited_by
    problem, x, curved = both
    steep = profile(problem, x, "v_threshold_mV", 12)
    error = curved.estimates["v_threshold_mV"].standard_error
    assert abs(steep.high - steep.low - 2 * 1.96 * error) < 0.15 * 2 * 1.96 * error


@pytest.mark.slow
def test_a_lif_under_spikes_alone_has_no_resistance_and_no_resting_potential():
    problem = _glif(ForcedLikelihood(voltage=False), "lif")
    found = laplace(problem, polished(problem, problem.start))
    assert set(problem.names) - set(found.unidentified) == {"tau_m_ms"}
    assert {"r_m_GOhm", "v_rest_mV"} <= set(found.unidentified)


@pytest.mark.slow
def test_intervals_cover_the_truth_in_forty_data_sets(both):
    problem, _, _ = both
    truth = np.array([{**TRUTH, "delta_v_mV": DELTA_MV, "voltage_sd_mV": NOISE_MV}[name] for name in problem.names])
    inside = []
    for seed in range(100, 140):
        recordings, onsets = _fired(seed)
        data = cell_data(recordings, onsets, problem.cell.fixed, mask_ms=(0.0, 2.0), initial="rest")
        drawn = replace(problem, objective=replace(problem.objective, data=data))
        table = laplace(drawn, polished(drawn, truth)).table
        inside.append((table.low <= truth) & (truth <= table.high))
    share = np.mean(inside, axis=0)
    assert (share >= 0.85).all(), dict(zip(problem.names, share, strict=True))
