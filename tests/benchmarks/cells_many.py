"""A hundred cells at once and one after another: ``python tests/benchmarks/cells_many.py [CELLS [SINGLY]]``.

Cells drawn about one GLIF3 neuron (capacitance, conductance and after-spike currents within 20 %, threshold within
3 mV) with an escape rate, each recorded in 5 sweeps of 2 s at 0.2 ms with 1 mV of noise and action potentials drawn in.
`fit_cells` fits all of them, `fit_cell` the first SINGLY with the same loss, starts and settings of L-BFGS and without
intervals; each call compiles what it needs.
"""

from __future__ import annotations

import sys
import time

import jax
import jax.numpy as jnp
import numpy as np
from scipy.signal import lfilter

from connectofit.fit import CellFit, Recordings, Sweep, fit_cell, fit_cells
from connectofit.fit.cells.models import cell_model
from connectofit.fit.cells.teacher_forced import draw_spikes
from connectofit.fit.optimisers import LBFGS, Budget

DT_MS, SWEEPS, SECONDS, T_REF_MS = 0.2, 5, 2.0, 2.0
SHAPE_MV = (-35.0, 0.0, 35.0, 20.0, -5.0, -25.0, -40.0, -50.0, -57.0)
MIDDLE = {
    "c_m_pF": 150.0,
    "g_nS": 7.5,
    "e_l_mV": -70.0,
    "v_threshold_mV": -48.0,
    "v_reset_mV": -60.0,
    "asc_1_add_pA": -30.0,
    "asc_2_add_pA": -5.0,
    "asc_1_decay_per_ms": 0.05,
    "asc_2_decay_per_ms": 0.008,
}
SPREAD = ("c_m_pF", "g_nS", "asc_1_add_pA", "asc_2_add_pA")
TOLD = ("c_m_pF", "g_nS", "e_l_mV", "v_threshold_mV")
SETTINGS = {"starts": 2, "trials": 5, "seed": 0}


def recorded(n_cells: int) -> tuple[Recordings, list[dict[str, float]]]:
    """The cells' sweeps, and what each was drawn with."""
    rng, n = np.random.default_rng(0), round(1e3 * SECONDS / DT_MS)
    kept = np.exp(-DT_MS / 5.0)
    model = cell_model("glif3", fixed={"t_ref_ms": T_REF_MS})
    drawn = jax.jit(lambda p, data, key: draw_spikes(model.neuron, p, jnp.asarray(1.0), data, DT_MS, key))
    sweeps, truths = [], []
    for cell in range(n_cells):
        true = {k: v * (rng.uniform(0.8, 1.2) if k in SPREAD else 1.0) for k, v in MIDDLE.items()}
        true["v_threshold_mV"] += rng.uniform(-3.0, 3.0)
        values = {**model.named(model.start), **true}
        p = {k: jnp.asarray(v) for k, v in values.items() if k in model.neuron.parameters}
        noise = lfilter([np.sqrt(1 - kept**2)], [1.0, -kept], rng.normal(size=(n, SWEEPS)), axis=0)
        current = 170.0 + 120.0 * noise
        spikes, v = (np.asarray(a) for a in drawn(p, {"current_pA": jnp.asarray(current[:-1])}, jax.random.key(cell)))
        voltage = np.concatenate([np.full((1, SWEEPS), true["e_l_mV"]), v]) + rng.normal(size=(n, SWEEPS))
        for row, sweep in np.argwhere(spikes > 0):
            shape = SHAPE_MV[: n - 1 - row]
            voltage[row + 1 : row + 1 + len(shape), sweep] = shape
        sweeps += [
            Sweep(str(k), current[:, k], voltage[:, k], DT_MS, 0.0, n * DT_MS, cell=f"c{cell}") for k in range(SWEEPS)
        ]
        truths.append(true)
    return Recordings(tuple(sweeps)), truths


def errors(fits: list[CellFit], truths: list[dict[str, float]]) -> str:
    """The median relative error of the membrane, and that of the voltages in mV."""
    apart = {name: [abs(f.parameters[name] - t[name]) for f, t in zip(fits, truths, strict=True)] for name in TOLD}
    shares = {k: np.median(np.array(v) / [t[k] for t in truths]) for k, v in apart.items() if not k.endswith("_mV")}
    millivolts = {k: np.median(v) for k, v in apart.items() if k.endswith("_mV")}
    return ", ".join(
        [f"{k} {100 * v:.2f} %" for k, v in shares.items()] + [f"{k} {v:.3f}" for k, v in millivolts.items()]
    )


def main() -> None:
    """Print what both ways take and find."""
    n_cells, singly = (int(a) for a in (*sys.argv[1:], "100", "5")[:2]) if len(sys.argv) != 2 else (int(sys.argv[1]), 5)
    recordings, truths = recorded(n_cells)
    began, used = time.perf_counter(), time.process_time()
    fits = fit_cells(recordings, "glif3", **SETTINGS)
    wall, used = time.perf_counter() - began, time.process_time() - used
    descents = sum(fit.search.wall_s for fit in fits.values())
    steps = [fit.search.course.groupby("start")["step"].max() for fit in fits.values()]
    print(
        f"{len(fits)} cells together: {wall:.1f} s ({used:.1f} s of processor time), of which {descents:.1f} s until "
        f"the descents' end; {np.median(np.concatenate(steps)):.0f} steps a start in the median; errors: "
        f"{errors(list(fits.values()), truths)}",
        flush=True,
    )
    alone = []
    for cell in recordings.cells[:singly]:
        began = time.perf_counter()
        how = LBFGS(steps=100, tolerance=1e-5)
        own = fit_cell(
            recordings.cell(cell), "glif3", method=how, uncertainty=None, budget=Budget(wall_s=600.0), **SETTINGS
        )
        alone.append(time.perf_counter() - began)
        print(
            f"{cell} alone: {alone[-1]:.1f} s, loss {own.search.loss:.3f} (together {fits[cell].search.loss:.3f})",
            flush=True,
        )
    if singly:
        print(f"together {wall / len(fits):.2f} s a cell, alone {np.median(alone):.1f} s in the median")


if __name__ == "__main__":
    main()
