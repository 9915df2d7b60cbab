"""Reference rates of NEST: ``python nest_microcircuit.py NEST_PYTHON`` puts those of a small microcircuit into
values/nest_microcircuit.npz, with nest-simulator 3.10 by its own connection rules, as in
benchmarks/rival_nest_microcircuit.py.

A twentieth of the neurons with three tenths of the inputs; five seeds, of 1 s each after 0.5 s.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

TESTS = Path(__file__).parent.parent.parent
SCALE, INDEGREE_SCALE, TRANSIENT_MS, DURATION_MS, SEEDS = 0.05, 0.3, 500.0, 1000.0, 5


def main(nest: str) -> None:
    sys.path.insert(0, str(TESTS / "benchmarks"))
    from microcircuit import run, settings

    rates = []
    for seed in range(SEEDS):
        given = settings(
            seed=seed,
            scale=SCALE,
            indegree_scale=INDEGREE_SCALE,
            transient_ms=TRANSIENT_MS,
            duration_ms=DURATION_MS,
        )
        done = run(nest, "rival_nest_microcircuit.py", given)
        rates.append(np.array(done["spikes"]) / np.array(given["sizes"]) / (DURATION_MS * 1e-3))
    np.savez(
        TESTS / "reference" / "values" / "nest_microcircuit.npz",
        rates_Hz=np.array(rates),
        scale=SCALE,
        indegree_scale=INDEGREE_SCALE,
        transient_ms=TRANSIENT_MS,
        duration_ms=DURATION_MS,
    )


if __name__ == "__main__":
    main(sys.argv[1])
