"""Parameters as npz and safetensors: names, values to the bit, units and types."""

from __future__ import annotations

import json

import numpy as np
import pytest

from connectofit.pipelines.export import export
from connectofit.sim import LIF

NAMES = ["neurons/tau_m_ms", "chemical/log_gain", "electrical/log_gain"]


@pytest.fixture
def model(graded):
    return graded(["AVAL", "AVAR", "PVC"])


def flat(model):
    return {f"{o}/{n}": np.asarray(v) for o, own in model.network.params.items() for n, v in own.items()}


def test_npz_holds_parameters_units_and_types_without_pickles(model, tmp_path):
    with np.load(export(model, tmp_path / "p.npz", format="npz"), allow_pickle=False) as stored:
        found = {name: stored[name] for name in stored.files}
    expected = flat(model)
    assert set(NAMES) < set(expected)
    for name, value in expected.items():
        assert found.pop(name).tobytes() == value.tobytes()
        assert str(found.pop(f"units/{name}"))
    assert sorted(found) == ["types/chemical", "types/electrical", "types/neurons"]
    assert found["types/neurons"].tolist() == ["X", "Y"]


def test_units_are_the_models(spiking, tmp_path):
    model = spiking([{"name": "cells", "model": "lif"}], [], {"e": 2}, probability=1.0)
    with np.load(export(model, tmp_path / "p.npz", format="npz"), allow_pickle=False) as stored:
        units = {name.rsplit("/")[-1]: str(stored[name]) for name in stored.files if name.startswith("units/")}
    assert units == {name: parameter.unit for name, parameter in LIF.parameters.items()}
    assert units["r_m_GOhm"] == "GOhm"


def test_safetensors_hold_the_same(model, tmp_path):
    safe = pytest.importorskip("safetensors", reason="safetensors is not installed")
    path = export(model, tmp_path / "p.safetensors", format="safetensors")
    with safe.safe_open(path, framework="numpy") as stored:
        expected = flat(model)
        assert sorted(stored.keys()) == sorted(expected)
        for name, value in expected.items():
            assert stored.get_tensor(name).dtype == value.dtype
            assert stored.get_tensor(name).tobytes() == value.tobytes()
        metadata = stored.metadata()
    assert json.loads(metadata["units"])["neurons/tau_m_ms"] == "ms"
    assert json.loads(metadata["types"])["neurons"] == ["X", "Y"]
