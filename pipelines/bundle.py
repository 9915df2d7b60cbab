"""The model bundle: a folder that holds a model, where it came from, and the means to notice any change.

- ``manifest.json``: format name and version, library versions, provenance, the connectome's digest, files' SHA-256
- ``neurons.parquet``, ``edges.parquet``: the connectome's tables, with the model's values as columns ``model.*``
- ``spec.toml``: the `ModelSpec` that turns the connectome into the network
- ``arrays.npz``: the parameters (``params/<owner>/<name>``) and the network's structure (``structure/...``)

A bundle is read back by building the network from the connectome and the spec, comparing its structure with the stored
one to the bit, and setting the stored parameters: so the model that is loaded is the one that was written, or an error.
"""

from __future__ import annotations

import ast
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from connectofit.builders import ModelSpec, build
from connectofit.connectome import KINDS, Connectome
from connectofit.connectome.declared_sizes import check_parquet
from connectofit.connectome.errors import (
    ConnectofitError,
    FolderError,
    MissingFileError,
    SchemaError,
    SettingError,
    offenders,
)
from connectofit.connectome.toml_files import read_toml
from connectofit.pipelines import folders
from connectofit.pipelines.arrays import flatten_params, nest_params, read_arrays, write_arrays
from connectofit.pipelines.keys import library_versions
from connectofit.sim import Network, Projection

FORMAT = "connectofit model bundle"
VERSION = 1
FILES = ("arrays.npz", "edges.parquet", "neurons.parquet", "spec.toml")
PREFIX = "model."
"""What the columns with the model's values begin with, in both tables."""


@dataclass(frozen=True, eq=False)
class Model:
    """A model that can be simulated and exported: the network, the connectome and the spec that it was built from.

    `provenance` says where it came from, as plain values; `load_model` fills it from the bundle.
    """

    network: Network
    connectome: Connectome
    spec: ModelSpec
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def tables(self) -> tuple[pa.Table, pa.Table]:
        """Neurons and edges in the connectome's order, with the model's values as columns ``model.*``.

        Neurons: ``model.population`` and a column for each parameter of its model. Edges: ``model.projection``,
        ``model.log_gain`` and ``model.weight``, the effective weight; ``model.reverse_...`` for couplings against an
        edge's direction, if the model has any. Neurons and edges outside the model have nulls.

        Raises `SettingError` if the connectome has columns of such names itself.
        """
        neurons, edges = self.connectome.neurons, self.connectome.edge_table()
        taken = [name for name in (*neurons.column_names, *edges.column_names) if name.startswith(PREFIX)]
        if taken:
            raise SettingError(
                f"The connectome has columns {offenders(taken)}, as if from an exported model; names that begin with "
                f"{PREFIX!r} are kept for the model's values. Drop or rename them."
            )
        for name, values in _neuron_values(self.network, self.connectome).items():
            neurons = neurons.append_column(PREFIX + name, values)
        for name, values in _edge_values(self.network, self.connectome).items():
            edges = edges.append_column(PREFIX + name, values)
        return neurons, edges

    def graph(self) -> Connectome:
        """The connectome with the model's values among the columns of its neurons and edges."""
        neurons, edges = self.tables()
        mine = [name for name in edges.column_names if name.startswith(PREFIX)]
        columns = self.connectome.edge_columns
        for name in mine:
            columns = columns.append_column(name, edges.column(name)) if columns.num_columns else edges.select([name])
        return replace(self.connectome, neurons=neurons, edge_columns=columns)


def write_bundle(model: Model, path: str | Path) -> Path:
    """Write a bundle to a new or empty folder; it appears whole or not at all. Returns its path.

    Raises `FolderError` if the folder holds something, `SettingError` as `Model.tables`, `SchemaError` if the model's
    network is not the one that its connectome and spec give, since then the bundle could not be read back.
    """
    final = Path(path)
    if final.exists() and (not final.is_dir() or any(final.iterdir())):
        raise FolderError(f"The bundle cannot be written to {str(final)!r}: it is not empty. Name a new folder.")
    _compare(_structure(build(model.connectome, model.spec)), _structure(model.network), "its connectome and spec")
    folders.make_folder(final.parent)
    temporary = folders.temporary_folder(final)
    try:
        neurons, edges = model.tables()
        index = {"pre_index": pa.array(model.connectome.pre), "post_index": pa.array(model.connectome.post)}
        for i, (name, values) in enumerate(index.items()):
            edges = edges.add_column(i, PREFIX + name, values)
        pq.write_table(neurons, temporary / "neurons.parquet")
        pq.write_table(edges, temporary / "edges.parquet")
        model.spec.dump(temporary / "spec.toml")
        write_arrays(temporary / "arrays.npz", {**flatten_params(model.network.params), **_structure(model.network)})
        facts = {
            "format": FORMAT,
            "version": VERSION,
            "libraries": library_versions(),
            "connectome": {"digest": model.connectome.digest(), "only_kind": model.connectome.only_kind},
            "provenance": dict(model.provenance),
        }
        folders.seal(temporary, facts)
        folders.verify(temporary)
        if final.exists():
            final.rmdir()
        folders.publish(temporary, final)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return final


def load_model(path: str | Path) -> Model:
    """The model in a bundle; simulating it gives, on the same machine, bit for bit what it gave when it was written.

    Raises `MissingFileError` if there is no bundle, `DamagedError` if a file is missing, added, changed or a link,
    `SchemaError` if the folder is something else, written by a newer version, or built otherwise by this version.
    """
    folder = Path(path)
    if not (folder / folders.MANIFEST).is_file():
        raise MissingFileError(f"{str(folder)!r} is no model bundle: there is no {folders.MANIFEST} in it.")
    manifest = folders.read_manifest(folder)
    if manifest.get("format") != FORMAT:
        raise SchemaError(f"{str(folder)!r} is no model bundle: its manifest says format {manifest.get('format')!r}.")
    if not isinstance(manifest.get("version"), int) or manifest["version"] > VERSION:
        raise SchemaError(
            f"The bundle {str(folder)!r} has version {manifest.get('version')!r}; this connectofit reads up to "
            f"{VERSION}. Update connectofit."
        )
    strange = sorted(set(manifest["files"]) ^ set(FILES))
    if strange:
        raise SchemaError(
            f"A model bundle lists the files {', '.join(FILES)} and no others; the one in {str(folder)!r} differs in "
            f"{offenders(strange)}. Do not use it unless you trust where it comes from."
        )
    folders.verify(folder)
    connectome = _read_connectome(folder, manifest)
    # Not ModelSpec.load, which opens the files of fitted cells that a specification may name, wherever they are.
    spec = ModelSpec.from_dict(read_toml(folder / "spec.toml"))
    network = build(connectome, spec)
    arrays = read_arrays(folder / "arrays.npz")
    stored = {name: value for name, value in arrays.items() if name.startswith("structure/")}
    _compare(stored, _structure(network), f"the bundle {str(folder)!r}")
    return Model(network.with_params(nest_params(arrays)), connectome, spec, manifest.get("provenance", {}))


def _read_connectome(folder: Path, manifest: Mapping[str, Any]) -> Connectome:
    try:
        connectome = _tables_as_connectome(folder, manifest["connectome"]["only_kind"])
        known = manifest["connectome"]["digest"]
    except ConnectofitError:
        raise
    except (OSError, ValueError, KeyError, TypeError) as error:  # what Arrow raises, and columns that are not there
        raise SchemaError(f"The connectome in {str(folder)!r} cannot be read: {error!r:.300}.") from error
    if connectome.digest() != known:
        raise SchemaError(f"The connectome in {str(folder)!r} is not the one that its manifest names.")
    return connectome


def _tables_as_connectome(folder: Path, only_kind: Any) -> Connectome:
    for name in ("neurons.parquet", "edges.parquet"):
        check_parquet(folder / name)
    neurons, edges = pq.read_table(folder / "neurons.parquet"), pq.read_table(folder / "edges.parquet")
    own = ["pre", "post", "kind", "count", "sign"]
    further = [name for name in edges.column_names if name not in own and not name.startswith(PREFIX)]
    return Connectome.from_edges(
        neurons.select([name for name in neurons.column_names if not name.startswith(PREFIX)]),
        pre=edges.column(f"{PREFIX}pre_index").to_numpy(),
        post=edges.column(f"{PREFIX}post_index").to_numpy(),
        count=edges.column("count").to_numpy(),
        kind=np.array([KINDS.index(kind) for kind in edges.column("kind").to_pylist()], np.int8),
        sign=edges.column("sign").to_numpy(),
        edge_columns=edges.select(further) if further else None,
        only_kind=only_kind,
    )


def _structure(network: Network) -> dict[str, np.ndarray]:
    """The arrays, names and models of a network, without its parameters' values."""
    arrays: dict[str, np.ndarray] = {}
    for population in network.populations:
        place = f"structure/population/{population.name}"
        arrays[f"{place}/model"] = np.array(repr(population.model))
        arrays[f"{place}/ids"] = np.array(population.ids)
        arrays[f"{place}/types"] = np.array([repr(item) for item in population.types])
        arrays[f"{place}/type_index"] = np.asarray(population.type_index)
    for projection in network.projections:
        place = f"structure/projection/{projection.name}"
        arrays[f"{place}/synapse"] = np.array(repr(projection.synapse))
        arrays[f"{place}/ends"] = np.array([projection.pre, projection.post])
        arrays[f"{place}/delay_ms"] = np.array(projection.delay_ms)
        arrays[f"{place}/reverse"] = np.array(projection.reverse)
        arrays[f"{place}/types"] = np.array([repr(item) for item in projection.types])
        for name in ("indptr", "post_index", "base_weight", "type_index"):
            arrays[f"{place}/{name}"] = np.asarray(getattr(projection, name))
        if projection.plasticity is not None:
            arrays[f"{place}/plasticity"] = np.array(repr(projection.plasticity))
        if projection.edge_delay_ms is not None:
            arrays[f"{place}/edge_delay_ms"] = np.asarray(projection.edge_delay_ms)
    return arrays


_ADDED: Mapping[str, np.ndarray] = {"reverse": np.array(False)}
"""What the structure had not when the first bundles were written, as it was then."""
_LONGEST = 10_000  # characters of a model's text that are looked at


def _compare(stored: Mapping[str, np.ndarray], built: Mapping[str, np.ndarray], what: str) -> None:
    """Raise `SchemaError` unless both structures are equal to the bit, and models in all settings that are stored:
    what a model got later is at its default, which is what the model did before."""
    different = sorted(set(stored) - set(built))
    for name in sorted(built):
        other = built[name]
        one = stored[name] if name in stored else _ADDED.get(name.rpartition("/")[2])
        if one is None or not (_equal(one, other) or (_names_model(name) and _within(str(one), str(other)))):
            different.append(name)
    if different:
        raise SchemaError(
            f"The network that this connectofit builds differs from that of {what} in {offenders(different)}. "
            f"Use the version that wrote it (see `libraries` in the manifest), or build the model again."
        )


def _neuron_values(network: Network, connectome: Connectome) -> dict[str, pa.Array]:
    """Population and parameters of each neuron, null where it has none; in the connectome's order."""
    n = connectome.n_neurons
    population_of = np.full(n, None, object)
    values: dict[str, np.ndarray] = {}
    for population in network.populations:
        rows = connectome.index_of(population.ids)
        population_of[rows] = population.name
        for name, value in network.params.get(population.name, {}).items():
            column = values.setdefault(name, np.full(n, np.nan))
            column[rows] = np.asarray(value)[np.asarray(population.type_index)]
    return {
        "population": pa.array(population_of, pa.string()),
        **{name: pa.array(value, from_pandas=True) for name, value in values.items()},
    }


def _edge_values(network: Network, connectome: Connectome) -> dict[str, pa.Array]:
    """Projection, log gain and effective weight of each edge, null where it has none; in the connectome's order.

    Couplings against the direction of an edge stand in columns of their own, ``reverse_...``.
    """
    e = connectome.n_edges
    columns: dict[str, pa.Array] = {}
    for prefix, reverse in (("", False), ("reverse_", True)):
        projections = [projection for projection in network.projections if projection.reverse == reverse]
        if reverse and not projections:
            continue
        projection_of = np.full(e, None, object)
        log_gain, weight = np.full(e, np.nan), np.full(e, np.nan)
        for projection in projections:
            rows = _edge_rows(network, connectome, projection)
            gains = np.asarray(network.params[projection.name]["log_gain"], np.float64)
            projection_of[rows] = projection.name
            log_gain[rows] = gains[np.asarray(projection.type_index)]
            weight[rows] = np.asarray(projection.base_weight, np.float64) * np.exp(log_gain[rows])
        columns[f"{prefix}projection"] = pa.array(projection_of, pa.string())
        columns[f"{prefix}log_gain"] = pa.array(log_gain, from_pandas=True)
        columns[f"{prefix}weight"] = pa.array(weight, from_pandas=True)
    return columns


def _edge_rows(network: Network, connectome: Connectome, projection: Projection) -> np.ndarray:
    """The connectome's row of each edge of a projection: gap junctions are electrical edges, synapses chemical ones."""
    kind = KINDS.index("electrical" if projection.synapse.electrical else "chemical")
    pre = connectome.index_of(network.population(projection.pre).ids)[projection.pre_index]
    post = connectome.index_of(network.population(projection.post).ids)[np.asarray(projection.post_index)]
    if projection.reverse:
        pre, post = post, pre
    n, k = connectome.n_neurons, len(KINDS)
    key = (connectome.pre.astype(np.int64) * n + connectome.post) * k + connectome.kind
    wanted = (pre * n + post) * k + kind
    rows = np.searchsorted(key, wanted)
    if len(wanted) and (rows.max(initial=0) >= len(key) or not np.array_equal(key[rows], wanted)):
        raise SchemaError(
            f"Projection {projection.name!r} has edges that the connectome has not as {KINDS[kind]} ones, so its "
            f"values cannot stand in the table of edges."
        )
    return rows


def _equal(one: np.ndarray, other: np.ndarray) -> bool:
    return one.dtype == other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes()


def _names_model(name: str) -> bool:
    return name.rpartition("/")[2] in ("model", "synapse", "plasticity")


def _within(stored: str, built: str) -> bool:
    """Whether a model's text, such as ``LIF(surrogate=Arctan(width_mV=5.0))``, has nothing that the other has not."""
    if max(len(stored), len(built)) > _LONGEST:
        return False
    try:
        one, other = (ast.parse(text, mode="eval").body for text in (stored, built))
        return _call_within(one, other)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False


def _call_within(one: ast.expr, other: ast.expr) -> bool:
    if not (isinstance(one, ast.Call) and isinstance(other, ast.Call)) or one.args or other.args:
        return ast.dump(one) == ast.dump(other)
    known = {keyword.arg: keyword.value for keyword in other.keywords}
    return ast.dump(one.func) == ast.dump(other.func) and all(
        keyword.arg in known and _call_within(keyword.value, known[keyword.arg]) for keyword in one.keywords
    )
