"""The files of a SONATA circuit as they stand: configuration, tables of types, nodes and edges with their attributes.

(Dai et al. 2020, PLoS Comput Biol 16:e1007696.) Nothing is interpreted here but the layout. A configuration says where
its files are, and comes from a stranger: only files within its own folder, or a folder that the caller names, are
opened.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int

from connectofit.connectome.errors import MissingFileError, SchemaError, offenders
from connectofit.connectome.hdf5_files import hdf5_file, read_dataset
from connectofit.connectome.json_files import read_json

_WHAT = "Reading SONATA circuits"
_MAX_TABLE_BYTES = 256 * 2**20
_LIBRARY = "@library"
_EMPTY = ("", "NULL", "NONE", "NA")
_DYNAMICS = "dynamics_params"


@dataclass(frozen=True, eq=False)
class NodeTable:
    """A population of nodes. attributes: name to [node], masked where a node has none; dynamics: those of the group
    `dynamics_params`. types: rows of the table of types by id."""

    name: str
    type_id: Int[np.ndarray, " node"]
    attributes: Mapping[str, np.ma.MaskedArray]
    dynamics: Mapping[str, np.ma.MaskedArray]
    types: Mapping[int, Mapping[str, str]]

    def __len__(self) -> int:
        return len(self.type_id)


@dataclass(frozen=True, eq=False)
class EdgeTable:
    """A population of edges: rows of nodes in the populations `source` and `target`; the rest as in `NodeTable`."""

    name: str
    source: str
    target: str
    source_row: Int[np.ndarray, " edge"]
    target_row: Int[np.ndarray, " edge"]
    type_id: Int[np.ndarray, " edge"]
    attributes: Mapping[str, np.ma.MaskedArray]
    dynamics: Mapping[str, np.ma.MaskedArray]
    types: Mapping[int, Mapping[str, str]]


@dataclass(frozen=True, eq=False)
class CircuitFiles:
    """All of a circuit. components: the folders of parameters by name; unused: sections that say nothing about it."""

    root: Path
    nodes: Mapping[str, NodeTable]
    edges: tuple[EdgeTable, ...]
    components: Mapping[str, Path]
    unused: tuple[str, ...] = field(default=())


def read_circuit_files(config: Path, root: Path | None) -> CircuitFiles:
    """Read the circuit of a configuration, of the circuit itself or of a simulation that names one.

    root: the folder that all files have to be in; the configuration's own where None.
    Raises `MissingFileError`, `SchemaError` for a layout that is none of SONATA's and for files outside of `root`,
    `MissingExtraError` without h5py.
    """
    inside = (config.parent if root is None else root).resolve()
    unused: list[str] = []
    settings, config = _configuration(config, inside, unused)
    unused += [name for name in settings if name not in ("manifest", "networks", "components", "version", "network")]
    manifest = _manifest(settings.get("manifest", {}), config)

    def place(text: Any, what: str) -> Path:
        return inner_path(_expanded(text, manifest, config, what), config.parent, inside, f"{what} of {config}")

    networks = settings.get("networks")
    if not isinstance(networks, dict) or not isinstance(networks.get("nodes"), list):
        raise SchemaError(f"The circuit {config} has no list networks.nodes; it has {offenders(sorted(settings))}.")
    nodes: dict[str, NodeTable] = {}
    for entry in networks["nodes"]:
        file, types = _pair(entry, "nodes", config)
        table = read_types(place(types, "node_types_file"), "node_type_id") if types else {}
        for population in read_nodes(place(file, "nodes_file"), table):
            if population.name in nodes:
                raise SchemaError(f"The population of nodes {population.name!r} stands twice in {config}.")
            nodes[population.name] = population
    edges: list[EdgeTable] = []
    given = networks.get("edges") or []
    if not isinstance(given, list):
        raise SchemaError(f"networks.edges of {config} has to be a list; found {given!r:.80}.")
    for entry in given:
        file, types = _pair(entry, "edges", config)
        table = read_types(place(types, "edge_types_file"), "edge_type_id") if types else {}
        edges += read_edges(place(file, "edges_file"), table, nodes)
    folders = settings.get("components") or {}
    if not isinstance(folders, dict):
        raise SchemaError(f"The components of {config} have to be an object of folders; found {folders!r:.80}.")
    components = {name: place(folder, name) for name, folder in folders.items()}
    return CircuitFiles(inside, nodes, tuple(edges), components, tuple(unused))


def inner_path(text: str, start: Path, root: Path, what: str) -> Path:
    """A path that a file names, from the folder `start` on. Raises `SchemaError` if it leads out of `root`, also by a
    link."""
    try:
        path = (start / text).resolve()
        path.exists()
    except (OSError, ValueError) as error:  # too long, a NUL, or text that is no name here
        raise SchemaError(f"The {what} is {text[:80]!r}, which no file can be called ({error!r:.80}).") from None
    if not path.is_relative_to(root):
        raise SchemaError(
            f"The {what} is {text!r}, which is outside of {str(root)!r}: files of a circuit could so be any on this "
            "computer. Put it into that folder, or name the folder that may be read with root=..."
        )
    return path


def _configuration(config: Path, inside: Path, unused: list[str]) -> tuple[dict[str, Any], Path]:
    """The settings that name the networks, and the file that has them."""
    for _ in range(3):
        settings = read_json(config, "The configuration")
        named = settings.get("network")
        if "networks" in settings or not isinstance(named, str):
            return settings, config
        unused += [name for name in settings if name not in ("network", "manifest", "version")]
        text = _expanded(named, _manifest(settings.get("manifest", {}), config), config, "network")
        config = inner_path(text, config.parent, inside, f"network of {config}")
    raise SchemaError(f"The configuration {config} names another one, and that another: a circuit is named once.")


_MOST_VARIABLES = 50


def _manifest(given: Any, config: Path) -> dict[str, str]:
    """Variables with those inside of them replaced."""
    if not isinstance(given, dict) or not all(isinstance(value, str) for value in given.values()):
        raise SchemaError(f"The manifest of {config} has to be an object of texts; found {given!r:.80}.")
    if len(given) > _MOST_VARIABLES:
        raise SchemaError(f"The manifest of {config} has {len(given)} variables, of which {_MOST_VARIABLES} are read.")
    names = {name.lstrip("$").strip("{}"): value for name, value in given.items()}
    for _ in range(len(names)):
        names = {name: _replaced(value, names) for name, value in names.items()}
    return names


def _replaced(text: str, names: Mapping[str, str]) -> str:
    for name in sorted(names, key=len, reverse=True):
        for written in (f"${{{name}}}", f"${name}"):
            text = text.replace(written, names[name]) if len(text) < 10_000 else text
    return text


def _expanded(text: Any, manifest: Mapping[str, str], config: Path, what: str) -> str:
    if not isinstance(text, str) or not text:
        raise SchemaError(f"The {what} of {config} has to be a path; found {text!r:.80}.")
    found = _replaced(text, manifest)
    if "$" in found:
        raise SchemaError(
            f"The {what} of {config} is {text!r}, with a variable that its manifest does not have; it has "
            f"{offenders(sorted(manifest))}."
        )
    return found


def _pair(entry: Any, kind: str, config: Path) -> tuple[Any, Any]:
    if not isinstance(entry, dict) or f"{kind}_file" not in entry:
        raise SchemaError(f"Every entry of networks.{kind} in {config} needs a {kind}_file; found {entry!r:.80}.")
    types = entry.get(f"{kind[:-1]}_types_file")
    return entry[f"{kind}_file"], None if types in _EMPTY else types


def read_types(path: Path, key: str) -> dict[int, dict[str, str]]:
    """A table of types, parted by blanks: rows by id, without what is NULL."""
    if not path.is_file():
        raise MissingFileError(f"There is no table of types {str(path)!r}. Check the path.")
    if path.stat().st_size > _MAX_TABLE_BYTES:
        raise SchemaError(f"The table of types {str(path)!r} has more than {_MAX_TABLE_BYTES:,} bytes.")
    found: dict[int, dict[str, str]] = {}
    try:
        with path.open(newline="", encoding="utf-8") as handle:
            reader = csv.DictReader(handle, delimiter=" ", skipinitialspace=True, restkey="")
            if key not in (reader.fieldnames or ()):
                raise SchemaError(
                    f"The table of types {str(path)!r} has no column {key!r}; it has {reader.fieldnames}."
                )
            for row in reader:
                number = int(row[key] or "")
                if number in found:
                    raise SchemaError(
                        f"The type {number} stands twice in {str(path)!r}, the second time in row {reader.line_num}."
                    )
                found[number] = {
                    name: value
                    for name, value in row.items()
                    if name and name != key and isinstance(value, str) and value.upper() not in _EMPTY
                }
    except (ValueError, csv.Error) as error:
        if isinstance(error, SchemaError):
            raise
        raise SchemaError(f"{str(path)!r} is no table of types parted by blanks: {error}.") from None
    return found


def read_nodes(path: Path, types: Mapping[int, Mapping[str, str]]) -> list[NodeTable]:
    """The populations of a file of nodes, in the order of their ids."""
    found = []
    with hdf5_file(path, "sonata", _WHAT) as file:
        for name, group in _populations(file, "nodes", path):
            type_id = _column(group, "node_type_id", path, None)
            n = len(type_id)
            order = np.arange(n)
            if "node_id" in group:
                ids = _column(group, "node_id", path, n)
                order = np.argsort(ids, kind="stable")
                if not np.array_equal(ids[order], np.arange(n)):
                    raise SchemaError(
                        f"The node_id of population {name!r} in {path} have to be 0 to {n - 1}, each once."
                    )
            attributes, dynamics = _attributes(group, "node", n, path)
            found.append(NodeTable(name, type_id[order], _taken(attributes, order), _taken(dynamics, order), types))
    return found


def read_edges(path: Path, types: Mapping[int, Mapping[str, str]], nodes: Mapping[str, NodeTable]) -> list[EdgeTable]:
    """The populations of a file of edges."""
    found = []
    with hdf5_file(path, "sonata", _WHAT) as file:
        for name, group in _populations(file, "edges", path):
            ends = {}
            n = None
            for end in ("source", "target"):
                rows = _column(group, f"{end}_node_id", path, n)
                n = len(rows)
                population = group[f"{end}_node_id"].attrs.get("node_population", "")
                population = population.decode() if isinstance(population, bytes) else str(population)
                if population not in nodes:
                    raise SchemaError(
                        f"The edges {name!r} of {path} have their {end} in population {population!r}, which the "
                        f"circuit does not have; it has {offenders(sorted(nodes))}."
                    )
                bad = np.flatnonzero((rows < 0) | (rows >= len(nodes[population])))
                if bad.size:
                    shown = [f"edge {k}: {rows[k]}" for k in bad]
                    raise SchemaError(
                        f"The {end}_node_id of edges {name!r} in {path} have to be below {len(nodes[population])}, the "
                        f"nodes of {population!r}; found {offenders(shown)}."
                    )
                ends[end] = (population, rows)
            type_id = _column(group, "edge_type_id", path, n)
            attributes, dynamics = _attributes(group, "edge", len(type_id), path)
            (source, source_row), (target, target_row) = ends["source"], ends["target"]
            found.append(EdgeTable(name, source, target, source_row, target_row, type_id, attributes, dynamics, types))
    return found


def _populations(file: Any, kind: str, path: Path) -> list[tuple[str, Any]]:
    if kind not in file or not hasattr(file[kind], "items"):
        raise SchemaError(f"{path} has no group {kind!r}; it has {offenders(sorted(file))}. Is it a file of {kind}?")
    found = [(name, group) for name, group in file[kind].items() if hasattr(group, "items")]
    if not found:
        raise SchemaError(f"{path} has no population of {kind}.")
    return found


def _column(group: Any, name: str, path: Path, length: int | None) -> np.ndarray:
    """Whole numbers of every row."""
    if name not in group or not hasattr(group[name], "shape"):
        raise SchemaError(f"{group.name} of {path} has no dataset {name!r}; it has {offenders(sorted(group))}.")
    values = read_dataset(group[name], str(path))
    if values.ndim != 1 or values.dtype.kind not in "iu" or (length is not None and len(values) != length):
        raise SchemaError(
            f"{name} of {group.name} in {path} has to hold one whole number a row"
            f"{'' if length is None else f', {length} in all'}; it holds {values.dtype.name} of shape {values.shape}."
        )
    if len(values) and values.max() > np.iinfo(np.int64).max:
        raise SchemaError(f"{name} of {group.name} in {path} has numbers above 2^63: {values.max()}.")
    return values.astype(np.int64)


def _attributes(
    population: Any, kind: str, n: int, path: Path
) -> tuple[dict[str, np.ma.MaskedArray], dict[str, np.ma.MaskedArray]]:
    """The attributes of all groups over all rows, and those of `dynamics_params`."""
    numbers = sorted(name for name in population if name.isdecimal() and hasattr(population[name], "items"))
    if f"{kind}_group_id" in population:
        group_of = _column(population, f"{kind}_group_id", path, n)
        index = _column(population, f"{kind}_group_index", path, n)
    elif len(numbers) > 1:
        raise SchemaError(f"{population.name} of {path} has {len(numbers)} groups and no {kind}_group_id to tell them.")
    else:
        group_of, index = np.full(n, int(numbers[0]) if numbers else 0), np.arange(n)
    plain: dict[str, np.ma.MaskedArray] = {}
    dynamics: dict[str, np.ma.MaskedArray] = {}
    for number in numbers:
        rows = np.flatnonzero(group_of == int(number))
        for into, group in ((plain, population[number]), (dynamics, population[number].get(_DYNAMICS))):
            for name, dataset in group.items() if hasattr(group, "items") else ():
                if hasattr(dataset, "shape"):
                    values = _values(population[number], dataset, name, path)
                    _spread(into, name, values, rows, index[rows], n, f"{dataset.name} of {path}")
    return plain, dynamics


def _values(group: Any, dataset: Any, name: str, path: Path) -> np.ndarray:
    """One value a row: numbers, or text, also where it stands in a library of texts."""
    values = read_dataset(dataset, str(path))
    library = group.get(f"{_LIBRARY}/{name}")
    if library is not None and values.dtype.kind in "iu":
        texts = read_dataset(library, str(path))
        if len(values) and not (values.min() >= 0 and values.max() < len(texts)):
            raise SchemaError(
                f"{dataset.name} of {path} has numbers that its library of {len(texts)} texts does not have."
            )
        values = texts[values]
    if values.dtype.kind in "SO":
        return np.array(
            [x.decode(errors="replace") if isinstance(x, bytes) else str(x) for x in values.ravel()], object
        )
    return values


def _spread(
    into: dict[str, np.ma.MaskedArray],
    name: str,
    values: np.ndarray,
    rows: np.ndarray,
    index: np.ndarray,
    n: int,
    where: str,
) -> None:
    """Put a group's values where its rows are."""
    if values.ndim == 0 or (len(index) and not (index.min() >= 0 and index.max() < len(values))):
        raise SchemaError(f"{where} has {values.size} values, and rows that are beyond them.")
    kind = values.dtype if values.dtype.kind in "iufbO" else np.dtype(object)
    if name not in into:
        into[name] = np.ma.masked_all((n, *values.shape[1:]), kind)
    elif into[name].shape[1:] != values.shape[1:]:
        raise SchemaError(f"{where} has {values.shape[1:]} values a row, and another group {into[name].shape[1:]}.")
    elif into[name].dtype != kind:
        into[name] = widened(into[name], kind)
    into[name][rows] = values[index]


def widened(values: np.ma.MaskedArray, kind: np.dtype) -> np.ma.MaskedArray:
    """The values as a type that holds those of `kind`, too."""
    text = "O" in (values.dtype.kind, kind.kind)
    return np.ma.asarray(values.astype(object if text else np.result_type(values.dtype, kind)))


def _taken(columns: Mapping[str, np.ma.MaskedArray], order: np.ndarray) -> dict[str, np.ma.MaskedArray]:
    return {name: values[order] for name, values in columns.items()}
