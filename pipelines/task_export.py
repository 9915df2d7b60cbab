"""The stage of task recipes that writes the trained network as a model bundle, and the way back from it."""

from __future__ import annotations

import json
from pathlib import Path

from connectofit.builders import spec_of
from connectofit.connectome import Connectome
from connectofit.connectome.errors import SchemaError
from connectofit.fit.tasks import GroupedTask
from connectofit.fit.train import Readout
from connectofit.pipelines.arrays import nest_params, read_arrays
from connectofit.pipelines.bundle import Model, load_model
from connectofit.pipelines.export import export
from connectofit.pipelines.stages import StageContext
from connectofit.pipelines.task_settings import TrainSettings
from connectofit.pipelines.task_stages import load_task, network_of, task_of, trainings
from connectofit.sim import Network


def export_model(context: StageContext) -> None:
    """The network of the first seed after its training, as a bundle, ``model/``; its readout and task go with it."""
    s = TrainSettings.model_validate(context.provenance["stages"]["train"]["settings"])
    graph = Connectome.read(context.inputs["wiring"] / "connectome")
    first = trainings(s)[0]
    net = network_of(first, s, graph, load_task(context.inputs["task"]))
    net = net.with_params(nest_params(read_arrays(context.inputs["train"] / "parameters.npz")))
    connectome, spec, network = spec_of(net, graph)
    told = {
        "trained": {"seed": first.seed},
        "task": json.loads((context.inputs["task"] / "task.json").read_text(encoding="utf-8")),
        "readout": json.loads((context.inputs["train"] / "readout.json").read_text(encoding="utf-8")),
    }
    export(Model(network, connectome, spec, dict(context.provenance) | told), context.out / "model", format="bundle")


def load_trained(path: str | Path) -> tuple[Network, Readout, GroupedTask]:
    """The network, its readout and its task from the bundle of a trained model; `evaluate_network` takes them.

    Raises as `load_model` does, and `SchemaError` for a bundle of a model that was not trained on a task.
    """
    model = load_model(path)
    told = model.provenance
    if not {"readout", "task"} <= set(told):
        raise SchemaError(f"The bundle {str(path)!r} is of a model that was not trained on a task: it has no readout.")
    task = task_of(told["task"]["kind"], told["task"]["settings"])
    return model.network, Readout.from_dict(told["readout"]), task
