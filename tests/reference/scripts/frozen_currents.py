"""The five currents of the reference runs: constant, step, ramp, sine and noise, in units of a model's amplitude.

[time, 5] at 0.1 ms; the first 10 ms are 0. Rounded to float32, in which they are stored.
"""

from __future__ import annotations

import numpy as np

DT_MS, DURATION_MS = 0.1, 500.0
NAMES = ("constant", "step", "ramp", "sine", "noise")


def waves() -> np.ndarray:
    n = round(DURATION_MS / DT_MS)
    t = np.arange(n) * DT_MS
    rng = np.random.default_rng(20)
    held = np.repeat(rng.normal(size=n // 20), 20)
    columns = (
        np.ones(n),
        np.where(t < 100.0 - 1e-9, 0.4, np.where(t < 350.0 - 1e-9, 1.4, 0.2)),
        2.0 * (t - 10.0) / (DURATION_MS - 10.0),
        0.8 + 0.8 * np.sin(2 * np.pi * 10e-3 * (t - 10.0)),
        0.8 + 0.7 * held,
    )
    return (np.stack(columns, axis=1) * (t >= 10.0 - 1e-9)[:, None]).astype(np.float32)
