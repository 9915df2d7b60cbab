"""The rectified synapse: what exceeds the threshold is passed on, with its derivative."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from connectofit.sim import GradedLeaky, Network, Population, Projection, Rectified, rollout


def two(threshold: float) -> Network:
    """Three senders, clamped, onto one receiver with weights 1, -2 and 4."""
    senders = Population("pre", GradedLeaky(), ("a", "b", "c"), np.zeros(3, np.int32), ("all",))
    receiver = Population("post", GradedLeaky(), ("d",), np.zeros(1, np.int32), ("all",))
    wires = Projection(
        "syn",
        "pre",
        "post",
        Rectified(),
        np.arange(4, dtype=np.int32),
        np.zeros(3, np.int32),
        np.array([1.0, -2.0, 4.0], np.float32),
        np.zeros(3, np.int32),
        ("all",),
    )
    own = {"tau_m_ms": np.full(1, 10.0), "v_rest": np.zeros(1), "noise": np.zeros(1)}
    params = {"pre": own, "post": own, "syn": {"log_gain": np.zeros(1), "v_threshold": np.full(1, threshold)}}
    return Network((senders, receiver), (wires,), params)


def settled(net: Network, v: jnp.ndarray) -> jnp.ndarray:
    out = rollout(net, None, {}, dt_ms=50.0, clamped={"pre": jnp.tile(v, (12, 1))}, record=("v",))[1]
    return out["post"]["v"][-1, 0]


def test_what_exceeds_the_threshold_is_weighted_and_summed():
    for threshold, expected in ((0.0, 3.0 - 2 * 1.0), (-1.0, 4.0 - 2 * 2.0 + 4 * 0.5), (5.0, 0.0)):
        found = settled(two(threshold), jnp.array([3.0, 1.0, -0.5]))
        np.testing.assert_allclose(found, expected, atol=1e-5)


def test_its_derivative_is_the_weight_above_the_threshold_and_none_below():
    slope = jax.grad(lambda v: settled(two(0.0), v))(jnp.array([3.0, 1.0, -0.5]))
    np.testing.assert_allclose(slope, [1.0, -2.0, 0.0], atol=1e-5)
