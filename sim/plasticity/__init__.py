"""Plasticity of synapses, short-term and long-term."""

from connectofit.sim.plasticity.base import LongTermPlasticity, Pairs, Plasticity, ShortTermPlasticity
from connectofit.sim.plasticity.stdp import PairSTDP, TripletSTDP
from connectofit.sim.plasticity.tsodyks_markram import TsodyksMarkram

__all__ = [
    "PLASTICITY_MODELS",
    "LongTermPlasticity",
    "PairSTDP",
    "Pairs",
    "Plasticity",
    "ShortTermPlasticity",
    "TripletSTDP",
    "TsodyksMarkram",
]

PLASTICITY_MODELS: dict[str, type[Plasticity]] = {
    model.kind: model for model in (PairSTDP, TripletSTDP, TsodyksMarkram)
}
