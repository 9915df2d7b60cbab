"""StableHLO: what is loaded without this package gives the same numbers, to the digit."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from connectofit.connectome.errors import SettingError
from connectofit.pipelines.export import export
from connectofit.sim import initial_state, rollout
from connectofit.sim.kernels import choose

pytest.importorskip("flatbuffers", reason="flatbuffers is not installed")

# The import of this package fails in the process that loads the folder.
ALONE = """
import importlib.abc, runpy, sys
class Refused(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name.split(".")[0] == "connectofit":
            raise ImportError("connectofit is not to be used here")
sys.meta_path.insert(0, Refused())
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
assert not [name for name in sys.modules if name.split(".")[0] == "connectofit"]
"""


def run_alone(program: Path, *arguments: str) -> None:
    command = [sys.executable, "-c", ALONE, str(program), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"JAX_PLATFORMS": "cpu"})
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.fixture
def small(spiking):
    """Two populations of one type each, a projection from each to the first."""
    cells = {"name": "cells", "model": "lif", "where": "kind_of == 'e'", "tie_by": "half"}
    cells["params"] = {"tau_m_ms": {"by": "half", "table": {"h0": 18.0, "h1": 10.0}}}
    pulses = {"name": "given", "model": "spike_source", "where": "kind_of == 's'"}
    edges = [{"name": "excites", "synapse": "exponential", "gain": 20.0, "delay_ms": 1.0}]
    return spiking([cells, pulses], edges, {"e": 8, "s": 3}, onto=("e",))


def arrays(path: Path) -> dict[str, np.ndarray]:
    with np.load(path, allow_pickle=False) as stored:
        return {name: stored[name] for name in stored.files}


def expected(model, inputs, dt_ms, dtype, key=None):
    """The same rollout here, with the kernel in pure JAX."""
    with jax.enable_x64(dtype == "float64"):
        given = {name: jnp.asarray(a, dtype) for name, a in inputs.items()}
        start = initial_state(model.network, dt_ms=dt_ms, dtype=dtype)
        run = jax.jit(lambda net, state, given: rollout(net, state, given, key, dt_ms=dt_ms, method="event"))
        _, out = run(model.network, start, given)
        return {f"{name}/{v}": np.asarray(a) for name, own in out.items() for v, a in own.items()}


def currents(model, n_steps, low, high, seed=0):
    rng = np.random.default_rng(seed)
    return {p.name: rng.uniform(low, high, (n_steps, p.size)) for p in model.network.populations}


@pytest.mark.parametrize("dtype", ["float32", pytest.param("float64", marks=pytest.mark.slow)])
def test_a_spiking_network_runs_without_this_package_to_the_same_digit(small, tmp_path, dtype):
    model = small
    folder = export(model, tmp_path / "hlo", format="stablehlo", duration_ms=40.0, dtype=dtype)
    inputs = currents(model, 400, 100.0, 500.0)
    np.savez(tmp_path / "inputs.npz", **inputs)
    run_alone(folder / "run.py", "--inputs", str(tmp_path / "inputs.npz"), "--out", str(tmp_path / "out.npz"))
    theirs, ours = arrays(tmp_path / "out.npz"), expected(model, inputs, 0.1, dtype)
    assert set(theirs) == set(ours)
    assert ours["cells/spikes"].sum() > 20
    for name, value in ours.items():
        assert theirs[name].dtype == value.dtype
        assert theirs[name].tobytes() == value.tobytes(), name


@pytest.mark.slow
def test_a_graded_network_runs_without_this_package_to_the_same_digit(graded, tmp_path):
    model = graded(["AVAL", "AVAR", "PVC"])
    folder = export(model, tmp_path / "hlo", format="stablehlo", dt_ms=1.0, duration_ms=50.0)
    inputs = currents(model, 50, 0.0, 2.0)
    np.savez(tmp_path / "inputs.npz", **inputs)
    run_alone(folder / "run.py", "--inputs", str(tmp_path / "inputs.npz"), "--out", str(tmp_path / "out.npz"))
    theirs, ours = arrays(tmp_path / "out.npz"), expected(model, inputs, 1.0, "float32")
    assert np.ptp(ours["neurons/v"]) > 0.1
    assert theirs["neurons/v"].tobytes() == ours["neurons/v"].tobytes()


@pytest.mark.slow
def test_steps_one_by_one_give_what_the_run_gives(small, tmp_path):
    model = small
    folder = export(model, tmp_path / "hlo", format="stablehlo", duration_ms=20.0)
    load = {n: jax.export.deserialize(bytearray((folder / f"{n}.jax").read_bytes())).call for n in ("step", "run")}
    constants, start = arrays(folder / "constants.npz"), arrays(folder / "state.npz")
    inputs = {name: a.astype(np.float32) for name, a in currents(model, 200, 150.0, 500.0).items()}
    after, whole = load["run"](constants, start, inputs)
    state, pieces = start, []
    for m in range(200):
        state, out = load["step"](constants, state, {name: a[m : m + 1] for name, a in inputs.items()})
        pieces.append(np.asarray(out["cells"]["spikes"]))
    assert np.asarray(whole["cells"]["spikes"]).sum() > 5
    np.testing.assert_array_equal(np.concatenate(pieces), whole["cells"]["spikes"])
    for name in after:
        np.testing.assert_allclose(state[name], after[name], rtol=1e-5, atol=1e-5, err_msg=name)


@pytest.mark.slow
def test_parameters_are_arguments_with_names(small, tmp_path):
    model = small
    folder = export(model, tmp_path / "hlo", format="stablehlo", duration_ms=10.0)
    run = jax.export.deserialize(bytearray((folder / "run.jax").read_bytes())).call
    constants, state = arrays(folder / "constants.npz"), arrays(folder / "state.npz")
    np.testing.assert_allclose(constants["params['cells']['tau_m_ms']"], [18.0, 10.0])
    inputs = {name: a.astype(np.float32) for name, a in currents(model, 100, 300.0, 500.0).items()}
    assert np.asarray(run(constants, state, inputs)[1]["cells"]["spikes"]).sum() > 0
    high = constants | {"params['cells']['v_threshold_mV']": np.full(2, 1e3, np.float32)}
    assert np.asarray(run(high, state, inputs)[1]["cells"]["spikes"]).sum() == 0


@pytest.mark.slow
def test_noise_takes_a_key(spiking, tmp_path):
    model = spiking([{"name": "cells", "model": "lif", "params": {"noise_mV": 4.0}}], [], {"e": 3}, probability=1.0)
    folder = export(model, tmp_path / "hlo", format="stablehlo", duration_ms=20.0)
    for seed in (0, 7):
        run_alone(folder / "run.py", "--seed", str(seed), "--out", str(tmp_path / f"{seed}.npz"))
        zeros = {"cells": np.zeros((200, 3))}
        ours = expected(model, zeros, 0.1, "float32", jax.random.key(seed, impl="threefry2x32"))
        assert arrays(tmp_path / f"{seed}.npz")["cells/v_mV"].tobytes() == ours["cells/v_mV"].tobytes()


def test_the_signature_names_every_argument_and_no_library_is_called(small, tmp_path):
    model = small
    folder = export(model, tmp_path / "hlo", format="stablehlo", duration_ms=10.0)
    signature = json.loads((folder / "signature.json").read_text())
    function = signature["functions"]["run"]
    given = {each["name"]: each for each in function["arguments"]}
    for what in ("constants", "state"):
        for name, value in arrays(folder / f"{what}.npz").items():
            assert given.pop(f"{what}/{name}") == {
                "name": f"{what}/{name}",
                "shape": list(value.shape),
                "dtype": str(value.dtype),
            }
    assert {n: each["shape"] for n, each in given.items()} == {
        "inputs/cells": [100, 8],
        "inputs/given": [100, 3],
    }
    assert {"outputs/cells/v_mV", "outputs/given/spikes"} < {each["name"] for each in function["results"]}
    module = jax.export.deserialize(bytearray((folder / "run.jax").read_bytes())).mlir_module()
    assert "custom_call" not in module
    assert (folder / "run.mlir").stat().st_size > 100


def test_networks_for_which_a_compiled_kernel_is_chosen_here_call_no_library_either(spiking, tmp_path):
    edges = [{"name": "excites", "synapse": "exponential", "delay_ms": 1.0}]
    model = spiking([{"name": "cells", "model": "lif"}], edges, {"e": 80}, probability=0.1)
    assert choose("auto", 80, 80, spiking=True) != "dense"
    folder = export(model, tmp_path / "hlo", format="stablehlo", duration_ms=5.0)
    for name in ("step", "run"):
        exported = jax.export.deserialize(bytearray((folder / f"{name}.jax").read_bytes()))
        assert "custom_call" not in exported.mlir_module()


@pytest.mark.parametrize("wrong", [{"dtype": "int8"}, {"platforms": ["abacus"]}, {"duration_ms": 0.0}, {"dt_ms": 0.3}])
def test_wrong_options_are_refused(small, tmp_path, wrong):
    model = small
    with pytest.raises(SettingError):
        export(model, tmp_path / "hlo", format="stablehlo", **wrong)
    assert not list(tmp_path.iterdir())
