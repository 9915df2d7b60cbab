"""A recorded cell, a model of it and a loss as one problem for an optimiser.

Time is in rows: row k holds the current from sample k to sample k + 1, and the voltage and the spikes of sample k + 1.
Shorter sweeps are padded with 0 and do not count there. Whatever differs between cells stands in the data, so that one
compiled program serves cells of the same model, free parameters, sampling and shape: `jax.vmap` the loss over both
arguments, with `n_steps` the same for all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, cast, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from connectofit.connectome.errors import SchemaError, SettingError, offenders, unknown_name
from connectofit.fit.cells.losses import CellLoss, VoltageError, WeightedSum
from connectofit.fit.cells.models import CellModel, cell_model, known_parameters, merged
from connectofit.fit.cells.simulation import run_cell
from connectofit.fit.cells.spike_losses import FeatureLoss, RateLoss
from connectofit.fit.cells.starting_point import StartingPoint, spike_onsets, starting_point
from connectofit.fit.cells.teacher_forced import ForcedLikelihood
from connectofit.fit.optimisers.objective import Box, Objective
from connectofit.fit.recordings import Recordings
from connectofit.fit.spikes import DEFAULT_DETECTION, SpikeDetection
from connectofit.sim.neurons import NeuronModel

MASK_BEFORE_MS = 5.0
FORCED_TANGENTS = 80
"""Of likelihoods under recorded spikes, where starts are mapped over: with 8 starts of 6 parameters forward mode took
0.73 of reverse mode's time, of 10 parameters 1.1, of 15 parameters 1.3; with 64 starts 2.5 to 2.7."""

TOGETHER_TANGENTS = 50
"""The same where starts run side by side: with 8 starts of 6 parameters forward mode took 0.6 of reverse mode's time,
of 10 parameters 3.1, of 15 parameters 3.6; with 64 starts 5.6 to 6.3."""

COUPLINGS = (30.0, 10.0, 3.0, 1.0, 0.3, 0.0)
"""Strengths of the coupling to anneal over, in leak conductances of the start."""

FINE_COUPLINGS = (200.0, 30.0, 10.0, 5.0, 2.0, 1.0, 0.5, 0.2, 0.0)
"""The same for Gauss-Newton steps, of which each takes a few; the weak ones keep a trace with many spikes in step."""

OWN_VOLTAGE = ("izhikevich",)
"""Models whose zero and unit of the voltage are constants of their equations: the recorded voltage is not theirs, and
their likelihood is of the spikes alone."""

SPIKES_AND_VOLTAGE = WeightedSum(((1.0, FeatureLoss()), (0.01, RateLoss(200.0)), (0.02, VoltageError())))
"""What loss="spikes" stands for: z-scores of latency, interval and adaptation, rates in windows of 200 ms (10 Hz off
count as one z-score), and the voltage between recorded spikes (7 mV off). Where a model cannot make the recorded
action potentials, the voltage alone is best fitted by a cell that never fires."""

LossName = Literal["auto", "likelihood", "voltage", "spikes"]
LOSS_NAMES: tuple[LossName, ...] = get_args(LossName)

Onsets = Sequence[Int[np.ndarray, " spike"]]


@dataclass(frozen=True, eq=False)
class CellProblem:
    """A cell to be fitted. cell: its model. loss. recordings: what it is fitted to; onsets: the samples at which their
    spikes begin. start: of all free parameters, the loss's after the model's. objective: for the optimisers. dt_ms.
    starting_point: what the recordings say. initial: "recorded" or "rest". detection: how spikes are found."""

    cell: CellModel
    loss: CellLoss
    recordings: Recordings
    onsets: tuple[Int[np.ndarray, " spike"], ...] = field(repr=False)
    start: Float[np.ndarray, " k"]
    objective: Objective = field(repr=False)
    dt_ms: float
    starting_point: StartingPoint
    initial: Literal["recorded", "rest"]
    detection: SpikeDetection = DEFAULT_DETECTION

    @property
    def names(self) -> tuple[str, ...]:
        """The free parameters."""
        return self.objective.box.names

    def named(self, x: Float[np.ndarray, " k"]) -> dict[str, float]:
        """All parameters of the model, as a `ModelSpec` takes them; those of the loss are not among them."""
        return self.cell.named(np.asarray(x)[: self.cell.box.size])

    def simulate(
        self,
        x: Float[np.ndarray, " k"],
        recordings: Recordings | None = None,
        *,
        record: Sequence[str] = (),
    ) -> list[dict[str, np.ndarray]]:
        """The model run freely under the currents of the recordings (its own where left out).

        For every sweep ``v_mV`` [time] at the samples of the sweep, ``spike_ms`` on its clock, and the variables that
        `record` names.
        """
        wanted = self.recordings if recordings is None else recordings
        dt = one_dt(wanted)
        if abs(dt - self.dt_ms) > 1e-9 * dt:
            raise SettingError(
                f"The model was fitted at dt = {self.dt_ms:g} ms; these sweeps are sampled at {dt:g} ms."
            )
        none = tuple(np.zeros(0, int) for _ in wanted)
        data = cell_data(wanted, none, self.cell.fixed, mask_ms=None, initial=self.initial)
        voltage = self.cell.neuron.voltage
        names = tuple(dict.fromkeys((voltage, "spikes", *record)))
        p = {**data["fixed"], **_free(self.cell.box.names, jnp.asarray(x, data["current_pA"].dtype))}
        out = _run(self.cell.neuron, p, data["current_pA"], data.get("start_mV"), dt_ms=dt, record=names)
        found = {k: np.asarray(v) for k, v in out.items()}
        first = (
            np.asarray(data["start_mV"])
            if "start_mV" in data
            else np.full(len(wanted), float(p[self.cell.neuron.rest]))
        )
        results = []
        for k, sweep in enumerate(wanted):
            n = sweep.n_samples
            one = {name: np.concatenate([[np.nan], v[: n - 1, k]]) for name, v in found.items() if name != "spikes"}
            one[voltage][0] = first[k]
            one["spike_ms"] = sweep.time_ms[np.flatnonzero(found["spikes"][: n - 1, k] > 0.5) + 1]
            results.append(one)
        return results


def cell_problem(
    recordings: Recordings,
    model: str = "glif3",
    loss: CellLoss | LossName = "auto",
    *,
    free: Sequence[str] | None = None,
    bounds: Mapping[str, tuple[float, float]] | None = None,
    start: Mapping[str, float] | None = None,
    fixed: Mapping[str, float] | None = None,
    neuron: NeuronModel | None = None,
    detection: SpikeDetection = DEFAULT_DETECTION,
    onsets: Onsets | None = None,
    mask_ms: tuple[float, float] | None = None,
    initial: Literal["recorded", "rest"] = "recorded",
    validation: Sequence[str] = (),
    n_steps: int | None = None,
) -> CellProblem:
    """Everything of a fit but its optimiser, checked.

    Parameters
    ----------
    recordings: sweeps of one cell at one sampling interval, of any lengths.
    model, free, bounds, start, fixed, neuron: see `cell_model`; the loss's own parameters are named likewise.
    loss: a loss, or "likelihood" (spikes and voltage under recorded spikes; of `OWN_VOLTAGE` the spikes alone) or
        "voltage" (freely running), or "spikes" (freely running, `SPIKES_AND_VOLTAGE`); "auto" is the first where the
        model takes it and there are spikes, else "voltage".
    detection: how spikes are found.
    onsets: the samples at which the spikes of every sweep begin, such as those of a simulation, which no detection
        finds; in place of `detection`.
    mask_ms: how long before the beginning of a spike and after it the voltage does not count; the beginning itself
        never does. By default 5 ms before, more than the 2 ms in which sodium channels bend the trace up in the two
        cells that ship with the package, and the refractory period after, where models without action potentials have
        no voltage. For models that draw action potentials likewise where the loss is on spikes, else nothing.
    initial: what the model starts from: rest at the "recorded" voltage (median of the first ms), or its own "rest".
    validation: labels of sweeps to be left to `Objective.check`, for early stopping.
    n_steps: to pad the sweeps to, for several cells in one program.

    Raises
    ------
    SchemaError: sweeps of several cells or sampling intervals. SettingError: a loss on spikes without a spike, a model
    that it does not suit, a refractory period above the shortest interval, bounds that exclude the start.
    UnknownNameError: models, parameters and losses that do not exist.
    """
    if len(recordings.cells) > 1:
        raise SchemaError(
            f"A cell is fitted to its own sweeps; these are of {offenders(recordings.cells)}. Choose one with "
            "Recordings.cell."
        )
    if initial not in ("recorded", "rest"):
        raise unknown_name("initial", initial, ("recorded", "rest"))
    dt_ms = one_dt(recordings)
    begins = checked_onsets(recordings, onsets, detection)
    later = [recordings[label].label for label in ([validation] if isinstance(validation, str) else validation)]
    if later and len(later) == len(recordings):
        raise SettingError("All sweeps are named for validation; leave some to fit to.")
    train, train_onsets = _part(recordings, begins, [s.label for s in recordings if s.label not in later])
    known = starting_point(train, train_onsets, t_ref_ms=(fixed or {}).get("t_ref_ms"), detection=detection)
    chosen = _loss(loss, model, known.n_spikes)
    own = chosen.parameters()
    for what, names in (("free", free or ()), ("bounds", bounds or {}), ("start", start or {})):
        for name in [names] if isinstance(names, str) else names:
            if name not in own and name not in known_parameters(model):
                raise unknown_name("parameter", name, (*known_parameters(model), *own), what)
    cell = cell_model(
        model,
        known,
        free=None if free is None else [k for k in ([free] if isinstance(free, str) else free) if k not in own],
        bounds=_without(bounds, own),
        start=_without(start, own),
        fixed=fixed,
        neuron=neuron,
    )
    chosen.check(cell, dt_ms)
    if chosen.needs_spikes:
        _check_spikes(train, train_onsets, cell, chosen)
    ranges = {k: merged(k, r, bounds or {}, start or {}, "the loss") for k, r in own.items()}
    box = Box(
        (*cell.box.names, *ranges),
        np.concatenate([cell.box.low, [r.low for r in ranges.values()]]),
        np.concatenate([cell.box.high, [r.high for r in ranges.values()]]),
        (*cell.box.log, *(r.log for r in ranges.values())),
    )
    if mask_ms is None and (not cell.spikes_drawn or chosen.needs_spikes):
        mask_ms = (MASK_BEFORE_MS, cell.fixed.get("t_ref_ms", known.t_ref_ms))
    if mask_ms is not None and not all(np.isfinite(t) and t >= 0 for t in mask_ms):
        raise SettingError(f"mask_ms has to be two times of 0 or more; found {mask_ms!r}.")
    settings: dict[str, Any] = {"mask_ms": mask_ms, "initial": initial, "n_steps": n_steps}
    data = cell_data(train, train_onsets, cell.fixed, **settings)
    if not bool(jnp.any(data["counted"])):
        raise SettingError(
            f"No sample of the voltage is left between the masks of the spikes, {mask_ms} ms. Shorten them."
        )
    check_data = cell_data(*_part(recordings, begins, later), cell.fixed, **settings) if later else None
    value = _Value(cell, chosen, dt_ms, cell.neuron, cell.box.names)
    squared = isinstance(chosen, VoltageError) and cell.spikes_drawn
    linear = isinstance(chosen, ForcedLikelihood) and chosen.runs_together(cell.name)
    together = _Together(value) if linear else None
    couplings = FINE_COUPLINGS if squared else COUPLINGS if chosen.couples else ()
    objective = Objective(
        box,
        value,
        data,
        float(sum((s.n_samples - 1) * dt_ms for s in train)) * 1e-3,
        nudged=(lambda x, d, strength: value(x, _coupled(d, strength))) if chosen.couples else None,
        couplings=tuple(c * known.g_nS for c in couplings),
        within=lambda x, d, share: value(x, _first(d, share)),
        check=value if later else None,
        check_data=check_data,
        tangents=None if chosen.couples else TOGETHER_TANGENTS if together else FORCED_TANGENTS,
        squares=value.squares if squared else None,
        together=together,
    )
    begin = np.concatenate([cell.start, [r.start for r in ranges.values()]])
    return CellProblem(cell, chosen, train, train_onsets, begin, objective, dt_ms, known, initial, detection)


def cell_data(
    recordings: Recordings,
    onsets: Onsets,
    fixed: Mapping[str, float],
    *,
    mask_ms: tuple[float, float] | None,
    initial: str,
    n_steps: int | None = None,
) -> dict[str, Any]:
    """The recording as the losses see it (`connectofit.fit.cells.losses.Data`), in JAX's default float type."""
    dt = recordings.sweeps[0].dt_ms
    longest = max(s.n_samples for s in recordings) - 1
    if n_steps is not None and n_steps < longest:
        raise SettingError(f"The longest sweep has {longest} steps; they cannot be padded to {n_steps}.")
    shape = (n_steps or longest, len(recordings))
    rows = {name: np.zeros(shape) for name in ("current_pA", "voltage_mV", "spikes", "counted", "valid")}
    before, after = (round(t / dt) for t in mask_ms or (0.0, 0.0))
    for k, (sweep, begins) in enumerate(zip(recordings, onsets, strict=True)):
        n = sweep.n_samples - 1
        rows["current_pA"][:n, k] = sweep.current_pA[:-1]
        rows["voltage_mV"][:n, k] = sweep.voltage_mV[1:]
        rows["voltage_mV"][n:, k] = sweep.voltage_mV[-1]
        rows["valid"][:n, k] = 1.0
        rows["counted"][:n, k] = 1.0
        for row in np.asarray(begins) - 1:
            rows["spikes"][row, k] = 1.0
            if mask_ms is not None:
                rows["counted"][max(row - before, 0) : row + after + 1, k] = 0.0
    dtype = jnp.result_type(float)
    data: dict[str, Any] = {name: jnp.asarray(a, dtype) for name, a in rows.items()}
    data["fixed"] = {name: jnp.asarray(v, dtype) for name, v in fixed.items()}
    if initial == "recorded":
        first = max(1, round(1.0 / dt))
        data["start_mV"] = jnp.asarray([np.median(s.voltage_mV[:first]) for s in recordings], dtype)
    return data


def one_dt(recordings: Recordings) -> float:
    """The sampling interval of all sweeps. Raises `SchemaError` if they differ."""
    dt = recordings.sweeps[0].dt_ms
    odd = [f"{s.label}: {s.dt_ms:g} ms" for s in recordings if abs(s.dt_ms - dt) > 1e-9 * dt]
    if odd:
        raise SchemaError(
            f"Sweeps of one fit have to be sampled alike: {recordings.labels[0]} every {dt:g} ms, but "
            f"{offenders(odd)}. Use Recordings.resampled."
        )
    return dt


def checked_onsets(
    recordings: Recordings, onsets: Onsets | None, detection: SpikeDetection = DEFAULT_DETECTION
) -> tuple[np.ndarray, ...]:
    """The onsets of every sweep, sorted; detected where left out. Raises `SchemaError` for samples outside of a sweep
    or named twice."""
    if onsets is None:
        onsets = spike_onsets(recordings, detection)
    if len(onsets) != len(recordings):
        raise SchemaError(f"onsets are of {len(onsets)} sweeps, but there are {len(recordings)}.")
    found = []
    for sweep, given in zip(recordings, onsets, strict=True):
        samples = np.sort(np.asarray(given, dtype=np.int64).reshape(-1))
        wrong = samples[(samples < 1) | (samples >= sweep.n_samples)]
        if wrong.size or (np.diff(samples) == 0).any():
            raise SchemaError(
                f"Spikes of sweep {sweep.label!r} have to be samples from 1 to {sweep.n_samples - 1}, each once; found "
                f"{offenders(wrong.tolist() or samples[1:][np.diff(samples) == 0].tolist())}."
            )
        found.append(samples)
    return tuple(found)


def _loss(loss: CellLoss | str, model: str, n_spikes: int) -> CellLoss:
    if isinstance(loss, CellLoss):
        return loss
    if loss not in LOSS_NAMES:
        raise unknown_name("loss", loss, LOSS_NAMES, "cell_problem")
    if loss == "spikes":
        return SPIKES_AND_VOLTAGE
    forced = ForcedLikelihood(voltage=model not in OWN_VOLTAGE)
    if loss == "likelihood" or (loss == "auto" and n_spikes and forced.takes(model)):
        return forced
    return VoltageError()


def _check_spikes(recordings: Recordings, onsets: Onsets, cell: CellModel, loss: CellLoss) -> None:
    if not sum(len(k) for k in onsets):
        raise SettingError(
            f"No sweep to fit to has a spike ({offenders(recordings.labels)}), so that the loss ({loss.what}) has "
            'nothing to go by. Fit the voltage instead: loss="voltage", with the threshold fixed.'
        )
    t_ref = cell.fixed.get("t_ref_ms", 0.0)
    short = [
        f"{s.label}: {float(np.diff(k).min()) * s.dt_ms:g} ms"
        for s, k in zip(recordings, onsets, strict=True)
        if len(k) > 1 and np.diff(k).min() <= round(t_ref / s.dt_ms)
    ]
    if short:
        raise SettingError(
            f"The refractory period of {t_ref:g} ms is longer than intervals between recorded spikes, which the model "
            f"could never fire: {offenders(short)}. Give a shorter one, fixed={{'t_ref_ms': ...}}."
        )


def _part(recordings: Recordings, onsets: Onsets, labels: Sequence[str]) -> tuple[Recordings, tuple[np.ndarray, ...]]:
    chosen = [k for k, s in enumerate(recordings) if s.label in labels]
    return Recordings(tuple(recordings.sweeps[k] for k in chosen)), tuple(np.asarray(onsets[k]) for k in chosen)


def _without(given: Mapping[str, Any] | None, own: Mapping[str, Any]) -> dict[str, Any] | None:
    return None if given is None else {k: v for k, v in given.items() if k not in own}


def _free(names: Sequence[str], x: Array) -> dict[str, Array]:
    return {name: x[k] for k, name in enumerate(names)}


@dataclass(frozen=True)
class _Value:
    """The loss as a function of the free parameters and the data. Equal for equal models and losses, whatever the cell,
    so that a second cell finds the program compiled."""

    cell: CellModel = field(compare=False, repr=False)
    loss: CellLoss
    dt_ms: float
    neuron: NeuronModel
    names: tuple[str, ...]

    def squares(self, x: Array, data: Mapping[str, Any], strength: Array) -> tuple[Array, Array, Array]:
        """With a coupling to the recording: the loss, its gradient and its Gauss-Newton Hessian."""

        def values(x: Array) -> dict[str, Array]:
            return {**data["fixed"], **_free(self.names, x)}

        x = jnp.asarray(x, data["current_pA"].dtype)
        loss = cast(VoltageError, self.loss)  # other losses have no objective.squares
        return loss.squares(self.neuron, values, x, _coupled(data, strength), self.dt_ms)

    def __call__(self, x: Array, data: Mapping[str, Any]) -> Array:
        x = jnp.asarray(x, data["current_pA"].dtype)
        own = tuple(self.loss.parameters())
        free = _free((*self.names, *own), x)
        p = {**data["fixed"], **{k: free[k] for k in self.names}}
        return self.loss.value(self.cell, p, {k: free[k] for k in own}, data, self.dt_ms)


@dataclass(frozen=True)
class _Together:
    """The loss of many parameter vectors side by side, of a `ForcedLikelihood`; equal where the `_Value`s are."""

    value: _Value

    def __call__(self, x: Float[Array, "row k"], data: Mapping[str, Any]) -> Float[Array, " row"]:
        value, loss = self.value, cast(ForcedLikelihood, self.value.loss)
        x = jnp.asarray(x, data["current_pA"].dtype)
        own = tuple(loss.parameters())
        free = _free((*value.names, *own), x.T)
        p = {**data["fixed"], **{k: free[k] for k in value.names}}
        wide = {k: jnp.broadcast_to(jnp.asarray(v, x.dtype), x.shape[:1]) for k, v in p.items()}
        return loss.together(value.cell, wide, {k: free[k] for k in own}, data, value.dt_ms)


def _coupled(data: Mapping[str, Any], strength: Array) -> dict[str, Any]:
    """With a conductance towards the recorded voltage, where that counts."""
    return {**data, "pull_nS": strength * data["counted"], "towards_mV": data["voltage_mV"]}


def _first(data: Mapping[str, Any], share: Array) -> dict[str, Any]:
    """The first `share` of the time alone."""
    n_steps = data["valid"].shape[0]
    shown = (jnp.arange(n_steps) < share * n_steps).astype(data["valid"].dtype)[:, None]
    return {**data, "counted": data["counted"] * shown, "valid": data["valid"] * shown}


_run = jax.jit(
    lambda neuron, p, current, start, dt_ms, record: run_cell(
        neuron, p, current, dt_ms=dt_ms, start_mV=start, record=record
    ),
    static_argnames=("neuron", "dt_ms", "record"),
)
