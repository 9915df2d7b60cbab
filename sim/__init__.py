"""Simulation: neuron and synapse models, the network type, the differentiable time loop and the driver around it."""

from connectofit.sim.checks import check_network
from connectofit.sim.interventions import Ablate, Intervention, Silence
from connectofit.sim.network import Network, Population, Projection
from connectofit.sim.neurons import LIF, NEURON_MODELS, GradedLeaky, NeuronModel
from connectofit.sim.plasticity import PLASTICITY_MODELS, PairSTDP, Plasticity, TripletSTDP, TsodyksMarkram
from connectofit.sim.recording import Recording, Spikes, Trace
from connectofit.sim.rollout import NetworkState, initial_state, rollout
from connectofit.sim.selection import Where
from connectofit.sim.simulate import Record, simulate
from connectofit.sim.stimuli import PoissonPulses, Series, Step, Stimulus, WhiteNoise
from connectofit.sim.surrogate import Arctan, Sigmoid, Surrogate
from connectofit.sim.synapses import (
    NMDA,
    SYNAPSE_MODELS,
    Alpha,
    AlphaConductance,
    Delta,
    DualExponential,
    DualExponentialConductance,
    Exponential,
    ExponentialConductance,
    GapJunction,
    Graded,
    Synapse,
)

__all__ = [
    "LIF",
    "NEURON_MODELS",
    "NMDA",
    "PLASTICITY_MODELS",
    "SYNAPSE_MODELS",
    "Ablate",
    "Alpha",
    "AlphaConductance",
    "Arctan",
    "Delta",
    "DualExponential",
    "DualExponentialConductance",
    "Exponential",
    "ExponentialConductance",
    "GapJunction",
    "Graded",
    "GradedLeaky",
    "Intervention",
    "Network",
    "NetworkState",
    "NeuronModel",
    "PairSTDP",
    "Plasticity",
    "PoissonPulses",
    "Population",
    "Projection",
    "Record",
    "Recording",
    "Series",
    "Sigmoid",
    "Silence",
    "Spikes",
    "Step",
    "Stimulus",
    "Surrogate",
    "Synapse",
    "Trace",
    "TripletSTDP",
    "TsodyksMarkram",
    "Where",
    "WhiteNoise",
    "check_network",
    "initial_state",
    "rollout",
    "simulate",
]
