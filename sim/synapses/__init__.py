"""Synapse models: current-based, conductance-based, delta, graded, and gap junctions."""

from connectofit.sim.synapses.base import Synapse
from connectofit.sim.synapses.conductance import (
    NMDA,
    AlphaConductance,
    DualExponentialConductance,
    ExponentialConductance,
)
from connectofit.sim.synapses.current import Alpha, DualExponential, Exponential
from connectofit.sim.synapses.delta import Delta
from connectofit.sim.synapses.gap_junction import GapJunction
from connectofit.sim.synapses.graded import Graded
from connectofit.sim.synapses.rectified import Rectified

_MODELS: tuple[type[Synapse], ...] = (
    Alpha,
    AlphaConductance,
    Delta,
    DualExponential,
    DualExponentialConductance,
    Exponential,
    ExponentialConductance,
    GapJunction,
    Graded,
    NMDA,
    Rectified,
)

__all__ = ["SYNAPSE_MODELS", "Synapse", *(model.__name__ for model in _MODELS)]

SYNAPSE_MODELS: dict[str, type[Synapse]] = {model.kind: model for model in _MODELS}
