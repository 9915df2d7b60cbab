"""A written connectome reads back exactly; damaged, foreign and newer folders are refused; nothing is half written."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pa_parquet
import pytest

from connectofit.connectome import Connectome, FolderError, MissingFileError, SchemaError, read_connectome
from connectofit.data import CELEGANS_COLUMNS, celegans_paths


@cache
def worm() -> Connectome:
    paths = celegans_paths()
    return read_connectome(paths["edges"], paths["neurons"], columns=CELEGANS_COLUMNS)[0]


def test_a_written_connectome_reads_back_exactly(tmp_path: Path) -> None:
    for name, connectome in (("all", worm()), ("gaps", worm().electrical), ("none", worm().select("x_um > 1e9"))):
        back = Connectome.read(connectome.write(tmp_path / name))
        assert back.digest() == connectome.digest()
        assert back.only_kind == connectome.only_kind
        assert back.ids == connectome.ids
        assert list(back.edges(data=True, keys=True)) == list(connectome.edges(data=True, keys=True))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["all", "gaps", "none"]


def test_the_digest_changes_with_any_content_and_not_with_chunks() -> None:
    c = worm()
    seen = {c.digest()}
    count = c.count.copy()
    count[0] += 1
    for other in (c.with_edges(count=count), c.with_edges(sign=-c.sign), c.chemical, c.with_edges(count=c.count * 1.0)):
        assert other.digest() not in seen
        seen.add(other.digest())
    chunked = pa.concat_tables([c.neurons.slice(0, 100), c.neurons.slice(100)])
    same = Connectome(chunked, c.indptr, c.post, c.count, c.kind, c.sign, c.edge_columns)
    assert same.digest() == c.digest()


def test_missing_values_and_empty_texts_have_different_digests() -> None:
    def one(value: str | None) -> str:
        neurons = pa.table({"id": ["a"], "note": pa.array([value], pa.string())})
        return Connectome.from_edges(neurons, pre=[0], post=[0], count=[1]).digest()

    assert one(None) != one("")


def test_a_folder_that_holds_something_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "note.txt").write_text("mine")
    with pytest.raises(FolderError, match="exists and is not empty"):
        worm().write(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["note.txt"]
    assert worm().write(tmp_path / "empty").exists()
    with pytest.raises(FolderError):
        worm().write(tmp_path / "empty")


def test_a_write_that_fails_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(pa_parquet, "write_table", fail)
    with pytest.raises(FolderError, match="disk full"):
        worm().write(tmp_path / "c")
    assert list(tmp_path.iterdir()) == []


def test_foreign_damaged_and_newer_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match=r"manifest\.json is missing"):
        Connectome.read(tmp_path)
    folder = worm().write(tmp_path / "c")
    manifest = folder / "manifest.json"
    values = json.loads(manifest.read_text())
    manifest.write_text(json.dumps({**values, "version": 99}))
    with pytest.raises(SchemaError, match="of version 99; this program reads"):
        Connectome.read(folder)
    manifest.write_text("{")
    with pytest.raises(SchemaError, match="not the manifest"):
        Connectome.read(folder)
    manifest.write_text(json.dumps(values))
    edges = pa_parquet.read_table(folder / "edges.parquet")
    changed = edges.set_column(3, "count", pa.array(np.ones(edges.num_rows, np.int32)))
    pa_parquet.write_table(changed, folder / "edges.parquet")
    with pytest.raises(SchemaError, match="digest differs"):
        Connectome.read(folder)
    (folder / "edges.parquet").write_bytes(b"PAR1 no more")
    with pytest.raises(SchemaError, match="damaged"):
        Connectome.read(folder)
