"""Small networks with an input population, and a task that they can learn in seconds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from connectofit.fit.tasks import Task, TaskTrials
from connectofit.fit.train.losses import Penalties
from connectofit.fit.train.readout import new_readout
from connectofit.fit.train.rules import Problem
from connectofit.fit.train.trainable import Trainable
from connectofit.sim import (
    GIF,
    LIF,
    Delta,
    Exponential,
    ExponentialConductance,
    Graded,
    Network,
    Population,
    Projection,
    RateUnit,
    SpikeSource,
)
from connectofit.sim.surrogate import ReLU

UNIT = {"v_rest_mV": 0.0, "v_reset_mV": 0.0, "r_m_GOhm": 1.0, "t_ref_ms": 0.0}


def population(name: str, model: Any, n: int, **values: float) -> tuple[Population, dict[str, np.ndarray]]:
    """A population of one type, and its parameters: the model's defaults but for `values`."""
    zero = np.zeros(n, np.int32)
    params = {k: np.full(1, values.get(k, p.default)) for k, p in model.parameters.items()}
    return Population(name, model, tuple(f"{name}{k}" for k in range(n)), zero, ("all",)), params


def projection(
    name: str,
    pre: str,
    post: str,
    synapse: Any,
    matrix: np.ndarray,
    *,
    types: int | None = None,
    delay_ms: float = 1.0,
    **p: float,
) -> tuple[Projection, dict[str, np.ndarray]]:
    """The edges of a matrix where it is not 0; a gain for each edge, or as many types as given."""
    source, target = np.nonzero(matrix)
    indptr = np.concatenate([[0], np.cumsum(np.bincount(source, minlength=matrix.shape[0]))]).astype(np.int32)
    n = source.size if types is None else types
    index = (np.arange(source.size) % max(n, 1)).astype(np.int32)
    made = Projection(
        name,
        pre,
        post,
        synapse,
        indptr,
        target.astype(np.int32),
        matrix[source, target],
        index,
        tuple(range(n)),
        delay_ms,
    )
    params = {k: np.full(1, p.get(k, v.default)) for k, v in synapse.parameters.items()}
    return made, {"log_gain": np.zeros(n)} | params


def network(populations: list[Any], projections: list[Any]) -> Network:
    """A network of the pairs that `population` and `projection` return."""
    params = {p.name: values for p, values in populations} | {p.name: values for p, values in projections}
    return Network(tuple(p for p, _ in populations), tuple(p for p, _ in projections), params)


def random_matrix(rng: np.random.Generator, n: int, m: int, size: float, probability: float = 1.0) -> np.ndarray:
    """Weights |N(0, size^2)|, each there with a probability."""
    return np.abs(rng.normal(size=(n, m))) * size * (rng.random((n, m)) < probability)


@pytest.fixture(scope="session")
def spiking() -> Callable[..., Network]:
    """spiking(model, recurrent=True): input -> E, I (or E alone): LIF or another model, GIF with conductances."""

    def make(
        model: Any = None,
        *,
        recurrent: bool = True,
        inhibitory: bool = True,
        n_in: int = 6,
        n: int = 10,
        seed: int = 0,
        **values: float,
    ) -> Network:
        rng = np.random.default_rng(seed)
        model = LIF(surrogate=ReLU(width_mV=1.0)) if model is None else model
        known = {
            k: v
            for k, v in {
                **UNIT,
                "v_threshold_mV": 1.0,
                "theta_inf_mV": 1.0,
                "theta_reset_mV": 1.0,
                "a_2_pA": -0.1,
                "beta_mV": 0.3,
                **values,
            }.items()
            if k in model.parameters
        }
        n_i = n // 5 + 1
        populations = [population("input", SpikeSource(), n_in)]
        kinds = (("E", n, 1), ("I", n_i, -1)) if inhibitory else (("E", n, 1),)
        populations += [population(name, model, size, **known) for name, size, _ in kinds]
        conductance = isinstance(model, GIF)

        def synapse(sign: int) -> tuple[Any, dict[str, float]]:
            if conductance:
                return ExponentialConductance(), {"tau_syn_ms": 5.0, "e_rev_mV": 3.0 * sign}
            return Exponential(), {"tau_syn_ms": 5.0}

        def wire(pre: str, post: str, sign: int, matrix: np.ndarray) -> Any:
            kind, p = synapse(sign)
            return projection(f"{pre}_{post}", pre, post, kind, matrix if conductance else sign * matrix, **p)

        size = 0.25 if conductance else 0.7
        projections = [wire("input", post, 1, random_matrix(rng, n_in, n_post, size)) for post, n_post, _ in kinds]
        for pre, n_pre, sign in kinds if recurrent else ():
            for post, n_post, _ in kinds:
                projections.append(wire(pre, post, sign, random_matrix(rng, n_pre, n_post, 0.15, 0.6)))
        return network(populations, projections)

    return make


@pytest.fixture(scope="session")
def rates() -> Callable[..., Network]:
    """rates(recurrent=True): input -> r, of smooth rate units; inputs are given as they are."""

    def make(*, recurrent: bool = True, n_in: int = 4, n: int = 6, seed: int = 0, types: int | None = None) -> Network:
        rng = np.random.default_rng(seed)
        populations = [population("input", SpikeSource(), n_in), population("r", RateUnit("tanh"), n, tau_ms=5.0)]
        inwards = rng.normal(size=(n_in, n))
        projections = [projection("input_r", "input", "r", Delta(), inwards * 0.2, types=types)]
        if recurrent:
            own = rng.normal(size=(n, n)) / np.sqrt(n)
            projections.append(projection("r_r", "r", "r", Graded(), own, types=types, delay_ms=0.0))
        return network(populations, projections)

    return make


@pytest.fixture(scope="session")
def delta_lif() -> Callable[..., Network]:
    """Six inputs that move the voltages of three LIF neurons, too little for a spike."""

    def make() -> Network:
        values = {**UNIT, "v_threshold_mV": 1.0, "tau_m_ms": 20.0}
        populations = [population("input", SpikeSource(), 6)]
        populations.append(population("E", LIF(surrogate=ReLU(width_mV=1.0)), 3, **values))
        matrix = random_matrix(np.random.default_rng(0), 6, 3, 0.05)
        return network(populations, [projection("input_E", "input", "E", Delta(), matrix)])

    return make


@dataclass(frozen=True)
class Sides(Task):
    """Which half of the inputs fires? Answered at the end, or followed as a target; a stand-in for a real task."""

    steps: int = 30
    inputs: int = 6
    outputs: int = 2
    rate_Hz: float = 150.0
    label_shift: int = 0
    mask_steps: int | None = None
    regression: bool = False
    delay_ms: float = 0.0

    def check(self) -> None:
        return

    @property
    def n_inputs(self) -> int:
        return self.inputs

    @property
    def n_outputs(self) -> int:
        return self.outputs

    @property
    def n_steps(self) -> int:
        return self.steps + round(self.delay_ms / self.dt_ms)

    @property
    def full_rate_Hz(self) -> float:
        return self.rate_Hz

    def draw(self, key: Any) -> TaskTrials:
        side_key, input_key = jax.random.split(key)
        side = jax.random.bernoulli(side_key).astype(jnp.int32)
        half = (jnp.arange(self.inputs) < self.inputs // 2) == (side == 0)
        rates = jnp.where(half, self.rate_Hz, 0.1 * self.rate_Hz) * jnp.ones((self.n_steps, 1))
        n = self.n_steps if self.mask_steps is None else self.mask_steps
        mask = (jnp.arange(n) >= n - 10).astype(float)
        target = jnp.stack([jnp.sin(jnp.arange(n) / 5.0) * (2 * side - 1)] * self.outputs, -1)
        info: Mapping[str, Any] = {"side": side}
        spikes = self.emit(input_key, rates)
        if self.regression:
            return TaskTrials(spikes, target, None, mask, info)
        return TaskTrials(spikes, None, side + self.label_shift, mask, info)


@pytest.fixture(scope="session")
def sides() -> type[Sides]:
    """The task of `Sides`."""
    return Sides


@pytest.fixture(scope="session")
def problem() -> Callable[..., Problem]:
    """problem(net, free=...): the network with a random readout."""

    def make(
        net: Network,
        free: tuple[str, ...] = ("recurrent", "input", "readout"),
        *,
        dt_ms: float = 1.0,
        n_outputs: int = 2,
        penalties: Penalties | None = None,
        seed: int = 5,
    ) -> Problem:
        names = [p.name for p in net.populations if p.name != "input"]
        readout = new_readout(net, n_outputs, jax.random.key(seed), populations=names, tau_ms=8.0)
        return Problem(net, readout, Trainable(free), penalties or Penalties(), dt_ms, False)

    return make
