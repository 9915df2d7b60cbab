"""A table of edges that is read as a stream becomes the network that its rows say."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest

from connectofit.builders import Synapses, edge_tables, stream_network
from connectofit.connectome.errors import SchemaError, SettingError, UnknownNameError
from connectofit.sim import simulate

N = 60


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    """Blocks of seven rows, so that small tables have many."""
    monkeypatch.setattr(edge_tables, "_BATCH", 7)


@pytest.fixture(params=["integers", "text"])
def neurons(request) -> pa.Table:
    ids = 2**60 + 3 * np.random.default_rng(0).permutation(N)
    column = pa.array(ids) if request.param == "integers" else pa.array([f"n{i}" for i in ids])
    return pa.table({"id": column, "kind": ["a", "b"] * (N // 2)})


def table_of(neurons: pa.Table, n: int = 500, seed: int = 1) -> pd.DataFrame:
    """Edges in no order, some pairs repeatedly, and neurons without any."""
    rng = np.random.default_rng(seed)
    ids = neurons.column("id").to_pylist()
    return pd.DataFrame(
        {
            "pre": [ids[k] for k in rng.integers(0, N - 10, n)],
            "post": [ids[k] for k in rng.integers(0, N, n)],
            "weight": np.round(rng.normal(0, 5, n), 3),
            "delay_ms": rng.integers(1, 30, n) / 10,
        }
    )


def written(frame: pd.DataFrame, folder, form: str):
    if form == "frame":
        return frame
    table = pa.Table.from_pandas(frame, preserve_index=False)
    if form == "arrow":
        return table
    path = folder / f"edges.{form}"
    if form == "csv":
        pyarrow.csv.write_csv(table, path)
    else:
        pyarrow.parquet.write_table(table, path, row_group_size=50)
    return path


def rows_of(net) -> list[tuple]:
    p = net.projections[0]
    ids = net.population("cells").ids
    delay = np.full(p.n_edges, p.delay_ms) if p.edge_delay_ms is None else p.edge_delay_ms.astype(float)
    columns = (p.pre_index, p.post_index, p.base_weight, np.round(delay, 1))
    return [(ids[i], ids[j], float(w), float(d)) for i, j, w, d in zip(*columns, strict=True)]


@pytest.mark.parametrize("form", ["csv", "parquet", "arrow", "frame"])
def test_the_network_has_the_rows_of_the_table(neurons, form, tmp_path):
    frame = table_of(neurons)
    net = stream_network(written(frame, tmp_path, form), neurons, weight="weight", delay_ms="delay_ms")
    expected = frame.astype({"weight": np.float32}).itertuples(index=False, name=None)
    assert sorted(rows_of(net)) == sorted((a, b, float(w), d) for a, b, w, d in expected)
    p = net.projections[0]
    assert p.indptr.tolist() == [0, *np.cumsum(np.bincount(p.pre_index, minlength=N)).tolist()]
    assert p.delay_ms == frame.delay_ms.min()
    assert p.longest_delay_ms == frame.delay_ms.max()


def test_edges_of_a_neuron_ascend_by_delay_then_by_target(neurons):
    p = stream_network(table_of(neurons), neurons, weight="weight", delay_ms="delay_ms").projections[0]
    order = np.lexsort((p.post_index, p.edge_delay_ms, p.pre_index))
    assert (p.edge_delay_ms[order] == p.edge_delay_ms).all()
    assert (p.post_index[order] == p.post_index).all()


def test_several_files_are_one_table(neurons, tmp_path):
    frame = table_of(neurons)
    frame[:200].to_csv(tmp_path / "a.csv", index=False)
    frame[200:].to_csv(tmp_path / "b.csv", index=False)
    whole = stream_network(frame, neurons, weight="weight", delay_ms="delay_ms")
    assert rows_of(stream_network(tmp_path, neurons, weight="weight", delay_ms="delay_ms")) == rows_of(whole)


def test_weight_and_delay_may_be_numbers_and_columns_have_other_names(neurons):
    frame = table_of(neurons).rename(columns={"pre": "from", "post": "to"})
    net = stream_network(frame, neurons, pre="from", post="to", weight=2.5, delay_ms=1.8)
    p = net.projections[0]
    assert set(p.base_weight.tolist()) == {2.5}
    assert (p.edge_delay_ms, p.delay_ms, p.longest_delay_ms) == (None, 1.8, None)


def test_delays_are_rounded_to_steps_and_are_one_at_the_least(neurons):
    ids = neurons.column("id").to_pylist()
    frame = pd.DataFrame({"pre": ids[:4], "post": ids[:4], "d": [0.0, 0.04, 0.26, 1.01]})
    p = stream_network(frame, neurons, weight=1.0, delay_ms="d", dt_ms=0.1).projections[0]
    assert np.round(p.edge_delay_ms.astype(float), 2).tolist() == [0.1, 0.1, 0.3, 1.0]
    assert p.edge_delay_ms.dtype == np.float16


def test_parameters_are_tied_by_a_column(neurons):
    net = stream_network(
        table_of(neurons),
        neurons,
        weight="weight",
        delay_ms=1.0,
        tie_by="kind",
        params={"tau_m_ms": {"a": 5.0, "b": 6.0}, "t_ref_ms": 1.0},
        synapses=Synapses("fast", params={"tau_syn_ms": 0.5}),
    )
    assert net.population("cells").types == ("a", "b")
    assert net.params["cells"]["tau_m_ms"].tolist() == [5.0, 6.0]
    assert net.params["cells"]["t_ref_ms"].tolist() == [1.0, 1.0]
    assert net.params["fast"]["tau_syn_ms"].tolist() == [0.5]


def test_a_network_of_no_edges_runs(neurons):
    table = pa.Table.from_pandas(table_of(neurons), preserve_index=False).slice(0, 0)
    net = stream_network(table, neurons, weight="weight", delay_ms="delay_ms")
    assert net.n_edges == 0
    assert len(simulate(net, duration_ms=2.0, dt_ms=0.1, record=["spikes"]).spikes) == 0


# --- errors -----------------------------------------------------------------------------------------------------------


def test_ids_that_no_neuron_has_are_named_with_their_rows(neurons, tmp_path):
    frame = table_of(neurons)
    frame["post"] = frame["post"].astype(object)
    stranger = 77 if isinstance(frame["pre"][0], int | np.integer) else "n77"
    frame.loc[[9, 40, 41, 42, 43, 44], "post"] = stranger
    path = tmp_path / "edges.csv"
    frame.to_csv(path, index=False)
    with pytest.raises(SchemaError, match=r"'post' that no neuron has: edges.csv row 10: 'n?77', .*\(6 in all\)"):
        stream_network(path, neurons, weight="weight", delay_ms="delay_ms")


@pytest.mark.parametrize("value", ["abc", ""])
@pytest.mark.parametrize("column", ["pre", "weight", "delay_ms"])
def test_values_that_are_missing_or_no_numbers_are_named(neurons, tmp_path, column, value):
    frame = table_of(neurons).astype(object)
    frame.loc[20, column] = value
    path = tmp_path / "edges.csv"
    frame.to_csv(path, index=False)
    with pytest.raises(SchemaError, match=rf"{column}.*edges.csv row 21: .*\(1 in all\)"):
        stream_network(path, neurons, weight="weight", delay_ms="delay_ms")


def test_what_cannot_be_read_is_named(neurons):
    frame = table_of(neurons)
    with pytest.raises(UnknownNameError, match="Did you mean 'weight'"):
        stream_network(frame, neurons, weight="wieght", delay_ms=1.0)
    with pytest.raises(SettingError, match="iterator"):
        stream_network(iter([]), neurons, weight=1.0, delay_ms=1.0)
    with pytest.raises(SchemaError, match=r"row 3: -0\.1"):
        stream_network(frame.assign(delay_ms=[1, 1, -0.1, *[1] * 497]), neurons, weight=1.0, delay_ms="delay_ms")
    with pytest.raises(SettingError, match="delay_ms"):
        stream_network(frame, neurons, weight=1.0, delay_ms=0.05)
    with pytest.raises(SettingError, match=r"1\.5 steps"):
        stream_network(frame, neurons, weight=1.0, delay_ms=0.15)
    with pytest.raises(SchemaError, match="unique"):
        stream_network(frame, pa.concat_tables([neurons, neurons]), weight=1.0, delay_ms=1.0)
    with pytest.raises(UnknownNameError, match="'tau_ms'"):
        stream_network(frame, neurons, weight=1.0, delay_ms=1.0, params={"tau_ms": 1.0})
    with pytest.raises(SettingError, match=r"no value for types 'b' \(1 in all\)"):
        stream_network(frame, neurons, weight=1.0, delay_ms=1.0, tie_by="kind", params={"tau_m_ms": {"a": 1.0}})
