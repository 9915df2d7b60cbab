"""Detections simulated from a network with known gains: the fit finds the gains, and a rewired network does not fit.

The truth is made here from NumPy alone (a linear network's steady state), so that model and fit share no code with it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pytest

from connectofit.builders import EdgeRule, ModelSpec, NeuronRule, build
from connectofit.connectome import Connectome, rewire
from connectofit.fit import Detection, Free, Parameters, Protocol, Responses, Schedule, auroc, fit_network

N, N_TYPES = 36, 4
LOG_GAIN = np.array([-0.9, -0.3, 0.4, 0.8])
SLOPE, OFFSET, FLOOR = 1.3, 5.0, 1e-3
AMPLITUDE = 0.2  # the response is nearly linear: release saturates for voltages of about 1


@dataclass(frozen=True, eq=False)
class Case:
    connectome: Connectome
    responses: Responses
    held: np.ndarray


@pytest.fixture(scope="module")
def case() -> Case:
    rng = np.random.default_rng(11)
    types = np.arange(N) % N_TYPES
    pre, post = np.nonzero((rng.random((N, N)) < 0.12) & ~np.eye(N, dtype=bool))
    count, sign = rng.integers(1, 10, pre.size), np.where(np.arange(N) % 3, 1, -1)[pre]
    neurons = pa.table({"id": [f"n{k}" for k in range(N)], "cell_class": [f"t{t}" for t in types]})
    connectome = Connectome.from_edges(
        neurons, pre=pre, post=post, count=count, kind=np.zeros(pre.size, np.int8), sign=sign.astype(np.int8)
    )

    weight = np.zeros((N, N))
    weight[pre, post] = sign * count
    share = np.abs(weight).sum(0)
    weight /= np.where(share > 0, share, 1.0)
    weight *= 0.5 * np.exp(LOG_GAIN)[types]
    assert np.abs(np.linalg.eigvals(weight)).max() < 0.95
    x = np.linalg.solve(np.eye(N) - weight.T, AMPLITUDE * np.eye(N)).T  # row: stimulated
    stimulated, responding = np.nonzero(~np.eye(N, dtype=bool))
    logit = OFFSET + SLOPE * np.log(np.abs(x[stimulated, responding]) + FLOOR)
    detected = rng.random(logit.size) < 1 / (1 + np.exp(-logit))
    q = np.where(detected, 0.001, 0.9)
    ones = np.ones(q.size, int)
    responses = Responses(tuple(f"n{k}" for k in range(N)), stimulated, responding, 1.0 * ones, ones, q)
    return Case(connectome, responses, stimulated % 6 == 0)


def fitted(case: Case, connectome: Connectome):
    """The fit to all but the held-out stimulations, its labels, and the held-out logits."""
    spec = ModelSpec(
        name="recovery",
        neurons=(NeuronRule(name="cells", model="graded_leaky", params={"tau_m_ms": 20.0}),),
        edges=(EdgeRule(name="chemical", synapse="graded", normalise="post_sum", gain=0.5, tie_by="post.cell_class"),),
    )
    net = build(connectome, spec)
    protocol = Protocol(amplitude=AMPLITUDE, dt_ms=20.0, duration_ms=400.0, from_ms=300.0)
    # One type for the readout: an excitability for each class would stand for the gains that are looked for.
    labels = Detection.from_responses(case.responses, neuron_types=["all"] * N, protocol=protocol)
    free = Parameters((Free("chemical.log_gain", sd_type=1.0, start_sd=0.3),))
    result = fit_network(
        net,
        {"atlas": labels},
        free=free,
        hold_out={"atlas": case.held},
        starts=2,
        schedule=Schedule(600, 0.1, 600, 200),
    )
    return result, labels.detected[case.held], result.predict("atlas", labels.subset(case.held))


@pytest.fixture(scope="module")
def truth(case):
    return fitted(case, case.connectome)


@pytest.mark.slow
def test_gains_of_types_are_recovered_up_to_a_common_factor(truth):
    found = np.asarray(truth[0].network.params["chemical"]["log_gain"])
    centred = found - found.mean() - (LOG_GAIN - LOG_GAIN.mean())
    assert np.corrcoef(found, LOG_GAIN)[0, 1] > 0.95
    assert np.abs(centred).max() < 0.4


@pytest.mark.slow
def test_the_slope_of_detection_is_recovered(truth):
    slope = np.log1p(np.exp(float(truth[0].readouts["atlas"]["slope_raw"])))
    assert slope == pytest.approx(SLOPE, rel=0.2)


@pytest.mark.parametrize("seed", [0, 1])
def test_a_rewired_network_predicts_held_out_stimulations_worse(case, truth, seed):
    def nll(labels, logit) -> float:
        return float(np.mean(np.logaddexp(0, logit) - labels * logit))

    _, labels, logit = truth
    _, _, rewired = fitted(case, rewire(case.connectome, seed)[0])
    assert nll(labels, logit) < nll(labels, rewired) - 0.05
    assert auroc(labels, logit) > auroc(labels, rewired) + 0.1
