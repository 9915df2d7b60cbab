"""What a search was told, in order, so that it can be told again after a kill.

Optimisers here depend on nothing but their settings, their seed and the answers to their questions. Replaying the
answers therefore brings a search back to where it was killed, whatever the method, at the cost of no simulation.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from connectofit.connectome.errors import SettingError
from connectofit.fit.checkpoint import read_checkpoint, write_checkpoint

_HEADER = 4  # rows, variables, columns of the derivatives that follow, wall time


@dataclass(frozen=True, eq=False)
class Answer:
    """Losses and derivatives of a batch (zeros where none were asked for), and the clock when they were computed."""

    losses: np.ndarray
    gradients: np.ndarray
    wall_s: float


@dataclass(eq=False)
class Journal:
    """Questions and answers in a file that belongs to one search; it is written every `interval_s` seconds."""

    path: Path
    identity: str
    interval_s: float = 5.0
    calls: int = 0
    _read: np.ndarray = field(default_factory=lambda: np.zeros(0))
    _at: int = 0
    _parts: list[np.ndarray] = field(default_factory=list)
    _written: float = field(default_factory=time.perf_counter)

    def __post_init__(self) -> None:
        if self.path.exists():
            _, _, self._read = read_checkpoint(self.path, self.identity, {})
            self._parts = [self._read]

    def replay(self, v: np.ndarray, columns: int) -> Answer | None:
        """The answer that was written down for this question, with so many columns of derivatives; None once all have
        been given.

        Raises `SettingError` if another question was asked at this point.
        """
        if self._at >= len(self._read):
            return None
        rows, width, slopes, wall_s = self._read[self._at : self._at + _HEADER]
        n, end = v.size, self._at + _HEADER
        same = (rows, width, slopes) == (*v.shape, columns) and np.array_equal(self._read[end : end + n], v.ravel())
        if not same:
            raise SettingError(
                f"{self.path} was written by a search that took another course: the loss, its data or the optimiser "
                "has changed since. Remove it to start anew."
            )
        losses = self._read[end + n : end + n + len(v)]
        end += n + len(v)
        self._at = end + len(v) * columns
        gradients = self._read[end : self._at].reshape(len(v), columns) if columns else np.zeros_like(v)
        self.calls += 1
        return Answer(losses, gradients, float(wall_s))

    def write(self, v: np.ndarray, losses: np.ndarray, gradients: np.ndarray | None, wall_s: float) -> None:
        """Write a question with its answer down."""
        header = np.array([*v.shape, 0 if gradients is None else gradients.shape[1], wall_s], np.float64)
        self._parts.append(
            np.concatenate([header, v.ravel(), losses, *([] if gradients is None else [gradients.ravel()])])
        )
        self.calls += 1
        if time.perf_counter() - self._written >= self.interval_s:
            self.save()

    def save(self) -> None:
        """Write the file."""
        self._parts = [np.concatenate([np.zeros(0), *self._parts])]
        write_checkpoint(self.path, self.identity, self.calls, {}, self._parts[0])
        self._written = time.perf_counter()
