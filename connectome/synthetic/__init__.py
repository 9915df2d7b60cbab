"""Synthetic connectomes, each from a seed, with types, positions and signs: for tests, benchmarks and models."""

from connectofit.connectome.synthetic.distance_rule import distance_rule
from connectofit.connectome.synthetic.microcircuit import potjans_diesmann
from connectofit.connectome.synthetic.random_networks import brunel, erdos_renyi
from connectofit.connectome.synthetic.sheet import cortical_sheet
from connectofit.connectome.synthetic.skewed import lognormal

__all__ = ["brunel", "cortical_sheet", "distance_rule", "erdos_renyi", "lognormal", "potjans_diesmann"]
