"""The network type: populations of neurons, projections between them, and the parameters that gradients see.

`Network` is a registered pytree whose leaves are the parameters and the graph's arrays; names, models and ids are
static. Gradients are taken by `params` alone: ``jax.grad(lambda p: loss(rollout(net.with_params(p),
...)))(net.params)``.

Parameters are tied by type: one value per type is stored, and `type_index` says which type each neuron or edge has. The
weight of edge e is ``base_weight[e] * exp(log_gain[type_index[e]])``: its sign is that of the wiring, whatever is
fitted.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
import pyarrow as pa
from jaxtyping import Array, Float, Int

from connectofit.connectome.errors import SettingError, UnknownNameError, offenders, unknown_name
from connectofit.sim.neurons import NeuronModel
from connectofit.sim.parameters import Parameter
from connectofit.sim.plasticity import Plasticity
from connectofit.sim.synapses import Synapse

Id = str | int
Params = dict[str, dict[str, Any]]  # arrays of NumPy or JAX

LOG_GAIN = Parameter(0.0, "1", "natural logarithm of the factor on the weights")


@dataclass(frozen=True, eq=False)
class Population:
    """Neurons of one model.

    name: of the population. ids: the anatomists' names, in index order. type_index: [neuron], into `types`: neurons
    of one type share each parameter. table: further columns of the neurons (row order as `ids`), for selections by
    expression.
    """

    name: str
    model: NeuronModel
    ids: tuple[Id, ...]
    type_index: Int[np.ndarray, " neuron"]
    types: tuple[Id, ...]
    table: pa.Table | None = field(default=None, repr=False)

    @property
    def size(self) -> int:
        return len(self.ids)

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True, eq=False)
class Projection:
    """Edges of one synapse model from population `pre` to population `post`, sorted by presynaptic neuron.

    The edges of presynaptic neuron i are those from ``indptr[i]`` to ``indptr[i + 1]``; post_index, base_weight and
    type_index are one number each. types: the names of the types; a range where every edge is a type of its own.
    base_weight: the sign times the (normalised) count; for a gap junction the conductance, 0 or more. delay_ms: of the
    whole projection, or the shortest of `edge_delay_ms`; 0 for graded synapses that act at once. edge_delay_ms: of
    every edge, up to `longest_delay_ms`; None where all have the same. plasticity: how weights depend on spikes; None
    for fixed ones. reverse: whether activity runs against the contacts' direction.
    """

    name: str
    pre: str
    post: str
    synapse: Synapse
    indptr: Int[np.ndarray, " n_pre_plus_1"]
    post_index: Int[np.ndarray, " edge"]
    base_weight: Float[np.ndarray, " edge"]
    type_index: Int[np.ndarray, " edge"]
    types: tuple[Id | tuple[Id, ...], ...] | range
    delay_ms: float = 0.0
    reverse: bool = False
    plasticity: Plasticity | None = None
    edge_delay_ms: Float[np.ndarray, " edge"] | None = None
    longest_delay_ms: float | None = None

    @property
    def n_edges(self) -> int:
        return self.post_index.shape[0]

    @property
    def pre_index(self) -> Int[np.ndarray, " edge"]:
        """The presynaptic neuron of every edge."""
        indptr = np.asarray(self.indptr)
        return np.repeat(np.arange(indptr.size - 1, dtype=np.int32), np.diff(indptr))

    @property
    def parameters(self) -> dict[str, Parameter]:
        """What its parameters are, beside ``log_gain``: the synapse's and the plasticity's."""
        return {**self.synapse.parameters, **({} if self.plasticity is None else self.plasticity.parameters)}

    @property
    def sign(self) -> Int[np.ndarray, " edge"]:
        """+1 or -1 for every edge (0 where its weight is 0)."""
        return np.sign(np.asarray(self.base_weight)).astype(np.int8)

    def weight(self, log_gain: Float[Array, " type"]) -> Float[Array, " edge"]:
        """The effective weights: ``base_weight * exp(log_gain[type_index])``."""
        return jnp.asarray(self.base_weight, log_gain.dtype) * jnp.exp(log_gain)[jnp.asarray(self.type_index)]


@dataclass(frozen=True, eq=False)
class Network:
    """Populations, projections, and their parameters {population or projection: {parameter: [type]}}.

    A population's parameters are [its types]; a projection has ``log_gain`` [its types], its synapse's parameters,
    which are [1] or [types of the neurons on the synapse's side], and its plasticity's, which are [1].
    """

    populations: tuple[Population, ...]
    projections: tuple[Projection, ...]
    params: Params

    @cached_property
    def ids(self) -> tuple[Id, ...]:
        """All neurons' ids, population after population."""
        return tuple(i for population in self.populations for i in population.ids)

    @cached_property
    def _places(self) -> dict[Id, tuple[str, int]]:
        return {i: (p.name, k) for p in self.populations for k, i in enumerate(p.ids)}

    @property
    def n_neurons(self) -> int:
        return sum(p.size for p in self.populations)

    @property
    def n_edges(self) -> int:
        return sum(p.n_edges for p in self.projections)

    def population(self, name: str) -> Population:
        """The population of that name; `UnknownNameError` otherwise."""
        for population in self.populations:
            if population.name == name:
                return population
        raise unknown_name("population", name, [p.name for p in self.populations])

    def projection(self, name: str) -> Projection:
        """The projection of that name; `UnknownNameError` otherwise."""
        for projection in self.projections:
            if projection.name == name:
                return projection
        raise unknown_name("projection", name, [p.name for p in self.projections])

    def find(self, ids: Id | Sequence[Id]) -> list[tuple[str, int]]:
        """(population, index in it) of each id. Raises `UnknownNameError` with the nearest name."""
        given: Sequence[Any] = [ids] if isinstance(ids, str | int | np.generic) else ids
        wanted = [i.item() if isinstance(i, np.generic) else i for i in given]
        absent = [i for i in wanted if i not in self._places]
        if absent:
            error = unknown_name("neuron", str(absent[0]), [str(i) for i in self._places], "the network")
            if len(absent) > 1:
                raise UnknownNameError(f"{error} Unknown in all: {offenders(absent)}.")
            raise error
        return [self._places[i] for i in wanted]

    def with_params(self, params: Mapping[str, Mapping[str, Any]]) -> Network:
        """The same network with these parameters in place of its own; those that are not given stay.

        Raises `UnknownNameError` for an owner or parameter that does not exist, `SettingError` for another shape.
        """
        merged = {owner: dict(values) for owner, values in self.params.items()}
        for owner, values in params.items():
            if owner not in merged:
                raise unknown_name("population or projection", owner, merged, "the network's parameters")
            for name, value in values.items():
                if name not in merged[owner]:
                    raise unknown_name("parameter", name, merged[owner], owner)
                old, new = jnp.shape(merged[owner][name]), jnp.shape(value)
                if old != new:
                    raise SettingError(
                        f"Parameter {name!r} of {owner!r} has shape {old} (one value per type); given {new}."
                    )
                merged[owner][name] = value
        return replace(self, params=merged)


_T = TypeVar("_T")


class _Static:
    """The static part of a pytree node: fast to hash and to compare, although it holds every id."""

    __slots__ = ("values",)

    def __init__(self, values: tuple[Any, ...]) -> None:
        self.values = values

    def __hash__(self) -> int:
        return hash(self.values[0])

    def __eq__(self, other: object) -> bool:
        # Tables serve selections on the host and do not change what is compiled.
        return isinstance(other, _Static) and all(
            a is b or (not isinstance(a, pa.Table) and a == b) or (isinstance(a, pa.Table) and a.equals(b))
            for a, b in zip(self.values, other.values, strict=True)
        )


def _register(cls: type[_T], arrays: tuple[str, ...]) -> None:
    static = tuple(f.name for f in fields(cls) if f.name not in arrays)  # type: ignore[arg-type]

    def flatten(node: _T) -> tuple[list[tuple[Any, Any]], _Static]:
        children = [(jax.tree_util.GetAttrKey(name), getattr(node, name)) for name in arrays]
        return children, _Static(tuple(getattr(node, name) for name in static))

    def unflatten(aux: _Static, children: Iterable[Any]) -> _T:
        return cls(**dict(zip(static, aux.values, strict=True)), **dict(zip(arrays, children, strict=True)))

    jax.tree_util.register_pytree_with_keys(cls, flatten, unflatten)


_register(Population, ("type_index",))
_register(Projection, ("indptr", "post_index", "base_weight", "type_index", "edge_delay_ms"))
_register(Network, ("populations", "projections", "params"))
