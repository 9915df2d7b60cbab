"""Progress of long work: a bar with the time left on a terminal, now and then a line of the log anywhere else."""

from __future__ import annotations

import logging
import sys
import time
from types import TracebackType
from typing import Protocol

from tqdm import tqdm

EVERY_S = 30.0
"""How often a line is written where there is no terminal."""

_log = logging.getLogger(__name__)


class Progress(Protocol):
    """What both kinds have: `update` with the number of units done since the last call, `close`, and ``with``."""

    def update(self, n: float = 1) -> object:
        """Count n more units."""

    def close(self) -> object:
        """No more is to come."""

    def __enter__(self) -> Progress:
        """Itself."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> object:
        """Closes it."""


class Lines:
    """Lines such as "fit: 12 of 40 steps, about 3 min left", at most one in `EVERY_S` seconds."""

    def __init__(self, total: int | None, label: str, unit: str) -> None:
        self.total, self.label, self.unit, self.n = total, label, unit, 0.0
        self._last = time.monotonic()
        # When the first units were done, and how many: what comes before is compiling.
        self._first: tuple[float, float] | None = None

    def update(self, n: float = 1) -> None:
        """Count n more units, and say so if the last line was long ago."""
        self.n += n
        now = time.monotonic()
        if self._first is None:
            self._first = now, self.n
        if now - self._last < EVERY_S or self.n == self.total:
            return
        self._last = now
        done = f"{self.n:g} {self.unit}s" if self.total is None else f"{self.n:g} of {self.total} {self.unit}s"
        left = ""
        began, before = self._first
        if self.total is not None and self.n > before:
            left = f", about {_told((now - began) / (self.n - before) * (self.total - self.n))} left"
        _log.info("%s: %s%s", self.label, done, left)

    def close(self) -> None:
        """Nothing is left to do."""

    def __enter__(self) -> Lines:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def _told(seconds: float) -> str:
    return (
        f"{seconds:.0f} s"
        if seconds < 100
        else f"{seconds / 60:.0f} min"
        if seconds < 6000
        else f"{seconds / 3600:.1f} h"
    )


def on_terminal() -> bool:
    """Whether bars can be drawn: standard error is a terminal."""
    return sys.stderr.isatty()


def progress_bar(total: int | None, label: str, *, unit: str = "it", show: bool = True) -> Progress:
    """A bar on standard error that stays hidden for the first two seconds; lines of the log without a terminal."""
    if show and not on_terminal():
        return Lines(total, label, unit)
    return tqdm(total=total, desc=label, unit=unit, disable=not show, delay=2.0, leave=False, dynamic_ncols=True)
