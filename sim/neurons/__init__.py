"""Neuron models, one a module."""

from connectofit.sim.neurons.base import Drive, NeuronModel
from connectofit.sim.neurons.graded_leaky import GradedLeaky
from connectofit.sim.neurons.lif import LIF

__all__ = ["LIF", "NEURON_MODELS", "Drive", "GradedLeaky", "NeuronModel"]

NEURON_MODELS: dict[str, type[NeuronModel]] = {model.kind: model for model in (GradedLeaky, LIF)}
