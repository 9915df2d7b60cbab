"""Short-term and spike-timing-dependent plasticity against NEST 3.10 (conventions: scripts/nest_plasticity.py)."""

from __future__ import annotations

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from connectofit.sim import PairSTDP, TripletSTDP, TsodyksMarkram
from connectofit.sim.plasticity import Pairs

VALUES = np.load(Path(__file__).parent / "values" / "nest_plasticity.npz")
DT_MS = 0.1
PRE = VALUES["pre"]


def sent_currents(params: dict[str, float]) -> np.ndarray:
    """The current that spikes have left when each arrives, through a synapse of 100 pA and 5 ms."""
    spikes = np.zeros((PRE[-1] + 1, 1))
    spikes[PRE] = 1.0
    rule = TsodyksMarkram()
    with jax.enable_x64(True):
        p = {name: jnp.full(1, params[name]) for name in rule.parameters}
        step = lambda state, given: rule.release(p, state, given, DT_MS)  # noqa: E731
        sent = jax.jit(lambda x: jax.lax.scan(step, rule.initial(jnp.zeros(1)), x)[1])(jnp.asarray(spikes))
    assert np.count_nonzero(sent) == len(PRE)
    current = 100.0 * np.asarray(sent)[PRE, 0]
    for k, gap in enumerate(np.diff(PRE)):
        current[k + 1] += current[k] * np.exp(-gap * DT_MS / 5.0)
    return current


@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("depression", {"use": 0.5, "tau_rec_ms": 800.0, "tau_facil_ms": 0.0}),
        ("facilitation", {"use": 0.05, "tau_rec_ms": 60.0, "tau_facil_ms": 700.0}),
        ("both", {"use": 0.25, "tau_rec_ms": 300.0, "tau_facil_ms": 200.0}),
    ],
)
def test_what_spikes_send_after_each_other_is_nests(name, params):
    found = sent_currents(params)
    np.testing.assert_allclose(found, VALUES[f"tsodyks/{name}"], rtol=1e-9)


def weights(rule, start: float, post_steps: np.ndarray, params: dict[str, float]) -> np.ndarray:
    """The weight of one edge after each presynaptic spike, by the rule alone."""
    n_steps = max(PRE[-1], post_steps[-1]) + 1
    arrived, fired = np.zeros((n_steps, 1)), np.zeros((n_steps, 1))
    arrived[PRE], fired[post_steps] = 1.0, 1.0
    with jax.enable_x64(True):
        p = {name: jnp.full(1, params.get(name, x.default)) for name, x in rule.parameters.items()}
        pairs = Pairs(jnp.zeros(1, int), jnp.zeros(1, int))

        def step(carry, given):
            weight, state = rule.learn(p, *carry, *given, pairs, DT_MS)
            return (weight, state), weight

        none = jnp.zeros(1)
        first = (jnp.full(1, start), rule.initial(none, none))
        _, trace = jax.jit(lambda given: jax.lax.scan(step, first, given))((jnp.asarray(arrived), jnp.asarray(fired)))
    return np.asarray(trace)[PRE, 0]


@pytest.mark.parametrize(
    ("name", "size", "alpha", "mu", "tau_plus", "tau_minus", "meeting"),
    [
        ("additive", 0.01, 1.05, 0.0, 20.0, 30.0, True),
        ("between", 0.02, 1.2, 0.4, 16.8, 33.7, False),
        ("multiplicative", 0.03, 1.1, 1.0, 20.0, 20.0, False),
    ],
)
def test_weights_of_the_pair_rule_are_nests(name, size, alpha, mu, tau_plus, tau_minus, meeting):
    params = {"a_plus": size, "a_minus": size * alpha, "mu": mu, "w_max": 100.0}
    params |= {"tau_plus_ms": tau_plus, "tau_minus_ms": tau_minus}
    found = weights(PairSTDP(), 40.0, VALUES["post" if meeting else "post_apart"], params)
    theirs = VALUES[f"pairs/{name}"]
    assert np.ptp(theirs) > 5.0
    np.testing.assert_allclose(found, theirs, rtol=1e-10)


def test_weights_of_the_triplet_rule_with_its_defaults_are_nests():
    found = weights(TripletSTDP(), 0.4, VALUES["post"], {})
    assert np.ptp(VALUES["triplets"]) > 0.05
    np.testing.assert_allclose(found, VALUES["triplets"], rtol=1e-10)
