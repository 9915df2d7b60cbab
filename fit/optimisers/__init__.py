"""Optimisers behind one interface and one budget."""

from connectofit.fit.optimisers.adam import Adam
from connectofit.fit.optimisers.budget import Budget
from connectofit.fit.optimisers.cma_es import CMAES
from connectofit.fit.optimisers.gauss_newton import GaussNewton
from connectofit.fit.optimisers.homotopy import GrowingHorizon, Nudged, Shoot
from connectofit.fit.optimisers.lbfgs import LBFGS
from connectofit.fit.optimisers.minimise import OPTIMISERS, minimise
from connectofit.fit.optimisers.objective import Box, Objective, Shooting, folded_squares
from connectofit.fit.optimisers.population import Guided, PopulationThenPolish
from connectofit.fit.optimisers.scipy_methods import LBFGSB, DifferentialEvolution, NelderMead
from connectofit.fit.optimisers.search import Optimiser, Search
from connectofit.fit.optimisers.starts import random_starts

__all__ = [
    "CMAES",
    "LBFGS",
    "LBFGSB",
    "OPTIMISERS",
    "Adam",
    "Box",
    "Budget",
    "DifferentialEvolution",
    "GaussNewton",
    "GrowingHorizon",
    "Guided",
    "NelderMead",
    "Nudged",
    "Objective",
    "Optimiser",
    "PopulationThenPolish",
    "Search",
    "Shoot",
    "Shooting",
    "folded_squares",
    "minimise",
    "random_starts",
]
