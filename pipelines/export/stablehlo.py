"""StableHLO: the compiled step and run of a network, which JAX alone loads and runs, and its numbers as arrays.

``step.jax`` and ``run.jax`` are what `jax.export` serialises; ``step.mlir`` and ``run.mlir`` the same as StableHLO's
portable bytecode, for other programs. Both take every number as an argument, none is inside: ``constants.npz`` holds
the parameters and the wiring, ``state.npz`` the state to begin with. The kernel is the one in pure JAX, so that no
compiled library is called.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import export as jax_export

from connectofit.connectome.errors import SettingError
from connectofit.connectome.extras import needed
from connectofit.pipelines.arrays import write_arrays
from connectofit.pipelines.bundle import Model
from connectofit.sim import Network, NetworkState, initial_state, rollout
from connectofit.sim.checks import check_delays, check_network, steps_of

TEMPLATES = Path(__file__).parents[1] / "templates"
_PLATFORMS = ("cpu", "cuda", "rocm", "tpu")
Arrays = dict[str, Any]  # of NumPy or JAX


def write_stablehlo(
    model: Model,
    path: Path,
    *,
    dt_ms: float = 0.1,
    duration_ms: float = 100.0,
    dtype: str = "float32",
    platforms: Sequence[str] = ("cpu",),
) -> None:
    """A folder with the two functions, their numbers, ``signature.json`` and ``run.py``, which loads them.

    dt_ms: the step, which is fixed in both. duration_ms: of a call of ``run``. dtype: "float32" or "float64".
    platforms: what the functions are compiled for: "cpu", "cuda", "rocm", "tpu".
    """
    needed("flatbuffers", "stablehlo", "Writing StableHLO")  # of `jax.export`'s files
    n_steps = steps_of(duration_ms, dt_ms, "The duration")
    wrong = [name for name in platforms if name not in _PLATFORMS]
    if n_steps < 1 or dtype not in ("float32", "float64") or wrong or not platforms or isinstance(platforms, str):
        raise SettingError(
            "StableHLO needs a duration_ms of a step or more, a dtype 'float32' or 'float64', and platforms out of "
            f"{', '.join(_PLATFORMS)}; found {duration_ms!r}, {dtype!r} and {platforms!r}."
        )
    check_network(model.network)
    check_delays(model.network, dt_ms)
    path.mkdir()
    with jax.enable_x64(dtype == "float64"):
        _write(model.network, path, dt_ms, n_steps, dtype, tuple(platforms))


def _write(net: Network, path: Path, dt_ms: float, n_steps: int, dtype: str, platforms: tuple[str, ...]) -> None:
    state = jax.jit(partial(initial_state, dt_ms=dt_ms, dtype=dtype))(net)
    constants, states = _named(net, dtype), _named(state, dtype)
    noisy = _draws(net)
    signature: dict[str, Any] = {"format": "connectofit StableHLO", "version": 1, "dt_ms": dt_ms, "dtype": dtype}
    signature |= {"platforms": list(platforms), "noise": noisy, "functions": {}}
    signature["ids"] = {population.name: list(population.ids) for population in net.populations}
    for name, steps in (("step", 1), ("run", n_steps)):
        inputs = {p.name: np.zeros((steps, p.size), dtype) for p in net.populations}
        key = (jax.ShapeDtypeStruct((2,), jnp.uint32),) if noisy else ()
        function = jax.jit(network_function(net, state, dt_ms, steps))
        exported = jax_export.export(function, platforms=platforms)(constants, states, inputs, *key)
        (path / f"{name}.jax").write_bytes(exported.serialize())
        (path / f"{name}.mlir").write_bytes(exported.mlir_module_serialized)
        given = {"constants": constants, "state": states, "inputs": inputs}
        leaves = [f"{what}/{each}" for what, arrays in given.items() for each in sorted(arrays)]
        signature["functions"][name] = {
            "n_steps": steps,
            "arguments": _shapes(leaves + ["key"] * noisy, exported.in_avals),
            "results": _shapes(_result_names(exported), exported.out_avals),
        }
    write_arrays(path / "constants.npz", constants)
    write_arrays(path / "state.npz", states)
    (path / "signature.json").write_text(json.dumps(signature, indent=1) + "\n", encoding="utf-8")
    for name, template in (("run.py", "run_stablehlo.py.txt"), ("README.md", "stablehlo_readme.md")):
        (path / name).write_text((TEMPLATES / template).read_text(encoding="utf-8"), encoding="utf-8")


def network_function(net: Network, like: NetworkState, dt_ms: float, n_steps: int) -> Any:
    """f(constants, state, inputs[, key]) -> (state, outputs): a rollout over flat dictionaries of arrays.

    inputs: {population: [n_steps, neuron]}. key: [2], uint32, where the network draws noise. outputs: {population:
    {variable: [n_steps, neuron]}}, voltages and spikes. like: a state of the network.
    """
    tree = jax.tree.structure(net)
    names = _names(net)
    state_tree, state_names = jax.tree.structure(like), _names(like)

    def function(constants: Arrays, state: Arrays, inputs: Arrays, key: Any = None) -> tuple[Arrays, Any]:
        network = jax.tree.unflatten(tree, [constants[name] for name in names])
        start = jax.tree.unflatten(state_tree, [state[name] for name in state_names])
        key = None if key is None else jax.random.wrap_key_data(key, impl="threefry2x32")
        after, out = rollout(network, start, inputs, key, dt_ms=dt_ms, n_steps=n_steps, method="event")
        return dict(zip(state_names, jax.tree.leaves(after), strict=True)), out

    return function


def _draws(net: Network) -> bool:
    """Whether any neuron draws random numbers."""
    return any(
        p.model.stochastic or bool(np.any(np.asarray(net.params[p.name][p.model.noise]) > 0)) for p in net.populations
    )


def _names(tree: Any) -> list[str]:
    """A name for each leaf."""
    return [jax.tree_util.keystr(where).lstrip(".") for where, _ in jax.tree_util.tree_leaves_with_path(tree)]


def _named(tree: Any, dtype: str) -> Arrays:
    """{name of the leaf: array}, floats in `dtype`."""

    def of(leaf: Any) -> np.ndarray:
        array = np.asarray(leaf)
        return array.astype(dtype) if np.issubdtype(array.dtype, np.floating) else array

    return dict(zip(_names(tree), map(of, jax.tree.leaves(tree)), strict=True))


def _result_names(exported: Any) -> list[str]:
    empty = jax.tree.unflatten(exported.out_tree, range(exported.out_tree.num_leaves))
    state, out = empty
    names = {value: f"state/{name}" for name, value in state.items()}
    names |= {value: f"outputs/{p}/{v}" for p, variables in out.items() for v, value in variables.items()}
    return [names[k] for k in range(len(names))]


def _shapes(names: Sequence[str], avals: Sequence[Any]) -> list[dict[str, Any]]:
    given: list[Mapping[str, Any]] = [{"shape": list(a.shape), "dtype": str(a.dtype)} for a in avals]
    return [{"name": name, **each} for name, each in zip(names, given, strict=True)]
