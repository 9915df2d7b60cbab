"""Adam from many starts at once (Kingma & Ba 2015, ICLR), with cosine steps, warm restarts and pruning.

The rate of a cycle falls as half a cosine and begins anew with every restart (Loshchilov & Hutter 2017, ICLR, eq. 5).
Pruning is successive halving (Karnin, Koren & Somekh 2013, ICML; Jamieson & Talwalkar 2016, AISTATS): at some steps
only the best starts go on.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from jaxtyping import Float

from connectofit.connectome.errors import SettingError
from connectofit.fit.optimisers.evaluation import Evaluator
from connectofit.fit.optimisers.search import Optimiser, Outcome, Watch

DECAY_1, DECAY_2, EPSILON = 0.9, 0.999, 1e-8


@dataclass(frozen=True)
class Adam(Optimiser):
    """Adam with early stopping by the objective's check.

    steps: in all. learning_rate: in coordinates z, in which most of a range is 4 wide. cycles: how often the rate
    begins anew, each time from the best point so far. prune_at: shares of the steps after which only the share `keep`
    of the starts goes on. check_every, patience: of early stopping.
    """

    steps: int = 300
    learning_rate: float = 0.1
    cycles: int = 1
    prune_at: tuple[float, ...] = (0.1, 0.3)
    keep: float = 0.5
    check_every: int = 10
    patience: int = 5
    kind: ClassVar[str] = "adam"

    def __post_init__(self) -> None:
        if self.steps < 1 or self.cycles < 1 or not self.learning_rate > 0 or not 0 < self.keep <= 1:
            raise SettingError(
                "Adam needs at least one step and one cycle, a learning rate above 0 and a share to keep above 0 and "
                f"at most 1; found {self.steps}, {self.cycles}, {self.learning_rate} and {self.keep}."
            )

    def run(self, ev: Evaluator, z: Float[np.ndarray, "start k"], seed: int) -> Outcome:
        n, k = z.shape
        z, first, second = z.copy(), np.zeros((n, k)), np.zeros((n, k))
        best_z, best_f = z.copy(), np.full(n, np.inf)
        ended = [""] * n
        watch = Watch(ev, n, self.check_every, self.patience)
        cycle = math.ceil(self.steps / self.cycles)
        for step in range(self.steps):
            active = np.array([s for s in range(n) if not ended[s]], np.int64)
            if ev.spent or not active.size:
                break
            f, g = ev.gradients(z[active])
            ev.record("adam", step, active, f)
            lost = ~np.isfinite(f)
            for start in active[lost]:
                # A start that left the region where the loss is finite keeps the best point it had.
                ended[start] = "quarantined"
            better = f < best_f[active]
            best_z[active[better]], best_f[active[better]] = z[active[better]], f[better]
            phase = step % cycle
            if phase == 0 and step:
                z[active], first[active], second[active] = best_z[active], 0.0, 0.0
            else:
                first[active] = DECAY_1 * first[active] + (1 - DECAY_1) * g
                second[active] = DECAY_2 * second[active] + (1 - DECAY_2) * g**2
                count = phase + 1 if step < cycle else phase
                m, v = first[active] / (1 - DECAY_1**count), second[active] / (1 - DECAY_2**count)
                rate = 0.5 * self.learning_rate * (1 + math.cos(math.pi * phase / cycle))
                z[active] -= np.where(lost[:, None], 0.0, rate * m / (np.sqrt(v) + EPSILON))
            self._prune(step, active[~lost], best_f, ended)
            if watch.on and (step + 1) % self.check_every == 0:
                live = np.array([s for s in range(n) if not ended[s]], np.int64)
                if live.size:
                    for start in live[watch.look(best_z, best_f, live)]:
                        ended[start] = "patience"
        if watch.on:
            best_z, best_f = watch.chosen(best_z, best_f)
        why = "budget" if ev.spent else "steps"
        return Outcome(best_z, best_f, [end or why for end in ended])

    def _prune(self, step: int, active: np.ndarray, best_f: np.ndarray, ended: list[str]) -> None:
        if step + 1 not in [round(share * self.steps) for share in self.prune_at] or active.size < 2:
            return
        order = active[np.argsort(best_f[active], kind="stable")]
        for start in order[math.ceil(self.keep * active.size) :]:
            ended[start] = "pruned"
