"""What the compiled training block needs of each neuron: the coefficients of its step, and which networks it takes.

The kernels ``connectofit_train_forward`` and ``_backward`` (sim/native/train_block.cpp) know no parameters, but the
coefficients that follow from them, and return derivatives by these. JAX takes them on to the parameters.
"""

from __future__ import annotations

from typing import Literal, get_args

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from connectofit.connectome.errors import SettingError, unknown_name
from connectofit.fit.train.batch_step import Batched, Block
from connectofit.sim.native import compiled_kernels
from connectofit.sim.network import Network, Population
from connectofit.sim.neurons import GIF, LIF
from connectofit.sim.neurons.base import Values, mean_of_decay
from connectofit.sim.neurons.linear import relative_expm1
from connectofit.sim.surrogate import Surrogate
from connectofit.sim.synapses import Exponential, ExponentialConductance
from connectofit.sim.wires import Wire

MOST_ONTO = 8
"""Projections onto one population that the kernels take."""

FEWEST_TRIALS = 4
"""Trials from which the compiled block is chosen by itself: it takes as long for one as for a whole vector of them."""

# The kernels' order of surrogates, and which settings of theirs they read.
_SURROGATES: dict[str, tuple[str, ...]] = {
    "sigmoid": (),
    "piecewise_quadratic": (),
    "piecewise_exponential": (),
    "soft_sign": (),
    "arctan": (),
    "nonzero_sign_log": (),
    "erf": (),
    "piecewise_leaky_relu": ("leak",),
    "s2nn": ("alpha", "beta"),
    "leaky_relu": ("below", "above"),
    "log_tailed_relu": ("below",),
    "relu": ("scale",),
    "gaussian": ("scale",),
    "multi_gaussian": ("h", "s", "scale"),
    "inverse_square": (),
    "slayer": (),
}


def obstacle(net: Network, source: str, *, noisy: bool) -> str | None:
    """Why the compiled block cannot run batches of this network, or None where it can."""
    if not compiled_kernels().available:
        return compiled_kernels().reason
    if not compiled_kernels().training:
        return "the compiled kernels were built by a compiler without vector types"
    if jax.default_backend() != "cpu":
        return f"compiled kernels are for the CPU, and JAX runs on {jax.default_backend()}"
    if noisy:
        return "neurons have noise"
    if not net.population(source).model.spiking:
        return f"inputs are currents into population {source!r}"
    if all(p.pre != source for p in net.projections):
        return f"nothing comes from population {source!r}"
    for population in net.populations:
        model = population.model
        if population.name == source:
            continue
        if not isinstance(model, LIF | GIF):
            return f"population {population.name!r} is of {model.kind} neurons"
        if model.clears_synapses:
            return f"spikes of population {population.name!r} clear synapses"
        if model.surrogate.kind not in _SURROGATES:
            return f"population {population.name!r} has the surrogate {model.surrogate.kind!r}"
        if sum(p.post == population.name for p in net.projections) > MOST_ONTO:
            return f"more than {MOST_ONTO} projections go to population {population.name!r}"
    for projection in net.projections:
        if type(projection.synapse) not in (Exponential, ExponentialConductance):
            return f"projection {projection.name!r} has {projection.synapse.kind} synapses"
        if projection.plasticity is not None or projection.edge_delay_ms is not None:
            return f"projection {projection.name!r} has plasticity or delays of edges"
    return None


def chosen_block(batched: Batched, n_trials: int) -> Literal["compiled", "jax"]:
    """What runs a batch of this size.

    Raises `UnknownNameError` for a block that does not exist, `SettingError` for "compiled" where it cannot be had.
    """
    if batched.block not in get_args(Block):
        raise unknown_name("block", str(batched.block), get_args(Block))
    if batched.block == "jax":
        return "jax"
    found = obstacle(batched.net, batched.source, noisy=batched.noisy)
    if found is not None:
        if batched.block == "compiled":
            raise SettingError(f"The compiled block cannot run this network: {found}. Say 'auto' or 'jax'.")
        return "jax"
    return "compiled" if batched.block == "compiled" or n_trials >= FEWEST_TRIALS else "jax"


def surrogate_settings(surrogate: Surrogate) -> tuple[int, list[float]]:
    """The kernels' number of a surrogate, and its width and three settings."""
    names = _SURROGATES[surrogate.kind]
    settings = [float(getattr(surrogate, name)) for name in names]
    return list(_SURROGATES).index(surrogate.kind), [surrogate.width_mV, *settings, *[0.0] * (3 - len(names))]


def is_open(wire: Wire) -> bool:
    """Whether a projection opens conductances, and does not add a current."""
    return isinstance(wire.projection.synapse, ExponentialConductance)


def coefficients(batched: Batched, pop: Population) -> Float[Array, "neuron coefficient"]:
    """The columns of the kernels for a population's neurons, then three for each projection onto it."""
    p, dt = batched.p[pop.name], batched.dt_ms
    rate, r_m = dt / p["tau_m_ms"], p["r_m_GOhm"]
    columns = [p["v_rest_mV"] + r_m * p["i_bias_pA"], rate, r_m * rate, p["v_reset_mV"]]
    if isinstance(pop.model, GIF):
        back = p["b_per_ms"] * dt
        columns += [p["theta_inf_mV"], p["theta_reset_mV"], p["v_rest_mV"], p["a_per_ms"] * dt]
        columns += [relative_expm1(-back), back, jnp.exp(-back)]
        for j in (1, 2):
            x = p[f"k_{j}_per_ms"] * dt
            columns += [x, r_m * mean_of_decay(x), jnp.exp(-x), p[f"r_{j}"], p[f"a_{j}_pA"]]
    else:
        columns.append(p["v_threshold_mV"])
    for wire in batched.onto(pop.name):
        columns += _of_wire(wire, r_m, dt)
    return jnp.stack([jnp.broadcast_to(column, (pop.size,)) for column in columns], 1)


def _of_wire(wire: Wire, r_m: Array, dt_ms: float) -> list[Array]:
    p: Values = wire.p
    x = dt_ms / p["tau_syn_ms"]
    mean, fade = r_m * mean_of_decay(x), jnp.exp(-x)
    if is_open(wire):
        return [mean, mean * p["e_rev_mV"], fade]
    return [x, mean, fade]


def refractory_steps(batched: Batched, pop: Population) -> Float[Array, " neuron"]:
    """How many steps a spike is followed by in which the neuron rests."""
    steps = jnp.round(batched.p[pop.name]["t_ref_ms"] / batched.dt_ms)
    return jax.lax.stop_gradient(jnp.broadcast_to(steps, (pop.size,)))
