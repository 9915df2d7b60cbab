"""Recorded spikes as an objective of `fit_network`: a point process whose rate depends on each neuron's distance to its
threshold (escape rate).

    rho = exp((V - theta) / Delta) / 1 ms,    log L = sum_spikes log(1 - exp(-rho dt)) - sum_others rho dt

the same as of single cells (`connectofit.fit.cells.teacher_forced`: Paninski 2004, Network 15:243; Pillow et al. 2005,
J Neurosci 25:11003; Mensi et al. 2012, J Neurophysiol 107:1756; Pozzorini et al. 2015, PLoS Comput Biol 11:e1004275).
The recorded neurons have their recorded spikes: these reset them and reach the others, so that given the spikes the
likelihood is a smooth function of weights and cells (Pillow et al. 2008, Nature 454:995). Neurons that were not
recorded fire by themselves.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from connectofit.connectome.errors import SettingError, offenders, unknown_name
from connectofit.fit.activity import Activity
from connectofit.fit.activity_likelihood import steps_of_samples
from connectofit.fit.cells.teacher_forced import expected, log_chance
from connectofit.fit.likelihood_scores import ScoredObjective
from connectofit.fit.objectives import AnyArray, Readout
from connectofit.fit.responses import Id
from connectofit.sim import Network, rollout
from connectofit.sim.neurons.base import DISTANCE

By = Literal["trial", "neuron", "session"]
_DELTA_V_mV = 1.5  # where a fit of the width begins, as of single cells
_IMPOSSIBLE = -20.0  # log(rho dt) in the refractory period: a spike there costs 20 nats, not infinitely many


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class EscapeRate(ScoredObjective):
    """Likelihood of recorded spikes under the escape rate of a spiking network; a row is one neuron in one trial.

    inputs: [trial, step, neuron], currents in the network's own unit (pA for LIF). spikes: [row, step], 1 or 0, NaN
    where nothing was recorded, from step `first` on. trial, neuron: of every row. forced: whether the recorded neurons
    have their recorded spikes (teacher forcing), or the network runs freely; what has no row is never forced. recorded:
    places of all recorded neurons. The readout is the width Delta of all neurons.
    """

    inputs: Float[AnyArray, "trial step neuron"]
    spikes: Float[AnyArray, "row sample"]
    trial: Int[AnyArray, "row"]
    neuron: Int[AnyArray, "row"]
    group: Int[AnyArray, "row"]
    dt_ms: float = field(metadata={"static": True})
    first: int = field(default=0, metadata={"static": True})
    forced: bool = field(default=True, metadata={"static": True})
    recorded: tuple[int, ...] = field(default=(), repr=False, metadata={"static": True})
    ids: tuple[Id, ...] = field(default=(), repr=False, metadata={"static": True})

    unit: ClassVar[str] = "spike"

    @classmethod
    def from_activity(
        cls,
        activity: Activity,
        inputs: Float[np.ndarray, "trial step neuron"],
        *,
        dt_ms: float,
        forced: bool = True,
        group_by: By = "trial",
    ) -> EscapeRate:
        """From spikes (`read_activity` with ``kind="spikes"`` and ``bin_ms`` the time step).

        inputs: the current into every neuron of the network in every trial, in steps of dt_ms. forced: see the class.
        group_by: rows of one group are held out together. Neurons that are held out run freely in the fit; to score
        them under all recorded spikes, predict all rows and take theirs.

        Raises `SettingError` for what are no spikes, bins that are no steps, two spikes in a bin, counts that are not
        whole, recordings without a spike, inputs of other trials or neurons or that are not finite, and bins beyond
        them; `UnknownNameError` for groups that do not exist.
        """
        if group_by not in get_args(By):
            raise unknown_name("group", str(group_by), get_args(By))
        if activity.kind != "spikes":
            raise SettingError(f"An escape rate is of spikes; found activity of kind {activity.kind!r}.")
        inputs = np.asarray(inputs)
        n_trials, n_samples, n = activity.values.shape
        if inputs.ndim != 3 or inputs.shape[0] != n_trials or inputs.shape[2] != len(activity.ids):
            raise SettingError(
                f"inputs have to be [trial, step, neuron], ({n_trials}, any, {len(activity.ids)}); found "
                f"{inputs.shape}."
            )
        bad = [f"trial {activity.trials[k]}" for k in np.flatnonzero(~np.isfinite(inputs).all((1, 2)))]
        if bad:
            raise SettingError(f"Inputs have to be finite numbers; found otherwise in {offenders(bad)}.")
        first, every = steps_of_samples(activity.first_ms, activity.dt_ms, n_samples, dt_ms, inputs.shape[1])
        if every != 1:
            raise SettingError(
                f"Spikes have to be counted in the steps of the simulation; found bins of {activity.dt_ms:g} ms and "
                f"steps of {dt_ms:g} ms. Read them with bin_ms={dt_ms:g}."
            )
        values = activity.values
        wrong = np.argwhere(np.isfinite(values) & (values != 0) & (values != 1))
        if len(wrong):
            found = [
                f"{activity.recorded[column]} in trial {activity.trials[trial]} at {activity.time_ms[sample]:g} ms: "
                f"{values[trial, sample, column]:g}"
                for trial, sample, column in wrong
            ]
            raise SettingError(
                f"A neuron fires once in a step of {dt_ms:g} ms or not at all; found {offenders(found)}. Take smaller "
                "steps, or leave out doubled spikes."
            )
        if not np.nansum(values):
            raise SettingError(
                f"No spike was recorded of {n} neurons in {n_trials} trials: there is nothing to fit. Check times and "
                "ids."
            )
        trial, column = (a.ravel() for a in np.meshgrid(np.arange(n_trials), np.arange(n), indexing="ij"))
        rows = values.transpose(0, 2, 1).reshape(-1, n_samples)
        kept = np.isfinite(rows).any(axis=1)
        session = activity.session or activity.trials
        codes = {name: k for k, name in enumerate(dict.fromkeys(session))}
        groups = {
            "trial": trial,
            "neuron": activity.neuron[column],
            "session": np.array([codes[session[k]] for k in trial], np.int64),
        }
        return cls(
            inputs.astype(np.float32),
            rows[kept].astype(np.float32),
            trial[kept].astype(np.int32),
            activity.neuron[column][kept].astype(np.int32),
            groups[group_by][kept].astype(np.int32),
            float(dt_ms),
            first - 1,
            bool(forced),
            tuple(sorted(int(k) for k in activity.neuron)),
            activity.ids,
        )

    def initial(self) -> Readout:
        return {"delta_v_log": jnp.asarray(math.log(_DELTA_V_mV))}

    def penalty(self, readout: Readout) -> Float[Array, ""]:
        return 0.5 * (readout["delta_v_log"] - math.log(_DELTA_V_mV)) ** 2

    def predict(self, net: Network, readout: Readout) -> Float[Array, "row sample"]:
        """log(rho dt) of every step. Raises `SettingError` for recorded neurons whose model cannot be given spikes."""
        distance = self._distance(net)[jnp.asarray(self.trial), :, jnp.asarray(self.neuron)]
        distance = distance[:, self.first : self.first + self.spikes.shape[1]]
        possible = jnp.isfinite(distance)
        y = jnp.where(possible, distance, 0.0) / jnp.exp(readout["delta_v_log"]) + math.log(self.dt_ms)
        return jnp.where(possible, y, _IMPOSSIBLE)

    def loss(self, predicted: Float[Array, "row sample"]) -> Float[Array, "row"]:
        spikes = jnp.asarray(self.spikes, predicted.dtype)
        each = jnp.where(spikes > 0, -log_chance(predicted), expected(predicted))
        return jnp.sum(jnp.where(jnp.isfinite(spikes), each, 0.0), axis=1)

    def subset(self, rows: np.ndarray) -> EscapeRate:
        rows = np.arange(self.n_rows)[rows]
        used, trial = np.unique(np.asarray(self.trial)[rows], return_inverse=True)
        parts: dict[str, Any] = {name: getattr(self, name)[rows] for name in ("spikes", "neuron", "group")}
        return replace(self, inputs=self.inputs[used], trial=trial.astype(np.int32), **parts)

    def counted(self) -> Float[np.ndarray, "row"]:
        return np.nansum(np.asarray(self.spikes, float), axis=1)

    def baseline(self, training: EscapeRate) -> Float[np.ndarray, "row"]:
        """Of a constant chance of a spike for each neuron, that of the training rows with half a spike added; of
        neurons that these do not have, the chance of all."""
        theirs, neuron = np.asarray(training.spikes, float), np.asarray(training.neuron)
        fired, seen = np.nansum(theirs, 1), np.isfinite(theirs).sum(1)
        n = 1 + max(int(neuron.max(initial=0)), int(np.asarray(self.neuron).max(initial=0)))
        by_neuron = [np.bincount(neuron, weights=values, minlength=n) for values in (fired, seen)]
        everything = [np.where(by_neuron[1] > 0, own, own.sum()) for own in by_neuron]
        chance = ((everything[0] + 0.5) / (everything[1] + 1.0))[np.asarray(self.neuron)]
        mine = np.asarray(self.spikes, float)
        k, m = np.nansum(mine, 1), np.isfinite(mine).sum(1)
        return -k * np.log(chance) - (m - k) * np.log1p(-chance)

    def named(self, readout: Readout) -> dict[str, float]:
        """The readout in its own unit: delta_v_mV."""
        return {"delta_v_mV": float(jnp.exp(readout["delta_v_log"]))}

    def _distance(self, net: Network) -> Float[Array, "trial step neuron"]:
        """V - theta before any spike of the step, -inf in the refractory period, NaN of neurons without a threshold."""
        starts = np.concatenate([[0], np.cumsum([p.size for p in net.populations])])
        parts = {
            p.name: slice(int(a), int(b)) for p, a, b in zip(net.populations, starts[:-1], starts[1:], strict=True)
        }
        able = [p for p in net.populations if p.model.takes_spikes]
        for p in net.populations:
            part = parts[p.name]
            mine = [self.ids[k] for k in self.recorded if part.start <= k < part.stop]
            if mine and p not in able:
                raise SettingError(
                    f"Recorded spikes cannot be given to the model {p.model.kind!r} of population {p.name!r}, which "
                    f"has {offenders(mine)}: it has no threshold that they could be compared with. Use LIF, ALIF, GLIF "
                    "or GIF, or leave these neurons out (Activity.subset)."
                )
        inputs = jnp.asarray(self.inputs, jnp.result_type(float))
        given = jnp.full(inputs.shape, jnp.nan, inputs.dtype)
        if self.forced:
            steps = self.first + np.arange(self.spikes.shape[1])
            where = (jnp.asarray(self.trial)[:, None], steps[None, :], jnp.asarray(self.neuron)[:, None])
            given = given.at[where].set(jnp.asarray(self.spikes, inputs.dtype))

        def one(inputs: Array, spikes: Array) -> Array:
            cut: Mapping[str, Array] = {name: inputs[:, part] for name, part in parts.items()}
            imposed = {p.name: spikes[:, parts[p.name]] for p in able} if self.forced else {}
            record = {p.name: (DISTANCE,) for p in able}
            _, out = rollout(net, None, cut, dt_ms=self.dt_ms, record=record, imposed=imposed)
            none = {p.name: jnp.full((inputs.shape[0], p.size), jnp.nan, inputs.dtype) for p in net.populations}
            found = none | {p.name: out[p.name][DISTANCE] for p in able}
            return jnp.concatenate([found[p.name] for p in net.populations], axis=1)

        return jax.vmap(one)(inputs, given)
