"""The driver that people call: names in, a `Recording` out.

It turns names into arrays, runs `rollout` in chunks, moves what is recorded to the host after each (so that memory
does not grow with the run), shows progress, and stops where a state is no longer finite. Noise and random stimuli
derive from the seed, the trial and the absolute step, and chunks are whole blocks of the shortest delay, so that
chunks never change a result.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array
from tqdm import tqdm

from connectofit.connectome.errors import DivergedError, SettingError, offenders
from connectofit.sim.checks import check_delays, check_network, delay_steps, steps_of
from connectofit.sim.collect import RATE, Collector, Picks, Record, Wanted
from connectofit.sim.fused_chunks import fused_chunk, takes_fused
from connectofit.sim.interventions import (
    Activate,
    Intervention,
    Plan,
    Series,
    alive_rows,
    borders,
    clamped_rows,
    forced_rows,
    plans,
    with_cuts,
)
from connectofit.sim.kernels import Method
from connectofit.sim.network import Network
from connectofit.sim.recording import Recording
from connectofit.sim.rollout import NetworkState, check_state, initial_state, rollout
from connectofit.sim.selection import select_columns
from connectofit.sim.stimuli import Memory, Stimulus

_CHUNK_BYTES = 256 * 2**20
_CHUNK_STEPS = 5_000

Places = dict[str, tuple[np.ndarray, np.ndarray]]  # {population: (neurons, their columns in a stimulus's values)}


@dataclass(frozen=True, eq=False)
class _Run:
    """A run's settings in terms of indices and steps."""

    net: Network
    dt_ms: float
    method: Method
    trials: int
    dtype: Any
    keys: Array
    stimuli: tuple[tuple[Stimulus, Places], ...]
    plans: tuple[Plan, ...]
    memories: dict[tuple[int, int], Memory]


def simulate(
    net: Network,
    *,
    duration_ms: float,
    dt_ms: float,
    stimuli: Sequence[Stimulus] = (),
    record: Sequence[str | Record] | None = None,
    interventions: Sequence[Intervention] = (),
    trials: int = 1,
    state: NetworkState | None = None,
    seed: int = 0,
    dtype: Any = "float32",
    method: Method | Literal["fused"] = "auto",
    chunk_steps: int | None = None,
    progress: bool | None = None,
) -> Recording:
    """Run a network and record from it.

    Parameters
    ----------
    duration_ms, dt_ms: the time to run, a whole number of steps, and the step.
    stimuli: currents into neurons (`Step`, `Ramp`, `Sine`, `Series`, `SpikeTrains`, `PoissonPulses`, `WhiteNoise`,
        `OrnsteinUhlenbeck`); those that meet add up.
    record: names of variables (of all neurons that have them) or `Record(variable, neurons, every_ms)`; ``"rate_Hz"``
        is the rate of each population. None: voltages and spikes.
    interventions: `Ablate`, `Silence`, `Activate`, `Clamp`, `Cut`.
    trials: how many runs at once, each with noise of its own. With more than one, traces are [trial, time, neuron].
    state: where to go on from (`Recording.state`); times of stimuli and interventions count from the first run's start.
    seed: of noise and random stimuli.
    dtype: "float32", or "float64" under `jax.enable_x64(True)`.
    method: kernel, see `connectofit.sim.kernels`; "fused" runs integrate-and-fire networks in compiled blocks
        (`connectofit.sim.fused`), which "auto" does where it can. `Recording.method` says what was used.
    chunk_steps: how many steps to run between transfers to the host; chosen from the memory they need by default.
    progress: show a bar for runs longer than two seconds; None: where standard error is a terminal.

    Raises
    ------
    SettingError, UnknownNameError: a duration or delay that is no whole number of steps, parameters that are not
        finite or out of bounds, neurons or variables that do not exist, ...: before anything is compiled.
    DivergedError: a state that is not finite; names population, neuron, variable and time.
    """
    n_steps = steps_of(duration_ms, dt_ms, "The duration")
    check_network(net)
    check_delays(net, dt_ms)
    block = min([s for s in (delay_steps(p, dt_ms) for p in net.projections) if s], default=1)
    dtype = _float_type(dtype)
    if not isinstance(trials, int) or isinstance(trials, bool) or trials < 1:
        raise SettingError(f"trials has to be a number of runs, 1 or more; found {trials!r}.")
    if not isinstance(seed, int | np.integer) or isinstance(seed, bool):
        raise SettingError(f"seed has to be a whole number; found {seed!r}.")
    if chunk_steps is not None and (not isinstance(chunk_steps, int) or chunk_steps < 1):
        raise SettingError(f"chunk_steps has to be a number of steps, 1 or more; found {chunk_steps!r}.")
    wanted = Wanted.of(net, record, dt_ms)
    picks = wanted.picks
    _check_types(stimuli, Stimulus, "stimuli")
    _check_types(interventions, get_args(Intervention), "interventions")
    placed = tuple((s, _placed(net, s)) for s in stimuli)
    for stimulus, where in placed:
        stimulus.check(_size(where), dt_ms)
    keys = jax.vmap(partial(jax.random.fold_in, jax.random.key(seed)))(jnp.arange(trials))
    planned = plans(net, interventions, dt_ms)
    is_fused = takes_fused(net, method, planned, picks)
    kernel: Method = "auto" if method == "fused" else method
    run = _Run(net, dt_ms, kernel, trials, dtype, keys, placed, planned, {})
    state = _start(run, state)
    first = int(np.asarray(state.step).reshape(-1)[0])

    floats = sum(len(i) for p in picks.values() for v, i in p.items() if v not in ("spikes", RATE))
    floats += sum(_size(where) for _, where in placed)
    truths = 0 if is_fused else sum(len(p["spikes"]) for p in picks.values() if "spikes" in p)
    per_step = trials * (floats * dtype.itemsize + truths)
    length = chunk_steps or min(max(_CHUNK_BYTES // max(per_step, 1), 1), _CHUNK_STEPS)
    begin = 0
    collected = Collector(wanted, trials, dtype)
    whole = jax.device_put(net)  # once; large arrays on cache lines' borders are shared, not copied
    show = sys.stderr.isatty() if progress is None else progress
    with tqdm(total=n_steps, unit=" steps", desc="simulate", disable=not show, delay=2.0, leave=False) as bar:
        for size in _chunk_sizes(n_steps, length, block, [step - first for step in borders(run.plans)]):
            arguments = _chunk_arguments(run, first + begin, size)
            now = with_cuts(whole, run.plans, first + begin)
            before = state
            if is_fused:
                state, out, finite = fused_chunk(now, state, arguments, picks, dt_ms, size, dtype, trials)
            else:
                state, out, finite = _chunk(now, state, *arguments, picks, **_settings(run, picks, size))
            if not bool(finite):
                raise _diverged(run, now, before, arguments, first + begin, size)
            collected.add(jax.tree.map(np.asarray, out), first + begin)
            bar.update(size)
            begin += size
    return replace(collected.recording(net, state, first, n_steps, dt_ms), method="fused" if is_fused else kernel)


def _chunk_sizes(n_steps: int, length: int, block: int, borders: Sequence[int] = ()) -> list[int]:
    """Sizes of about `length` that add up to n_steps: whole blocks, at least two of them, and a longer last one.

    Equal sizes where there are such, since every size is compiled. XLA unrolls a loop of one turn and may then round
    differently; the last chunk is long so that none is left over. borders: steps at which a chunk has to end.
    """
    length = max(-(-length // block), 2) * block
    sizes = []
    ends = [step for step in borders if 0 < step < n_steps]
    for begin, end in zip([0, *ends], [*ends, n_steps], strict=True):
        n_chunks = max((end - begin) // length, 1)
        few = min(2 * n_chunks, (end - begin) // (2 * block))
        equal = [k for k in range(n_chunks, few + 1) if (end - begin) % (k * block) == 0]
        if equal:
            sizes += [(end - begin) // equal[0]] * equal[0]
        else:
            sizes += [*[length] * (n_chunks - 1), end - begin - (n_chunks - 1) * length]
    return [size for size in sizes if size]


@partial(jax.jit, static_argnames=("dt_ms", "record", "n_steps", "method", "trials", "random", "noisy"))
def _chunk(
    net: Network,
    state: NetworkState,
    where: dict[str, Array],
    inputs: dict[str, Array],
    forced: dict[str, Array],
    held: dict[str, dict[str, Array]],
    keys: Array | None,
    picks: Picks,
    *,
    dt_ms: float,
    record: tuple[tuple[str, tuple[tuple[str, bool], ...]], ...],
    n_steps: int,
    method: Method,
    trials: int,
    random: bool,
    noisy: tuple[str, ...],
) -> tuple[NetworkState, dict[str, dict[str, Array]], Array]:
    """One chunk: the state after it, what was recorded (spikes as truth values), and whether all of it is finite."""

    wanted = {name: tuple(dict.fromkeys("spikes" if v == RATE else v for v, _ in vs)) for name, vs in record}

    def picked(out: dict[str, Array], variable: str, index: Any, everyone: bool) -> Array:
        values = out["spikes" if variable == RATE else variable]
        values = values if everyone else values[index]
        if variable == RATE:
            return (values > 0).mean(keepdims=True, dtype=values.dtype) * (1e3 / dt_ms)
        return values > 0 if variable == "spikes" else values

    def take(out: dict[str, dict[str, Array]]) -> dict[str, dict[str, Array]]:
        return {name: {v: picked(out[name], v, picks[name][v], a) for v, a in vs} for name, vs in record}

    def one(state: NetworkState, inputs: dict[str, Array], forced: dict[str, Array], key: Array | None) -> Any:
        whole = {n: rows for n, rows in inputs.items() if rows.shape[-1] == net.population(n).size}
        return rollout(
            net,
            state,
            whole,
            key,
            driven={n: (where[n], rows) for n, rows in inputs.items() if n not in whole},
            dt_ms=dt_ms,
            record=wanted,
            forced=forced,
            n_steps=n_steps,
            method=method,
            alive=held["alive"],
            clamped=held["clamped"],
            noisy=noisy,
            take=take,
        )

    if trials > 1:
        drawn = 0 if random else None
        axes = (0, drawn, drawn, None if keys is None else 0)
        state, out = jax.vmap(one, in_axes=axes)(state, inputs, forced, keys)
    else:
        state, out = one(state, inputs, forced, None if keys is None else keys[0])
    finite = jnp.array(True)
    for leaf in jax.tree.leaves((state, out)):
        finite &= jnp.isfinite(leaf).all()
    return state, out, finite


def _settings(run: _Run, picks: Picks, size: int) -> dict[str, Any]:
    """The static arguments of `_chunk`."""
    return {
        "dt_ms": run.dt_ms,
        "record": tuple(
            (name, tuple((v, _is_everyone(index, run.net.population(name).size)) for v, index in variables.items()))
            for name, variables in picks.items()
        ),
        "n_steps": size,
        "method": run.method,
        "trials": run.trials,
        "random": _random(run),
        "noisy": _noisy(run.net),
    }


def _is_everyone(index: np.ndarray, size: int) -> bool:
    """Whether the indices are those of all neurons in their order, so that nothing has to be picked."""
    return len(index) == size and bool((index == np.arange(size)).all())


def _noisy(net: Network) -> tuple[str, ...]:
    """The populations that draw random numbers."""
    return tuple(
        p.name
        for p in net.populations
        if p.model.stochastic or np.any(np.asarray(net.params[p.name][p.model.noise]) > 0)
    )


def _random(run: _Run) -> bool:
    activated = any(isinstance(plan.what, Activate) for plan in run.plans)
    return run.trials > 1 and (activated or any(stimulus.random for stimulus, _ in run.stimuli))


def _chunk_arguments(
    run: _Run, first: int, size: int
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray], dict[str, np.ndarray], dict[str, Any], Array | None]:
    """(the neurons that get currents, these currents, forced, {alive, clamped}, keys) of the steps from `first` on."""
    steps = np.arange(first, first + size, dtype=np.int32)
    parts: dict[str, list[np.ndarray]] = {}
    for _, places in run.stimuli:
        for name, (index, _) in places.items():
            parts.setdefault(name, []).append(index)
    driven = {name: np.unique(np.concatenate(indices)).astype(np.int32) for name, indices in parts.items()}

    def inputs_of(trial: int) -> dict[str, np.ndarray]:
        inputs: dict[str, np.ndarray] = {}
        for k, (stimulus, where) in enumerate(run.stimuli):
            key = run.keys[trial]
            own = jax.random.fold_in(jax.random.fold_in(key, 1), k) if stimulus.random else key
            values = stimulus.values(steps, _size(where), run.dt_ms, own, run.memories.setdefault((k, trial), {}))
            for name, (index, columns) in where.items():
                if name not in inputs:
                    inputs[name] = np.zeros((size, len(driven[name])), run.dtype)
                inputs[name][:, _span(np.searchsorted(driven[name], index))] += values[:, _span(columns)]
        return inputs

    def forced_of(trial: int) -> Series:
        return forced_rows(run.net, run.plans, steps, run.dt_ms, jax.random.fold_in(run.keys[trial], 2))

    inputs, forced = inputs_of(0), forced_of(0)
    if _random(run):
        rest = range(1, run.trials)
        inputs = jax.tree.map(lambda *rows: np.stack(rows), inputs, *map(inputs_of, rest))
        forced = jax.tree.map(lambda *rows: np.stack(rows), forced, *map(forced_of, rest))
    keys = jax.vmap(partial(jax.random.fold_in, data=0))(run.keys) if _noisy(run.net) else None
    held = {
        "alive": alive_rows(run.net, run.plans, first, size),
        "clamped": clamped_rows(run.net, run.plans, first, size),
    }
    return driven, inputs, forced, held, keys


_initial = jax.jit(initial_state, static_argnames=("dt_ms", "dtype"))


def _start(run: _Run, state: NetworkState | None) -> NetworkState:
    """The state to begin with, in the run's dtype, with a trial axis where there are several trials."""
    if state is None:
        state = _initial(run.net, dt_ms=run.dt_ms, dtype=run.dtype)
    else:
        batched = np.ndim(state.step) == 1
        if batched and np.shape(state.step)[0] != run.trials:
            raise SettingError(
                f"The state to go on from has {np.shape(state.step)[0]} trials, this run has {run.trials}. Ask "
                "for as many."
            )
        check_state(run.net, jax.tree.map(lambda a: a[0], state) if batched else state, run.dt_ms)
    state = jax.tree.map(
        lambda a: jnp.asarray(a, run.dtype if jnp.issubdtype(a.dtype, jnp.floating) else a.dtype), state
    )
    if run.trials > 1 and state.step.ndim == 0:
        state = jax.tree.map(lambda a: jnp.broadcast_to(a, (run.trials, *a.shape)), state)
    return state


def _placed(net: Network, stimulus: Stimulus) -> Places:
    return select_columns(net, stimulus.neurons, f"A {type(stimulus).__name__} stimulus")


def _size(where: Places) -> int:
    return sum(len(index) for index, _ in where.values())


def _span(index: np.ndarray) -> np.ndarray | slice:
    """A slice in place of numbers that follow each other: it copies nothing."""
    return slice(int(index[0]), int(index[0]) + index.size) if index.size and (np.diff(index) == 1).all() else index


def _check_types(items: Any, kinds: Any, what: str) -> None:
    """Raise a `SettingError` unless `items` is a sequence of these kinds."""
    given = [items] if isinstance(items, kinds) or not isinstance(items, Sequence) else items
    wrong = [item for item in given if not isinstance(item, kinds)]
    if given is not items or wrong:
        raise SettingError(
            f"{what} has to be a list of {what} such as those in connectofit.sim; found "
            f"{wrong[0] if wrong else items!r}."
        )


def _float_type(dtype: Any) -> np.dtype:
    try:
        found = np.dtype(dtype)
    except TypeError:
        found = np.dtype(object)
    if found not in (np.dtype("float32"), np.dtype("float64")):
        raise SettingError(f"dtype has to be 'float32' or 'float64'; found {dtype!r}.")
    if found == np.dtype("float64") and jnp.result_type(float) != found:
        raise SettingError("dtype 'float64' needs JAX's 64-bit mode. Run inside of `with jax.enable_x64(True):`.")
    return found


def _diverged(run: _Run, net: Network, before: NetworkState, arguments: Any, first: int, size: int) -> DivergedError:
    """Run the chunk again with every variable recorded, to say where it left the finite numbers."""
    picks: Picks = {p.name: {v: np.arange(p.size) for v in p.model.variables} for p in run.net.populations}
    after, out, _ = _chunk(net, before, *arguments, picks, **_settings(run, picks, size))
    found: list[tuple[int, str]] = []
    for population in run.net.populations:
        for variable in population.model.variables:
            bad = ~np.isfinite(np.asarray(out[population.name][variable]))
            if bad.any():
                rows = bad.any(axis=0) if run.trials > 1 else bad
                step = int(np.argmax(rows.any(axis=1)))
                ids = [population.ids[k] for k in np.flatnonzero(rows[step])]
                found.append((step, f"{variable!r} of population {population.name!r}, neuron {offenders(ids)}"))
    for name, variables in after.projections.items():
        for variable, value in variables.items():
            if not np.isfinite(np.asarray(value)).all():
                found.append((size - 1, f"{variable!r} of projection {name!r}"))
    step, what = min(found, key=lambda f: f[0], default=(size - 1, "a state"))
    return DivergedError(
        f"The simulation diverged: {what} is not finite at {(first + step + 1) * run.dt_ms:g} ms. Take a smaller dt_ms "
        f"(now {run.dt_ms:g}), and look for weights, gains or stimuli that are too large."
    )
