"""Bundles of strangers: what leads out of them, is deep or endless is refused; nothing is written elsewhere."""

from __future__ import annotations

import contextlib
import json
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from connectofit.builders import ModelSpec, build
from connectofit.connectome import read_connectome
from connectofit.connectome.errors import ConnectofitError, SchemaError, SettingError, UnknownNameError
from connectofit.pipelines import folders
from connectofit.pipelines.bundle import Model, load_model, write_bundle

SPEC = {
    "neurons": [{"name": "neurons", "model": "lif"}],
    "edges": [{"name": "edges", "synapse": "exponential", "unknown_sign": 1}],
}


@pytest.fixture
def bundle(tmp_path) -> Path:
    edges = pd.DataFrame({"pre": ["a", "b", "c"], "post": ["b", "c", "a"], "count": [1, 2, 3]})
    connectome, _ = read_connectome(edges)
    spec = ModelSpec.from_dict(SPEC)
    return write_bundle(Model(build(connectome, spec), connectome, spec), tmp_path / "in" / "bundle")


def reseal(bundle: Path, files: dict[str, object] | None = None) -> None:
    """The manifest as a forger would write it: hashes and seal of what is there, and names of choice."""
    manifest = json.loads((bundle / folders.MANIFEST).read_text())
    (bundle / folders.MANIFEST).unlink()
    listed = {
        path.name: {"sha256": folders.file_digest(path), "bytes": path.stat().st_size} for path in bundle.iterdir()
    }
    manifest["files"] = listed if files is None else {**listed, **files}
    (bundle / folders.MANIFEST).write_text(json.dumps(folders.with_seal(manifest)))


def everything(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_an_honest_bundle_passes_the_forgers_way_too(bundle):
    reseal(bundle)
    assert load_model(bundle).connectome.n_edges == 3


@pytest.mark.parametrize("name", ["../evil.txt", "/etc/hostname", "a/../../evil.txt", "C:\\evil.txt", "..", "", "\0"])
def test_a_manifest_that_names_files_outside_of_its_folder_is_refused(bundle, tmp_path, name):
    (tmp_path / "in" / "evil.txt").write_text("mine")
    reseal(bundle, {name: {"sha256": folders.file_digest(tmp_path / "in" / "evil.txt"), "bytes": 4}})
    before = everything(tmp_path)
    with pytest.raises(SchemaError, match="lists the files"):
        load_model(bundle)
    assert everything(tmp_path) == before


def test_a_file_that_is_a_link_is_refused_whatever_it_leads_to(bundle, tmp_path):
    for name in ("arrays.npz", "neurons.parquet", "spec.toml", folders.MANIFEST):
        kept = (bundle / name).read_bytes()
        (tmp_path / "elsewhere").write_bytes(kept)
        (bundle / name).unlink()
        (bundle / name).symlink_to(tmp_path / "elsewhere")
        with pytest.raises(ConnectofitError):
            load_model(bundle)
        (bundle / name).unlink()
        (bundle / name).write_bytes(kept)
    load_model(bundle)


def test_a_specification_that_names_a_fitted_cell_elsewhere_does_not_open_it(bundle, tmp_path):
    (tmp_path / "cell.toml").write_text("")
    text = (bundle / "spec.toml").read_text().replace('model = "lif"', f'cell = "{tmp_path / "cell.toml"}"')
    (bundle / "spec.toml").write_text(text)
    reseal(bundle)
    with pytest.raises(UnknownNameError, match="cell"):
        load_model(bundle)


def test_a_deep_manifest_and_a_deep_specification_are_refused(bundle):
    (bundle / "spec.toml").write_text("a = " + "[" * 100_000)
    reseal(bundle)
    with pytest.raises(SettingError, match="too deeply"):
        load_model(bundle)
    (bundle / folders.MANIFEST).write_text('{"files": ' + "[" * 200_000)
    with pytest.raises(ConnectofitError):
        load_model(bundle)


def test_compressed_and_lying_arrays_are_refused(bundle):
    with (
        zipfile.ZipFile(bundle / "arrays.npz", "w", zipfile.ZIP_DEFLATED) as file,
        file.open("params/neurons/tau_m_ms.npy", "w") as entry,
    ):
        np.lib.format.write_array(entry, np.zeros(10_000_000))
    reseal(bundle)
    with pytest.raises(SchemaError, match="compressed arrays"):
        load_model(bundle)


def test_a_table_of_endless_rows_is_refused(bundle):
    column = pa.DictionaryArray.from_arrays(pa.array(np.zeros(20_000_000, np.int8)), pa.array(["x"]))
    pq.write_table(pa.table({"id": column}), bundle / "neurons.parquet", row_group_size=20_000_000)
    reseal(bundle)
    with pytest.raises(SchemaError, match="20,000,000 rows"):
        load_model(bundle)


@pytest.mark.parametrize("name", ["spec.toml", "arrays.npz", "neurons.parquet", "edges.parquet"])
def test_random_damage_under_a_forged_seal_ends_in_an_error_of_ours_or_a_model(bundle, tmp_path, name):
    whole = (bundle / name).read_bytes()
    random = np.random.default_rng(3)
    for _ in range(15):
        content = bytearray(whole)
        for place in random.integers(0, len(whole), size=3):
            content[place] = random.integers(256)
        (bundle / name).write_bytes(content)
        reseal(bundle)
        before = everything(tmp_path)
        with contextlib.suppress(ConnectofitError):
            load_model(bundle)
        assert everything(tmp_path) == before
