"""What the two halves of a SONATA circuit, nodes and edges, share: columns from attributes and types, and the tally."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
from jaxtyping import Int

from connectofit.builders.sonata_files import CircuitFiles, EdgeTable, NodeTable, inner_path, widened
from connectofit.builders.sonata_models import OurNeuron
from connectofit.connectome.errors import SchemaError, offenders
from connectofit.connectome.json_files import read_json
from connectofit.connectome.report import Finding, Severity, examples_of


@dataclass(frozen=True, eq=False)
class Told:
    """What was found, by severity and rule: the things it was found in."""

    found: dict[tuple[Severity, str, str, str], dict[str, int]] = field(default_factory=lambda: defaultdict(dict))

    def add(self, severity: Severity, rule: str, table: str, what: str, thing: str, count: int = 1) -> None:
        things = self.found[severity, rule, table, what]
        things[thing] = things.get(thing, 0) + count

    def findings(self) -> list[Finding]:
        told = []
        for (severity, rule, table, what), things in self.found.items():
            texts = [f"{thing} ({count})" for thing, count in things.items()]
            total = sum(things.values())
            message = f"{total} {table} {what}: {offenders(list(things))}"
            told.append(Finding(severity, rule, table, "", total, "", examples_of(range(len(texts)), texts), message))
        return told


@dataclass(frozen=True, eq=False)
class ParameterSets:
    """The different parameter sets of all nodes. of_node: [node] into `neurons`, -1 for a node that has no model."""

    neurons: list[OurNeuron | None]
    of_node: Int[np.ndarray, " node"]


def dynamics_of(
    files: CircuitFiles, kind: Mapping[str, str], folder: str, read: dict[str, dict[str, Any]]
) -> dict[str, Any]:
    """The parameters in the file that a row of a table of types names."""
    name = kind.get("dynamics_params")
    if not name:
        return {}
    start = files.components.get(folder)
    if start is None:
        raise SchemaError(f"The types name a file of parameters, {name!r}, and the circuit has no {folder}.")
    path = inner_path(name, start, files.root, "dynamics_params of a type")
    if str(path) not in read:
        read[str(path)] = read_json(path, "The file of parameters")
    return read[str(path)]


def by_value(values: np.ndarray) -> list[tuple[int, np.ndarray]]:
    """Every value and where it stands."""
    order = np.argsort(values, kind="stable")
    kinds, starts = np.unique(values[order], return_index=True)
    return list(zip(kinds.tolist(), np.split(order, starts[1:]), strict=True)) if len(values) else []


def type_columns(table: NodeTable | EdgeTable) -> dict[str, np.ma.MaskedArray]:
    """The columns of the table of types for every row."""
    names = dict.fromkeys(name for row in table.types.values() for name in row)
    kinds, which = np.unique(table.type_id, return_inverse=True)
    found = {}
    for name in names:
        values = [table.types.get(int(kind), {}).get(name) for kind in kinds]
        texts = np.array([*values, None], object)[which]
        found[name] = np.ma.array(texts, mask=[x is None for x in texts])
    return found


def put_column(
    into: dict[str, np.ma.MaskedArray],
    name: str,
    values: np.ma.MaskedArray,
    rows: slice,
    size: int,
    taken: Mapping[str, Any],
    told: Told,
    table: str,
) -> None:
    """A column's values in its rows, under a name of its own."""
    if values.ndim != 1:
        told.add("warning", "attribute_not_kept", table, "have an attribute with several values", name, len(values))
        return
    name = f"{name}_" if name in taken else name
    kind = values.dtype
    if name not in into:
        into[name] = np.ma.masked_all(size, kind)
    elif into[name].dtype != kind:
        into[name] = widened(into[name], kind)
    into[name][rows] = values


def arrow_columns(columns: Mapping[str, np.ma.MaskedArray]) -> dict[str, pa.Array]:
    found = {}
    for name, values in columns.items():
        mask = np.ma.getmaskarray(values)
        data = values.data
        if data.dtype == object:
            found[name] = pa.array(
                [None if hidden else str(x) for x, hidden in zip(data, mask, strict=True)], pa.string()
            )
        else:
            found[name] = pa.array(data, mask=mask)
    return found
