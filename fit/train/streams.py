"""Where random numbers of a training come from: streams of keys that have no key in common.

Every trial of training, validation and test is drawn from a key that depends on the seed and on its stream. The test
stream is drawn by `evaluate_task` alone.
"""

from __future__ import annotations

from typing import Literal, get_args

import jax
from jaxtyping import PRNGKeyArray

Stream = Literal["training", "validation", "test", "readout", "noise", "feedback", "choices"]


def stream_key(seed: int, stream: Stream, step: int = 0) -> PRNGKeyArray:
    """The key of a step of a stream."""
    number = get_args(Stream).index(stream)
    return jax.random.fold_in(jax.random.fold_in(jax.random.key(seed), number), step)
