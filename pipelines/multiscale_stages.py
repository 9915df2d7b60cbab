"""The stages that join the scales: cells fitted to recordings, networks of them on a graph, a task, an animal.

Each network ("variant") goes all the way: the model, the same with unfitted cells, the same with rewired wiring.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pyarrow as pa
from jaxtyping import Array, Float

from connectofit.builders import Cell, ModelSpec, build, rheobase_nS, serialise, spec_of, with_inputs
from connectofit.builders.task_wiring import signed_wiring
from connectofit.connectome import Connectome, rewire
from connectofit.connectome.errors import SettingError, unknown_name
from connectofit.fit import Recordings, fit_cell, isi_cv, read_recordings
from connectofit.fit.behaviour import observed_task
from connectofit.fit.cells.simulation import run_cell
from connectofit.fit.optimisers import Budget
from connectofit.fit.tasks import GroupedTask, ObservedComparison
from connectofit.fit.train import Lesson, Readout, TrainResult, evaluate_network, evaluate_task
from connectofit.pipelines.arrays import flatten_params, nest_params, read_arrays, write_arrays
from connectofit.pipelines.bundle import Model
from connectofit.pipelines.cell_stages import RECORDINGS, SUGGESTED
from connectofit.pipelines.choices_stages import CHOICES, chance_table, read_part, score
from connectofit.pipelines.export import export
from connectofit.pipelines.multiscale_settings import (
    CellsSettings,
    ChoicesSettings,
    EvidenceSettings,
    NetworkSettings,
    TrainedSettings,
)
from connectofit.pipelines.stages import StageContext
from connectofit.pipelines.task_export import load_trained
from connectofit.pipelines.task_stages import MODEL, Training, accuracy_of, shown_activity, task_of, trained
from connectofit.sim import NEURON_MODELS, Network, Population, rollout

TYPES = ("E", "I")
ENOUGH_SPIKES = 5  # of a neuron, for a coefficient of variation
RELOADED = 64  # trials in which the bundle has to choose as the network did


def fit_types(context: StageContext) -> None:
    """A cell for each type of neurons, ``cells/E.toml`` and ``cells/I.toml``, the same unfitted, the fits' scores, and
    how often each fires in every sweep at the network's time step."""
    s: CellsSettings = context.settings
    recordings, _ = read_recordings(context.inputs["import"] / RECORDINGS)
    hold_out = s.hold_out
    if hold_out is None:
        hold_out = tuple(json.loads((context.inputs["import"] / SUGGESTED).read_text(encoding="utf-8")))
    for label in hold_out:
        if label not in recordings.labels:
            raise unknown_name("sweep", label, recordings.labels, where="cells.hold_out")
    chosen = {"E": recordings.cell(s.excitatory), "I": recordings.cell(s.inhibitory)}
    scores, counts, ends = [], [], []
    with context.bar(len(TYPES), "cells", unit="fit") as bar:
        for name, own in chosen.items():
            held = [label for label in hold_out if label in own.labels]
            fit = fit_cell(
                own,
                s.model,
                hold_out=held,
                loss=s.loss,
                method=s.method,
                free=s.free,
                fixed=s.fixed or None,
                bounds=s.bounds or None,
                start=s.start or None,
                starts=s.starts,
                budget=Budget(simulated_s=s.simulated_s),
                uncertainty=None,
                checkpoint_dir=context.work / name,
                seed=s.seed,
            )
            fitted = fit.as_cell(name)
            fitted.dump(context.out / "cells")
            unfitted = Cell(
                f"{name}_unfitted", s.model, {k: p.default for k, p in NEURON_MODELS[s.model].parameters.items()}
            )
            unfitted.dump(context.out / "cells")
            scores.append(fit.scores.assign(type=name, cell=fit.cell))
            columns = {
                "fitted": _counts(fitted, own, s.network_dt_ms),
                "unfitted": _counts(unfitted, own, s.network_dt_ms),
            }
            for k, sweep in enumerate(own):
                on = fit.traces[sweep.label].recorded
                counts.append(
                    {
                        "type": name,
                        "cell": sweep.cell,
                        "sweep": sweep.name,
                        "step_pA": sweep.step_pA,
                        "held_out": sweep.label in held,
                        "seconds": 1e-3 * (sweep.offset_ms - sweep.onset_ms),
                        "recorded": int(((on >= sweep.onset_ms) & (on < sweep.offset_ms)).sum()),
                        **{which: int(n[k]) for which, n in columns.items()},
                    }
                )
            ends.append(
                {
                    "type": name,
                    "cell": fit.cell,
                    "loss": fit.search.loss,
                    "method": fit.search.method,
                    "wall_s": fit.search.wall_s,
                    "free": len(fit.problem.names),
                }
            )
            bar.update()
    pd.concat(scores, ignore_index=True).to_parquet(context.out / "scores.parquet", index=False)
    pd.DataFrame(counts).to_parquet(context.out / "counts.parquet", index=False)
    pd.DataFrame(ends).to_parquet(context.out / "ends.parquet", index=False)


def _counts(cell: Cell, recordings: Recordings, dt_ms: float) -> np.ndarray:
    """Spikes of a cell in every sweep while the stimulus is on, run freely at another time step."""
    neuron = serialise.with_settings(NEURON_MODELS[cell.model], cell.settings, f"cell {cell.name!r}")
    found = []
    for sweep in recordings.resampled(dt_ms):
        p = {k: jnp.asarray(v, jnp.float32) for k, v in cell.params.items()}
        start = jnp.asarray([np.median(sweep.voltage_mV[: max(1, round(1.0 / dt_ms))])], jnp.float32)
        current = jnp.asarray(sweep.current_pA[:-1, None], jnp.float32)
        out = _run(neuron, p, current, start, dt_ms=dt_ms)
        found.append(int(np.asarray(out["spikes"])[sweep.during[1:], 0].sum()))
    return np.array(found)


_run = jax.jit(
    lambda neuron, p, current, start, dt_ms: run_cell(
        neuron, p, current, dt_ms=dt_ms, start_mV=start, record=("spikes",)
    ),
    static_argnames=("neuron", "dt_ms"),
)


def make_networks(context: StageContext) -> None:
    """Every variant as a folder of its own: ``connectome/``, ``cells/`` and the specification ``model.toml``, which
    takes the cells by name; and what the networks do by themselves, ``spontaneous.parquet``."""
    s: NetworkSettings = context.settings
    graph = _with_types(Connectome.read(context.inputs["wiring"] / "connectome"))
    rows: list[dict[str, Any]] = []
    shown: dict[str, np.ndarray] = {}
    for name in (MODEL, *s.variants):
        folder = context.out / name
        own = rewire(graph, s.seed)[0] if name == "rewired" else graph
        own.write(folder / "connectome")
        cells = {}
        for each in TYPES:
            cell = Cell.load(
                context.inputs["cells"] / "cells" / f"{each}{'_unfitted' if name == 'unfitted' else ''}.toml"
            )
            cells[each] = replace(cell, name=each)
            cells[each].dump(folder / "cells")
        serialise.write_toml(_specification(own, cells, s), folder / "model.toml")
        labels = ["noise"] * s.noise_inputs + ["silent"] * (s.inputs - s.noise_inputs)
        found, spikes = spontaneous(with_inputs(network_of_variant(context.out, name)[1], labels, seed=s.seed), s)
        rows += [{"variant": name, **row} for row in found]
        shown |= {f"{name}_{population}": value for population, value in spikes.items()}
    pd.DataFrame(rows).to_parquet(context.out / "spontaneous.parquet", index=False)
    write_arrays(context.out / "spontaneous.npz", shown)


def _with_types(graph: Connectome) -> Connectome:
    """With a column "ei" of the neurons: "E" for those whose edges excite, "I" for the others."""
    excites = signed_wiring(graph).excites
    return replace(graph, neurons=graph.neurons.append_column("ei", pa.array(np.where(excites, "E", "I").tolist())))


def _specification(graph: Connectome, cells: dict[str, Cell], s: NetworkSettings) -> dict[str, Any]:
    """The `ModelSpec` as its file has it: a neuron rule for each cell, an edge rule for each sign and target."""
    n_in = {sign: max(float((graph.sign == sign).sum()) / graph.n_neurons, 1e-9) for sign in (1, -1)}
    kinds = {
        1: ("excitation", s.e_rev_e_mV, s.drive_e, s.tau_e_ms),
        -1: ("inhibition", s.e_rev_i_mV, s.drive_i, s.tau_i_ms),
    }
    neurons, edges = [], []
    for name in TYPES:
        cell, p = cells[name], cells[name].params
        alone = Population(name, NEURON_MODELS[cell.model](), (name,), np.zeros(1, np.int32), (name,))
        params = {k: np.full(1, v) for k, v in p.items()}
        rheobase_pA = float(rheobase_nS(alone, params, s.e_rev_e_mV)[0]) * abs(s.e_rev_e_mV - p["v_rest_mV"])
        threshold = p["theta_inf_mV" if cell.model == "gif" else "v_threshold_mV"]
        surrogate = {"kind": "relu", "width_mV": threshold - p["v_rest_mV"], "scale": s.surrogate_scale}
        neurons.append(
            {
                "name": name,
                "cell": name,
                "where": f"ei == '{name}'",
                "tie_by": "id",
                "params": {"i_bias_pA": s.bias * rheobase_pA},
                "settings": {"surrogate": surrogate},
            }
        )
        for sign, (kind, e_rev, drive, tau) in kinds.items():
            unit = float(rheobase_nS(alone, params, e_rev)[0])
            edges.append(
                {
                    "name": f"{kind}_of_{name}",
                    "synapse": "exponential_conductance",
                    "where": f"sign == {sign} and post.ei == '{name}'",
                    "gain": drive * unit * float(np.sqrt(2.0 / np.pi / n_in[sign])),
                    "tie_by": ["pre.id", "post.id"],
                    "delay_ms": s.delay_ms,
                    "params": {"tau_syn_ms": tau, "e_rev_mV": e_rev},
                }
            )
    return {"name": "multiscale", "description": "Fitted cells on a graph", "neurons": neurons, "edges": edges}


def network_of_variant(folder: Path, name: str) -> tuple[Connectome, Network]:
    """The graph of a variant and the network that its specification makes of it."""
    graph = Connectome.read(folder / name / "connectome")
    return graph, build(graph, ModelSpec.load(folder / name / "model.toml"))


def variants_in(folder: Path) -> list[str]:
    """The variants that the stage `network` made, the model first."""
    return list(pd.read_parquet(folder / "spontaneous.parquet")["variant"].unique())


def spontaneous(
    net: Network, s: NetworkSettings, dt_ms: float = 1.0
) -> tuple[list[dict[str, Any]], dict[str, np.ndarray]]:
    """What a network does when nothing but noise comes in: for each population the rate [Hz], the share that is silent,
    the coefficient of variation of the intervals, and the mean currents of its excitatory and inhibitory synapses at
    the mean voltage [pA]; and spikes of the last second [time, neuron]."""
    settle, n_steps = round(s.settle_ms / dt_ms), round((s.settle_ms + s.spontaneous_ms) / dt_ms)
    rates_Hz = jnp.where(jnp.arange(net.population("input").size) < s.noise_inputs, s.noise_Hz, 0.0)
    noise = jax.random.bernoulli(jax.random.key(s.seed), rates_Hz * dt_ms * 1e-3, (n_steps, rates_Hz.size))
    out = _freely(net, noise.astype(jnp.float32), dt_ms=dt_ms)
    rows: list[dict[str, Any]] = []
    shown: dict[str, np.ndarray] = {}
    rate = {"input": np.asarray(noise)[settle:].mean(0) * 1e3 / dt_ms}
    for name, variables in out.items():
        spikes = np.asarray(variables["spikes"])[settle:] > 0
        rate[name] = spikes.mean(0) * 1e3 / dt_ms
        shown[name] = spikes[-round(1000.0 / dt_ms) :]
    for population in net.populations:
        if population.name == "input":
            continue
        spikes = np.asarray(out[population.name]["spikes"])[settle:] > 0
        times = [np.flatnonzero(train) * dt_ms for train in spikes.T]
        cvs = [isi_cv(t, ignore_first=False) for t in times if len(t) >= ENOUGH_SPIKES]
        voltage = float(np.asarray(out[population.name]["v_mV"])[settle:].mean())
        currents = {1: 0.0, -1: 0.0}
        for wire in net.projections:
            if wire.post == population.name:
                p = net.params[wire.name]
                weight = np.asarray(wire.weight(jnp.asarray(p["log_gain"])), np.float64)
                # Each spike opens w for tau ms: a mean conductance of w tau rate.
                pre = np.repeat(np.arange(np.diff(wire.indptr).size), np.diff(wire.indptr))
                open_nS = (
                    float((weight * rate[wire.pre][pre]).sum()) * float(p["tau_syn_ms"][0]) * 1e-3 / population.size
                )
                current = open_nS * (float(p["e_rev_mV"][0]) - voltage)
                currents[1 if current > 0 else -1] += current
        rows.append(
            {
                "population": population.name,
                "rate_Hz": float(rate[population.name].mean()),
                "silent": float((rate[population.name] == 0).mean()),
                "isi_cv": float(np.mean(cvs)) if cvs else float("nan"),
                "counted": len(cvs),
                "excitation_pA": currents[1],
                "inhibition_pA": currents[-1],
                "voltage_mV": voltage,
            }
        )
    return rows, shown


@partial(jax.jit, static_argnames="dt_ms")
def _freely(net: Network, inputs: Float[Array, "time input"], dt_ms: float) -> dict[str, dict[str, Array]]:
    record = {p.name: ("spikes", "v_mV") for p in net.populations if p.name != "input"}
    _, out = rollout(net, None, {}, dt_ms=dt_ms, forced={"input": inputs}, record=record, n_steps=inputs.shape[0])
    return out


def learn_evidence(context: StageContext) -> None:
    """Every variant trained on evidence accumulation: its parameters, test trials, history and activity."""
    s: EvidenceSettings = context.settings
    task = task_of("evidence", s.task)
    folder = context.inputs["network"]

    def tables(name: str, result: TrainResult) -> dict[str, pd.DataFrame]:
        tested = evaluate_task(result, n_trials=s.test_trials)
        return {"trials": tested.trials.drop(columns="seed").assign(variant=name)}

    _learn(context, s, task, lambda name: _fed(network_of_variant(folder, name)[1], task, s), tables)
    trials = pd.read_parquet(context.out / "trials.parquet")
    rows = [(name, *accuracy_of(part)) for name, part in trials.groupby("variant", sort=False)]
    columns = ["variant", "accuracy", "low", "high", "trials"]
    pd.DataFrame(rows, columns=columns).to_parquet(context.out / "accuracy.parquet", index=False)


def learn_choices(context: StageContext) -> None:
    """Every variant, with what it learnt before, trained on the animal's choices in the training sessions. The inputs
    are those of the animal's task, new to it, and so is the readout."""
    s: ChoicesSettings = context.settings
    pairs = pd.read_parquet(context.inputs["trials"] / "pairs.parquet")
    task = animals_task(s, context.inputs["trials"])

    def tables(name: str, result: TrainResult) -> dict[str, pd.DataFrame]:
        # The stage `score` knows the network that learns choices by that name.
        control = CHOICES if name == MODEL else name
        return {"chances": chance_table(result, task, pairs, each=s.each, seed=s.seed).assign(control=control, seed=0)}

    right = animals_task(s, context.inputs["trials"], "answer")
    lessons = (Lesson(right, s.answer_steps, s.answer_accuracy),) if s.answer_steps else ()
    _learn(context, s, task, lambda name: _experienced(context, name, task, s), tables, lessons)


def animals_task(s: ChoicesSettings, folder: Path, goal: Literal["choice", "answer"] = "choice") -> ObservedComparison:
    """The animal's task, with its choices in the training sessions as answers, or with the right ones."""
    trials, stimuli = read_part(folder, "training")
    settings = {name: tuple(v) if isinstance(v, list) else v for name, v in s.task.items()}
    return observed_task(trials, stimuli=stimuli, past=s.past, goal=goal, **settings)


def _experienced(context: StageContext, name: str, task: GroupedTask, s: ChoicesSettings) -> Network:
    """A variant with what it learnt of its recurrent synapses on evidence, and inputs for the animal's task."""
    net = network_of_variant(context.inputs["network"], name)[1]
    learnt = nest_params(read_arrays(context.inputs["evidence"] / name / "parameters.npz"))
    return _fed(net.with_params({owner: learnt[owner] for owner in net.params}), task, s)


def _fed(net: Network, task: GroupedTask, s: TrainedSettings) -> Network:
    return with_inputs(net, task.input_types, seed=s.seed, drive=s.input_drive, tau_syn_ms=s.input_tau_ms)


def _learn(
    context: StageContext,
    s: TrainedSettings,
    task: GroupedTask,
    begin: Callable[[str], Network],
    tables: Callable[[str, TrainResult], Mapping[str, pd.DataFrame]],
    lessons: tuple[Lesson, ...] = (),
) -> None:
    """Train every variant from where it begins. Writes ``NAME/parameters.npz`` and ``readout.json``, the tables that
    `tables` makes of all, ``history``, ``ends``, and the model's activity before and after."""
    names = variants_in(context.inputs["network"])
    with context.bar(len(names) * s.steps, "training", "step") as bar:
        for name in names:
            _learn_one(name, s, task, begin, tables, context.work / name, bar.update, lessons)
    files = sorted(path.stem for path in (context.work / names[0]).glob("*.parquet"))
    for file in files:
        parts = [pd.read_parquet(context.work / name / f"{file}.parquet") for name in names]
        pd.concat(parts, ignore_index=True).to_parquet(context.out / f"{file}.parquet", index=False)
    for name in names:
        (context.out / name).mkdir()
        for file in ("parameters.npz", "readout.json"):
            shutil.copy(context.work / name / file, context.out / name / file)
    before = begin(MODEL)
    after = before.with_params(nest_params(read_arrays(context.out / MODEL / "parameters.npz")))
    activity = {
        f"{when}_{population}": spikes
        for when, net in (("before", before), ("after", after))
        for population, spikes in shown_activity(net, task, s.seed).items()
    }
    write_arrays(context.out / "activity.npz", activity)
    told = {"periods": {k: [x * task.dt_ms for x in v] for k, v in task.periods.items()}, "dt_ms": task.dt_ms}
    (context.out / "task.json").write_text(json.dumps(told), encoding="utf-8")


def _learn_one(
    name: str,
    s: TrainedSettings,
    task: GroupedTask,
    begin: Callable[[str], Network],
    tables: Callable[[str, TrainResult], Mapping[str, pd.DataFrame]],
    folder: Path,
    update: Callable[[int], object],
    lessons: tuple[Lesson, ...],
) -> None:
    if (folder / "done").exists():
        update(s.steps)
        return
    folder.mkdir(parents=True, exist_ok=True)
    result = trained(Training(name, s.seed), s, begin(name), task, folder, update, lessons)
    found = {
        **tables(name, result),
        "history": result.history.drop(columns="seed").assign(variant=name),
        "ends": result.seeds.drop(columns="seed").assign(variant=name),
    }
    for file, table in found.items():
        table.to_parquet(folder / f"{file}.parquet", index=False)
    write_arrays(folder / "parameters.npz", flatten_params(result.network.params))
    (folder / "readout.json").write_text(json.dumps(result.readout.to_dict()), encoding="utf-8")
    (folder / "done").touch()


def score_choices(context: StageContext) -> None:
    """Every variant and the regressions on the held-out sessions, see `connectofit.pipelines.choices_stages.score`."""
    score(replace(context, inputs={"trials": context.inputs["trials"], "train": context.inputs["choices"]}))


def export_model(context: StageContext) -> None:
    """The model after all its training, as a bundle, ``model/``, and whether what is read from it chooses as it did:
    ``reloaded.json``."""
    s = ChoicesSettings.model_validate(context.provenance["stages"]["choices"]["settings"])
    task = animals_task(s, context.inputs["trials"])
    graph, _ = network_of_variant(context.inputs["network"], MODEL)
    net = _experienced(context, MODEL, task, s)
    folder = context.inputs["choices"] / MODEL
    net = net.with_params(nest_params(read_arrays(folder / "parameters.npz")))
    readout = json.loads((folder / "readout.json").read_text(encoding="utf-8"))
    connectome, spec, network = spec_of(net, graph)
    told = {
        "trained": {"network": MODEL, "seed": s.seed},
        "task": {"kind": "observed", "settings": asdict(task)},
        "readout": readout,
    }
    export(Model(network, connectome, spec, dict(context.provenance) | told), context.out / "model", format="bundle")
    read = load_trained(context.out / "model")
    tables = [
        evaluate_network(each, out, same, n_trials=RELOADED, seed=s.seed)
        for each, out, same in ((net, Readout.from_dict(readout), task), read)
    ]
    outputs = [table[["output_0", "output_1"]].to_numpy() for table in tables]
    found = {
        "trials": RELOADED,
        "same_choices": int((tables[0]["answer"] == tables[1]["answer"]).sum()),
        "largest_difference": float(np.abs(outputs[0] - outputs[1]).max()),
    }
    if found["same_choices"] < RELOADED:
        raise SettingError(
            f"The bundle that was written chooses otherwise than the network: the same in {found['same_choices']} of "
            f"{RELOADED} trials. Please report this."
        )
    (context.out / "reloaded.json").write_text(json.dumps(found), encoding="utf-8")
