"""The whole-fly model of Shiu et al. 2024 against Brian2 on a small graph (scripts/brian2_fly.py)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import pyarrow as pa
import pytest

from connectofit.builders import ModelSpec, NeuronRule, build
from connectofit.connectome import Connectome
from connectofit.sim import Record, SpikeTrains, simulate

VALUES = np.load(Path(__file__).parent / "values" / "fly_brian2.npz")
N, SOURCES, DT_MS = 150, 12, 0.1


@pytest.fixture(scope="module")
def recording():
    """The spec of the package on the reference's graph, with 12 neurons more that spike when they are told to."""
    sources = np.arange(N, N + SOURCES)
    connectome = Connectome.from_edges(
        pa.table({"id": pa.array(2**60 + np.arange(N + SOURCES)), "role": ["fly"] * N + ["source"] * SOURCES}),
        pre=np.concatenate([VALUES["pre"], sources]).astype(np.int32),
        post=np.concatenate([VALUES["post"], np.arange(SOURCES)]).astype(np.int32),
        count=np.concatenate([VALUES["count"], np.full(SOURCES, 400)]).astype(np.int32),
        sign=np.concatenate([VALUES["sign"], np.ones(SOURCES)]).astype(np.int8),
    )
    spec = ModelSpec.example("fly_lif")
    fly = replace(spec.neurons[0], where="role == 'fly'")
    spec = replace(spec, neurons=(fly, NeuronRule("sources", "spike_source", where="role == 'source'")))
    n_steps = int(VALUES["steps"])
    times = [(VALUES["event_step"][VALUES["event_neuron"] == k] + 0.5) * DT_MS for k in range(SOURCES)]
    with jax.enable_x64(True):
        return simulate(
            build(connectome, spec),
            duration_ms=n_steps * DT_MS,
            dt_ms=DT_MS,
            stimuli=(SpikeTrains([2**60 + int(k) for k in sources], times),),
            record=(Record("spikes", [2**60 + k for k in range(N)]), Record("v_mV", [2**60 + k for k in (20, 40, 60)])),
            dtype="float64",
        )


def test_every_spike_is_brian2s(recording):
    # A spike is stamped with the end of its step here, and with the start in Brian2.
    step = np.round(recording.spikes.time_ms / DT_MS).astype(int) - 1
    neuron = recording.spikes.ids.astype(np.int64) - 2**60
    theirs = sorted(zip(VALUES["spike_step"].tolist(), VALUES["spike_neuron"].tolist(), strict=True))
    assert sorted(zip(step.tolist(), neuron.tolist(), strict=True)) == theirs
    assert len(theirs) > 500
    assert (VALUES["spike_neuron"] >= SOURCES).sum() > 100  # not only those that are driven


def test_voltages_are_brian2s(recording):
    # Brian2 records at the start of a step, which is the end of the one before.
    v = recording.trace("v_mV")[19::20]
    np.testing.assert_allclose(v[:-1], VALUES["v_mV"][1:], atol=1e-9)
