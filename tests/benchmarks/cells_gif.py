"""Two-current GIF neurons fitted at equal budgets: gradients and a population here, rivals in another environment.

    python tests/benchmarks/cells_gif.py fit OURS.jsonl
    OTHER_PYTHON tests/benchmarks/rival_cells_gif.py RIVALS.jsonl      (and rival_bmf.py, which says how)
    python tests/benchmarks/cells_gif.py table OURS.jsonl RIVALS.jsonl

The problem. `sim.GIF` with the constants of Wang et al. 2024 (arXiv 2406.19708); a, b, k_1 and k_2 are sought in the
bounds of their program (`neuron_fitting_of_gif_model.py`): 0 to 0.1, 0 to 0.1, 0.1 to 1, 0.01 to 0.1 per ms. The five
stimuli for training are theirs too, 1 s each at 0.1 ms: a step of 2 nA, one of 1.5 nA, a staircase, pulses of both
signs and a hyperpolarisation of -3.5 nA. Five others, which nobody fits to, score. Four cells, whose after-spike
currents A_1 and A_2 are known to all (theirs are 0, which leaves k_1 and k_2 without effect): tonic, adapting, phasic,
rebound. Each seed moves the true a, b, k_1 and k_2 by up to 20 %, draws 0.5 mV of noise for the recorded voltage, and
seeds the search.

The loss, for training and scoring, that all minimise: over the sweeps together

    mean (V - V_rec)^2 / (5 mV)^2 + 2 sum D^2 / (number of recorded spikes),   D^2 = (1 / tau) int (f - f_rec)^2 dt

with D the distance of van Rossum (2001, Neural Comput 13:751), tau 10 ms: a spike that is missed or made up counts 1
of the recorded spikes. Everyone simulates with the same compiled function, many candidates at once; compiling is not
counted. Time is that of one thread's processor, which others who use the machine do not lengthen.
"""

from __future__ import annotations

import json
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1")

import jax
import jax.numpy as jnp
import numpy as np

from connectofit.fit.optimisers import LBFGS, Box, Budget, Guided, Objective, minimise
from connectofit.sim import GIF
from connectofit.sim.neurons.base import Drive, mean_of_decay
from connectofit.sim.neurons.linear import relative_expm1

BOX = Box(
    ("a_per_ms", "b_per_ms", "k_1_per_ms", "k_2_per_ms"),
    np.array([0.0, 0.0, 0.1, 0.01]),
    np.array([0.1, 0.1, 1.0, 0.1]),
    (False, False, False, False),
)
# a, b, k_1, k_2 per ms; A_1, A_2 in pA.
CELLS = {
    "tonic": ((0.0005, 0.02, 0.3, 0.03), (500.0, -50.0)),
    "adapting": ((0.001, 0.01, 0.2, 0.012), (500.0, -250.0)),
    "phasic": ((0.02, 0.02, 0.2, 0.02), (4000.0, -300.0)),
    "rebound": ((0.012, 0.015, 0.2, 0.02), (1000.0, -100.0)),
}
DT_MS, TAU_MS, NOISE_MV, UNIT_MV, SWEEPS, STEPS = 0.1, 10.0, 0.5, 5.0, 5, 10_000
MODEL = GIF()
FIXED = {k: p.default for k, p in MODEL.parameters.items()}
SIMULATED_S = 5.0
BUDGETS_S = (500.0, 1_000.0, 2_500.0)  # simulated: 100, 200 and 500 passes over the five stimuli
TIMES_S = (1.0, 2.0, 4.0, 8.0)
SEEDS = range(100, 110)  # the method was tuned on 0 and 1
GRADIENT_PASSES = 2.0  # of the guide: measured 1.4 to 1.8 passes of its own


def _course(*pieces: tuple[float, float]) -> np.ndarray:
    """(nA, ms) pieces one after another, in pA."""
    return np.concatenate([np.full(round(ms / DT_MS), 1000.0 * na) for na, ms in pieces])


TRAINING = np.stack(
    [
        _course((2.0, 200), (0.0, 800)),
        _course((1.5, 500), (0.0, 500)),
        _course((1.5, 100), (0.0, 500), (0.5, 100), (1.0, 100), (1.5, 100), (0.0, 100)),
        _course((1.5, 20), (0.0, 180), (-1.5, 20), (0.0, 20), (1.5, 20), (0.0, 740)),
        _course((0.0, 50), (-3.5, 750), (0.0, 200)),
    ],
    axis=1,
)


def _scoring() -> np.ndarray:
    rng, decay = np.random.default_rng(2406), np.exp(-DT_MS / 5.0)
    x, noise = np.zeros((STEPS, 2)), np.sqrt(1 - decay**2) * rng.standard_normal((STEPS, 2))
    for t in range(1, STEPS):
        x[t] = decay * x[t - 1] + noise[t]
    steps = [
        _course((0.0, 100), (1.75, 400), (0.0, 500)),
        _course((1.2, 200), (1.8, 200), (1.2, 200), (0.0, 100), (2.2, 100), (0.0, 200)),
        _course((-2.5, 400), (0.0, 200), (1.6, 200), (0.0, 200)),
    ]
    return np.stack([*steps, 1200.0 + 800.0 * x[:, 0], 1500.0 + 500.0 * x[:, 1]], axis=1)


HELD_OUT = _scoring()


@dataclass(frozen=True, eq=False)
class Case:
    """A cell and a seed: what is recorded, for training and for scoring, and the truth."""

    cell: str
    seed: int
    true: np.ndarray
    training: dict[str, jax.Array]
    held_out: dict[str, jax.Array]


def _values(x: jax.Array, data: dict[str, jax.Array]) -> dict[str, jax.Array]:
    given = {k: jnp.full(SWEEPS, v, x.dtype) for k, v in FIXED.items()}
    given |= {f"a_{j}_pA": jnp.broadcast_to(data["after_pA"][j - 1], SWEEPS) for j in (1, 2)}
    return given | {name: jnp.broadcast_to(x[k], SWEEPS) for k, name in enumerate(BOX.names)}


@jax.jit
def simulated(x: jax.Array, data: dict[str, jax.Array]) -> tuple[jax.Array, jax.Array]:
    """Voltage and spikes of the model, [time, sweep]."""
    p = _values(x, data)

    def step(state, now):
        state, spikes = MODEL.step(p, state, Drive(now), DT_MS, None)
        return state, (state["v_mV"], spikes)

    return jax.lax.scan(step, MODEL.initial(p), data["current"])[1]


def loss(x: jax.Array, data: dict[str, jax.Array]) -> jax.Array:
    """The loss of the module's docstring."""
    p, decay = _values(x, data), float(np.exp(-DT_MS / TAU_MS))

    def step(carry, now):
        state, apart, voltage, spikes_apart = carry
        current, recorded, recorded_spikes = now
        state, spikes = MODEL.step(p, state, Drive(current), DT_MS, None)
        apart = decay * apart + spikes - recorded_spikes
        return (state, apart, voltage + (state["v_mV"] - recorded) ** 2, spikes_apart + apart**2), None

    none = jnp.zeros(SWEEPS, x.dtype)
    first = (MODEL.initial(p), none, none, none)
    (_, _, voltage, apart), _ = jax.lax.scan(step, first, (data["current"], data["voltage"], data["spikes"]))
    squared = jnp.mean(voltage) / (STEPS * UNIT_MV**2)
    return squared + 2.0 * jnp.sum(apart) * (DT_MS / TAU_MS) / jnp.sum(data["spikes"])


def guide(x: jax.Array, data: dict[str, jax.Array]) -> jax.Array:
    """Negative log likelihood under the recorded spikes, of the voltage and of the spikes, the latter a spike.

    Resets, after-spike currents and the threshold follow the recorded spikes, and between these the model runs freely
    (Pillow et al. 2005; Mensi et al. 2012): smooth in all parameters. The escape rate at the threshold is such that a
    voltage which rises by 0.1 mV a step is expected to fire there. The voltage counts as 20 samples of unknown
    variance: as many as there are, 50,000, would make a valley too narrow to follow.
    """
    width_mV, log_rate = 0.25, float(np.log(0.4))
    p = {k: v[0] for k, v in _values(x, data).items()}
    tau, resistance = p["tau_m_ms"], p["r_m_GOhm"]
    k = jnp.stack([p["k_1_per_ms"], p["k_2_per_ms"]])
    decay, faded = jnp.exp(-DT_MS / tau), jnp.exp(-p["b_per_ms"] * DT_MS)
    own = resistance * (DT_MS / tau) * decay * relative_expm1(DT_MS / tau - k * DT_MS)
    own_mean, own_decay = resistance * mean_of_decay(k * DT_MS), jnp.exp(-k * DT_MS)
    settled = p["a_per_ms"] * DT_MS * relative_expm1(-p["b_per_ms"] * DT_MS)
    moving = p["a_per_ms"] * DT_MS * faded * relative_expm1((p["b_per_ms"] - 1.0 / tau) * DT_MS)
    left, after = jnp.stack([p["r_1"], p["r_2"]]), jnp.stack([p["a_1_pA"], p["a_2_pA"]])
    low = p["theta_reset_mV"] - p["theta_inf_mV"]

    def step(carry, now):
        u, i, off, apart, total = carry  # u = V - V_rest, off = Theta - Theta_inf
        current, recorded, spikes = now
        driven = resistance * current
        new = driven + (u - driven) * decay + i @ own
        toward = driven + i @ own_mean
        off = off * faded + settled * toward + moving * (u - toward)
        above = log_rate + (new + p["v_rest_mV"] - p["theta_inf_mV"] - off) / width_mV
        rate = jnp.where(above < 3.0, jnp.exp(jnp.minimum(above, 3.0)), np.exp(3.0) * (above - 2.0))
        hit = -jnp.log(-jnp.expm1(-jnp.maximum(rate, 1e-20)))
        total = total + jnp.where(spikes > 0, hit, rate)
        fired = spikes > 0
        u = jnp.where(fired, p["v_reset_mV"] - p["v_rest_mV"], new)
        off = jnp.where(fired, jnp.maximum(off, low), off)
        i = i * own_decay
        i = jnp.where(fired[:, None], left * i + after, i)
        apart = apart + (u + p["v_rest_mV"] - recorded) ** 2
        return (u, i, off, apart, total), None

    none = jnp.zeros(SWEEPS, x.dtype)
    first = (none, jnp.zeros((SWEEPS, 2), x.dtype), none, none, none)
    (*_, apart, total), _ = jax.lax.scan(step, first, (data["current"], data["voltage"], data["spikes"]))
    return 10.0 * jnp.log(jnp.mean(apart) / (STEPS * NOISE_MV**2)) + jnp.sum(total) / jnp.sum(data["spikes"])


def case(cell: str, seed: int) -> Case:
    """The recordings of one cell and seed."""
    rng = np.random.default_rng([seed, list(CELLS).index(cell)])
    middle, after = CELLS[cell]
    true = np.array(middle) * rng.uniform(0.8, 1.2, 4)
    parts = []
    for current in (TRAINING, HELD_OUT):
        data = {"current": jnp.asarray(current, jnp.float32), "after_pA": jnp.asarray(after, jnp.float32)}
        voltage, spikes = simulated(jnp.asarray(true, jnp.float32), data)
        noise = NOISE_MV * rng.standard_normal(voltage.shape)
        parts.append({**data, "voltage": jnp.asarray(np.asarray(voltage) + noise, jnp.float32), "spikes": spikes})
    return Case(cell, seed, true, *parts)


def objective(given: Case) -> Objective:
    """The training part as a problem."""
    return Objective(BOX, loss, given.training, SIMULATED_S, guide=guide)


def courses(path: str, method: str) -> list[tuple[str, int]]:
    """All cells and seeds that the file does not have from this method: what was stopped goes on."""
    lines = Path(path).read_text().splitlines() if Path(path).exists() else []
    held = {(told["method"], told["cell"], told["seed"]) for told in map(json.loads, lines)}
    return [(cell, seed) for seed in SEEDS for cell in CELLS if (method, cell, seed) not in held]


held_out_losses = jax.jit(jax.vmap(loss, in_axes=(0, None)))


def scored(given: Case, incumbents: list[list[Any]]) -> list[dict[str, float]]:
    """At each budget, the held-out loss of what a search had found by then.

    incumbents: [simulated_s, seconds, training loss, parameters] in order.
    """
    chosen, rows = [], []
    for what, limits, column in (("simulated_s", BUDGETS_S, 0), ("seconds", TIMES_S, 1)):
        for limit in limits:
            held = [row for row in incumbents if row[column] <= limit]
            rows.append({"budget": what, "limit": limit, "training": held[-1][2] if held else float("nan")})
            chosen.append(held[-1][3] if held else [float("nan")] * 4)
    found = np.asarray(held_out_losses(jnp.asarray(np.array(chosen), jnp.float32), given.held_out))
    return [{**row, "held_out": float(f)} for row, f in zip(rows, found, strict=True)]


def fitted(given: Case, method: Any, starts: int) -> tuple[list[list[Any]], dict[str, Any]]:
    """The incumbents of a search that runs somewhat longer than the largest budget of time, and what it came to."""
    limits = Budget(wall_s=1.25 * max(TIMES_S), gradient_passes=GRADIENT_PASSES)
    found = minimise(
        objective(given), method=method, starts=starts, budget=limits, seed=given.seed, clock=time.process_time
    )
    table = found.incumbents
    rows = [
        [row.simulated_s, row.wall_s, row.loss, [float(getattr(row, name)) for name in BOX.names]]
        for row in table.itertuples()
    ]
    told = {"simulated_s": found.simulated_s, "seconds": found.wall_s, "best": found.best, "stopped": found.stopped}
    return rows, told


OURS = {"guided": (Guided(descent=LBFGS(steps=30, tolerance=1e-4, best_of=2), step=0.02), 16)}


def write_cases(path: str, seeds: range) -> None:
    """What `rival_bmf` fits, which has none of our packages."""
    given = [case(cell, seed) for cell in CELLS for seed in seeds]
    fixed = [{**FIXED, "a_1_pA": CELLS[each.cell][1][0], "a_2_pA": CELLS[each.cell][1][1]} for each in given]
    np.savez(
        path,
        cell=[each.cell for each in given],
        seed=[each.seed for each in given],
        current=TRAINING,
        voltage=np.stack([np.asarray(each.training["voltage"]) for each in given]),
        names=list(FIXED),
        fixed=np.array([[row[name] for name in FIXED] for row in fixed]),
        bounds=np.stack([BOX.low, BOX.high], axis=1),
    )


def score_cases(path: str) -> None:
    """Print what `rival_bmf` found, scored as all others are."""
    lines = [json.loads(line) for line in Path(path).read_text().splitlines()]
    held = []
    for line in lines:
        given = case(line["cell"], line["seed"])
        held.append(float(held_out_losses(jnp.asarray([line["x"]], jnp.float32), given.held_out)[0]))
    samples, seconds = lines[0]["samples"], np.median([line["seconds"] for line in lines])
    print(
        f"{len(lines)} searches of {samples} samples ({samples * SIMULATED_S:g} simulated s): held out "
        f"{np.median(held):.3f} in the median ({min(held):.3f} to {max(held):.3f}), {seconds:.1f} s each in the median"
    )


def main() -> None:
    """`fit PATH`: our searches, appended to a file of JSON lines; `table PATHS`: the comparison; `cases PATH` and
    `score PATH`: for `rival_bmf`."""
    if sys.argv[1] == "table":
        from cells_gif_table import table

        print(table(sys.argv[2:]))
        return
    if sys.argv[1] in ("cases", "score"):
        write_cases(sys.argv[2], SEEDS[:3]) if sys.argv[1] == "cases" else score_cases(sys.argv[2])
        return
    names = sys.argv[3:] or list(OURS)
    for name in names:
        fitted(case("tonic", 10_000), *OURS[name])  # compiles
    with open(sys.argv[2], "a") as file:
        for name in names:
            for cell, seed in courses(sys.argv[2], name):
                given = case(cell, seed)
                rows, told = fitted(given, *OURS[name])
                line = {"cell": cell, "seed": seed, "method": name, "true": given.true.tolist(), **told}
                file.write(json.dumps({**line, "scores": scored(given, rows)}) + "\n")
                file.flush()


if __name__ == "__main__":
    main()
