"""Neuron models, one a module."""

from connectofit.sim.neurons.adex import AdEx
from connectofit.sim.neurons.alif import ALIF
from connectofit.sim.neurons.base import Drive, NeuronModel
from connectofit.sim.neurons.exp_if import ExpIF
from connectofit.sim.neurons.gif import GIF
from connectofit.sim.neurons.glif import GLIF1, GLIF2, GLIF3, GLIF4, GLIF5
from connectofit.sim.neurons.graded_leaky import GradedLeaky
from connectofit.sim.neurons.hodgkin_huxley import HodgkinHuxley
from connectofit.sim.neurons.izhikevich import Izhikevich
from connectofit.sim.neurons.lif import LIF
from connectofit.sim.neurons.qif import QIF
from connectofit.sim.neurons.rate import RateUnit
from connectofit.sim.neurons.sources import PoissonSource, SpikeSource
from connectofit.sim.neurons.traub_miles import TraubMiles
from connectofit.sim.neurons.wang_buzsaki import WangBuzsaki

_MODELS: tuple[type[NeuronModel], ...] = (
    ALIF,
    AdEx,
    ExpIF,
    GIF,
    GLIF1,
    GLIF2,
    GLIF3,
    GLIF4,
    GLIF5,
    GradedLeaky,
    HodgkinHuxley,
    Izhikevich,
    LIF,
    PoissonSource,
    QIF,
    RateUnit,
    SpikeSource,
    TraubMiles,
    WangBuzsaki,
)

__all__ = [
    "ALIF",
    "GIF",
    "GLIF1",
    "GLIF2",
    "GLIF3",
    "GLIF4",
    "GLIF5",
    "LIF",
    "NEURON_MODELS",
    "QIF",
    "AdEx",
    "Drive",
    "ExpIF",
    "GradedLeaky",
    "HodgkinHuxley",
    "Izhikevich",
    "NeuronModel",
    "PoissonSource",
    "RateUnit",
    "SpikeSource",
    "TraubMiles",
    "WangBuzsaki",
]

NEURON_MODELS: dict[str, type[NeuronModel]] = {model.kind: model for model in _MODELS}
