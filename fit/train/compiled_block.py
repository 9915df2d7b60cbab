"""Batches of trials on compiled kernels: many steps in one call, and their adjoint in another.

What `connectofit.fit.train.batch_step` does step by step, the kernels ``connectofit_train_forward`` and ``_backward``
(sim/native/train_block.cpp) do for a segment of steps, with trials as the lanes of vectors: for LIF and two-current GIF
neurons with exponential currents and conductances (`connectofit.fit.train.coefficients.obstacle` says what else they
do not take). Values and derivatives are those of `full_step`, to rounding; they do not depend on the number of
threads.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.custom_derivatives import SymbolicZero
from jaxtyping import Array, Float

from connectofit.fit.train.batch_step import Batched
from connectofit.fit.train.coefficients import coefficients, is_open, refractory_steps, surrogate_settings
from connectofit.sim.neurons import GIF
from connectofit.sim.time_loop import NetworkState

_SUFFIX = {"float32": "f32", "float64": "f64"}
_LINE_BYTES = 64  # trials of one line of the kernels
_MASK_BYTES = 4  # the spikes of a neuron in all trials of a line
_STEP = "refractory_steps"


@dataclass(frozen=True)
class Plan:
    """What the kernels' calls are made of beside arrays; hashable. populations: (name, number of neurons, its state's
    variables, projections onto it). wires: (name, whether it comes from the source of inputs). n_inputs, ahead: inputs,
    and how many of their steps come before the first one of a segment."""

    populations: tuple[tuple[str, int, tuple[str, ...], int], ...]
    wires: tuple[tuple[str, bool], ...]
    n_inputs: int
    ahead: int
    numbers: tuple[int, ...]  # of populations and wires, as the kernels read them
    surrogates: tuple[float, ...]
    watched: bool

    def call(self, n_steps: int, n_trials: int, *, store: bool) -> dict[str, np.ndarray]:
        """The kernels' attributes."""
        head = [n_steps, n_trials, store, self.watched, self.n_inputs, self.ahead]
        head += [len(self.populations), len(self.wires)]
        return {
            "plan": np.array([*head, *self.numbers], np.int64),
            "surrogates": np.array(self.surrogates, np.float64),
        }

    def stored_bytes(self, n_steps: int, n_trials: int, dtype: Any) -> int:
        """What the forward kernel keeps of a segment for the backward one."""
        groups = -(-n_trials // (_LINE_BYTES // jnp.dtype(dtype).itemsize))
        lines = sum(n * (len(variables) + onto) for _, n, variables, onto in self.populations)
        masks = sum(n for _, n, _, _ in self.populations)
        return groups * n_steps * (lines * _LINE_BYTES + masks * _MASK_BYTES)


def make_plan(batched: Batched, *, watched: bool) -> Plan:
    """The plan of a network that has no obstacle. watched: whether voltages come out."""
    names = [pop.name for pop in batched.local]
    populations, wires, numbers, surrogates = [], [], [], []
    for pop in batched.local:
        model: Any = pop.model  # `obstacle` says that it has a surrogate
        kind, settings = surrogate_settings(model.surrogate)
        populations.append((pop.name, pop.size, _variables(model), len(batched.onto(pop.name))))
        numbers += [int(isinstance(model, GIF)), pop.size, kind]
        surrogates += settings
    for wire in batched.wires:
        fed = batched.is_fed(wire)
        wires.append((wire.name, fed))
        pre = -1 if fed else names.index(wire.projection.pre)
        numbers += [pre, names.index(wire.projection.post), wire.delay, int(is_open(wire))]
    n_inputs, ahead = batched.net.population(batched.source).size, batched.longest_fed
    return Plan(tuple(populations), tuple(wires), n_inputs, ahead, tuple(numbers), tuple(surrogates), watched)


def _variables(model: Any) -> tuple[str, ...]:
    """The state's variables in the kernels' order."""
    return ("v_mV", _STEP, "theta_mV", "i_1_pA", "i_2_pA") if isinstance(model, GIF) else ("v_mV", _STEP)


def operands(batched: Batched) -> dict[str, Any]:
    """The arrays of a plan that do not change in time."""
    graphs, weights = {}, {}
    for wire in batched.wires:
        projection, dtype = wire.projection, wire.p["tau_syn_ms"].dtype
        weights[wire.name] = projection.weight(jnp.asarray(batched.net.params[wire.name]["log_gain"], dtype))
        graphs[wire.name] = tuple(jnp.asarray(index, jnp.int32) for index in (projection.indptr, projection.post_index))
    return {
        "coefficients": {pop.name: coefficients(batched, pop) for pop in batched.local},
        "period": {pop.name: refractory_steps(batched, pop) for pop in batched.local},
        "weights": weights,
        "graphs": graphs,
    }


def run_steps(
    plan: Plan, given: dict[str, Any], state: NetworkState, inputs: Float[Array, "time trial input"]
) -> tuple[NetworkState, dict[str, Array], dict[str, Array]]:
    """The state some steps later, and {population: [time, trial, neuron]}: spikes, and voltages after each step (empty
    where they are not watched).

    given: see `operands`. inputs: of the steps, and of the `plan.ahead` steps before them.
    """
    floats = {name: {k: v for k, v in of.items() if k != _STEP} for name, of in state.populations.items()}
    resting = {name: of[_STEP] for name, of in state.populations.items()}
    y = {name: of["y"] for name, of in state.projections.items()}
    n_steps = inputs.shape[0] - plan.ahead
    after, rested, spikes, traces = _steps(plan, (given, floats, resting, y, state.under_way, inputs))
    floats, y, under_way = after
    populations = {name: {**floats[name], _STEP: rested[name]} for name in floats}
    populations = {name: {k: populations[name][k] for k in state.populations[name]} for name in populations}
    projections = {name: {"y": y[name]} for name in state.projections}
    return NetworkState(state.step + n_steps, populations, projections, under_way), spikes, traces


def _forward(plan: Plan, arguments: Any, *, store: bool) -> tuple[Any, Array]:
    given, floats, resting, y, under_way, inputs = arguments
    (n_steps, n_trials), dtype = (inputs.shape[0] - plan.ahead, inputs.shape[1]), inputs.dtype
    out = partial(jax.ShapeDtypeStruct, dtype=dtype)
    sent, results = [], []
    for name, n, variables, _ in plan.populations:
        sent += [given["coefficients"][name], given["period"][name].astype(dtype)]
        sent += [resting[name].astype(dtype) if k == _STEP else floats[name][k] for k in variables]
        results += [out((n_trials, n))] * len(variables)
        results += [out((n_steps, n_trials, n)), out((n_steps, n_trials, n) if plan.watched else (0,))]
    for name, is_fed in plan.wires:
        coming = [] if is_fed else [under_way[name]]
        sent += [y[name], *coming, *given["graphs"][name], given["weights"][name]]
        results += [out(x.shape) for x in (y[name], *coming)]
    sent.append(inputs)
    size = plan.stored_bytes(n_steps, n_trials, dtype) if store else 0
    results.append(jax.ShapeDtypeStruct((size,), jnp.uint8))
    target = f"connectofit_train_forward_{_SUFFIX[jnp.dtype(dtype).name]}"
    call = jax.ffi.ffi_call(target, results, vmap_method="sequential")
    back = iter(call(*sent, **plan.call(n_steps, n_trials, store=store)))
    floats, rested, spikes, traces, y_after, under_way_after = {}, {}, {}, {}, {}, {}
    for name, _, variables, _ in plan.populations:
        values = {k: next(back) for k in variables}
        rested[name] = values.pop(_STEP).astype(jnp.int32)
        floats[name], spikes[name], traces[name] = values, next(back), next(back)
    for name, is_fed in plan.wires:
        y_after[name] = next(back)
        if not is_fed:
            under_way_after[name] = next(back)
    return ((floats, y_after, under_way_after), rested, spikes, traces), next(back)


def _backward(plan: Plan, kept: Any, slopes: Any, *, by_coefficients: bool, by_inputs: bool) -> Any:
    given, inputs, stored = kept
    (floats, y, under_way), _, spikes, traces = slopes
    (n_steps, n_trials), dtype = (inputs.shape[0] - plan.ahead, inputs.shape[1]), inputs.dtype
    out = partial(jax.ShapeDtypeStruct, dtype=dtype)
    sent, results = [], []
    for name, n, variables, _ in plan.populations:
        values = [k for k in variables if k != _STEP]
        sent += [given["coefficients"][name], given["period"][name].astype(dtype), *(floats[name][k] for k in values)]
        sent += [spikes[name], traces[name]]
        results += [out((n_trials, n))] * len(values)
        results.append(out(given["coefficients"][name].shape if by_coefficients else (0,)))
    for name, is_fed in plan.wires:
        coming, weight = [] if is_fed else [under_way[name]], given["weights"][name]
        sent += [y[name], *coming, *given["graphs"][name], weight]
        results += [out(x.shape) for x in (y[name], *coming, weight)]
    sent += [inputs, stored]
    results.append(out(inputs.shape if by_inputs else (0,)))
    target = f"connectofit_train_backward_{_SUFFIX[jnp.dtype(dtype).name]}"
    call = jax.ffi.ffi_call(target, results, vmap_method="sequential")
    back = iter(call(*sent, **plan.call(n_steps, n_trials, store=True)))
    floats, of_coefficients, y_before, under_way_before, weights = {}, {}, {}, {}, {}
    for name, _, variables, _ in plan.populations:
        floats[name] = {k: next(back) for k in variables if k != _STEP}
        of_coefficients[name] = next(back)
    for name, is_fed in plan.wires:
        y_before[name] = next(back)
        if not is_fed:
            under_way_before[name] = next(back)
        weights[name] = next(back)
    slope = {
        "coefficients": of_coefficients if by_coefficients else None,
        "period": None,
        "weights": weights,
        "graphs": None,
    }
    return slope, floats, None, y_before, under_way_before, next(back) if by_inputs else None


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _steps(plan: Plan, arguments: Any) -> Any:
    return _forward(plan, arguments, store=False)[0]


@jax.tree_util.register_static
@dataclass(frozen=True)
class _Moves:
    """Which leaves derivatives are wanted by."""

    leaves: tuple[bool, ...]


def _split(arguments: Any) -> tuple[Any, _Moves]:
    """Values, and which of them are perturbed, of what a rule with symbolic zeros is given."""
    leaves, tree = jax.tree.flatten(arguments, is_leaf=lambda x: hasattr(x, "perturbed"))
    return jax.tree.unflatten(tree, [x.value for x in leaves]), _Moves(tuple(bool(x.perturbed) for x in leaves))


def _filled(slopes: Any) -> Any:
    """Cotangents with zeros in place of symbolic ones."""

    def fill(x: Any) -> Any:
        if not isinstance(x, SymbolicZero):
            return x
        return np.zeros(x.shape, x.dtype) if x.dtype == jax.dtypes.float0 else jnp.zeros(x.shape, x.dtype)

    return jax.tree.map(fill, slopes, is_leaf=lambda x: isinstance(x, SymbolicZero))


def _steps_fwd(plan: Plan, arguments: Any) -> tuple[Any, Any]:
    _, by_coefficients = _split(arguments[0]["coefficients"])
    _, by_inputs = _split(arguments[-1])
    values, _ = _split(arguments)
    after, stored = _forward(plan, values, store=True)
    moves = _Moves((any(by_coefficients.leaves), any(by_inputs.leaves)))
    return after, ((values[0], values[-1], stored), moves)


def _steps_bwd(plan: Plan, residual: Any, slopes: Any) -> tuple[Any]:
    kept, moves = residual
    by_coefficients, by_inputs = moves.leaves
    return (_backward(plan, kept, _filled(slopes), by_coefficients=by_coefficients, by_inputs=by_inputs),)


_steps.defvjp(_steps_fwd, _steps_bwd, symbolic_zeros=True)


def computed_twice(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """The function, of which reverse mode keeps the arguments alone and computes it again, for those derivatives that
    are asked for. `jax.checkpoint` would have a kernel store in the first pass what only the second needs. The function
    must depend on no other array than its argument's."""

    @jax.custom_vjp
    def run(arguments: Any) -> Any:
        return function(arguments)

    def forward(arguments: Any) -> tuple[Any, Any]:
        values, moves = _split(arguments)
        return function(values), (values, moves)

    def backward(kept: Any, slopes: Any) -> tuple[Any]:
        values, moves = kept
        leaves, tree = jax.tree.flatten(values)

        def of_moving(moving: list[Any]) -> Any:
            rest = iter(moving)
            return function(
                jax.tree.unflatten(
                    tree, [next(rest) if yes else x for x, yes in zip(leaves, moves.leaves, strict=True)]
                )
            )

        _, pull = jax.vjp(of_moving, [x for x, yes in zip(leaves, moves.leaves, strict=True) if yes])
        found = iter(pull(_filled(slopes))[0])
        return (jax.tree.unflatten(tree, [next(found) if yes else None for yes in moves.leaves]),)

    run.defvjp(forward, backward, symbolic_zeros=True)
    return run
