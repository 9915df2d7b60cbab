"""Training of networks on tasks: by backpropagation through time, and by online rules."""

from connectofit.fit.train.bptt import BatchRun, run_batch
from connectofit.fit.train.losses import Penalties
from connectofit.fit.train.online import DRTRL, ESDRTRL, EProp
from connectofit.fit.train.readout import Readout, new_readout
from connectofit.fit.train.result import Evaluation, TrainResult, evaluate_network, evaluate_task
from connectofit.fit.train.reward import RewardSTDP
from connectofit.fit.train.rules import BPTT, Rule
from connectofit.fit.train.settings import Lesson, TrainSchedule, delay_curriculum
from connectofit.fit.train.train import train_task
from connectofit.fit.train.trainable import Trainable

__all__ = [
    "BPTT",
    "DRTRL",
    "ESDRTRL",
    "BatchRun",
    "EProp",
    "Evaluation",
    "Lesson",
    "Penalties",
    "Readout",
    "RewardSTDP",
    "Rule",
    "TrainResult",
    "TrainSchedule",
    "Trainable",
    "delay_curriculum",
    "evaluate_network",
    "evaluate_task",
    "new_readout",
    "run_batch",
    "train_task",
]
