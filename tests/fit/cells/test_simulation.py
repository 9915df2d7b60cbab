"""A cell run freely, against the simulator of networks."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from connectofit.connectome.errors import UnknownNameError
from connectofit.fit.cells.models import FITTABLE, cell_model
from connectofit.fit.cells.simulation import fold_cell, run_cell, spike_samples
from connectofit.sim.neurons.conductance_based import ConductanceBased

DT = 0.1


def _values(model):
    return {k: jnp.asarray(v) for k, v in model.named(model.start).items()}


@pytest.mark.few(2)
@pytest.mark.parametrize("name", FITTABLE)
def test_a_cell_runs_as_in_a_network(name, steps_and_noise, by_network):
    """Cells with channels in two steps a sample: as a network whose step is half as long."""
    model = cell_model(name)
    current = steps_and_noise(2000, 3)
    n_steps = 2 if isinstance(model.neuron, ConductanceBased) else 1
    fine, fired = by_network(model.neuron, model.named(model.start), np.repeat(current, n_steps, 0), DT / n_steps)
    voltage, spikes = fine[n_steps - 1 :: n_steps], fired.reshape(len(current), n_steps, -1).max(1)
    with jax.enable_x64(True):
        out = jax.jit(lambda i: run_cell(model.neuron, _values(model), i, dt_ms=DT))(jnp.asarray(current))
    assert spikes.sum() > 5
    np.testing.assert_array_equal(np.asarray(out["spikes"]), spikes)
    np.testing.assert_allclose(np.asarray(out["v_mV"]), voltage, atol=1e-7)


@pytest.mark.slow
def test_sums_are_those_over_the_trace_in_segments_too(steps_and_noise):
    model = cell_model("glif3")
    current = jnp.asarray(steps_and_noise(397, 2))

    def add(total, state, spikes, row):
        return total + row["weight"] * state["v_mV"] + 100.0 * spikes

    with jax.enable_x64(True):
        current = jnp.asarray(np.asarray(current, float))
        weight = jnp.asarray(np.random.default_rng(1).random(current.shape))
        p = _values(model)
        out = run_cell(model.neuron, p, current, dt_ms=DT)
        expected = (np.asarray(weight) * np.asarray(out["v_mV"])).sum(0) + 100.0 * np.asarray(out["spikes"]).sum(0)
        rows = {"current_pA": current, "weight": weight}
        for checkpoint in (True, False):
            total, _ = fold_cell(model.neuron, p, rows, add, jnp.zeros(2), dt_ms=DT, checkpoint=checkpoint)
            np.testing.assert_allclose(np.asarray(total), expected, rtol=1e-12)


def test_a_start_and_a_pull_towards_a_voltage():
    model = cell_model("glif1")
    with jax.enable_x64(True):
        p = _values(model)
        none = jnp.zeros((5, 2))
        out = run_cell(
            model.neuron,
            p,
            none,
            dt_ms=DT,
            start_mV=jnp.array([-60.0, -65.0]),
            pull_nS=jnp.full((5, 2), 30.0),
            towards_mV=jnp.full((5, 2), -50.0),
        )
        g, c, e = (float(p[k]) for k in ("g_nS", "c_m_pF", "e_l_mV"))
        target = (g * e + 30.0 * -50.0) / (g + 30.0)  # where leak and pull balance
        decay = np.exp(-DT * np.arange(1, 6) * (g + 30.0) / c)
        for k, start in enumerate((-60.0, -65.0)):
            np.testing.assert_allclose(np.asarray(out["v_mV"])[:, k], target + (start - target) * decay, rtol=1e-10)


def test_variables_that_do_not_exist_and_the_samples_of_spikes():
    model = cell_model("lif")
    with pytest.raises(UnknownNameError, match="'v_mv'"):
        run_cell(model.neuron, _values(model), jnp.zeros((3, 1)), dt_ms=DT, record=("v_mv",))
    found = spike_samples(np.array([[0.0, 1.0], [0.0, 0.0], [1.0, 1.0]]))
    assert [k.tolist() for k in found] == [[3], [1, 3]]
