"""Which neurons: by id, by ids, or by an expression on the columns of the neuron table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from jaxtyping import Int

from connectofit.connectome.errors import SettingError, offenders
from connectofit.connectome.expressions import compile_expression
from connectofit.sim.network import Id, Network


@dataclass(frozen=True)
class Where:
    """Neurons that fulfil an expression, e.g. ``Where("cell_class == 'AVA'")``, on the columns that a network
    carries."""

    expression: str


Neurons = Id | Sequence[Id] | Where | None


def select(net: Network, neurons: Neurons) -> dict[str, Int[np.ndarray, " selected"]]:
    """{population: indices} of the neurons meant; None means all. Ids keep the order in which they are given.

    Raises
    ------
    UnknownNameError: an id that no neuron has, or a column that does not exist, with the nearest name.
    SettingError: an expression that no neuron fulfils.
    """
    if neurons is None:
        return {p.name: np.arange(p.size) for p in net.populations}
    if isinstance(neurons, Where):
        return _fulfilling(net, neurons.expression)
    places = net.find(neurons)
    return {
        p.name: np.array([k for name, k in places if name == p.name], np.int64)
        for p in net.populations
        if any(name == p.name for name, _ in places)
    }


def select_columns(
    net: Network, neurons: Neurons, what: str
) -> dict[str, tuple[Int[np.ndarray, " selected"], Int[np.ndarray, " selected"]]]:
    """{population: (indices, columns)}: where each neuron meant stands among all of them, in the order of the ids
    given.

    Without ids the order is that of `Network.ids`. Raises what `select` does, and `SettingError` for ids that `what`
    (for the message) names twice.
    """
    selected = select(net, neurons)
    if neurons is None or isinstance(neurons, Where):
        ends = np.cumsum([len(index) for index in selected.values()])
        return {
            name: (index, np.arange(end - len(index), end))
            for (name, index), end in zip(selected.items(), ends, strict=True)
        }
    places = net.find(neurons)
    twice = [net.population(name).ids[k] for (name, k), n in Counter(places).items() if n > 1]
    if twice:
        raise SettingError(f"{what} names neurons {offenders(twice)} more than once. Name each once.")
    return {
        name: (index, np.array([c for c, place in enumerate(places) if place[0] == name], np.int64))
        for name, index in selected.items()
    }


def _fulfilling(net: Network, expression: str) -> dict[str, Int[np.ndarray, " selected"]]:
    found = {}
    for population in net.populations:
        table = population.table
        if table is None:
            table = pa.table({"id": list(population.ids), "type": [population.types[k] for k in population.type_index]})
        table = table.append_column("__index", pa.array(np.arange(population.size)))
        rows = table.filter(compile_expression(expression, table.schema))["__index"].to_numpy()
        if rows.size:
            found[population.name] = rows
    if not found:
        raise SettingError(
            f"No neuron of the network fulfils {expression!r}. Check its values against the neuron table."
        )
    return found
