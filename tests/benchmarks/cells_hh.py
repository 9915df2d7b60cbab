"""Recovery of a Hodgkin-Huxley neuron from noisy voltages: ``python tests/benchmarks/cells_hh.py 15 400``.

A Traub-Miles cell of 10 nS leak, 20 uS sodium, 6 uS potassium and V_T = -63 mV answers five fluctuating currents; 1 mV
of white noise is added to its voltage, at every step of 0.01 ms. The four parameters are sought in the bounds of Wang
et al. 2024 (arXiv 2406.19708; their program `neuron_fitting_of_hh_model.py`): 0.1 to 100 nS, 0.01 to 40 uS, 0.01 to
20 uS, -65 to -50 mV. The floor of the mean squared error is the noise's variance, 1 mV^2; 1.2 mV^2 counts as reached.

For each duration in ms, `--seeds` recordings are fitted, each from `--starts` random places: one line of JSON each,
with how many of the starts reached the floor, the worst error of a parameter, and seconds of wall and processor time,
which of the first recording of a duration include compiling.
"""

from __future__ import annotations

import argparse
import json
import time
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from connectofit.fit.optimisers import (
    LBFGS,
    Box,
    Budget,
    Nudged,
    Objective,
    Optimiser,
    folded_squares,
    minimise,
    random_starts,
)
from connectofit.sim import TraubMiles
from connectofit.sim.neurons.base import Drive

TRUE = np.array([10.0, 20_000.0, 6_000.0, -63.0])
BOX = Box(
    ("g_leak_nS", "g_na_nS", "g_k_nS", "v_t_mV"),
    np.array([0.1, 10.0, 10.0, -65.0]),
    np.array([100.0, 40_000.0, 20_000.0, -50.0]),
    (False, False, False, False),
)
DT_MS, NOISE_MV, FLOOR, COUPLINGS_NS = 0.01, 1.0, 1.2, (2000.0, 300.0, 100.0, 50.0, 20.0, 10.0, 5.0, 2.0, 0.0)
MODEL = TraubMiles(method="exponential_euler")  # as their program integrates
FIXED = {k: p.default for k, p in MODEL.parameters.items()}


def currents(duration_ms: float, seed: int) -> np.ndarray:
    """Five Ornstein-Uhlenbeck currents of 3 ms around their means, in pA, [time, sweep]; nothing in the first 2 ms."""
    rng, steps = np.random.default_rng([seed, 1]), round(duration_ms / DT_MS)
    decay = np.exp(-DT_MS / 3.0)
    noise = rng.standard_normal((steps, 5)) * np.sqrt(1 - decay**2)
    x = np.zeros((steps, 5))
    for t in range(1, steps):
        x[t] = decay * x[t - 1] + noise[t]
    current = np.array([500.0, 1000.0, 1500.0, 1000.0, 600.0]) + x * np.array([500.0, 500.0, 700.0, 1000.0, 800.0])
    current[: round(2.0 / DT_MS)] = 0.0
    return current


def _step(p: dict[str, jax.Array], state: dict[str, jax.Array], current: jax.Array, coupling, recorded):
    drive = Drive(current)
    drive.add_conductance(coupling * jnp.ones_like(current), coupling * recorded)
    return MODEL.step(p, state, drive, DT_MS, None)[0]


def _values(x: jax.Array, sweeps: int) -> dict[str, jax.Array]:
    given = {k: jnp.full(sweeps, v, x.dtype) for k, v in FIXED.items()}
    return given | {name: jnp.broadcast_to(x[k], sweeps) for k, name in enumerate(BOX.names)}


def nudged(x: jax.Array, data: dict[str, jax.Array], coupling: jax.Array) -> jax.Array:
    """Mean squared error in mV^2, with a coupling of so many nS to the recording of the step before."""
    p = _values(x, data["current"].shape[1])

    def step(carry, given):
        state, total = carry
        current, before, recorded = given
        state = _step(p, state, current, coupling, before)
        return (state, total + jnp.sum((state["v_mV"] - recorded) ** 2)), None

    before = jnp.concatenate([data["voltage"][:1], data["voltage"][:-1]])
    first = (MODEL.initial(p), jnp.zeros((), x.dtype))
    (_, total), _ = jax.lax.scan(step, first, (data["current"], before, data["voltage"]))
    return total / data["voltage"].size


def loss(x: jax.Array, data: dict[str, jax.Array]) -> jax.Array:
    """Mean squared error in mV^2."""
    return nudged(x, data, jnp.zeros((), x.dtype))


def squares(x: jax.Array, data: dict[str, jax.Array], coupling: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """`nudged`, with its gradient and its Gauss-Newton Hessian."""
    sweeps = data["current"].shape[1]

    def step(x, state, given):
        current, before, recorded = given
        state = _step(_values(x, sweeps), state, current, coupling, before)
        return state, state["v_mV"] - recorded

    before = jnp.concatenate([data["voltage"][:1], data["voltage"][:-1]])
    rows = (data["current"], before, data["voltage"])
    total, slope, square = folded_squares(lambda x: MODEL.initial(_values(x, sweeps)), step, x, rows)
    n = data["voltage"].size
    return total / n, 2.0 * slope / n, 2.0 * square / n


@jax.jit
def simulated(x: jax.Array, current: jax.Array) -> jax.Array:
    """The cell's voltage, [time, sweep]."""
    p = _values(x, current.shape[1])

    def step(state, now):
        state = _step(p, state, now, 0.0, 0.0)
        return state, state["v_mV"]

    return jax.lax.scan(step, MODEL.initial(p), current)[1]


def objective(duration_ms: float, seed: int) -> Objective:
    """A recording of `duration_ms` to five currents, all drawn from `seed`, as a problem."""
    current = currents(duration_ms, seed).astype(np.float32)
    voltage = np.asarray(simulated(jnp.asarray(TRUE, jnp.float32), jnp.asarray(current)))
    noise = NOISE_MV * np.random.default_rng([seed, 2]).standard_normal(voltage.shape)
    data = {"current": jnp.asarray(current), "voltage": jnp.asarray(voltage + noise, jnp.float32)}
    return Objective(BOX, loss, data, 5 * duration_ms / 1000.0, nudged=nudged, couplings=COUPLINGS_NS, squares=squares)


def fit(duration_ms: float, seed: int, starts: int, method: Optimiser, wall_s: float | None) -> dict[str, object]:
    """One fit, as a line of the table."""
    problem = objective(duration_ms, seed)
    places = random_starts(BOX, starts, seed)
    began, cpu = time.perf_counter(), time.process_time()
    found = minimise(problem, method=method, starts=places, budget=Budget(wall_s=wall_s), seed=seed)
    error = np.abs(found.x / TRUE - 1.0)
    return {
        "duration_ms": duration_ms,
        "seed": seed,
        "method": found.method,
        "mse_mV2": found.loss,
        "at_floor": int((found.starts["loss"] <= FLOOR).sum()),
        "starts": starts,
        "worst_relative_error": float(error.max()),
        "best": found.best,
        "stopped": found.stopped,
        "quarantined": found.quarantined,
        "simulated_s": found.simulated_s,
        "evaluations": found.evaluations,
        "wall_s": time.perf_counter() - began,
        "cpu_s": time.process_time() - cpu,
    }


def main() -> None:
    """Read the arguments and print one line of JSON a fit."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("durations", type=float, nargs="+")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--starts", type=int, default=20)
    parser.add_argument("--method", choices=("lbfgs", "nudged"), default="nudged")
    parser.add_argument("--keep", type=float, default=1.0)
    parser.add_argument("--wall-s", type=float, default=None)
    args = parser.parse_args()
    how: dict[str, Optimiser] = {"lbfgs": LBFGS(), "nudged": Nudged(keep=args.keep, join=0.0)}
    run = partial(fit, starts=args.starts, method=how[args.method], wall_s=args.wall_s)
    for duration_ms in args.durations:
        for seed in args.seeds:
            print(json.dumps(run(duration_ms, seed)), flush=True)


if __name__ == "__main__":
    main()
