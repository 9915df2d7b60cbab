"""The driver that people call: names in, a `Recording` out.

It turns names into arrays, runs `rollout` in chunks, moves what is recorded to the host after each (so that memory
does not grow with the run), shows progress, and stops where a state is no longer finite. Noise and random stimuli
derive from the seed, the trial and the absolute step, and chunks are whole blocks of the shortest delay, so that
chunks never change a result.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array
from tqdm import tqdm

from connectofit.connectome.errors import DivergedError, SettingError, offenders
from connectofit.sim.checks import check_delays, check_network, delay_steps, steps_of
from connectofit.sim.interventions import Intervention, Mask, alive_rows, masks
from connectofit.sim.kernels import Method
from connectofit.sim.network import Network
from connectofit.sim.recording import Recording, Spikes, Trace
from connectofit.sim.rollout import NetworkState, check_state, initial_state, recorded_variables, rollout
from connectofit.sim.selection import Neurons, select
from connectofit.sim.stimuli import Stimulus

_CHUNK_BYTES = 64 * 2**20
_CHUNK_STEPS = 5_000

Picks = dict[str, dict[str, np.ndarray]]  # {population: {variable: indices}}


@dataclass(frozen=True)
class Record:
    """Record a variable (or ``"spikes"``) of some neurons only."""

    variable: str
    neurons: Neurons = None


@dataclass(frozen=True, eq=False)
class _Run:
    """A run's settings in terms of indices and steps."""

    net: Network
    dt_ms: float
    method: Method
    trials: int
    dtype: Any
    keys: Array
    stimuli: tuple[tuple[Stimulus, dict[str, np.ndarray]], ...]
    masks: tuple[Mask, ...]


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
    method: Method = "auto",
    chunk_steps: int | None = None,
    progress: bool | None = None,
) -> Recording:
    """Run a network and record from it.

    Parameters
    ----------
    duration_ms, dt_ms: the time to run, a whole number of steps, and the step.
    stimuli: currents into neurons (`Step`, `Series`, `PoissonPulses`, `WhiteNoise`); those that meet add up.
    record: names of variables (of all neurons that have them) or `Record(variable, neurons)`; None: voltages and
        spikes.
    interventions: `Ablate`, `Silence`.
    trials: how many runs at once, each with noise of its own. With more than one, traces are [trial, time, neuron].
    state: where to go on from (`Recording.state`); times of stimuli and interventions count from the first run's start.
    seed: of noise and random stimuli.
    dtype: "float32", or "float64" under `jax.enable_x64(True)`.
    method: kernel, see `connectofit.sim.kernels`.
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
    if chunk_steps is not None and (not isinstance(chunk_steps, int) or chunk_steps < 1):
        raise SettingError(f"chunk_steps has to be a number of steps, 1 or more; found {chunk_steps!r}.")
    picks = _picks(net, record)
    placed = tuple((stimulus, select(net, stimulus.neurons)) for stimulus in stimuli)
    for stimulus, where in placed:
        stimulus.check(sum(map(len, where.values())), dt_ms)
    keys = jax.vmap(partial(jax.random.fold_in, jax.random.key(seed)))(jnp.arange(trials))
    run = _Run(net, dt_ms, method, trials, dtype, keys, placed, masks(net, interventions, dt_ms))
    state = _start(run, state)
    first = int(np.asarray(state.step).reshape(-1)[0])

    per_step = (net.n_neurons + sum(len(i) for p in picks.values() for i in p.values())) * trials * dtype.itemsize
    length = chunk_steps or min(max(_CHUNK_BYTES // max(per_step, 1), 1), _CHUNK_STEPS)
    begin = 0
    kept: list[dict[str, dict[str, np.ndarray]]] = []
    show = sys.stderr.isatty() if progress is None else progress
    with tqdm(total=n_steps, unit=" steps", desc="simulate", disable=not show, delay=2.0, leave=False) as bar:
        for size in _chunk_sizes(n_steps, length, block):
            arguments = _chunk_arguments(run, first + begin, size)
            before, (state, out, finite) = state, _chunk(net, state, *arguments, picks, **_settings(run, picks, size))
            if not bool(finite):
                raise _diverged(run, before, arguments, first + begin, size)
            kept.append(jax.tree.map(np.asarray, out))
            bar.update(size)
            begin += size
    return _recording(run, picks, kept, state, first, n_steps)


def _chunk_sizes(n_steps: int, length: int, block: int) -> list[int]:
    """Sizes of about `length` that add up to n_steps: whole blocks, at least two of them, and a longer last one.

    XLA unrolls a loop of one turn and may then round differently; the last chunk is long so that none is left over.
    """
    length = max(-(-length // block), 2) * block
    n_chunks = max(n_steps // length, 1)
    return [*[length] * (n_chunks - 1), n_steps - (n_chunks - 1) * length] if n_steps else []


@partial(jax.jit, static_argnames=("dt_ms", "record", "n_steps", "method", "trials", "random"))
def _chunk(
    net: Network,
    state: NetworkState,
    inputs: dict[str, Array],
    alive: dict[str, Array],
    keys: Array | None,
    picks: Picks,
    *,
    dt_ms: float,
    record: tuple[tuple[str, tuple[str, ...]], ...],
    n_steps: int,
    method: Method,
    trials: int,
    random: bool,
) -> tuple[NetworkState, dict[str, dict[str, Array]], Array]:
    """One chunk: the state after it, what was recorded (spikes as truth values), and whether all of it is finite."""

    def one(state: NetworkState, inputs: dict[str, Array], key: Array | None) -> Any:
        state, out = rollout(
            net, state, inputs, key, dt_ms=dt_ms, record=dict(record), alive=alive, n_steps=n_steps, method=method
        )
        return state, {
            name: {v: (a > 0 if v == "spikes" else a)[:, picks[name][v]] for v, a in variables.items()}
            for name, variables in out.items()
        }

    if trials > 1:
        state, out = jax.vmap(one, in_axes=(0, 0 if random else None, None if keys is None else 0))(state, inputs, keys)
    else:
        state, out = one(state, inputs, None if keys is None else keys[0])
    finite = jnp.array(True)
    for leaf in jax.tree.leaves((state, out)):
        finite &= jnp.isfinite(leaf).all()
    return state, out, finite


def _settings(run: _Run, picks: Picks, size: int) -> dict[str, Any]:
    """The static arguments of `_chunk`."""
    return {
        "dt_ms": run.dt_ms,
        "record": tuple((name, tuple(variables)) for name, variables in picks.items()),
        "n_steps": size,
        "method": run.method,
        "trials": run.trials,
        "random": _random(run),
    }


def _random(run: _Run) -> bool:
    return run.trials > 1 and any(stimulus.random for stimulus, _ in run.stimuli)


def _chunk_arguments(
    run: _Run, first: int, size: int
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray], Array | None]:
    """(inputs, alive, keys) of the steps from `first` on."""
    steps = np.arange(first, first + size, dtype=np.int32)

    def inputs_of(key: Array) -> dict[str, np.ndarray]:
        inputs: dict[str, np.ndarray] = {}
        for k, (stimulus, where) in enumerate(run.stimuli):
            total = sum(map(len, where.values()))
            own = jax.random.fold_in(jax.random.fold_in(key, 1), k) if stimulus.random else key
            values = stimulus.values(steps, total, run.dt_ms, own)
            start = 0
            for name, index in where.items():
                if name not in inputs:
                    inputs[name] = np.zeros((size, run.net.population(name).size), run.dtype)
                inputs[name][:, index] += values[:, start : start + len(index)]
                start += len(index)
        return inputs

    inputs = inputs_of(run.keys[0])
    if _random(run):
        trials = [inputs, *(inputs_of(key) for key in run.keys[1:])]
        inputs = {name: np.stack([trial[name] for trial in trials]) for name in inputs}
    noisy = any(np.any(np.asarray(run.net.params[p.name][p.model.noise]) > 0) for p in run.net.populations)
    keys = jax.vmap(partial(jax.random.fold_in, data=0))(run.keys) if noisy else None
    return inputs, alive_rows(run.net, run.masks, first, size), keys


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


def _picks(net: Network, record: Sequence[str | Record] | None) -> Picks:
    """Which indices of which variable of which population are recorded, in order and each once."""
    if record is None or isinstance(record, str):
        variables = recorded_variables(net, record)
        return {n: {v: np.arange(net.population(n).size) for v in vs} for n, vs in variables.items() if vs}
    picks: Picks = {}
    for item in record:
        item = Record(item) if isinstance(item, str) else item
        having = recorded_variables(net, (item.variable,))
        chosen = {n: index for n, index in select(net, item.neurons).items() if item.variable in having[n]}
        if not chosen:
            raise SettingError(f"None of the neurons asked for has the variable {item.variable!r} to record.")
        for name, index in chosen.items():
            old = picks.setdefault(name, {}).get(item.variable, np.empty(0, np.int64))
            picks[name][item.variable] = np.array(list(dict.fromkeys([*old.tolist(), *index.tolist()])), np.int64)
    return picks


def _diverged(run: _Run, before: NetworkState, arguments: Any, first: int, size: int) -> DivergedError:
    """Run the chunk again with every variable recorded, to say where it left the finite numbers."""
    picks: Picks = {p.name: {v: np.arange(p.size) for v in p.model.variables} for p in run.net.populations}
    after, out, _ = _chunk(run.net, before, *arguments, picks, **_settings(run, picks, size))
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


def _recording(
    run: _Run,
    picks: Picks,
    kept: list[dict[str, dict[str, np.ndarray]]],
    state: NetworkState,
    first: int,
    n_steps: int,
) -> Recording:
    """The chunks joined, populations side by side."""
    axis = 1 if run.trials > 1 else 0
    t_ms = (first + 1 + np.arange(n_steps)) * run.dt_ms
    traces: dict[str, Trace] = {}
    parts: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    spiking_ids: list[Any] = []
    for name, variables in picks.items():
        ids = run.net.population(name).ids
        for variable, index in variables.items():
            names = [ids[k] for k in index]
            shape = (run.trials, 0, len(index)) if run.trials > 1 else (0, len(index))
            empty = np.zeros(shape, bool if variable == "spikes" else run.dtype)
            values = np.concatenate([empty, *(chunk[name][variable] for chunk in kept)], axis=axis)
            if variable == "spikes":
                trial, step, neuron = np.nonzero(values if run.trials > 1 else values[None])
                parts.append((trial, step, neuron + len(spiking_ids)))
                spiking_ids.extend(names)
            elif variable in traces:
                old = traces[variable]
                traces[variable] = Trace(np.concatenate([old.values, values], axis=-1), (*old.ids, *names))
            else:
                traces[variable] = Trace(values, tuple(names))
    parts.append((np.empty(0, np.int64),) * 3)
    trial, step, neuron = (np.concatenate(column) for column in zip(*parts, strict=True))
    order = np.lexsort((neuron, step, trial))
    every = np.array(spiking_ids) if spiking_ids else np.empty(0, object)
    spikes = Spikes(t_ms[step[order]], every[neuron[order]], trial[order])
    return Recording(
        run.dt_ms,
        first * run.dt_ms,
        t_ms,
        traces,
        spikes,
        tuple(spiking_ids),
        run.trials,
        jax.tree.map(np.asarray, state),
    )
