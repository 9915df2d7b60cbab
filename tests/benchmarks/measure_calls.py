"""What the programs that compare gradients share; imported by every rival's own Python, so that it needs JAX alone."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

CALLS = 3


def report(call: Callable[..., Any], *args: Any, spikes: float, scale: float = 1.0) -> None:
    """Print a line of JSON on a jitted function that returns (loss, gradient), from a network of that many spikes.

    The gradient is told by its norm and by the median size of its entries, which the few neurons at the edge of another
    spike do not decide. scale: what the gradient is multiplied with, where a program has other units.
    """
    start = time.perf_counter()
    compiled = call.lower(*args).compile()
    found = jax.block_until_ready(compiled(*args))
    first = time.perf_counter() - start
    seconds = []
    for _ in range(CALLS):
        start = time.perf_counter()
        found = jax.block_until_ready(compiled(*args))
        seconds.append(time.perf_counter() - start)
    loss, gradient = found
    entries = np.concatenate([scale * np.asarray(g, np.float64).ravel() for g in jax.tree.leaves(gradient)] or [[0.0]])
    size = {"norm": np.sqrt((entries**2).sum()), "median": np.median(np.abs(entries))}
    memory = compiled.memory_analysis().temp_size_in_bytes / 1e6
    fields = {"seconds": seconds, "first": first, "loss": float(loss), "spikes": spikes}
    print(json.dumps(fields | size | {"temp_MB": memory}))
