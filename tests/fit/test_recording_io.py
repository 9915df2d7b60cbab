"""Recordings from tables and arrays: units, what is refused with its reason, and the way to Parquet and back."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pa_parquet
import pytest

from connectofit.connectome.errors import (
    ConnectofitError,
    MissingFileError,
    SchemaError,
    SettingError,
    UnknownNameError,
)
from connectofit.data import RAT_CORTEX_COLUMNS, RAT_CORTEX_STIMULUS_MS, rat_cortex_path, rat_cortex_step_currents
from connectofit.fit import Recordings, Sweep, read_recordings, recordings_from_arrays, write_recordings

DT, N = 0.5, 800


def traces(step_pA: float = 100.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Time, current and the voltage of a membrane of 150 MOhm and 20 ms; the step lasts from 100 to 300 ms."""
    t = DT * np.arange(N)
    since, after = np.clip(t - 100, 0, 200), np.clip(t - 300, 0, None)
    v = -70 + 0.15 * step_pA * (1 - np.exp(-since / 20)) * np.exp(-after / 20)
    return t, np.where((t >= 100) & (t < 300), step_pA, 0.0), v


def frame(steps=(100.0, 50.0), cell: str | None = "A") -> pd.DataFrame:
    parts = []
    for k, step in enumerate(steps):
        t, i, v = traces(step)
        columns = {"sweep": f"s{k}", "time": t, "current": i, "voltage": v}
        parts.append(pd.DataFrame(columns if cell is None else {"cell": cell, **columns}))
    return pd.concat(parts, ignore_index=True)


def test_a_long_table_becomes_sweeps():
    recordings, report = read_recordings(frame(), stimulus_ms=(100, 300))
    assert recordings.labels == ("A/s0", "A/s1")
    t, i, v = traces(50.0)
    second = recordings["s1"]
    np.testing.assert_array_equal(second.current_pA, i)
    np.testing.assert_array_equal(second.voltage_mV, v)
    np.testing.assert_allclose(second.time_ms, t)
    assert (second.dt_ms, second.onset_ms, second.offset_ms) == (0.5, 100.0, 300.0)
    assert report.findings == ()
    assert report.rows_in == {"sweeps": 2}


def test_a_table_without_cells_is_one_nameless_cell():
    recordings, _ = read_recordings(frame(cell=None), stimulus_ms=(100, 300))
    assert recordings.labels == ("s0", "s1")
    assert recordings.cells == ("",)


@pytest.mark.parametrize("kind", ["csv", "parquet", "arrow"])
def test_files_and_tables_give_the_same_as_the_frame(tmp_path, kind):
    expected, _ = read_recordings(frame(), stimulus_ms=(100, 300))
    source = pa.Table.from_pandas(frame()) if kind == "arrow" else tmp_path / f"sweeps.{kind}"
    if kind == "csv":
        frame().to_csv(source, index=False)
    elif kind == "parquet":
        frame().to_parquet(source)
    found, _ = read_recordings(source, stimulus_ms=(100, 300))
    assert found.labels == expected.labels
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a.voltage_mV, b.voltage_mV, rtol=1e-12)
        assert a.dt_ms == b.dt_ms


@pytest.mark.parametrize(
    ("units", "factors"),
    [
        ({"current": "nA"}, (1e-3, 1.0, 1.0)),
        ({"current": "A", "voltage": "V", "time": "s"}, (1e-12, 1e-3, 1e-3)),
        ({"voltage": "uV", "time": "us"}, (1.0, 1e3, 1e3)),
    ],
)
def test_units_are_converted_to_pA_mV_and_ms(units, factors):
    given = frame()
    for column, factor in zip(("current", "voltage", "time"), factors, strict=True):
        given[column] *= factor
    found, _ = read_recordings(given, units=units, stimulus_ms=(100, 300))
    expected, _ = read_recordings(frame(), stimulus_ms=(100, 300))
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a.current_pA, b.current_pA, rtol=1e-12)
        np.testing.assert_allclose(a.voltage_mV, b.voltage_mV, rtol=1e-12)
        assert a.dt_ms == pytest.approx(b.dt_ms, rel=1e-9)


def test_units_that_do_not_exist_are_refused():
    with pytest.raises(SettingError, match=r"No unit of current named 'na'.*pA, nA, uA, A"):
        read_recordings(frame(), units={"current": "na"})
    with pytest.raises(UnknownNameError, match=r"No quantity named 'curent'.*'current'"):
        read_recordings(frame(), units={"curent": "nA"})


def test_a_column_that_names_another_unit_is_refused():
    given = frame().rename(columns={"current": "i_nA"})
    with pytest.raises(SchemaError, match=r"'i_nA'.*named as if in nA, but is to be read in pA.*'current': 'nA'"):
        read_recordings(given, columns={"current": "i_nA"})


def test_columns_named_after_units_of_another_quantity_are_refused():
    given = frame().rename(columns={"current": "current_mV"})
    with pytest.raises(
        SchemaError, match=r"'current_mV'.*is to be the current, but is named as if in mV, a unit of voltage"
    ):
        read_recordings(given, columns={"current": "current_mV"})


def test_missing_columns_suggest_the_nearest():
    with pytest.raises(UnknownNameError, match=r"No column named 'voltage'.*'voltages'.*columns=\{'voltage'"):
        read_recordings(frame().rename(columns={"voltage": "voltages"}))
    with pytest.raises(UnknownNameError, match=r"No column named 'cels'.*'cell'"):
        read_recordings(frame(), columns={"cell": "cels"})
    with pytest.raises(UnknownNameError, match=r"No canonical column named 'volt'.*'voltage'"):
        read_recordings(frame(), columns={"volt": "voltage"})


def test_missing_values_are_named_by_their_rows():
    given = frame()
    given.loc[[3, 1200], "voltage"] = np.nan
    with pytest.raises(SchemaError, match=r"'voltage'.*missing or NaN.*row 4.*row 1201.*2 in all"):
        read_recordings(given)


def test_text_that_is_no_number_is_named(tmp_path):
    given = frame().astype({"current": object})
    given.loc[10, "current"] = "ten"
    given.to_csv(tmp_path / "x.csv", index=False)
    with pytest.raises(SchemaError, match=r"'current'.*not a number.*row 11.*'ten'"):
        read_recordings(tmp_path / "x.csv")


def test_times_that_are_not_equidistant_are_refused():
    given = frame().drop(index=[400])
    with pytest.raises(SchemaError, match=r"sweep 'A/s0'.*equidistant \(most are 0.5 ms apart\).*row 401: 1 ms after"):
        read_recordings(given)


def test_a_slow_drift_of_the_times_is_refused():
    given = frame((100.0,))
    given["time"] = given["time"] * (1 + 2e-5 * np.arange(N))
    with pytest.raises(SchemaError, match="equidistant"):
        read_recordings(given)


def test_two_sweeps_of_one_name_are_refused():
    given = frame()
    given["sweep"] = "s"
    with pytest.raises(
        SchemaError, match=r"times of sweep 'A/s'.*have to rise.*row 801: 0 after 399.5 ms.*share a name"
    ):
        read_recordings(given)


def test_sweeps_whose_rows_are_apart_are_refused():
    given = pd.concat([frame(), frame((100.0,))], ignore_index=True)
    with pytest.raises(SchemaError, match=r"stand together.*'row 1601: A/s0'"):
        read_recordings(given)


def test_times_in_single_precision_are_equidistant_enough():
    found, _ = read_recordings(rat_cortex_path(), columns=RAT_CORTEX_COLUMNS, stimulus_ms=RAT_CORTEX_STIMULUS_MS)
    assert {s.dt_ms for s in found} == {0.25}
    given = frame((100.0,))
    given["time"] = (given["time"] / 5 + 10_000).astype(np.float32)  # 0.1 ms, with steps of 0.001 ms
    found, _ = read_recordings(given, stimulus_ms=(10_020.0, 10_060.0))
    assert found["s0"].dt_ms == pytest.approx(0.1, rel=1e-5)


def test_the_stimulus_is_found_where_it_is_not_given():
    found, report = read_recordings(frame())
    assert [(s.onset_ms, s.offset_ms) for s in found] == [(100.0, 300.0)] * 2
    (finding,) = report.find("stimulus_found")
    assert finding.count == 2
    assert "100 to 300 ms" in finding.examples[0][1]


def test_corrections_are_applied_to_every_sweep():
    found, _ = read_recordings(frame(), stimulus_ms=(100, 300), bridge_MOhm=2.0, junction_mV=10.0)
    _, i, v = traces(100.0)
    np.testing.assert_allclose(found["s0"].voltage_mV, v - 2e-3 * i - 10.0)


def test_arrays_become_recordings_each_with_its_own_interval():
    _, i, v = traces()
    found, _ = recordings_from_arrays(
        [i * 1e-3, i[::2] * 1e-3],
        [v, v[::2]],
        dt_ms=[0.5, 1.0],
        names=["fast", "slow"],
        cell="A",
        units={"current": "nA"},
        stimulus_ms=(100.0, 300.0),
    )
    assert [(s.label, s.dt_ms, s.n_samples) for s in found] == [("A/fast", 0.5, 800), ("A/slow", 1.0, 400)]
    np.testing.assert_allclose(found["slow"].current_pA, i[::2])
    same, _ = recordings_from_arrays(np.stack([i, i]), np.stack([v, v]), dt_ms=0.5)
    assert same.names == ("0", "1")


def test_arrays_of_different_numbers_are_refused():
    _, i, v = traces()
    with pytest.raises(SchemaError, match=r"'current': 2, 'voltage': 1, 'names': 2, 'dt_ms': 2"):
        recordings_from_arrays([i, i], [v], dt_ms=0.5)
    with pytest.raises(SettingError, match="onset and an offset"):
        recordings_from_arrays([i], [v], dt_ms=0.5, stimulus_ms=(1.0, 2.0, 3.0))


def test_parquet_gives_every_bit_back(tmp_path):
    recordings, _ = read_recordings(
        rat_cortex_step_currents(),
        columns=RAT_CORTEX_COLUMNS,
        stimulus_ms=RAT_CORTEX_STIMULUS_MS,
        bridge_MOhm=-15.0,
        junction_mV=14.0,
    )
    odd = Sweep("é/1", *traces()[1:], 0.1 + 0.2, 60.0, 180.0, start_ms=1 / 3)
    recordings = Recordings((*recordings.sweeps, odd))
    write_recordings(recordings, tmp_path / "r.parquet")
    back, _ = read_recordings(tmp_path / "r.parquet")
    assert back.labels == recordings.labels
    for a, b in zip(back, recordings, strict=True):
        for name in ("dt_ms", "onset_ms", "offset_ms", "start_ms", "cell", "name", "bridge_MOhm", "junction_mV"):
            assert getattr(a, name) == getattr(b, name)
        assert a.voltage_mV.tobytes() == b.voltage_mV.tobytes()
        assert a.current_pA.tobytes() == b.current_pA.tobytes()


def test_a_written_file_is_a_table_for_others(tmp_path):
    recordings, _ = read_recordings(frame(), stimulus_ms=(100, 300))
    write_recordings(recordings, tmp_path / "r.parquet")
    table = pd.read_parquet(tmp_path / "r.parquet")
    assert list(table) == ["cell", "sweep", "time_ms", "current_pA", "voltage_mV"]
    np.testing.assert_array_equal(table["voltage_mV"], frame()["voltage"])
    np.testing.assert_allclose(table["time_ms"], frame()["time"])


def test_a_written_file_takes_corrections_but_no_other_settings(tmp_path):
    recordings, _ = read_recordings(frame(), stimulus_ms=(100, 300), junction_mV=10.0)
    write_recordings(recordings, tmp_path / "r.parquet")
    again, _ = read_recordings(tmp_path / "r.parquet", junction_mV=12.0)
    assert again["s0"].junction_mV == 12.0
    np.testing.assert_allclose(again["s0"].voltage_mV, recordings["s0"].voltage_mV - 2.0)
    with pytest.raises(SettingError, match="says itself what its columns, units and stimuli are"):
        read_recordings(tmp_path / "r.parquet", units={"current": "nA"})


def test_damaged_and_later_files_are_refused(tmp_path):
    recordings, _ = read_recordings(frame(), stimulus_ms=(100, 300))
    path = tmp_path / "r.parquet"
    write_recordings(recordings, path)
    table = pa_parquet.ParquetFile(path).read()
    pa_parquet.write_table(table.slice(0, 100), path)
    with pytest.raises(SchemaError, match="with 1600 samples and has 100 rows"):
        read_recordings(path)
    stored = json.loads(table.schema.metadata[b"connectofit.recordings"]) | {"version": 99}
    changed = table.replace_schema_metadata({b"connectofit.recordings": json.dumps(stored).encode()})
    pa_parquet.write_table(changed, path)
    with pytest.raises(SchemaError, match="version 99; this program reads 1"):
        read_recordings(path)


def test_files_that_are_not_there_are_named(tmp_path):
    with pytest.raises(MissingFileError, match=r"nowhere\.parquet"):
        read_recordings(tmp_path / "nowhere.parquet")
    with pytest.raises(MissingFileError, match=r"nowhere\.csv"):
        read_recordings(tmp_path / "nowhere.csv")
    recordings, _ = read_recordings(frame())
    with pytest.raises(MissingFileError, match="No folder"):
        write_recordings(recordings, tmp_path / "no" / "r.parquet")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda stored: "[" * 200_000, "no JSON that can be read"),
        (lambda stored: "{", "no JSON that can be read"),
        (lambda stored: json.dumps([1]), "version None"),
        (lambda stored: json.dumps({**stored, "sweeps": 3}), "no list of sweeps"),
        (lambda stored: json.dumps({**stored, "sweeps": [{**stored["sweeps"][0], "samples": -5}]}), "samples = -5"),
        (lambda stored: json.dumps({**stored, "sweeps": [{"samples": 1600}]}), r"sweep 0: name = None.*\(8 in all\)"),
    ],
)
def test_metadata_of_strangers_are_checked_before_they_are_used(tmp_path, change, message):
    recordings, _ = read_recordings(frame(), stimulus_ms=(100, 300))
    path = tmp_path / "r.parquet"
    write_recordings(recordings, path)
    table = pa_parquet.ParquetFile(path).read()
    stored = json.loads(table.schema.metadata[b"connectofit.recordings"])
    pa_parquet.write_table(table.replace_schema_metadata({b"connectofit.recordings": change(stored).encode()}), path)
    with pytest.raises(SchemaError, match=message):
        read_recordings(path)


@pytest.mark.parametrize("name", ["sweeps.parquet", "SWEEPS.PARQUET"])
def test_a_damaged_parquet_file_ends_in_an_error_of_ours(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(b"PAR1" + b"\xff" * 64 + b"\x40\x00\x00\x00PAR1")
    with pytest.raises(ConnectofitError):
        read_recordings(path)
