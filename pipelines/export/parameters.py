"""Parameters with their names, units and types, as ``.npz`` or safetensors: what was fitted, without the wiring."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from connectofit.connectome.extras import needed
from connectofit.pipelines.arrays import write_arrays
from connectofit.pipelines.bundle import Model
from connectofit.sim import Network
from connectofit.sim.network import LOG_GAIN
from connectofit.sim.parameters import Parameter


def described(net: Network) -> dict[str, Parameter]:
    """{"owner/name": its description} of every parameter of a network."""
    found: dict[str, Parameter] = {}
    for population in net.populations:
        found |= {f"{population.name}/{name}": p for name, p in population.model.parameters.items()}
    for projection in net.projections:
        own = {"log_gain": LOG_GAIN, **projection.parameters}
        found |= {f"{projection.name}/{name}": p for name, p in own.items()}
    return found


def values(net: Network) -> dict[str, np.ndarray]:
    """{"owner/name": values}, each with one entry a type."""
    return {f"{owner}/{name}": np.asarray(v) for owner, own in net.params.items() for name, v in own.items()}


def types_of(net: Network) -> dict[str, list[str]]:
    """{owner: the names of the types that its parameters' entries belong to}, JSON where a type is no text; without
    projections whose edges are each a type of its own, in the order of the edges."""
    types: dict[str, Sequence[object]] = {p.name: p.types for p in net.populations}
    types |= {p.name: p.types for p in net.projections if not isinstance(p.types, range)}
    return {owner: [t if isinstance(t, str) else json.dumps(t) for t in own] for owner, own in types.items()}


def write_npz(model: Model, path: Path) -> None:
    """An array for each ``owner/name``; ``units/owner/name`` and ``types/owner`` hold text."""
    arrays = dict(values(model.network))
    arrays |= {f"units/{name}": np.array(described(model.network)[name].unit) for name in values(model.network)}
    arrays |= {f"types/{owner}": np.array(types, np.str_) for owner, types in types_of(model.network).items()}
    write_arrays(path, arrays)


def write_safetensors(model: Model, path: Path) -> None:
    """A tensor for each ``owner/name``; the metadata hold JSON: ``units`` by name, ``types`` by owner."""
    safe = needed("safetensors.numpy", "safetensors", "Writing safetensors")
    net = model.network
    metadata = {
        "format": "connectofit parameters 1",
        "units": json.dumps({name: described(net)[name].unit for name in values(net)}),
        "types": json.dumps(types_of(net)),
    }
    safe.save_file({name: np.ascontiguousarray(v) for name, v in values(net).items()}, path, metadata)
