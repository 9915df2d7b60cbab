"""A bundle gives back the model that was written, to the bit, or an error; exports hold its values."""

from __future__ import annotations

import io
import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import networkx as nx
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from connectofit.builders import ModelSpec, build
from connectofit.connectome import read_connectome
from connectofit.connectome.errors import FolderError, MissingFileError, SchemaError, SettingError, UnknownNameError
from connectofit.pipelines.bundle import Model, load_model, write_bundle
from connectofit.pipelines.export import export
from connectofit.pipelines.folders import DamagedError, with_seal
from connectofit.sim import Network, Step, simulate

SPEC = """
[[neurons]]
name = "neurons"
model = "graded_leaky"
tie_by = "cell_class"

[[edges]]
name = "chemical"
where = "kind == 'chemical'"
synapse = "graded"
gain = 0.1
tie_by = "pre.cell_class"

[[edges]]
name = "electrical"
where = "kind == 'electrical'"
synapse = "gap_junction"
gain = 0.2
tie_by = ["pre.cell_class", "post.cell_class"]
"""


ARCHIVES = Path(__file__).parents[1] / "archives"


def make_model(tmp_path: Path, ids: list[object], columns: dict[str, list[object]] | None = None) -> Model:
    """A network on three neurons with parameters that are not the spec's."""
    a, b, c = ids
    neurons = pd.DataFrame({"id": ids, "cell_class": ["X", "X", "Y"], **(columns or {})})
    edges = pd.DataFrame(
        {
            "pre": [a, b, c, a, b],
            "post": [b, c, a, c, c],
            "count": [3, 1, 2, 4, 5],
            "kind": ["chemical"] * 3 + ["electrical"] * 2,
            "sign": ["+", "-", "+", None, None],
            "confidence": [0.9, 0.8, 0.7, None, 0.5],
        }
    )
    connectome, _ = read_connectome(edges, neurons)
    (tmp_path / "spec.toml").write_text(SPEC)
    spec = ModelSpec.load(tmp_path / "spec.toml")
    network = build(connectome, spec)
    generator = np.random.default_rng(5)
    changed = {
        owner: {
            name: np.asarray(value) + (generator.uniform(0.1, 0.9, np.shape(value)).astype(np.float32))
            for name, value in values.items()
            if name in ("log_gain", "tau_m_ms")
        }
        for owner, values in network.params.items()
    }
    return Model(network.with_params(changed), connectome, spec, {"recipe": "test", "seed": 5})


@pytest.fixture
def model(tmp_path) -> Model:
    return make_model(tmp_path, ["AVAL", "<b>&'\"", "PVC"])


@pytest.fixture
def bundle(model, tmp_path) -> Path:
    return write_bundle(model, tmp_path / "bundle")


def voltages(network: Network, first: object) -> np.ndarray:
    return simulate(network, duration_ms=50, dt_ms=1, stimuli=[Step(first, 1.0)], record=["v"]).trace("v")


def test_a_loaded_model_simulates_bit_for_bit_the_same(model, bundle):
    loaded = load_model(bundle)
    before, after = (voltages(m.network, "AVAL") for m in (model, loaded))
    assert np.ptp(before) > 0.1
    assert before.tobytes() == after.tobytes()


def test_a_loaded_model_is_the_one_that_was_written(model, bundle):
    loaded = load_model(bundle)
    assert loaded.connectome.digest() == model.connectome.digest()
    assert loaded.provenance == {"recipe": "test", "seed": 5}
    assert loaded.spec == model.spec
    for owner, values in model.network.params.items():
        for name, value in values.items():
            stored = np.asarray(loaded.network.params[owner][name])
            assert stored.dtype == np.asarray(value).dtype
            assert stored.tobytes() == np.asarray(value).tobytes()


def test_integer_ids_beyond_2_to_53_come_back_exactly(tmp_path):
    ids = [2**53 + 1, 2**60 + 7, -5]
    loaded = load_model(write_bundle(make_model(tmp_path, ids), tmp_path / "bundle"))
    assert sorted(loaded.connectome.ids) == sorted(ids)
    assert sorted(loaded.network.ids) == sorted(ids)


def test_equal_models_give_equal_bytes(model, bundle, tmp_path):
    other = write_bundle(model, tmp_path / "other")
    names = sorted(path.name for path in bundle.iterdir())
    assert names == ["arrays.npz", "edges.parquet", "manifest.json", "neurons.parquet", "spec.toml"]
    for name in names:
        assert (bundle / name).read_bytes() == (other / name).read_bytes()


def test_the_tables_hold_the_fitted_values_of_each_neuron_and_edge(model, bundle):
    network = model.network
    neurons = pq.read_table(bundle / "neurons.parquet").to_pandas().set_index("id")
    edges = pq.read_table(bundle / "edges.parquet").to_pandas().set_index(["pre", "post", "kind"])
    checked = 0
    for population in network.populations:
        for place, neuron in enumerate(population.ids):
            value = network.params[population.name]["tau_m_ms"][population.type_index[place]]
            assert neurons.loc[neuron, "model.tau_m_ms"] == value
            checked += 1
    for projection in network.projections:
        pre, post = network.population(projection.pre), network.population(projection.post)
        kind = "electrical" if projection.synapse.kind == "gap_junction" else "chemical"
        weights = projection.weight(np.asarray(network.params[projection.name]["log_gain"], np.float32))
        for i in range(projection.n_edges):
            row = edges.loc[pre.ids[projection.pre_index[i]], post.ids[projection.post_index[i]], kind]
            assert row["model.projection"] == projection.name
            assert row["model.weight"] == pytest.approx(float(weights[i]), rel=1e-6)
            checked += 1
    assert checked == 3 + 3 + 4


def test_the_manifest_names_format_versions_and_origin(bundle):
    manifest = json.loads((bundle / "manifest.json").read_text())
    assert (manifest["format"], manifest["version"]) == ("connectofit model bundle", 1)
    assert {"connectofit", "jax", "numpy"} <= set(manifest["libraries"])
    assert manifest["provenance"] == {"recipe": "test", "seed": 5}
    assert all(len(entry["sha256"]) == 64 for entry in manifest["files"].values())


@pytest.mark.parametrize("name", ["arrays.npz", "edges.parquet", "neurons.parquet", "spec.toml"])
def test_a_changed_byte_is_refused(bundle, name):
    data = bytearray((bundle / name).read_bytes())
    data[len(data) // 2] ^= 1
    (bundle / name).write_bytes(data)
    with pytest.raises(DamagedError, match=f"{name} has changed"):
        load_model(bundle)


def edit(bundle: Path, **changes: object) -> None:
    manifest = json.loads((bundle / "manifest.json").read_text())
    manifest.update(changes)
    (bundle / "manifest.json").write_text(json.dumps(with_seal(manifest)))


def test_a_manifest_that_was_edited_is_refused_and_one_of_before_seals_is_read(bundle, model):
    path = bundle / "manifest.json"
    manifest = json.loads(path.read_text())
    path.write_text(json.dumps(manifest | {"provenance": {"recipe": "other"}}))
    with pytest.raises(DamagedError, match="has been edited"):
        load_model(bundle)
    path.write_text(json.dumps({key: value for key, value in manifest.items() if key != "seal"}))
    assert load_model(bundle).network.ids == model.network.ids


def test_a_bundle_of_a_newer_version_is_refused(bundle):
    edit(bundle, version=2)
    with pytest.raises(SchemaError, match=r"has version 2.*Update connectofit"):
        load_model(bundle)


def test_a_folder_of_another_format_is_refused(bundle, tmp_path):
    edit(bundle, format="connectofit stage")
    with pytest.raises(SchemaError, match="is no model bundle"):
        load_model(bundle)
    with pytest.raises(MissingFileError, match="is no model bundle"):
        load_model(tmp_path / "nowhere")


@pytest.mark.parametrize("name", ["../secret.txt", "/etc/hostname", "deep/../../secret.txt", "more.txt"])
def test_names_that_lead_elsewhere_are_refused(bundle, name):
    files = json.loads((bundle / "manifest.json").read_text())["files"]
    edit(bundle, files={**files, name: files["spec.toml"]})
    with pytest.raises(SchemaError, match="and no others"):
        load_model(bundle)


def test_a_file_that_is_missing_or_added_is_refused(bundle):
    (bundle / "more.txt").write_text("")
    with pytest.raises(DamagedError, match=r"more\.txt is not in the manifest"):
        load_model(bundle)
    (bundle / "more.txt").unlink()
    (bundle / "arrays.npz").unlink()
    with pytest.raises(DamagedError, match=r"arrays\.npz is missing"):
        load_model(bundle)


def test_a_link_is_refused_even_to_the_right_content(bundle, tmp_path):
    shutil.move(bundle / "spec.toml", tmp_path / "elsewhere.toml")
    os.symlink(tmp_path / "elsewhere.toml", bundle / "spec.toml")
    with pytest.raises(DamagedError, match="link"):
        load_model(bundle)


def rewrite(bundle: Path, name: str, data: bytes) -> None:
    """Change a file and its hash in the manifest, as someone would who wants to hide it."""
    import hashlib

    (bundle / name).write_bytes(data)
    files = json.loads((bundle / "manifest.json").read_text())["files"]
    edit(bundle, files={**files, name: {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}})


def test_pickled_arrays_are_never_opened(bundle, tmp_path):
    np.savez(tmp_path / "evil.npz", **{"params/neurons/tau_m_ms": np.array([object()])})
    rewrite(bundle, "arrays.npz", (tmp_path / "evil.npz").read_bytes())
    with pytest.raises(SchemaError, match="does not hold plain arrays"):
        load_model(bundle)


def test_an_exchanged_connectome_is_refused(bundle, model, tmp_path):
    other = replace(model, connectome=model.connectome.with_edges(count=model.connectome.count + 1))
    other = replace(other, network=build(other.connectome, other.spec))
    exchanged = write_bundle(other, tmp_path / "other")
    rewrite(bundle, "edges.parquet", (exchanged / "edges.parquet").read_bytes())
    with pytest.raises(SchemaError, match="not the one that its manifest names"):
        load_model(bundle)


def test_a_network_that_its_spec_does_not_give_is_not_written(model, tmp_path):
    projection = model.network.projections[0]
    weight = np.asarray(projection.base_weight) * 2
    network = replace(
        model.network, projections=(replace(projection, base_weight=weight), *model.network.projections[1:])
    )
    with pytest.raises(SchemaError, match="base_weight"):
        write_bundle(replace(model, network=network), tmp_path / "bundle")
    assert not (tmp_path / "bundle").exists()


def test_a_folder_that_holds_something_is_refused(model, tmp_path):
    (tmp_path / "taken").mkdir()
    write_bundle(model, tmp_path / "taken")
    with pytest.raises(FolderError, match="not empty"):
        write_bundle(model, tmp_path / "taken")
    (tmp_path / "graph.graphml").write_text("mine")
    with pytest.raises(FolderError, match="exists already"):
        export(model, tmp_path / "graph.graphml", format="graphml")
    assert (tmp_path / "graph.graphml").read_text() == "mine"


def test_graphml_is_read_back_by_networkx_with_the_fitted_values(model, tmp_path):
    graph = nx.read_graphml(export(model, tmp_path / "graph.graphml", format="graphml"))
    assert set(graph) == {"AVAL", "<b>&'\"", "PVC"}
    assert graph.number_of_edges() == 3 + 4
    edges = {(row["pre"], row["post"], row["kind"]): row for row in model.tables()[1].to_pylist()}
    for pre, post, key, data in graph.edges(keys=True, data=True):
        row = edges[pre, post, key]
        assert data["count"] == row["count"]
        assert data["model.weight"] == pytest.approx(row["model.weight"])
        assert data.get("confidence") == row["confidence"]


def test_node_link_json_is_read_back_by_networkx(model, tmp_path):
    path = export(model, tmp_path / "graph.json", format="networkx")
    graph = nx.node_link_graph(json.loads(path.read_text()), edges="edges")
    expected = model.graph().to_networkx()
    assert nx.utils.graphs_equal(graph, expected)


def test_parquet_holds_both_tables(model, tmp_path):
    folder = export(model, tmp_path / "tables", format="parquet")
    assert pq.read_table(folder / "neurons.parquet").column("id").to_pylist() == list(model.connectome.ids)
    assert pq.read_table(folder / "edges.parquet").num_rows == 7


def test_names_that_xml_cannot_hold_are_refused_and_nothing_is_left(tmp_path):
    model = make_model(tmp_path, ["a", "b", "c"], {"note": ["x", "y\x00", "z"]})
    with pytest.raises(SettingError, match="control characters"):
        export(model, tmp_path / "graph.graphml", format="graphml")
    assert not list(tmp_path.glob("*graphml*"))


def test_a_misspelt_format_is_refused(model, tmp_path):
    with pytest.raises(UnknownNameError, match="Did you mean 'graphml'"):
        export(model, tmp_path / "x", format="grahpml")


@pytest.mark.parametrize(("name", "model"), [("lif", "LIF"), ("graded", "GradedLeaky")])
def test_the_first_bundles_are_still_read(name, model):
    read = load_model(ARCHIVES / f"bundle-v1-{name}")
    (population,), (projection,) = read.network.populations, read.network.projections
    assert type(population.model).__name__ == model
    assert population.ids == ("a", "b", "c")
    assert not projection.reverse
    assert np.asarray(projection.post_index).tolist() == [1, 2, 0]
    assert np.asarray(projection.base_weight).tolist() == [1.0, 2.0, 3.0]


def test_a_model_that_was_written_with_other_settings_is_refused(model, bundle):
    arrays = dict(np.load(bundle / "arrays.npz", allow_pickle=False))
    (place,) = (name for name in arrays if name.endswith("/model"))
    arrays[place] = np.array(str(arrays[place])[:-1] + ", strange=1)")
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    rewrite(bundle, "arrays.npz", buffer.getvalue())
    with pytest.raises(SchemaError, match="differs from that of the bundle"):
        load_model(bundle)


def test_columns_that_are_named_as_the_models_values_are_refused(tmp_path):
    model = make_model(tmp_path, ["a", "b", "c"], {"model.population": ["x", "y", "z"]})
    with pytest.raises(SettingError, match=r"'model\.population'.*Drop or rename"):
        write_bundle(model, tmp_path / "out")
    assert not (tmp_path / "out").exists()
