"""Igor's binary waves in: versions 2 and 5, written here by the layout of WaveMetrics' Technical Note 003."""

from __future__ import annotations

import struct
import sys
from pathlib import Path

import numpy as np
import pytest

from connectofit.connectome.errors import MissingFileError, SchemaError, SettingError
from connectofit.fit import read_recordings

pytest.importorskip("igor2", reason="the extra igor is not installed")

DT_MS, N = 0.5, 800
_TYPES = {"f4": 2, "f8": 4, "i2": 0x10}


def traces(step_pA: float = 100.0) -> tuple[np.ndarray, np.ndarray]:
    """Current (pA) and voltage (mV) of a membrane of 150 MOhm and 20 ms; the step lasts from 100 to 300 ms."""
    t = DT_MS * np.arange(N)
    since, after = np.clip(t - 100, 0, 200), np.clip(t - 300, 0, None)
    v = -70 + 0.15 * step_pA * (1 - np.exp(-since / 20)) * np.exp(-after / 20)
    return np.where((t >= 100) & (t < 300), step_pA, 0.0), v


def version_2(path: Path, values, unit="A", step=DT_MS / 1e3, x_unit="s", order="<", kind="f8", start=0.0) -> Path:
    """BinHeader2 (16 bytes), WaveHeader2 (110 bytes before the data), data, 16 bytes of padding."""
    data = np.asarray(values, dtype=order + kind).tobytes()
    wave = struct.pack(
        f"{order}hi20shhi4s4sihddhhhddccii I2sIi", _TYPES[kind], 0, b"wave2", 0, 0, 0, unit.encode(), x_unit.encode(),
        len(values), 0, step, start, 0, 0, 0, 0.0, 0.0, b"\0", b"\0", 0, 0, 0, b"\0\0", 0, 0,
    )  # fmt: skip
    head = struct.pack(f"{order}hiiih", 2, len(wave) + len(data) + 16, 0, 0, 0)
    path.write_bytes(head + wave + data + bytes(16))
    return path


def version_5(
    path: Path, values, unit="V", step=DT_MS / 1e3, x_unit="s", order="<", kind="f8", name="wave5", long_unit=""
) -> Path:
    """BinHeader5 (64 bytes), WaveHeader5 (320 bytes before the data), data (columns after each other), long unit."""
    values = np.asarray(values, dtype=order + kind)
    data = values.tobytes(order="F")
    dims = (*values.shape, 0, 0, 0)[:4]
    wave = struct.pack(
        f"{order}iIIihh6sh32sii4i4d4d4s16shhddi4i4ii16ihhhccii hhii", 0, 0, 0, values.size, _TYPES[kind], 0, b"", 1,
        name.encode(), 0, 0, *dims, step, 1, 1, 1, 0, 0, 0, 0, unit.encode(), x_unit.encode(), 0, 0, 0.0, 0.0,
        0, *[0] * 8, 0, *[0] * 16, 0, 0, 0, b"\0", b"\0", 0, 0, 0, 0, 0, 0,
    )  # fmt: skip
    assert len(wave) == 320
    sizes = [len(wave) + len(data), 0, 0, len(long_unit), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]
    path.write_bytes(struct.pack(f"{order}hh15i", 5, 0, *sizes) + wave + data + long_unit.encode())
    return path


def pair(folder: Path, **more) -> tuple[Path, Path]:
    i, v = traces()
    return version_5(folder / "v.ibw", v / 1e3, "V", **more), version_5(folder / "i.ibw", i / 1e12, "A", **more)


@pytest.mark.parametrize("order", ["<", ">"])
def test_a_wave_of_voltage_and_one_of_current_become_a_sweep(tmp_path, order):
    v, i = pair(tmp_path, order=order)
    recordings, report = read_recordings(v, current=i)
    (sweep,) = recordings
    np.testing.assert_allclose(sweep.current_pA, traces()[0], rtol=1e-12)
    np.testing.assert_allclose(sweep.voltage_mV, traces()[1], rtol=1e-12)
    assert (sweep.label, sweep.dt_ms, sweep.onset_ms) == ("wave5", 0.5, 100.0)
    assert report.rows_in == {"sweeps": 1}


@pytest.mark.parametrize("order", ["<", ">"])
def test_version_2_and_milliseconds_are_read_too(tmp_path, order):
    i, v = traces()
    of_v = version_2(tmp_path / "v.ibw", v, "mV", DT_MS, "ms", order, "f4", start=10.0)
    of_i = version_2(tmp_path / "i.ibw", i, "pA", DT_MS, "ms", order, "i2", start=10.0)
    recordings, _ = read_recordings(of_v, current=of_i)
    np.testing.assert_allclose(recordings["wave2"].current_pA, i)
    np.testing.assert_allclose(recordings["wave2"].voltage_mV, v, rtol=1e-6)
    assert (recordings["wave2"].dt_ms, recordings["wave2"].start_ms, recordings["wave2"].onset_ms) == (0.5, 10, 110)


def test_the_columns_of_a_matrix_are_sweeps(tmp_path):
    both = [traces(100.0), traces(60.0)]
    v = version_5(tmp_path / "v.ibw", np.stack([v for _, v in both], axis=1), "mV", name="cell")
    i = version_5(tmp_path / "i.ibw", np.stack([i for i, _ in both], axis=1), "pA")
    recordings, _ = read_recordings(v, current=i)
    assert recordings.names == ("cell:0", "cell:1")
    for sweep, (current, voltage) in zip(recordings, both, strict=True):
        np.testing.assert_allclose(sweep.current_pA, current)
        np.testing.assert_allclose(sweep.voltage_mV, voltage)


def test_several_pairs_are_several_sweeps(tmp_path):
    paths = {"v": [], "i": []}
    for k, step in enumerate((100.0, 60.0)):
        i, v = traces(step)
        paths["v"].append(version_5(tmp_path / f"v{k}.ibw", v, "mV", name=f"sweep{k}"))
        paths["i"].append(version_5(tmp_path / f"i{k}.ibw", i, "pA"))
    recordings, _ = read_recordings(paths["v"], current=paths["i"])
    assert recordings.names == ("sweep0", "sweep1")
    assert recordings["sweep1"].current_pA.max() == 60
    with pytest.raises(SettingError, match="found 2 of the voltage and 1 of the current"):
        read_recordings(paths["v"], current=paths["i"][:1])


def test_units_longer_than_three_letters_are_read(tmp_path):
    i, v = traces()
    of_v = version_5(tmp_path / "v.ibw", v, "", long_unit="millivolts")
    of_i = version_5(tmp_path / "i.ibw", i, "", long_unit="picoamps")
    np.testing.assert_allclose(read_recordings(of_v, current=of_i)[0]["wave5"].voltage_mV, v)


def test_a_current_in_volts_and_a_voltage_in_amperes_are_refused(tmp_path):
    v, i = pair(tmp_path)
    with pytest.raises(SchemaError, match=r"current in .*v\.ibw has to be a current.*'V', a unit of voltage"):
        read_recordings(v, current=v)
    with pytest.raises(SchemaError, match=r"voltage in .*i\.ibw has to be a voltage.*'A', a unit of current"):
        read_recordings(i, current=i)


def test_waves_without_units_ask_for_them(tmp_path):
    i, v = traces()
    of_v = version_5(tmp_path / "v.ibw", v, "", x_unit="")
    of_i = version_5(tmp_path / "i.ibw", i, "", x_unit="")
    with pytest.raises(SchemaError, match=r"no unit in its file.*units=\{'time'"):
        read_recordings(of_v, current=of_i)
    recordings, _ = read_recordings(of_v, current=of_i, units={"time": "s", "voltage": "mV", "current": "pA"})
    np.testing.assert_allclose(recordings["wave5"].voltage_mV, v)
    assert recordings["wave5"].dt_ms == 0.5


def test_waves_that_were_not_sampled_together_are_refused(tmp_path):
    v, _ = pair(tmp_path)
    i = traces()[0] / 1e12
    with pytest.raises(SchemaError, match=r"800 samples and .* 700 samples"):
        read_recordings(v, current=version_5(tmp_path / "short.ibw", i[:700], "A"))
    with pytest.raises(SchemaError, match=r"sampling interval of .* is 0\.5 ms and that of .* 1 ms"):
        read_recordings(v, current=version_5(tmp_path / "slow.ibw", i, "A", step=1e-3))


def test_headers_that_declare_more_than_the_file_holds_are_refused(tmp_path):
    v, i = pair(tmp_path)
    for offset in (4, 8, 12, 16, 20, 36, 52):  # data, formula, note, units, labels, indices
        content = bytearray(v.read_bytes())
        struct.pack_into("<i", content, offset, 2**31 - 1)
        (tmp_path / "bad.ibw").write_bytes(content)
        with pytest.raises(SchemaError, match="declares parts of"):
            read_recordings(tmp_path / "bad.ibw", current=i)


def test_damaged_and_other_files_are_refused(tmp_path):
    v, i = pair(tmp_path)
    with pytest.raises(MissingFileError, match=r"nowhere\.ibw"):
        read_recordings(tmp_path / "nowhere.ibw", current=i)
    for name, content in [
        ("text.ibw", b"no wave at all, but text"),
        ("empty.ibw", b""),
        ("cut.ibw", v.read_bytes()[:500]),
    ]:
        (tmp_path / name).write_bytes(content)
        with pytest.raises(SchemaError):
            read_recordings(tmp_path / name, current=i)
    with pytest.raises(SchemaError, match=r"steps have to be above 0"):
        read_recordings(version_5(tmp_path / "step.ibw", traces()[1], "mV", step=0.0), current=i)
    with pytest.raises(SettingError, match=r"has to be an \.ibw file"):
        read_recordings(v, current=tmp_path / "v.csv" if (tmp_path / "v.csv").write_text("x") else v)
    with pytest.raises(SettingError, match="found 1 of the voltage and 0 of the current"):
        read_recordings(v)


def test_random_damage_to_the_header_never_ends_in_anything_but_an_error_of_ours(tmp_path):
    v, i = pair(tmp_path)
    whole, random = v.read_bytes(), np.random.default_rng(0)
    for _ in range(100):
        content = bytearray(whole)
        for place in random.integers(0, 384, size=4):
            content[place] = random.integers(256)
        (tmp_path / "b.ibw").write_bytes(content)
        try:
            read_recordings(tmp_path / "b.ibw", current=i)
        except (SchemaError, SettingError):
            continue


def test_a_missing_library_names_its_extra(tmp_path, monkeypatch):
    v, i = pair(tmp_path)
    monkeypatch.setitem(sys.modules, "igor2.binarywave", None)
    with pytest.raises(ImportError, match=r"pip install 'connectofit\[igor\]'"):
        read_recordings(v, current=i)
