"""The stages of recipes that train networks on a task: wiring, task, and training with its controls.

Every training, of one seed of the model or of a control, is kept in the stage's work folder when it is done, and goes
on from its own checkpoint where it was killed. Test trials are drawn by the final scoring alone.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pyarrow as pa
from scipy.stats import binomtest

from connectofit.builders import task_network
from connectofit.connectome import Connectome, ValidationReport, read_connectome, rewire
from connectofit.connectome.errors import MissingFileError, SettingError, unknown_name
from connectofit.connectome.nulls import shuffle_signs
from connectofit.connectome.synthetic import distance_rule, erdos_renyi
from connectofit.fit.tasks import GroupedTask
from connectofit.fit.train import (
    Lesson,
    Penalties,
    TrainResult,
    TrainSchedule,
    delay_curriculum,
    evaluate_task,
    train_task,
)
from connectofit.fit.train.streams import stream_key
from connectofit.pipelines.arrays import flatten_params, nest_params, read_arrays, write_arrays
from connectofit.pipelines.stages import StageContext
from connectofit.pipelines.task_settings import TASKS, LearningSettings, TaskSettings, TrainSettings, WiringSettings
from connectofit.sim import Network, rollout

MODEL = "model"
"""What the trained network is called among its controls."""
SHOWN = 4  # trials whose activity is kept


def wiring_files(settings: WiringSettings) -> dict[str, Path]:
    """The tables that the stage `wiring` reads."""
    given = {"edges": settings.edges, "neurons": settings.neuron_table}
    return {name: path for name, path in given.items() if path is not None}


def make_wiring(context: StageContext) -> None:
    """The graph whose edges and signs constrain the network, as ``connectome/``, and what reading it found."""
    s: WiringSettings = context.settings
    report = ValidationReport((), {}, {})
    if s.source == "random":
        graph = erdos_renyi(s.neurons, seed=s.seed, probability=s.density, inhibitory=s.inhibitory)
    elif s.source == "distance":
        graph = distance_rule(s.neurons, seed=s.seed, density=s.density, inhibitory=s.inhibitory)
    else:
        if s.edges is None:
            raise MissingFileError('wiring.source is "tables", so wiring.edges has to name the table of edges.')
        graph, report = read_connectome(s.edges, s.neuron_table, preset=s.preset or "auto")
    if s.random_types is not None:
        drawn = np.random.default_rng([s.seed, 1]).integers(s.random_types, size=graph.n_neurons)
        types = pa.array([f"type {k}" for k in drawn.tolist()])
        graph = replace(graph, neurons=graph.neurons.append_column("random_type", types))
    graph.write(context.out / "connectome")
    (context.out / "validation.json").write_text(report.to_json(), encoding="utf-8")


def make_task(context: StageContext) -> None:
    """The task's settings, a table of example trials, and the inputs of the first."""
    s: TaskSettings = context.settings
    task = task_of(s.kind, s.settings)
    trials = task.trials(jax.random.key(s.seed), s.examples)
    table = trials.table()
    table.to_parquet(context.out / "trials.parquet")
    write_arrays(
        context.out / "example.npz", {"inputs": np.asarray(trials.inputs[0]), "mask": np.asarray(trials.mask[0])}
    )
    text = json.dumps({"kind": s.kind, "settings": asdict(task), "periods": dict(task.periods), "groups": task.groups})
    (context.out / "task.json").write_text(text, encoding="utf-8")


def task_of(kind: str, settings: dict[str, Any]) -> GroupedTask:
    """The task of that name. Raises `UnknownNameError` for a setting that it does not have."""
    cls = TASKS[kind]
    for name in settings:
        if name not in cls.__dataclass_fields__:
            raise unknown_name("setting", name, cls.__dataclass_fields__, f"the task {kind!r}")
    return cls(**{name: _as_tuple(value) for name, value in settings.items()})


def load_task(folder: Path) -> GroupedTask:
    """The task that the stage `task` described."""
    told = json.loads((folder / "task.json").read_text(encoding="utf-8"))
    return task_of(told["kind"], told["settings"])


def _as_tuple(value: Any) -> Any:
    return tuple(_as_tuple(item) for item in value) if isinstance(value, list | tuple) else value


@dataclass(frozen=True)
class Training:
    """One training: of the model or of a control, with a seed."""

    control: str
    seed: int

    @property
    def name(self) -> str:
        """Name of the training's folder."""
        return f"{self.control}-{self.seed}"


def trainings(s: TrainSettings) -> list[Training]:
    """All that the settings ask for, the model's first."""
    found = [Training(MODEL, seed) for seed in s.seeds]
    return found + [Training(control, seed) for control in s.controls for seed in s.control_seeds]


def train(context: StageContext) -> None:
    """All trainings; see the module. Writes tables of test trials, scores, histories and weights, the parameters of the
    first seed and its activity before and after."""
    s: TrainSettings = context.settings
    if not s.seeds:
        raise SettingError("train.seeds is empty: name the seeds to train.")
    graph = Connectome.read(context.inputs["wiring"] / "connectome")
    task = load_task(context.inputs["task"])
    todo = trainings(s)
    with context.bar(len(todo) * s.steps, "training", "step") as bar:
        for training in todo:
            _train_one(training, s, graph, task, context.work / training.name, bar.update)
    tables = {
        name: pd.concat([pd.read_parquet(context.work / t.name / f"{name}.parquet") for t in todo], ignore_index=True)
        for name in ("trials", "history", "weights", "ends")
    }
    tables["scores"] = _scores(tables["trials"])
    for name, table in tables.items():
        table.to_parquet(context.out / f"{name}.parquet", index=False)
    first = todo[0]
    arrays = read_arrays(context.work / first.name / "parameters.npz")
    write_arrays(context.out / "parameters.npz", arrays)
    shutil.copy(context.work / first.name / "readout.json", context.out / "readout.json")
    before = network_of(first, s, graph, task)
    after = before.with_params(nest_params(arrays))
    activity = {
        f"{when}_{name}": value
        for when, net in (("before", before), ("after", after))
        for name, value in shown_activity(net, task, first.seed).items()
    }
    write_arrays(context.out / "activity.npz", activity)


def network_of(training: Training, s: TrainSettings, graph: Connectome, task: GroupedTask) -> Network:
    """The network before training. Controls have the same neurons, with edges rewired or signs shuffled by the seed."""
    if training.control == "rewired":
        graph, _ = rewire(graph, training.seed)
    elif training.control == "signs":
        graph, _ = shuffle_signs(graph, training.seed, over="edges")
    rule = "edge" if training.control == "signs" else s.sign_rule
    net = task_network(
        graph,
        task.input_types,
        seed=training.seed,
        level=s.level,
        types=s.types,
        weights=s.weights,
        sign_rule=rule,
        unknown_sign=s.unknown_sign,
        input_to=s.input_to,
        neuron=s.neuron,
        tau_syn_ms=s.tau_syn_ms,
    )
    if training.control != "unwired":
        return net
    fed = tuple(p for p in net.projections if p.pre == "input")
    owners = {p.name for p in net.populations} | {p.name for p in fed}
    return Network(net.populations, fed, {name: values for name, values in net.params.items() if name in owners})


def _train_one(
    training: Training,
    s: TrainSettings,
    graph: Connectome,
    task: GroupedTask,
    folder: Path,
    update: Callable[[int], object],
) -> None:
    if (folder / "done").exists():
        update(s.steps)
        return
    folder.mkdir(parents=True, exist_ok=True)
    net = network_of(training, s, graph, task)
    result = trained(training, s, net, task, folder, update)
    label: dict[str, Any] = {"control": training.control, "seed": training.seed}
    tested = evaluate_task(result, n_trials=s.test_trials)
    tables = {
        "trials": tested.trials.drop(columns="seed").assign(**label),
        "history": result.history.drop(columns="seed").assign(**label),
        "weights": weight_table(net, result.network).assign(**label),
        "ends": result.seeds.drop(columns="seed").assign(**label),
    }
    for name, table in tables.items():
        table.to_parquet(folder / f"{name}.parquet", index=False)
    write_arrays(folder / "parameters.npz", flatten_params(result.network.params))
    (folder / "readout.json").write_text(json.dumps(result.readout.to_dict()), encoding="utf-8")
    (folder / "done").touch()


def trained(
    training: Training,
    s: LearningSettings,
    net: Network,
    task: GroupedTask,
    folder: Path,
    update: Callable[[int], object],
    lessons: tuple[Lesson, ...] = (),
) -> TrainResult:
    """A training as the settings say, after whose lessons with other delays come `lessons`; what is free of a control
    is what its name says. It goes on from its checkpoint in the folder."""
    free = {"input_readout": ("input", "readout"), "readout": ("readout",), "unwired": _unwired(s.free)}
    return train_task(
        net,
        task,
        rule=s.rule,
        free=free.get(training.control, s.free),
        seed=training.seed,
        schedule=TrainSchedule(
            steps=s.steps,
            batch=s.batch,
            learning_rate=s.learning_rate,
            warmup=s.warmup,
            decay=s.decay,
            clip=s.clip,
            interval=s.interval,
            validation=s.validation,
            patience=s.patience,
            goal=s.goal,
            judged_by=s.judged_by,
        ),
        penalties=Penalties(rate=s.rate_penalty, rate_Hz=s.rate_Hz, shrinkage=s.shrinkage),
        curriculum=(
            *delay_curriculum(task, s.delays_ms, steps=s.lesson_steps, accuracy=s.lesson_accuracy),
            *lessons,
        ),
        checkpoint=folder / "checkpoint.npz",
        progress=update,
    )


def _unwired(free: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(group for group in free if group != "recurrent")


def accuracy_of(trials: pd.DataFrame) -> tuple[float, float, float, int]:
    """Accuracy, the ends of its 95 % interval (Wilson 1927, J Am Stat Assoc 22:209), and the number of trials."""
    right, n = int(trials["correct"].sum()), len(trials)
    interval = binomtest(right, n).proportion_ci(0.95, method="wilson")
    return right / n, float(interval.low), float(interval.high), n


def _scores(trials: pd.DataFrame) -> pd.DataFrame:
    """Accuracy of every training on its test trials."""
    rows = [
        (control, seed, *accuracy_of(part), float(part["loss"].mean()))
        for (control, seed), part in trials.groupby(["control", "seed"], sort=False)
    ]
    return pd.DataFrame(rows, columns=["control", "seed", "accuracy", "low", "high", "trials", "loss"])


def weight_table(before: Network, after: Network) -> pd.DataFrame:
    """The recurrent weights, an edge a row: projection, before and after training; those of synapses whose reversal
    potential is below rest are negative."""
    parts = []
    for old, new in zip(before.projections, after.projections, strict=True):
        if old.pre == "input":
            continue
        sign = 1.0 if float(before.params[old.name]["e_rev_mV"][0]) > 0 else -1.0
        values = [
            sign * np.asarray(p.weight(jnp.asarray(net.params[p.name]["log_gain"])))
            for p, net in ((old, before), (new, after))
        ]
        parts.append(pd.DataFrame({"projection": old.name, "before": values[0], "after": values[1]}))
    if not parts:
        return pd.DataFrame({"projection": pd.Series(dtype=str), "before": np.zeros(0), "after": np.zeros(0)})
    return pd.concat(parts, ignore_index=True)


def shown_activity(net: Network, task: GroupedTask, seed: int) -> dict[str, np.ndarray]:
    """Spikes of a few trials, which are no test trials: {population: [trial, time, neuron]}, also of the inputs."""
    trials = task.trials(stream_key(seed, "validation", 0), SHOWN)
    spikes = _spikes(net, trials.inputs, task.dt_ms)
    return {"inputs": np.asarray(trials.inputs) > 0, **{name: np.asarray(value) for name, value in spikes.items()}}


@partial(jax.jit, static_argnames="dt_ms")
def _spikes(net: Network, inputs: jax.Array, dt_ms: float) -> dict[str, jax.Array]:
    record = {p.name: ("spikes",) for p in net.populations if p.name != "input"}

    def one(inputs: jax.Array) -> dict[str, jax.Array]:
        _, out = rollout(net, None, {}, dt_ms=dt_ms, forced={"input": inputs}, record=record, n_steps=inputs.shape[0])
        return {name: variables["spikes"] > 0 for name, variables in out.items()}

    return jax.lax.map(one, inputs)
