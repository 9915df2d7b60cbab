"""The frequency of a recorded oscillation: descent from afar misses it, and each way around finds it."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from connectofit.fit.optimisers import LBFGS, Box, GrowingHorizon, Nudged, Objective, Shoot, Shooting, minimise

DT, STEPS, FREQUENCY = 0.05, 600, 1.7
RECORDED = np.cos(FREQUENCY * DT * np.arange(1, STEPS + 1))  # of x'' = -w^2 x from x = 1 at rest
STARTS = np.linspace(0.6, 3.4, 9)[:, None]


def run(w, state, recorded, strength):
    """x and its slope over steps of an exact rotation, pulled towards the recording; the states after each."""
    c, s = jnp.cos(w * DT), jnp.sin(w * DT)

    def step(state, now):
        x, v = state[0] * c + state[1] * s, -state[0] * s + state[1] * c  # v in units of w
        x = x + (now - x) * -jnp.expm1(-strength * DT)
        return jnp.stack([x, v]), jnp.stack([x, v])

    return jax.lax.scan(step, state, recorded)


def misfit(w, recorded, strength=0.0):
    return (run(w[0], jnp.asarray([1.0, 0.0]), recorded, strength)[1][:, 0] - recorded) ** 2


def loss(w, recorded):
    return jnp.mean(misfit(w, recorded))


def nudged(w, recorded, strength):
    return jnp.mean(misfit(w, recorded, strength))


def within(w, recorded, share):
    first = jnp.arange(STEPS) < share * STEPS
    return jnp.sum(jnp.where(first, misfit(w, recorded), 0.0)) / jnp.sum(first)


def segments(w, recorded, states):
    parts = recorded.reshape(len(states), -1)
    ends, held = jax.vmap(lambda state, part: run(w[0], state, part, 0.0))(states, parts)
    return jnp.mean((held[..., 0] - parts) ** 2), states[1:] - ends[:-1]


@pytest.fixture(scope="module")
def oscillation() -> Objective:
    """The recording, with all three ways around."""
    n = 30
    slope = np.gradient(RECORDED, DT) / 2.0  # in units of a wrong frequency: the segments' starts are only about right
    first = np.stack([RECORDED, slope], axis=1)[:: STEPS // n]
    shooting = Shooting(segments, first, np.array([0.1, 0.1]))
    box = Box(("w",), np.array([0.5]), np.array([3.5]), (False,))
    return Objective(
        box, loss, jnp.asarray(RECORDED), 30.0, nudged=nudged, couplings=(10.0, 3.0, 1.0, 0.3, 0.1, 0.0),
        within=within, shooting=shooting,
    )  # fmt: skip


def found(objective, method):
    """How many of the starts end within 1 % of the frequency."""
    search = minimise(objective, method=method, starts=STARTS, seed=0)
    return int((np.abs(search.starts["w"] / FREQUENCY - 1.0) < 0.01).sum())


def test_plain_descent_misses_it_from_most_starts(oscillation):
    assert found(oscillation, LBFGS()) <= 4


def test_nudging_finds_it_from_every_start(oscillation):
    assert found(oscillation, Nudged()) == len(STARTS)


def test_a_growing_horizon_finds_it_from_most_starts(oscillation):
    assert found(oscillation, GrowingHorizon(shares=(0.03, 0.1, 0.3))) >= 7


@pytest.mark.slow
def test_shooting_finds_it_from_most_starts(oscillation):
    assert found(oscillation, Shoot(weight=0.001, rounds=5)) >= 7


def test_stages_drop_the_worse_starts(oscillation):
    search = minimise(oscillation, method=Nudged(keep=0.5), starts=STARTS[:8], seed=0)
    assert search.starts["ended"].tolist().count("pruned") == 7  # 8, 4, 2, 1, 1, 1
    assert search.x[0] == pytest.approx(FREQUENCY, rel=1e-3)
