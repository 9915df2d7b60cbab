"""A connectome made by hand: two cells of class A, one B, one C; chemical edges and gap junctions."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from connectofit.connectome import Connectome


@pytest.fixture
def tiny() -> Connectome:
    neurons = pa.table(
        {
            "id": ["A1", "A2", "B", "C"],
            "cell_class": ["A", "A", "B", "C"],
            "tau": [5.0, 5.0, 7.0, 9.0],
            "x_um": [0.0, 30.0, 0.0, 100.0],
            "y_um": [0.0, 40.0, 0.0, 0.0],
        }
    )
    #                   chemical                       electrical, both directions
    pre = np.array([0, 0, 1, 2, 2, 3, 0, 2, 1, 3])
    post = np.array([1, 2, 2, 2, 3, 0, 2, 0, 3, 1])
    count = np.array([4, 1, 3, 2, 5, 6, 8, 8, 2, 2])
    kind = np.array([0] * 6 + [1] * 4, np.int8)
    sign = np.array([1, 1, 1, -1, -1, 0, 0, 0, 0, 0], np.int8)
    return Connectome.from_edges(neurons, pre=pre, post=post, count=count, kind=kind, sign=sign)


def edge_weights(net, name: str) -> dict[tuple[str, str], float]:
    """{(pre id, post id): base weight} of a projection."""
    projection = net.projection(name)
    pre, post = net.population(projection.pre).ids, net.population(projection.post).ids
    ends = zip(projection.pre_index, projection.post_index, projection.base_weight, strict=True)
    return {(pre[i], post[j]): float(w) for i, j, w in ends}


@pytest.fixture(name="edge_weights")
def edge_weights_fixture():
    return edge_weights
