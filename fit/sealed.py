"""Held-out sweeps under seal: what a fit was not shown can be looked at once, after the fit is over.

`split` cuts recordings into a training part and a `SealedRecordings`. The seal is broken in two steps: `commit`
declares the fit finished and binds the seal to its parameters; `open` gives the sweeps out, once, to the same
parameters. Neither can be repeated, so that no second look can change what is scored.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np
from scipy.ndimage import median_filter

from connectofit.connectome.errors import SettingError, offenders
from connectofit.fit.recordings import Recordings, Sweep

_SAME = 0.05  # currents that differ by less than this share of their own spread are one stimulus with other noise


class SealedRecordings:
    """Held-out sweeps that can be read once, and only after `commit`. Their names are open, their traces are not."""

    def __init__(self, recordings: Recordings) -> None:
        self._labels = recordings.labels
        self._state = "sealed"
        self._digest = ""
        self._lock = threading.Lock()
        kept: list[Recordings] = [recordings]
        self._take: Callable[[], Recordings] = kept.pop

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels of the sweeps inside."""
        return self._labels

    @property
    def state(self) -> str:
        """``"sealed"``, ``"committed"`` or ``"opened"``."""
        return self._state

    def __len__(self) -> int:
        return len(self._labels)

    def __repr__(self) -> str:
        return f"SealedRecordings({len(self)} sweeps, {self._state})"

    def commit(self, parameters: Mapping[str, Any]) -> str:
        """Declare the fit finished with these parameters (names to numbers or arrays); returns their SHA-256.

        Raises `SettingError` if it was committed before: nothing may be fitted after.
        """
        digest = _digest(parameters)
        with self._lock:
            if self._state != "sealed":
                raise SettingError(
                    f"The held-out sweeps {offenders(self._labels)} are {self._state} already; a fit is finished once. "
                    "Split the recordings again for another fit, and say that there was one before."
                )
            self._state, self._digest = "committed", digest
        return digest

    def open(self, parameters: Mapping[str, Any]) -> Recordings:
        """The sweeps, for the final scoring of the committed parameters.

        Raises `SettingError` before `commit`, for other parameters than those committed, and the second time.
        """
        digest = _digest(parameters)
        with self._lock:
            if self._state == "opened":
                raise SettingError(
                    f"The held-out sweeps {offenders(self._labels)} were opened before. Keep the scores of that time; "
                    "scores of a second look are no held-out scores."
                )
            if self._state == "sealed":
                raise SettingError(
                    f"The held-out sweeps {offenders(self._labels)} are sealed until the fit is finished. Call commit "
                    "with its parameters first."
                )
            if digest != self._digest:
                raise SettingError(
                    f"The parameters are not those that were committed for {offenders(self._labels)} (SHA-256 "
                    f"{digest[:12]}, committed {self._digest[:12]}). Score what was committed."
                )
            self._state = "opened"
            return self._take()

    def _refuse_copies(self, *_: object) -> NoReturn:
        raise SettingError("Held-out sweeps cannot be copied or stored: a copy would be a second look.")

    __copy__ = __deepcopy__ = __reduce_ex__ = _refuse_copies


@dataclass(frozen=True, eq=False)
class Split:
    """Sweeps to fit to, and sweeps under seal."""

    training: Recordings
    held_out: SealedRecordings


def split(recordings: Recordings, hold_out: Sequence[str], *, allow_repeats: bool = False) -> Split:
    """Seal the sweeps named in `hold_out` (labels, or names that one cell has) off from the others.

    allow_repeats: whether a held-out sweep may repeat the stimulus of a training sweep of its cell. It then tests how
    well a known answer is repeated, not how well a new one is predicted.

    Raises `UnknownNameError` for sweeps that do not exist, `SettingError` for none, for all sweeps of a cell, and for
    repeats that were not allowed.
    """
    names = [hold_out] if isinstance(hold_out, str) else list(hold_out)
    if not names:
        raise SettingError(f"hold_out names no sweep; there are {offenders(recordings.labels)}.")
    held = recordings.select(names)
    if len(held) == len(recordings):
        raise SettingError(f"hold_out names all sweeps ({offenders(held.labels)}); leave some to fit to.")
    training = recordings.without(names)
    bare = [cell for cell in held.cells if cell not in training.cells]
    if bare:
        raise SettingError(f"hold_out names all sweeps of {offenders(bare)}; leave some of every cell to fit to.")
    if not allow_repeats:
        repeats = [
            f"{test.label} repeats {shown.label}"
            for test in held
            for shown in training.cell(test.cell)
            if same_stimulus(test, shown)
        ]
        if repeats:
            raise SettingError(
                f"A stimulus that was held out is in the training sweeps, too: {offenders(repeats)}. Hold all sweeps "
                "of a stimulus out, or set allow_repeats=True."
            )
    return Split(training, SealedRecordings(held))


def same_stimulus(a: Sweep, b: Sweep) -> bool:
    """Whether two currents are the same but for their noise: sampled alike, and apart by less than 5 % of their spread
    (root mean square, medians of five samples)."""
    if a.n_samples != b.n_samples or abs(a.dt_ms - b.dt_ms) > 1e-9 * a.dt_ms:
        return False
    i, j = (median_filter(sweep.current_pA, size=5, mode="nearest") for sweep in (a, b))
    i, j = i - np.median(i[a.before]) if a.before.any() else i, j - np.median(j[b.before]) if b.before.any() else j
    spread = max(float(np.std(i)), float(np.std(j)))
    # Where neither changes, both are the stimulus "none".
    return bool(np.sqrt(np.mean((i - j) ** 2)) <= _SAME * spread)


def _digest(parameters: Mapping[str, Any]) -> str:
    if not isinstance(parameters, Mapping) or not parameters:
        raise SettingError(f"Give the fitted parameters as a mapping of names to numbers; found {parameters!r}.")
    digest = hashlib.sha256()
    for name in sorted(parameters):
        values = np.asarray(parameters[name])
        if values.dtype == object:
            raise SettingError(f"Parameter {name!r} has to be a number or an array of numbers.")
        digest.update(f"{name} {values.dtype.str} {values.shape} ".encode())
        digest.update(np.ascontiguousarray(values).tobytes())
    return digest.hexdigest()
