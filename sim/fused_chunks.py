"""Chunks of a run by the fused kernel, where it can take the run, for `connectofit.sim.simulate`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from connectofit.connectome.errors import SettingError
from connectofit.sim.collect import RATE, Chunk, Picks
from connectofit.sim.fused import Fused, obstacle, run
from connectofit.sim.interventions import Ablate, Plan, Silence
from connectofit.sim.network import Network
from connectofit.sim.neurons import LIF
from connectofit.sim.neurons.glif import GLIF
from connectofit.sim.rollout import NetworkState
from connectofit.sim.stimuli import LAST_STEP

_MOST_Hz = 50.0  # mean rate that there is room for in a first attempt


def takes_fused(net: Network, method: str, planned: Sequence[Plan], picks: Picks) -> bool:
    """Whether a run goes by the fused kernel. Raises `SettingError` where it is asked for and cannot be."""
    if method not in ("auto", "fused"):
        return False
    reason = obstacle(net) or _obstacle_of_run(net, planned, picks)
    if method == "fused" and reason is not None:
        raise SettingError(f"The kernel method 'fused' cannot run this: {reason}. Say 'auto' or another.")
    return reason is None


def _obstacle_of_run(net: Network, planned: Sequence[Plan], picks: Picks) -> str | None:
    if jax.default_backend() != "cpu":
        return f"it is for CPUs, and JAX works on a {jax.default_backend()} here"
    if not all(plan.edges or _holds_always(plan) for plan in planned):
        return "neurons are clamped, activated, or silenced for a while"
    for name, variables in picks.items():
        has_voltage = isinstance(net.population(name).model, LIF | GLIF)
        other = [v for v in variables if v not in ("spikes", RATE) and not (has_voltage and v == "v_mV")]
        if other:
            return f"{other[0]!r} of population {name!r} is recorded"
    return None


def _holds_always(plan: Plan) -> bool:
    return isinstance(plan.what, Ablate | Silence) and plan.first == 0 and plan.last == LAST_STEP


_run = jax.jit(run, static_argnames=("dt_ms", "n_steps", "room"))


def fused_chunk(
    net: Network,
    state: NetworkState,
    arguments: tuple[Mapping[str, Any], Mapping[str, Any], Any, Mapping[str, Any], Any],
    picks: Picks,
    dt_ms: float,
    n_steps: int,
    dtype: Any,
    trials: int = 1,
) -> tuple[NetworkState, Chunk, bool]:
    """The state after a chunk, what was recorded in it, and whether all of it is finite. Trials run one by one."""
    where, currents, _, held, keys = arguments
    shown = {name: np.sort(v["v_mV"]).astype(np.int32) for name, v in picks.items() if "v_mV" in v}
    expected = n_steps * dt_ms * 1e-3 * _MOST_Hz
    room = {p.name: min(p.size * n_steps, 4096 + int(p.size * expected)) for p in net.populations}
    parts = []
    for trial in range(trials):
        own = {name: (where[name], rows[trial] if rows.ndim == 3 else rows) for name, rows in currents.items()}
        key = None if keys is None else keys[trial]
        start = jax.tree.map(lambda a, k=trial: a[k], state) if trials > 1 else state
        while True:
            made = _run(
                net, start, own, held["alive"], shown, key, dt_ms=dt_ms, n_steps=n_steps, room=tuple(room.items())
            )
            counts = {name: np.asarray(n) for name, n in made.counts.items()}
            full = [name for name, n in counts.items() if n.sum() > room[name]]
            if not full:
                break
            for name in full:
                room[name] = min(net.population(name).size * n_steps, 2 * int(counts[name].sum()))
        parts.append((made, _recorded(net, made, counts, picks, shown, dt_ms, n_steps, dtype, trial)))
    if trials == 1:
        ((made, out),) = parts
        after = made.state
    else:
        after = jax.tree.map(lambda *a: jnp.stack(a), *(made.state for made, _ in parts))
        out = {
            name: {
                v: tuple(map(np.concatenate, zip(*each, strict=True))) if v == "spikes" else np.stack(each)
                for v in variables
                for each in [[recorded[name][v] for _, recorded in parts]]
            }
            for name, variables in picks.items()
        }
    finite = all(
        bool(np.isfinite(np.asarray(a)).all()) for made, _ in parts for a in jax.tree.leaves((made.state, made.voltage))
    )
    return after, out, finite


def _recorded(
    net: Network,
    made: Fused,
    counts: Mapping[str, np.ndarray],
    picks: Picks,
    shown: Mapping[str, np.ndarray],
    dt_ms: float,
    n_steps: int,
    dtype: Any,
    trial: int,
) -> dict[str, dict[str, Any]]:
    """What `picks` asks for of one trial: spikes as (trial, step, neuron), the rest as [time, neuron]."""
    out: dict[str, dict[str, Any]] = {}
    for name, variables in picks.items():
        step = np.repeat(np.arange(n_steps), counts[name])
        neuron = np.asarray(made.who[name])[: len(step)]
        out[name] = {}
        for variable, index in variables.items():
            if variable == "v_mV":
                out[name][variable] = np.asarray(made.voltage[name])[:, np.searchsorted(shown[name], index)]
                continue
            position = np.full(net.population(name).size, -1)
            position[index] = np.arange(len(index))
            mine = position[neuron] >= 0
            if variable == RATE:
                share = np.bincount(step[mine], minlength=n_steps) / len(index)
                out[name][variable] = (share * (1e3 / dt_ms)).astype(dtype)[:, None]
            else:
                out[name][variable] = (np.full(mine.sum(), trial), step[mine], position[neuron[mine]])
    return out
