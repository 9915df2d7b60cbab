"""What is compared of two networks' activity: rate, irregularity, synchrony and the frequency of global oscillations.

Both sides stamp a spike with the end of its step; all bins are whole numbers of steps.
"""

from __future__ import annotations

import numpy as np

DT_MS = 0.1
STEPS_PER_BIN = 10  # bins of 1 ms
SEGMENT = 250  # bins of a segment whose spectrum enters the mean
NAMES = ("rate_Hz", "cv", "fano", "frequency_Hz")


def statistics(
    times_ms: np.ndarray, neurons: np.ndarray, n_neurons: int, start_ms: float, stop_ms: float
) -> dict[str, float]:
    """Statistics of the spikes after `start_ms`, up to and with `stop_ms`; neurons: numbers from 0 on.

    rate_Hz: spikes a neuron and second. cv: standard deviation over mean of a neuron's intervals, the mean over
    neurons with two intervals or more. fano: variance over mean of the population's count in bins of 1 ms, which
    is 1 for independent Poisson trains. frequency_Hz: the maximum of the count's power above 8 Hz, from Hann-windowed
    halfway overlapping segments of 250 ms (the whole where it is shorter).
    """
    first, last = round(start_ms / DT_MS), round(stop_ms / DT_MS)
    step = np.rint(np.asarray(times_ms) / DT_MS).astype(np.int64)
    inside = (step > first) & (step <= last)
    step, neurons = step[inside], np.asarray(neurons)[inside]
    count = np.bincount((step - first - 1) // STEPS_PER_BIN, minlength=(last - first) // STEPS_PER_BIN)
    return {
        "rate_Hz": len(step) / n_neurons / ((stop_ms - start_ms) * 1e-3),
        "cv": irregularity(step, neurons, n_neurons),
        "fano": float(count.var() / count.mean()),
        "frequency_Hz": frequency_Hz(count),
    }


def irregularity(step: np.ndarray, neurons: np.ndarray, n_neurons: int) -> float:
    """The mean over neurons of their intervals' standard deviation over mean."""
    order = np.lexsort((step, neurons))
    step, neurons = step[order], neurons[order]
    interval, owner = np.diff(step), neurons[1:]
    same = owner == neurons[:-1]
    interval, owner = interval[same].astype(float), owner[same]
    n = np.bincount(owner, minlength=n_neurons)
    enough = n >= 2
    mean = np.bincount(owner, interval, minlength=n_neurons)[enough] / n[enough]
    square = np.bincount(owner, interval**2, minlength=n_neurons)[enough] / n[enough]
    return float(np.mean(np.sqrt(np.maximum(square - mean**2, 0.0)) / mean))


def frequency_Hz(count: np.ndarray) -> float:
    """Where the power spectrum of the population's count has its maximum."""
    size = min(SEGMENT, len(count))
    starts = range(0, len(count) - size + 1, size // 2)
    segments = np.stack([count[k : k + size] for k in starts]).astype(float)
    segments = (segments - segments.mean(axis=1, keepdims=True)) * np.hanning(size)
    power = (np.abs(np.fft.rfft(segments, axis=1)) ** 2).mean(axis=0)
    frequencies = np.fft.rfftfreq(size, STEPS_PER_BIN * DT_MS * 1e-3)
    power[frequencies < 8.0] = 0.0
    return float(frequencies[np.argmax(power)])
