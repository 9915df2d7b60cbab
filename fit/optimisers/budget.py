"""What a search may spend, and what it has spent: simulated seconds, wall time, evaluations.

A pass over the data counts as the seconds of model time that it simulates. A gradient counts as `gradient_passes` of
them: 1 + k in forward mode, which carries k tangent trajectories beside the model's own, and 5 in reverse mode (one
pass, one more that recomputes states which were not kept, and the adjoint, which costs 2 to 3; Griewank & Walther
2008, Evaluating Derivatives, ch. 4). Both are upper bounds that do not depend on the machine, so that the same seed
stops at the same step everywhere.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from connectofit.connectome.errors import SettingError

REVERSE_PASSES = 5.0


@dataclass(frozen=True)
class Budget:
    """Limits of a search; None is no limit. It stops between steps, so that the last one may go beyond.

    simulated_s: seconds of model time over all sweeps and starts. wall_s: seconds on the clock, compilation included.
    evaluations: losses, of which a loss with its gradient is one. gradient_passes: how many forward passes a gradient
    counts as; None: 1 + k in forward mode, 5 in reverse mode. Raises `SettingError` for a limit that is not above 0.
    """

    simulated_s: float | None = None
    wall_s: float | None = None
    evaluations: int | None = None
    gradient_passes: float | None = None

    def __post_init__(self) -> None:
        for name in ("simulated_s", "wall_s", "evaluations", "gradient_passes"):
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and value > 0):
                raise SettingError(f"{name} of a budget has to be above 0, or None for no limit; found {value!r}.")

    @property
    def limited(self) -> bool:
        """Whether anything is limited."""
        return not (self.simulated_s is None and self.wall_s is None and self.evaluations is None)

    def passes(self, size: int, forward: bool) -> float:
        """How many forward passes a gradient by `size` parameters counts as."""
        if self.gradient_passes is not None:
            return self.gradient_passes
        return 1.0 + size if forward else REVERSE_PASSES


@dataclass
class Meter:
    """What has been spent of a budget. The clock is read after every evaluation, so that what is judged by it can be
    replayed. `share` below 1 leaves the rest to a later stage of the search."""

    budget: Budget
    simulated_s: float = 0.0
    wall_s: float = 0.0
    evaluations: int = 0
    share: float = 1.0
    clock: Callable[[], float] = time.perf_counter
    _zero: float = field(init=False)

    def __post_init__(self) -> None:
        self._zero = self.clock()

    def spend(self, simulated_s: float, evaluations: int, wall_s: float | None = None) -> None:
        """Count model time and evaluations, and read the clock; wall_s: what it said when these were first made."""
        self.simulated_s += simulated_s
        self.evaluations += evaluations
        if wall_s is None:
            self.wall_s = self.clock() - self._zero
        else:
            self.wall_s, self._zero = wall_s, self.clock() - wall_s

    def spent(self) -> str | None:
        """The limit that has been reached, None if there is none."""
        for name in ("simulated_s", "wall_s", "evaluations"):
            limit = getattr(self.budget, name)
            if limit is not None and getattr(self, name) >= self.share * limit:
                return name
        return None
