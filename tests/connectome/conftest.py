"""Random connectomes whose answers other libraries can work out."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pytest

from connectofit.connectome import Connectome

RandomConnectome = Callable[..., Connectome]


@pytest.fixture(scope="session")
def random_connectome() -> RandomConnectome:
    """A maker of multigraphs of both kinds, with types (some missing) and signs of all sorts, from a seed."""

    def make(seed: int, n: int = 14, density: float = 0.2, electrical: bool = True, whole: bool = True) -> Connectome:
        rng = np.random.default_rng(seed)
        pre, post = np.nonzero(rng.random((n, n)) < density)
        count = rng.integers(1, 12, len(pre)) if whole else rng.random(len(pre)) * 9
        kind, sign = np.zeros(len(pre), int), rng.choice([-1, 0, 1], len(pre))
        if electrical:
            a, b = np.nonzero(np.triu(rng.random((n, n)) < density / 2, 1))
            gaps = rng.integers(1, 12, len(a)) if whole else rng.random(len(a)) * 9
            pre, post = np.concatenate([pre, a, b]), np.concatenate([post, b, a])
            count, kind = np.concatenate([count, gaps, gaps]), np.concatenate([kind, np.ones(2 * len(a), int)])
            sign = np.concatenate([sign, np.zeros(2 * len(a), int)])
        ids = rng.permutation(n) + 2**60
        types = pa.array([["A", "B", "C", "D", None][i] for i in rng.integers(0, 5, n)])
        neurons = pa.table({"id": ids, "cell_type": types, "x_um": rng.normal(size=n), "y_um": rng.normal(size=n)})
        return Connectome.from_edges(neurons, pre=pre, post=post, count=count, kind=kind, sign=sign)

    return make
