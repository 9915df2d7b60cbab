"""Reference values of eFEL: ``python efel_features.py`` with efel 5.7.34 writes values/efel_features.npz.

The ten sweeps of rat cortex that ship with the package, and four made-up traces, which are kept in the file in
float32. eFEL interpolates its traces; with `interp_step` equal to the sampling interval it takes the samples as they
are. Detection is by its threshold of -20 mV.
"""

from __future__ import annotations

import warnings
from pathlib import Path

import efel
import numpy as np
import pyarrow.parquet as pa_parquet

HERE = Path(__file__).parent
VALUES = HERE.parent / "values"
SWEEPS = HERE.parents[2] / "data" / "ephys" / "rat_cortex_step_currents.parquet"
PER_SPIKE = ("peak_indices", "AP_begin_indices", "min_AHP_indices", "AP_amplitude", "spike_half_width")
PER_SWEEP = (
    "ISI_CV",
    "adaptation_index",
    "adaptation_index2",
    "time_to_first_spike",
    "Spikecount_stimint",
    "voltage_base",
    "steady_state_voltage_stimend",
    "current_base",
    "steady_state_current_stimend",
)
PASSIVE = (
    "ohmic_input_resistance_vb_ssse",
    "time_constant",
    "decay_time_constant_after_stim",
    "sag_amplitude",
    "sag_ratio1",
)


def synthetic() -> dict[str, tuple[float, float, float, np.ndarray, np.ndarray]]:
    """Name to (dt in ms, onset, offset, current in pA, voltage in mV)."""
    rng = np.random.default_rng(20240627)
    dt, onset, offset = 0.1, 200.0, 600.0
    t = dt * np.arange(8000)
    on = (t >= onset) & (t < offset)
    since, after = np.clip(t - onset, 0, offset - onset), np.clip(t - offset, 0, None)

    def charged(deflection: float, tau: float) -> np.ndarray:
        return deflection * (1 - np.exp(-since / tau)) * np.exp(-after / tau)

    passive = -70.0 + charged(-7.5, 20.0)
    traces = {
        "passive": (dt, onset, offset, -50.0 * on, passive),
        "noisy": (dt, onset, offset, -50.0 * on, passive + rng.normal(0, 0.02, t.size)),
        "sag": (dt, onset, offset, -100.0 * on, -70.0 + charged(-15.0, 15.0) + charged(5.0, 60.0)),
    }
    # Spikes that shrink and slow down: a logistic upstroke, an exponential fall below the start, and a return.
    dt, onset, offset = 0.05, 100.0, 500.0
    t = dt * np.arange(12000)
    on = (t >= onset) & (t < offset)
    v = -70.0 + 22.0 * (1 - np.exp(-np.clip(t - onset, 0, offset - onset) / 10.0)) * np.exp(
        -np.clip(t - offset, 0, None) / 10.0
    )
    at = onset + 12.0 + np.cumsum([0.0, 14.0, 17.0, 21.0, 26.0, 32.0, 39.0, 47.0])
    for k, time in enumerate(at):
        lag = t - time
        rise = 0.5 * (1 + np.tanh(lag / 0.24))
        fall = (1.0 + 0.18) * np.exp(-np.clip(lag, 0, None) / (0.8 + 0.05 * k)) - 0.18 * np.exp(
            -np.clip(lag, 0, None) / 6.0
        )
        v = v + (95.0 - 6.0 * k) * rise * fall
    traces["spikes"] = (dt, onset, offset, 200.0 * on, v)
    return {
        name: (dt, onset, offset, current, voltage.astype(np.float32))
        for name, (dt, onset, offset, current, voltage) in traces.items()
    }


def features(
    dt: float, onset: float, offset: float, current: np.ndarray, voltage: np.ndarray, names: tuple[str, ...]
) -> dict[str, np.ndarray]:
    efel.reset()
    efel.set_setting("interp_step", dt)
    efel.set_setting("Threshold", -20.0)
    time = dt * np.arange(voltage.size)
    during = (time >= onset) & (time < offset)
    efel.set_setting("stimulus_current", float(current[during].mean() - current[time < onset].mean()) * 1e-3)
    trace = {
        "T": time,
        "V": voltage.astype(np.float64),
        "I": current.astype(np.float64) * 1e-3,
        "stim_start": [onset],
        "stim_end": [offset],
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        (found,) = efel.get_feature_values([trace], list(names))
    return {name: np.asarray([] if value is None else value) for name, value in found.items()}


def main() -> None:
    kept: dict[str, np.ndarray] = {}
    table = pa_parquet.ParquetFile(SWEEPS).read().to_pandas()
    for (cell, sweep), rows in table.groupby(["cell", "sweep"]):
        found = features(
            0.25, 700.0, 2700.0, rows["i_pA"].to_numpy(), rows["v_mV"].to_numpy(), (*PER_SPIKE, *PER_SWEEP)
        )
        kept |= {f"{cell}/{sweep}/{name}": value for name, value in found.items()}
    for name, (dt, onset, offset, current, voltage) in synthetic().items():
        asked = (*PER_SPIKE, *PER_SWEEP) if name == "spikes" else (*PER_SWEEP[5:], *PASSIVE)
        found = features(dt, onset, offset, current, voltage, asked)
        kept |= {f"{name}/{feature}": value for feature, value in found.items()}
        kept |= {
            f"{name}/voltage": voltage,
            f"{name}/current": current.astype(np.float32),
            f"{name}/times": np.array([dt, onset, offset]),
        }
    np.savez_compressed(VALUES / "efel_features.npz", **kept)


if __name__ == "__main__":
    main()
