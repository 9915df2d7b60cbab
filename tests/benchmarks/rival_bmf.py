"""brian2modelfitting on the cells of `cells_gif`: ``OTHER_PYTHON rival_bmf.py CASES.npz RESULTS.jsonl``.

The cases are written by ``python tests/benchmarks/cells_gif.py cases CASES.npz`` and what comes back is scored by
``... score RESULTS.jsonl``, so that this program needs nothing but Python 3.11 with
``pip install brian2modelfitting cython 'numpy<2' 'pandas<2.3' 'bayesian-optimization<2' 'setuptools<81'``. Its
differential evolution (by nevergrad) with 60 samples a round minimises the mean squared error of the voltage, which is
the loss that its fitter of traces has, for 540 samples; the seconds are those on the clock, without the first round, in
which code is compiled.
"""

from __future__ import annotations

import json
import sys
import time

import numpy as np

for name, kind in (("float", float), ("int", int)):
    setattr(np, name, kind)  # nevergrad 0.3, which brian2modelfitting 0.4 needs, still asks for them

import brian2  # noqa: E402
import brian2modelfitting as fitting  # noqa: E402

SAMPLES, ROUNDS = 60, 9
EQUATIONS = """
dv/dt = (-(v - {v_rest_mV}) + {r_m_GOhm} * (current + i_1 + i_2)) / ({tau_m_ms} * ms) : 1
di_1/dt = -k_1 * i_1 / ms : 1
di_2/dt = -k_2 * i_2 / ms : 1
dtheta/dt = (a * (v - {v_rest_mV}) - b * (theta - {theta_inf_mV})) / ms : 1
a : 1 (constant)
b : 1 (constant)
k_1 : 1 (constant)
k_2 : 1 (constant)
"""
RESET = """
i_1 = {r_1} * i_1 + {a_1_pA}
i_2 = {r_2} * i_2 + {a_2_pA}
v = {v_reset_mV}
theta = clip(theta, {theta_reset_mV}, inf)
"""


def main() -> None:
    """Fit every case, appending a line of JSON each."""
    brian2.prefs.codegen.target = "cython"
    cases = np.load(sys.argv[1])
    bounds = dict(zip(("a", "b", "k_1", "k_2"), cases["bounds"].tolist(), strict=True))
    for k, (cell, seed) in enumerate(zip(cases["cell"], cases["seed"], strict=True)):
        fixed = dict(zip(cases["names"].tolist(), cases["fixed"][k].tolist(), strict=True))
        brian2.seed(int(seed))
        np.random.seed(int(seed))  # noqa: NPY002 (what nevergrad draws its own seed from)
        fitter = fitting.TraceFitter(
            model=EQUATIONS.format(**fixed),
            input_var="current",
            output_var="v",
            input=cases["current"].T,
            output=cases["voltage"][k].T,
            dt=0.1 * brian2.ms,
            n_samples=SAMPLES,
            method="exponential_euler",
            threshold="v > theta",
            reset=RESET.format(**fixed),
            param_init={"v": fixed["v_rest_mV"], "theta": fixed["theta_inf_mV"]},
        )
        optimiser, metric = fitting.NevergradOptimizer("DE"), fitting.MSEMetric()
        first = time.perf_counter()
        best, error = fitter.fit(n_rounds=1, optimizer=optimiser, metric=metric, callback=None, **bounds)
        began = time.perf_counter()
        best, error = fitter.fit(n_rounds=ROUNDS - 1, optimizer=optimiser, metric=metric, callback=None, **bounds)
        seconds = time.perf_counter() - began
        line = {
            "cell": str(cell),
            "seed": int(seed),
            "x": [float(best[name]) for name in bounds],
            "error": float(error),
            "seconds": seconds * ROUNDS / (ROUNDS - 1),
            "first_round_s": began - first,
            "samples": SAMPLES * ROUNDS,
        }
        with open(sys.argv[2], "a") as file:
            file.write(json.dumps(line) + "\n")
        print(line, flush=True)


if __name__ == "__main__":
    main()
