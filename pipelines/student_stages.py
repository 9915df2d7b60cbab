"""What recordings of some neurons say about the others: a network with hidden parameters teaches another of its wiring.

After Beiran & Litwin-Kumar 2024 (bioRxiv 2024.02.22.581667): the wiring is known, gains and biases of the neurons are
hidden. Students see some neurons in some trials; they are scored on all others in trials of their own.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from jax import lax
from jaxtyping import Array, Float
from scipy.stats import spearmanr

from connectofit.builders import ModelSpec, build
from connectofit.connectome import Connectome, rewire
from connectofit.connectome.errors import SettingError
from connectofit.fit import Activity, ActivityLikelihood, Free, Parameters, Schedule, explained, fit_network
from connectofit.fit.activity_likelihood import SCHEDULE
from connectofit.pipelines.arrays import flatten_params, read_arrays, write_arrays
from connectofit.pipelines.stages import StageContext
from connectofit.pipelines.student_settings import StudentSettings, TeachSettings
from connectofit.sim import Network

STUDENT = "student"
_AT_ONCE = 16  # directions whose derivatives are worked out together


def load_case(folders: Any) -> tuple[Connectome, ModelSpec, Network]:
    """The connectome, the specification, and the network before anything is hidden."""
    graph = Connectome.read(folders["import"] / "connectome")
    spec = ModelSpec.load(folders["build"] / "spec.toml")
    return graph, spec, build(graph, spec)


def hidden_names(net: Network) -> tuple[str, str]:
    """The free parameters: gain and bias of the one population of rate units."""
    kinds = [p.model.kind for p in net.populations]
    if kinds != ["rate"] or len(net.populations[0].types) != net.n_neurons:
        raise SettingError(
            "Gains and biases of single neurons are hidden, which takes one rule of rate units with tie_by = "
            f'"id"; the specification makes populations of {", ".join(kinds)}.'
        )
    return f"{net.populations[0].name}.gain", f"{net.populations[0].name}.bias"


def teach(context: StageContext) -> None:
    """The network with hidden parameters, ``hidden.npz``, and its activity without noise, ``activity.npz``."""
    s: TeachSettings = context.settings
    graph, _, net = load_case(context.inputs)
    gain, _ = hidden_names(net)
    owner = gain.split(".")[0]
    rng = np.random.default_rng([s.seed, 0])
    n = net.n_neurons
    hidden = {
        "gain": np.asarray(net.params[owner]["gain"]) * np.exp(s.hidden_gain * rng.normal(size=n)),
        "bias": np.asarray(net.params[owner]["bias"]) + s.hidden_bias * rng.normal(size=n),
    }
    teacher = net.with_params({owner: {k: jnp.asarray(v) for k, v in hidden.items()}})
    chosen = set(graph.ids if s.stimulate is None else graph.select(s.stimulate).ids)
    driven = np.array([name in chosen for name in net.ids])
    n_trials = s.trials + s.test_trials
    inputs = currents(n_trials, driven, s)
    values = _run(teacher, inputs, s)
    write_arrays(context.out / "hidden.npz", hidden)
    write_arrays(
        context.out / "activity.npz",
        {
            "inputs": inputs.astype(np.float32),
            "values": values.astype(np.float32),
            "noise": s.noise * np.random.default_rng([s.seed, 2]).normal(size=values.shape).astype(np.float32),
            "driven": driven,
        },
    )
    spread = values[s.trials :].std(axis=(0, 1))
    told: dict[str, Any] = {
        "neurons": n,
        "driven": int(driven.sum()),
        "spread": np.percentile(spread, [5, 50, 95]).tolist(),
    }
    told["settings"] = s.model_dump()
    (context.out / "teacher.json").write_text(json.dumps(told), encoding="utf-8")


def currents(n_trials: int, driven: np.ndarray, s: TeachSettings) -> Float[np.ndarray, "trial step neuron"]:
    """Ornstein-Uhlenbeck currents into the driven neurons, stationary from the first step on."""
    n_steps = round(s.duration_ms / s.dt_ms)
    rng = np.random.default_rng([s.seed, 1])
    k = np.exp(-s.dt_ms / s.correlation_ms)
    white = rng.normal(size=(n_steps, n_trials, driven.size))
    found = np.empty_like(white)
    found[0] = white[0]
    for step in range(1, n_steps):
        found[step] = k * found[step - 1] + np.sqrt(1 - k**2) * white[step]
    return s.amplitude * found.transpose(1, 0, 2) * driven


def _run(net: Network, inputs: np.ndarray, s: TeachSettings) -> Float[np.ndarray, "trial sample neuron"]:
    everything = _likelihood(net, None, inputs, np.arange(net.n_neurons), s, forcing=False)
    every = everything.every
    return np.asarray(jax.jit(lambda net: everything.run(net))(net))[:, every - 1 :: every]


def _likelihood(
    net: Network,
    values: np.ndarray | None,
    inputs: np.ndarray,
    neurons: np.ndarray,
    s: TeachSettings,
    *,
    forcing: bool,
) -> ActivityLikelihood:
    """values: [trial, sample, neuron]; None where only the network's side is asked for."""
    if values is None:
        values = np.zeros((len(inputs), round(s.duration_ms / s.every_ms), neurons.size))
    activity = Activity(net.ids, neurons, values, "rate", s.every_ms, s.every_ms, tuple(range(len(inputs))))
    return ActivityLikelihood.from_activity(
        activity, inputs, dt_ms=s.dt_ms, sd=s.noise, forcings=SCHEDULE if forcing else ()
    )


@dataclass(frozen=True)
class Lesson:
    """One fit: which students, which share of the neurons, chosen by which seed."""

    control: str
    fraction: float
    seed: int

    @property
    def name(self) -> str:
        """Name of its file."""
        return f"{self.control}-{self.fraction:g}-{self.seed}"


def lessons(s: StudentSettings) -> list[Lesson]:
    """All fits that the settings ask for."""
    kinds = (STUDENT, *s.controls)
    return [Lesson(kind, f, seed) for seed in s.seeds for f in s.fractions for kind in kinds]


def study(context: StageContext) -> None:
    """All fits: scores of recorded and unrecorded neurons in test trials, parameters, and what recordings determine."""
    s: StudentSettings = context.settings
    bad = [f for f in s.fractions if not 0 < f < 1]
    if bad:
        raise SettingError(f"study.fractions are shares of the neurons, between 0 and 1; found {bad}.")
    text = (context.inputs["teach"] / "teacher.json").read_text(encoding="utf-8")
    told = TeachSettings.model_validate(json.loads(text)["settings"])
    folders = {name: Path(folder) for name, folder in context.inputs.items()}
    todo = [each for each in lessons(s) if not (context.work / f"{each.name}.parquet").exists()]
    with context.bar(len(lessons(s)), "fits", unit="fit") as bar:
        bar.update(len(lessons(s)) - len(todo))
        for each in todo:
            _one(each, s, told, folders, context.work)
            bar.update()
    parts = {each.name: context.work / f"{each.name}.parquet" for each in lessons(s)}
    neurons = pd.concat([pd.read_parquet(path) for path in parts.values()], ignore_index=True)
    neurons.to_parquet(context.out / "neurons.parquet", index=False)
    histories = [context.work / f"{name}.history.parquet" for name in parts]
    found = [pd.read_parquet(path) for path in histories if path.exists()]
    pd.concat(found, ignore_index=True).to_parquet(context.out / "history.parquet", index=False)
    summary(neurons).to_parquet(context.out / "scores.parquet", index=False)
    if s.directions:
        _directions(s, told, folders).to_parquet(context.out / "directions.parquet", index=False)
    else:
        pd.DataFrame({"fraction": [], "rank": [], "shrinkage": []}).to_parquet(
            context.out / "directions.parquet", index=False
        )
    first = next(each for each in lessons(s) if each.control == STUDENT)
    arrays = read_arrays(context.work / f"{first.name}.npz")
    write_arrays(context.out / "parameters.npz", arrays)


def recorded_neurons(n: int, fraction: float, seed: int) -> np.ndarray:
    """The recorded neurons: those of a smaller share are among those of a larger."""
    return np.sort(np.random.default_rng([seed, 3]).permutation(n)[: max(1, round(fraction * n))])


def _one(each: Lesson, s: StudentSettings, told: TeachSettings, folders: dict[str, Path], work: Path) -> None:
    graph, spec, net = load_case(folders)
    data = read_arrays(folders["teach"] / "activity.npz")
    hidden = read_arrays(folders["teach"] / "hidden.npz")
    neurons = recorded_neurons(net.n_neurons, each.fraction, each.seed)
    student = student_network(each.control, graph, spec, net, each.seed)
    inputs, measured = data["inputs"][: told.trials], (data["values"] + data["noise"])[: told.trials, :, neurons]
    if each.control != "unfitted":
        objective = _likelihood(net, measured, inputs, neurons, told, forcing=s.forcing)
        fit = fit_network(
            student,
            {"activity": objective},
            free=free_parameters(student, told),
            seed=each.seed,
            starts=1,
            schedule=Schedule(s.steps, s.learning_rate, s.steps, max(s.steps // 20, 1)),
        )
        student = fit.network
        fit.history.assign(control=each.control, fraction=each.fraction, seed=each.seed).to_parquet(
            work / f"{each.name}.history.parquet", index=False
        )
    test = data["inputs"][told.trials :], data["values"][told.trials :]
    predicted = _run(student, test[0], told)
    share = _explained(test[1], predicted)
    owner = hidden_names(net)[0].split(".")[0]
    table = pd.DataFrame(
        {
            "neuron": [str(name) for name in net.ids],
            "recorded": np.isin(np.arange(net.n_neurons), neurons),
            "driven": data["driven"],
            "explained": share,
            **{f"{k}_teacher": hidden[k] for k in ("gain", "bias")},
            **{f"{k}_student": np.asarray(student.params[owner][k]) for k in ("gain", "bias")},
        }
    ).assign(control=each.control, fraction=each.fraction, seed=each.seed)
    if each.control == STUDENT:
        write_arrays(work / f"{each.name}.npz", flatten_params(student.params))
    table.to_parquet(work / f"{each.name}.part", index=False)
    (work / f"{each.name}.part").rename(work / f"{each.name}.parquet")  # the last: what is there is whole


def student_network(control: str, graph: Connectome, spec: ModelSpec, net: Network, seed: int) -> Network:
    """The network before its fit: gains and biases as in the specification. Neurons are the same in all controls."""
    if control == "rewired":
        rewired, _ = rewire(graph, seed)
        return build(rewired, spec)
    if control == "unwired":
        names = {p.name for p in net.populations}
        return Network(net.populations, (), {k: v for k, v in net.params.items() if k in names})
    return net


def free_parameters(net: Network, told: TeachSettings) -> Parameters:
    """Gains and biases, with the priors that the teacher's were drawn from."""
    gain, bias = hidden_names(net)
    small = 1e-3  # what the neurons share: hidden parameters are drawn around those of the specification
    return Parameters(
        (
            Free(gain, small, max(told.hidden_gain, small), 0.0, "scale"),
            Free(bias, small, max(told.hidden_bias, small), 0.0, "add"),
        )
    )


def _explained(values: np.ndarray, predicted: np.ndarray) -> Float[np.ndarray, "neuron"]:
    n_trials, _, n = values.shape
    neuron = np.tile(np.arange(n), n_trials)
    rows = [a.transpose(0, 2, 1).reshape(n_trials * n, -1) for a in (values, predicted)]
    return explained(rows[0], rows[1], neuron)[1]


def summary(neurons: pd.DataFrame) -> pd.DataFrame:
    """For each fit and group of neurons: median and mean of the explained variance (no worse than -1 in the mean, so
    that a single neuron cannot decide it), and the rank correlation of hidden and fitted parameters."""
    rows = []
    for (control, fraction, seed), part in neurons.groupby(["control", "fraction", "seed"], sort=False):
        for recorded, own in part.groupby("recorded"):
            known = own["explained"].dropna()
            row: dict[str, Any] = {
                "control": control,
                "fraction": fraction,
                "seed": seed,
                "neurons": "recorded" if recorded else "unrecorded",
                "n": len(own),
                "median": float(known.median()),
                "mean": float(known.clip(lower=-1.0).mean()),
                "above_half": float((known > 0.5).mean()),
            }
            for k in ("gain", "bias"):
                a, b = own[f"{k}_teacher"], own[f"{k}_student"]
                row[f"{k}_correlation"] = float(spearmanr(a, b).statistic) if b.nunique() > 2 and len(b) > 2 else np.nan
            rows.append(row)
    return pd.DataFrame(rows)


def _directions(s: StudentSettings, told: TeachSettings, folders: dict[str, Path]) -> pd.DataFrame:
    """Eigenvalues of the Fisher information at the hidden parameters, in units of the prior, for every fraction: the
    posterior's variance along a direction is 1 / (1 + eigenvalue) of the prior's."""
    _, _, net = load_case(folders)
    data = read_arrays(folders["teach"] / "activity.npz")
    hidden = read_arrays(folders["teach"] / "hidden.npz")
    owner = hidden_names(net)[0].split(".")[0]
    rows = []
    for fraction in s.fractions:
        neurons = recorded_neurons(net.n_neurons, fraction, s.seeds[0])
        inputs = data["inputs"][: told.trials]
        objective = _likelihood(net, None, inputs, neurons, told, forcing=False)
        fisher = fisher_information(net, objective, hidden, owner, told)
        values = np.linalg.eigvalsh(fisher)[::-1]
        for rank, value in enumerate(np.maximum(values, 0.0)):
            rows.append({"fraction": fraction, "rank": rank + 1, "shrinkage": 1.0 / (1.0 + value)})
    return pd.DataFrame(rows)


def fisher_information(
    net: Network, objective: ActivityLikelihood, hidden: dict[str, np.ndarray], owner: str, told: TeachSettings
) -> Float[np.ndarray, "parameter parameter"]:
    """J^T J / noise^2 by (log gain, bias) in units of their prior's standard deviations, of all neurons."""
    n = net.n_neurons
    gain, bias = jnp.asarray(hidden["gain"]), jnp.asarray(hidden["bias"])

    def predict(z: Array) -> Array:
        params = {"gain": gain * jnp.exp(told.hidden_gain * z[:n]), "bias": bias + told.hidden_bias * z[n:]}
        return objective.predict(net.with_params({owner: params}), {}).ravel() / told.noise

    zero = jnp.zeros(2 * n)

    @jax.jit
    def columns(directions: Array) -> Array:
        return lax.map(lambda v: jax.jvp(predict, (zero,), (v,))[1], directions)

    unit = np.eye(2 * n, dtype=np.float32)
    jacobian = np.concatenate(
        [np.asarray(columns(jnp.asarray(unit[k : k + _AT_ONCE]))) for k in range(0, 2 * n, _AT_ONCE)]
    )
    return np.asarray(jacobian @ jacobian.T, float)
