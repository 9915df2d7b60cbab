"""Recorded activity as an objective of `fit_network`: the network run freely, or held to the recording now and then.

Teacher forcing: at every n-th sample the recorded neurons are set to what was recorded, so that errors cannot grow for
longer than n samples, and gradients neither (sparse teacher forcing: Mikhaeil, Monfared & Durstewitz 2022, NeurIPS
35:11297; Brenner et al. 2022, ICML 162:2292). n grows over the fit until the network runs by itself; what counts in
the end is that alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Int

from connectofit.connectome.errors import SettingError, unknown_name
from connectofit.fit.activity import Activity, Indicator
from connectofit.fit.objectives import AnyArray, Objective, Readout
from connectofit.fit.responses import Id
from connectofit.sim import Network, rollout

Likelihood = Literal["gaussian", "poisson"]
Group = Literal["trial", "neuron", "session"]
Forcing = tuple[tuple[float, int | None], ...]
SCHEDULE: Forcing = ((0.0, 2), (0.15, 5), (0.3, 20), (0.5, None))
"""From which share of the fit on the network is held to every how-many-th sample; None: runs freely."""


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class ActivityLikelihood(Objective):
    """How likely recorded activity is; a row is one neuron in one trial.

        gaussian:  sum over samples of (y - f(x))^2 / (2 sd^2)
        poisson:   sum over samples of m - y log m + log y!,   m = softplus(f(x)) bin

    x is the voltage (or rate) of the neuron in the network, through the indicator's kernel where there is one. f(x) is
    x itself, or with `scaled` gain x + offset, the same for all neurons and fitted with the network. sd: of each row.
    m is a count: softplus(f(x)) is in spikes per second.

    inputs: [trial, step, neuron], currents in the network's own unit. values: [row, sample], NaN where nothing was
    measured. trial, neuron: of every row. forcing: the samples from one at which neurons are held to the next, None for
    a free run. forcings: of the whole fit, see `SCHEDULE`.
    """

    inputs: Float[AnyArray, "trial step neuron"]
    values: Float[AnyArray, "row sample"]
    trial: Int[AnyArray, "row"]
    neuron: Int[AnyArray, "row"]
    group: Int[AnyArray, "row"]
    sd: Float[AnyArray, "row"]
    dt_ms: float = field(metadata={"static": True})
    first: int = field(metadata={"static": True})
    every: int = field(metadata={"static": True})
    likelihood: Likelihood = field(default="gaussian", metadata={"static": True})
    indicator: Indicator | None = field(default=None, metadata={"static": True})
    scaled: bool = field(default=False, metadata={"static": True})
    forcing: int | None = field(default=None, metadata={"static": True})
    forcings: Forcing = field(default=(), metadata={"static": True})
    ids: tuple[Id, ...] = field(default=(), repr=False, metadata={"static": True})

    @classmethod
    def from_activity(
        cls,
        activity: Activity,
        inputs: Float[np.ndarray, "trial step neuron"],
        *,
        dt_ms: float,
        likelihood: Likelihood | None = None,
        indicator: Indicator | None = None,
        scaled: bool | None = None,
        sd: Float[np.ndarray, "recorded"] | float | None = None,
        group_by: Group = "trial",
        forcings: Forcing = (),
    ) -> ActivityLikelihood:
        """From recorded activity.

        Parameters
        ----------
        inputs: the current into every neuron of the network in every trial, in steps of dt_ms.
        likelihood: None for "poisson" of spikes and "gaussian" of all else.
        indicator: of calcium signals, which need one.
        scaled: whether a gain and an offset lie between network and signal; None for all but rates and voltages.
        sd: of the differences; None for the standard deviation of each neuron's signal, so that losses are in shares of
            its variance.
        group_by: rows of one group are held out together.
        forcings: such as `SCHEDULE`; they hold the network to its own variable, so that nothing may lie between.

        Raises
        ------
        SettingError: samples that do not lie on the steps or are beyond the inputs, inputs of other trials or neurons,
            calcium without an indicator, frames that are too far apart for it, forcing of scaled signals, a sd that is
            not above 0. UnknownNameError: likelihoods and groups that do not exist.
        """
        chosen: Likelihood = likelihood or ("poisson" if activity.kind == "spikes" else "gaussian")
        if chosen not in ("gaussian", "poisson"):
            raise unknown_name("likelihood", str(likelihood), ("gaussian", "poisson"))
        if group_by not in ("trial", "neuron", "session"):
            raise unknown_name("group", str(group_by), ("trial", "neuron", "session"))
        between = activity.kind in ("calcium", "spikes") if scaled is None else scaled
        _check_signal(activity, chosen, indicator, between, forcings)
        inputs = np.asarray(inputs)
        if inputs.ndim != 3 or inputs.shape[0] != len(activity.trials) or inputs.shape[2] != len(activity.ids):
            raise SettingError(
                f"inputs have to be [trial, step, neuron], ({len(activity.trials)}, any, {len(activity.ids)}); found "
                f"{inputs.shape}."
            )
        n_samples = activity.values.shape[1]
        first, every = steps_of_samples(activity.first_ms, activity.dt_ms, n_samples, dt_ms, inputs.shape[1])
        n_trials, n_samples, n = activity.values.shape
        spread = np.nanstd(activity.values, axis=(0, 1)) if sd is None else np.broadcast_to(np.asarray(sd, float), (n,))
        spread = np.where(spread > 0, spread, 1.0) if sd is None else spread
        if not (np.isfinite(spread) & (spread > 0)).all():
            raise SettingError(f"sd of activity has to be above 0 for every neuron; found {spread.tolist()}.")
        trial, column = (a.ravel() for a in np.meshgrid(np.arange(n_trials), np.arange(n), indexing="ij"))
        values = activity.values.transpose(0, 2, 1).reshape(-1, n_samples)
        kept = np.isfinite(values).any(axis=1)
        session = activity.session or activity.trials
        codes = {name: k for k, name in enumerate(dict.fromkeys(session))}
        groups = {
            "trial": trial,
            "neuron": activity.neuron[column],
            "session": np.array([codes[session[k]] for k in trial], np.int64),
        }
        return cls(
            inputs.astype(np.float32),
            values[kept].astype(np.float32),
            trial[kept].astype(np.int32),
            activity.neuron[column][kept].astype(np.int32),
            groups[group_by][kept].astype(np.int32),
            spread[column][kept].astype(np.float32),
            float(dt_ms),
            first,
            every,
            chosen,
            indicator,
            between,
            None,
            tuple(forcings),
            activity.ids,
        )

    @property
    def n_samples(self) -> int:
        """Samples of a row."""
        return int(self.values.shape[1])

    def at(self, share: float) -> ActivityLikelihood:
        now = [n for start, n in self.forcings if share >= start - 1e-9]
        return replace(self, forcing=now[-1] if now else None)

    def initial(self) -> Readout:
        return {"gain_log": jnp.zeros(()), "offset": jnp.zeros(())} if self.scaled else {}

    def penalty(self, readout: Readout) -> Float[Array, ""]:
        if not self.scaled:
            return jnp.zeros(())
        return 0.5 * ((readout["gain_log"] / 3.0) ** 2 + (readout["offset"] / 10.0) ** 2)

    def predict(self, net: Network, readout: Readout) -> Float[Array, "row sample"]:
        x = self.run(net)[jnp.asarray(self.trial), :, jnp.asarray(self.neuron)]
        if self.indicator is not None:
            x = filtered(x, self.indicator, self.dt_ms)
        y = x[:, self.first - 1 :: self.every][:, : self.n_samples]
        if self.scaled:
            y = jnp.exp(readout["gain_log"]) * y + readout["offset"]
        if self.likelihood == "poisson":
            y = jax.nn.softplus(y) * (self.every * self.dt_ms * 1e-3)
        return y

    def run(self, net: Network) -> Float[Array, "trial step neuron"]:
        """The network in every trial; held to the recording where `forcing` says so."""
        return voltages(net, self.inputs, self.dt_ms, self._held())

    def _held(self) -> Float[Array, "trial step neuron"] | None:
        """What neurons are set to, NaN where they are free."""
        if self.forcing is None:
            return None
        sample = np.arange(self.forcing - 1, self.n_samples, self.forcing)
        step = self.first - 1 + self.every * sample
        none = jnp.full(np.shape(self.inputs), jnp.nan, jnp.result_type(float))
        rows = (jnp.asarray(self.trial)[:, None], step[None, :], jnp.asarray(self.neuron)[:, None])
        return none.at[rows].set(jnp.asarray(self.values, none.dtype)[:, sample])

    def loss(self, predicted: Float[Array, "row sample"]) -> Float[Array, "row"]:
        y = jnp.asarray(self.values, predicted.dtype)
        known = jnp.isfinite(y)
        y = jnp.where(known, y, 0.0)
        if self.likelihood == "poisson":
            m = jnp.maximum(predicted, 1e-12)
            each = m - y * jnp.log(m) + jax.scipy.special.gammaln(y + 1.0)
        else:
            each = 0.5 * ((y - predicted) / jnp.asarray(self.sd, predicted.dtype)[:, None]) ** 2
        return jnp.sum(jnp.where(known, each, 0.0), axis=1)

    def subset(self, rows: np.ndarray) -> ActivityLikelihood:
        rows = np.arange(self.n_rows)[rows]
        used, trial = np.unique(np.asarray(self.trial)[rows], return_inverse=True)
        parts: dict[str, Any] = {name: getattr(self, name)[rows] for name in ("values", "neuron", "group", "sd")}
        return replace(self, inputs=self.inputs[used], trial=trial.astype(np.int32), **parts)


def voltages(
    net: Network,
    inputs: Float[AnyArray, "trial step neuron"],
    dt_ms: float,
    held: Float[Array, "trial step neuron"] | None = None,
) -> Float[Array, "trial step neuron"]:
    """Voltages (or rates) of all neurons in every trial, each from rest. held: what neurons are set to, NaN where they
    are free."""
    starts = np.concatenate([[0], np.cumsum([p.size for p in net.populations])])
    parts = {p.name: slice(int(a), int(b)) for p, a, b in zip(net.populations, starts[:-1], starts[1:], strict=True)}
    record = {p.name: (p.model.voltage,) for p in net.populations}

    def one(inputs: Array, to: Array | None) -> Array:
        given = {name: inputs[:, part] for name, part in parts.items()}
        clamped = None if to is None else {name: to[:, part] for name, part in parts.items()}
        _, out = rollout(net, None, given, dt_ms=dt_ms, record=record, clamped=clamped)
        return jnp.concatenate([out[p.name][p.model.voltage] for p in net.populations], axis=1)

    given = jnp.asarray(inputs, jnp.result_type(float))
    if held is None:
        return jax.vmap(lambda i: one(i, None))(given)
    return jax.vmap(one)(given, held)


def filtered(x: Float[Array, "row step"], indicator: Indicator, dt_ms: float) -> Float[Array, "row step"]:
    """Activity through the kernel of an indicator, which is at rest before the first step."""

    def lowpass(x: Array, tau_ms: float) -> Array:
        k = math.exp(-dt_ms / tau_ms)

        def step(c: Array, now: Array) -> tuple[Array, Array]:
            c = k * c + (1.0 - k) * now
            return c, c

        return lax.scan(step, jnp.zeros_like(x[:, 0]), x.T)[1].T

    return lowpass(lowpass(x, indicator.rise_ms) if indicator.rise_ms else x, indicator.decay_ms)


def explained(
    recorded: Float[np.ndarray, "row sample"],
    predicted: Float[np.ndarray, "row sample"],
    neuron: Int[np.ndarray, "row"],
) -> tuple[Int[np.ndarray, "neuron"], Float[np.ndarray, "neuron"]]:
    """The share of each neuron's variance, over all its rows and samples, that predictions explain: 1 - sum of squares
    of the errors / sum of squares about the mean; NaN for a constant neuron. Neurons, and their shares."""
    neurons = np.unique(neuron)
    found = []
    for k in neurons:
        y, f = np.asarray(recorded, float)[neuron == k], np.asarray(predicted, float)[neuron == k]
        known = np.isfinite(y)
        about = ((y[known] - y[known].mean()) ** 2).sum()
        found.append(1.0 - ((y[known] - f[known]) ** 2).sum() / about if about > 0 else np.nan)
    return neurons, np.array(found)


def noise_ceiling(values: Float[np.ndarray, "repeat sample"]) -> float:
    """The share of one repetition's variance that the mean of infinitely many would explain, from repetitions of one
    stimulus (two or more):

        1 - s^2 / v,    s^2: variance over repetitions, in the mean over samples; v: variance of all values

    (Sahani & Linden 2003, NIPS 15:301: signal power over total power.) Raises `SettingError` for fewer than two.
    """
    y = np.asarray(values, float)
    if y.ndim != 2 or y.shape[0] < 2:
        raise SettingError(f"A noise ceiling needs two repetitions or more, [repeat, sample]; found {y.shape}.")
    noise = y.var(axis=0, ddof=1).mean()
    total = y.var(axis=1).mean()  # of single repetitions over time
    return float((total - noise * (1.0 - 1.0 / y.shape[1])) / total) if total > 0 else float("nan")


def steps_of_samples(first_ms: float, every_ms: float, n_samples: int, dt_ms: float, n_steps: int) -> tuple[int, int]:
    """The number of the step that ends with the first sample, and steps from one sample to the next. Raises a
    `SettingError` for samples that lie on no steps or outside of the simulation."""
    first, every = _steps(first_ms, dt_ms), _steps(every_ms, dt_ms)
    if first < 1 or first + every * (n_samples - 1) > n_steps:
        raise SettingError(
            f"The samples lie from {first_ms:g} to {first_ms + every_ms * (n_samples - 1):g} ms, and the inputs make a "
            f"simulation from {dt_ms:g} to {n_steps * dt_ms:g} ms."
        )
    return first, every


def _steps(time_ms: float, dt_ms: float) -> int:
    n = round(time_ms / dt_ms)
    if abs(n * dt_ms - time_ms) > 1e-3 * dt_ms:
        raise SettingError(
            f"Samples have to lie on the simulation's steps: {time_ms:g} ms is no multiple of {dt_ms:g} ms."
        )
    return n


def _check_signal(
    activity: Activity, likelihood: Likelihood, indicator: Indicator | None, scaled: bool, forcings: Sequence[Any]
) -> None:
    if (activity.kind == "calcium") != (indicator is not None):
        raise SettingError(
            f"Calcium signals need the kernel of their indicator, and others have none; found {activity.kind!r} with "
            f"{indicator!r}."
        )
    if indicator is not None:
        indicator.check(activity.dt_ms)
    if likelihood == "poisson" and activity.kind != "spikes":
        raise SettingError(f"The Poisson likelihood is for counts of spikes; found {activity.kind!r}.")
    shares = [start for start, _ in forcings]
    if forcings and (shares[0] != 0.0 or sorted(set(shares)) != shares or forcings[-1][1] is not None):
        raise SettingError(f"forcings begin at share 0, grow, and end with None, a free run; found {list(forcings)!r}.")
    if any(n is not None and n < 2 for _, n in forcings):
        raise SettingError("Held to every sample nothing is left to predict: forcings take 2 samples or more.")
    if forcings and (scaled or likelihood == "poisson"):
        raise SettingError(
            "Teacher forcing sets the network's own variable to the recording, so that no gain, kernel or count may "
            "lie between: use it with rates or voltages in the network's unit (scaled=False)."
        )
