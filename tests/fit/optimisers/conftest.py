"""Problems of known answers that optimisers are tried on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from connectofit.fit.optimisers import Box, Objective, Shooting

MINIMUM = np.array([1.0, 1.0, 0.5])


def banana(x, scale):
    """Rosenbrock's function of the first two parameters, 0 at (1, 1), and a parabola of the logarithm of the third."""
    return 100.0 * (x[1] - x[0] ** 2) ** 2 + (1.0 - x[0]) ** 2 + jnp.log(x[2] / scale) ** 2


def banana_nudged(x, scale, strength):
    """The same with a shallow valley, its minimum shifted as long as there is coupling."""
    return banana(x, scale) / (1.0 + 30.0 * strength) + strength * (x[0] - 0.8) ** 2


@pytest.fixture(scope="session")
def box() -> Box:
    return Box(("x", "y", "tau"), np.array([-3.0, -3.0, 0.01]), np.array([3.0, 3.0, 10.0]), (False, False, True))


@pytest.fixture(scope="session")
def problem(box) -> Callable[..., Objective]:
    """problem(...): the banana with its minimum at `MINIMUM`; one evaluation simulates 2 s. Fields can be changed."""

    def make(**changes: Any) -> Objective:
        fields: dict[str, Any] = {"box": box, "loss": banana, "data": jnp.asarray(0.5), "simulated_s": 2.0}
        return Objective(**{**fields, **changes})

    return make


@pytest.fixture(scope="session")
def everything(problem) -> Objective:
    """The banana with all that any optimiser needs."""

    def within(x, scale, share):
        return banana(x, scale) * share + (1.0 - share) * (x[0] - 0.9) ** 2

    def guide(x, scale):
        return jnp.sum((x - jnp.asarray([0.9, 0.9, 0.45])) ** 2)

    def segments(x, scale, states):
        # Two segments of a line of slope x[0] that starts at x[1]: the second should begin where the first ends.
        return banana(x, scale) + jnp.sum((states[0] - x[1]) ** 2), states[1:] - (states[:-1] + x[0])

    shooting = Shooting(segments, np.array([[0.0], [0.0]]), np.array([1.0]))
    return problem(nudged=banana_nudged, couplings=(1.0, 0.1, 0.0), within=within, guide=guide, shooting=shooting)
