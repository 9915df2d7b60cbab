"""Checks of millions of edges name the same edges as checks of a few, and know how coarse the types of delays are."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from connectofit.connectome.errors import SettingError
from connectofit.sim import LIF, Exponential, ExponentialConductance, Network, Population, Projection, check_network
from connectofit.sim import checks as module
from connectofit.sim.checks import check_delays


def network(n_edges: int = 50, synapse=None, **changes) -> Network:
    ids = tuple(range(5))
    cells = Population("cells", LIF(), ids, np.zeros(5, np.int8), ("all",))
    delay = np.full(n_edges, 0.3, np.float64)
    projection = Projection(
        name="wires",
        pre="cells",
        post="cells",
        synapse=synapse or Exponential(),
        indptr=np.array([0, *[n_edges] * 5], np.int32),
        post_index=np.arange(n_edges, dtype=np.int32) % 5,
        base_weight=np.ones(n_edges, np.float32),
        type_index=np.zeros(n_edges, np.int8),
        types=("all",),
        delay_ms=0.3,
        edge_delay_ms=delay,
        longest_delay_ms=0.3,
    )
    params = {"cells": {k: np.array([p.default]) for k, p in LIF.parameters.items()}}
    model = projection.synapse
    params["wires"] = {"log_gain": np.zeros(1), **{k: np.array([p.default]) for k, p in model.parameters.items()}}
    return Network((cells,), (replace(projection, **changes),), params)


@pytest.fixture(params=[2**22, 7])
def parts(request, monkeypatch):
    monkeypatch.setattr(module, "_PART", request.param)


def delays(*values, dtype):
    array = np.resize(np.array(values), 50).astype(dtype)
    return {"edge_delay_ms": array, "delay_ms": min(values), "longest_delay_ms": max(values)}


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_delays_of_any_type_are_taken_for_the_steps_that_they_stand_for(parts, dtype):
    net = network(**delays(0.1, 0.3, 1.7, 54.3, 127.9, dtype=dtype))
    check_network(net)
    check_delays(net, 0.1)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_delays_between_steps_are_named(parts, dtype):
    given = delays(0.1, 0.3, dtype=dtype)
    given["edge_delay_ms"][[11, 44]] = 0.15
    with pytest.raises(SettingError, match=r"whole numbers of steps.*'edge 11: 0.15.* ms', 'edge 44: .*\(2 in all\)"):
        check_delays(network(**given), 0.1)


def test_delays_that_float16_cannot_tell_apart_are_refused(parts):
    with pytest.raises(SettingError, match=r"edge 1: 200.* \(25 in all\)"):
        check_delays(network(**delays(0.1, 200.3, dtype=np.float16)), 0.1)
    check_delays(network(**delays(0.1, 200.3, dtype=np.float32)), 0.1)


@pytest.mark.parametrize("dtype", [np.float16, np.float64])
def test_delays_outside_of_the_projections_are_named(parts, dtype):
    given = delays(0.2, 0.3, dtype=dtype)
    given["edge_delay_ms"][30] = 0.4
    given["edge_delay_ms"][31] = np.nan
    with pytest.raises(SettingError, match=r"'edge 30: 0.4 ms', 'edge 31: nan ms' \(2 in all\)|edge 30: 0.3999"):
        check_network(network(**given))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_weights_that_are_not_finite_are_named(parts, value):
    weight = np.ones(50, np.float32)
    weight[[20, 49]] = value
    with pytest.raises(SettingError, match=rf"finite, one per edge; found 'edge 20: {value}', .*\(2 in all\)"):
        check_network(network(base_weight=weight))


def test_conductances_below_0_are_named(parts):
    weight = np.ones(50, np.float32)
    weight[33] = -0.5
    check_network(network(base_weight=weight))
    with pytest.raises(SettingError, match=r"'edge 33: -0.5' \(1 in all\)"):
        check_network(network(base_weight=weight, synapse=ExponentialConductance()))


def test_indices_out_of_range_are_named():
    index = np.zeros(50, np.int8)
    index[[5, 6]] = 1, -1
    with pytest.raises(SettingError, match=r"type_index .*'entry 5: 1', 'entry 6: -1' \(2 in all\)"):
        check_network(network(type_index=index))
