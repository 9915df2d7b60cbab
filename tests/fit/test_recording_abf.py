"""Axon Binary Files in: channels and their units, the protocol's command, and headers that say what is not so.

pyabf writes version 1 with one channel; files of several channels, and of version 2, are made here by the layout of
their headers.
"""

from __future__ import annotations

import struct
import sys
from pathlib import Path

import numpy as np
import pytest

from connectofit.connectome.errors import MissingFileError, SchemaError, SettingError, UnknownNameError
from connectofit.fit import read_recordings

pyabf = pytest.importorskip("pyabf", reason="the extra abf is not installed")
writer = pytest.importorskip("pyabf.abfWriter")

DT_MS, N = 0.5, 800
RANGE, RESOLUTION = 10.0, 2**15


def traces(step_pA: float = 100.0) -> tuple[np.ndarray, np.ndarray]:
    """Current (pA) and voltage (mV) of a membrane of 150 MOhm and 20 ms; the step lasts from 100 to 300 ms."""
    t = DT_MS * np.arange(N)
    since, after = np.clip(t - 100, 0, 200), np.clip(t - 300, 0, None)
    v = -70 + 0.15 * step_pA * (1 - np.exp(-since / 20)) * np.exp(-after / 20)
    return np.where((t >= 100) & (t < 300), step_pA, 0.0), v


STEPS = (100.0, 60.0)
CURRENT, VOLTAGE = (np.stack([traces(step)[k] for step in STEPS]) for k in (0, 1))


def counts(channels: list[np.ndarray], scales: list[float]) -> bytes:
    """Sweeps of channels [sweep, time] as the converter's numbers: sweep by sweep, the channels in turns."""
    raw = [np.round(data * scale * RESOLUTION / RANGE) for data, scale in zip(channels, scales, strict=True)]
    return np.stack(raw, axis=-1).astype("<i2").tobytes()


def version_1(path: Path, units=("mV", "pA"), channels=(VOLTAGE, CURRENT), names=("Vm", "Im"), scales=(0.02, 0.01)):
    """A file of version 1.8 with a header of 16 blocks."""
    head = bytearray(16 * 512)
    n_channels, (n_sweeps, n) = len(channels), channels[0].shape
    put = struct.pack_into
    put("<4sfh", head, 0, b"ABF ", 1.83, 5)
    put("<i", head, 10, n_channels * n_sweeps * n)
    put("<i", head, 16, n_sweeps)
    put("<i", head, 40, 16)
    put("<hf", head, 120, n_channels, 1e3 * DT_MS / n_channels)
    put("<i", head, 138, n_channels * n)
    put("<f", head, 244, RANGE)
    put("<i", head, 252, RESOLUTION)
    for k in range(16):
        put("<h", head, 378 + 2 * k, k)
        put("<h", head, 410 + 2 * k, k)
        for offset in (730, 922, 1050):
            put("<f", head, offset + 4 * k, 1.0)
    for k, (name, unit, scale) in enumerate(zip(names, units, scales, strict=True)):
        put("10s", head, 442 + 10 * k, name.encode().ljust(10))
        put("8s", head, 602 + 8 * k, unit.encode().ljust(8))
        put("<f", head, 922 + 4 * k, scale)
    path.write_bytes(bytes(head) + counts(list(channels), list(scales)))
    return path


def version_2(path: Path, source=1, dac_unit="pA", durations=(187, 400), levels=(0.0, 100.0), steps=(0.0, -40.0)):
    """A file of version 2.6 that records one voltage and sends a command of two epochs, after 1/64 of the sweep."""
    strings = b"\0\0" + b"\0".join([b"Vm", b"mV", b"Cmd 0", dac_unit.encode()]) + b"\0"  # numbers 1 to 4
    protocol, adc, dac, epochs = bytearray(512), bytearray(128), bytearray(256), bytearray(48 * len(durations))
    put = struct.pack_into
    put("<hf", protocol, 0, 5, 1e3 * DT_MS)
    put("<f", protocol, 110, RANGE)
    put("<i", protocol, 118, RESOLUTION)
    put("<f", adc, 28, 1.0)
    put("<f", adc, 40, 0.02)
    put("<f", adc, 48, 1.0)
    put("<ii", adc, 74, 1, 2)
    put("<f", dac, 12, 5.0)  # the holding level
    put("<ii", dac, 24, 3, 4)
    put("<hh", dac, 40, 1, source)
    for k, (level, step, duration) in enumerate(zip(levels, steps, durations, strict=True)):
        put("<hhhffii", epochs, 48 * k, k, 0, 1, level, step, duration, 0)
    data = counts([VOLTAGE], [0.02])
    head, body = bytearray(512), b""
    put("<4s4BII", head, 0, b"ABF2", 0, 0, 6, 2, 512, len(STEPS))
    put("<H", head, 30, 0)
    lengths = b"".join(struct.pack("<ii", k * N, N) for k in range(len(STEPS)))
    epoch_outputs = struct.pack("<hh", 0, 0) * len(durations)
    sections = {76: (protocol, 512, 1), 92: (adc, 128, 1), 108: (dac, 256, 1), 156: (epochs, 48, len(durations)),
                124: (epoch_outputs, 4, len(durations)), 220: (strings, len(strings), 1),
                236: (data, 2, len(data) // 2), 316: (lengths, 8, len(STEPS))}  # fmt: skip
    for place, (content, size, count) in sections.items():
        put("<IIi", head, place, 1 + len(body) // 512, size, count)
        body += bytes(content) + bytes(-len(content) % 512)
    path.write_bytes(bytes(head) + body)
    return path


def test_two_recorded_channels_become_sweeps_in_pA_and_mV(tmp_path):
    recordings, report = read_recordings(version_1(tmp_path / "cell1.abf"))
    assert recordings.labels == ("cell1/0", "cell1/1")
    for k, sweep in enumerate(recordings):
        np.testing.assert_allclose(sweep.current_pA, CURRENT[k], atol=0.5 * RANGE / RESOLUTION / 0.01 + 1e-4)
        np.testing.assert_allclose(sweep.voltage_mV, VOLTAGE[k], atol=0.5 * RANGE / RESOLUTION / 0.02 + 1e-4)
        assert (sweep.dt_ms, sweep.onset_ms, sweep.offset_ms) == (DT_MS, 100.0, 300.0)
    assert "voltage is channel 'Vm' (mV), the current channel 'Im' (pA)" in report.find("channels")[0].message


@pytest.mark.parametrize(("unit", "factor"), [("nA", 1e3), ("A", 1e12), ("uA", 1e6)])
def test_the_units_of_the_header_are_converted(tmp_path, unit, factor):
    path = version_1(
        tmp_path / "a.abf", units=("V", unit), channels=(VOLTAGE / 1e3, CURRENT / factor), scales=(20.0, 0.01 * factor)
    )
    recordings, _ = read_recordings(path)
    np.testing.assert_allclose(recordings["0"].current_pA, CURRENT[0], atol=0.02)
    np.testing.assert_allclose(recordings["0"].voltage_mV, VOLTAGE[0], atol=0.01)
    with pytest.raises(SettingError, match=f"is in {unit}, as its file says, not in pA"):
        read_recordings(path, units={"current": "pA"})


def test_a_current_channel_in_volts_is_refused(tmp_path):
    path = version_1(tmp_path / "a.abf", units=("mV", "V"))
    with pytest.raises(SchemaError, match=r"current channel 'Im' of .* has to be a current.*'V', a unit of voltage"):
        read_recordings(path, columns={"voltage": "Vm", "current": "Im"})
    with pytest.raises(SchemaError, match=r"voltage channel 'Im' of .* has to be a voltage.*'pA', a unit of current"):
        read_recordings(version_1(tmp_path / "b.abf"), columns={"voltage": "Im", "current": "Vm"})


def test_several_channels_of_voltage_ask_which_and_list_themselves(tmp_path):
    path = version_1(tmp_path / "a.abf", units=("mV", "mV"))
    with pytest.raises(SettingError, match=r"2 channels in units of voltage: 'Vm' \(mV\), 'Im' \(mV\)"):
        read_recordings(path)
    with pytest.raises(UnknownNameError, match=r"No channel named 'vm'.*'Vm'.*Its channels are 'Vm' \(mV\), 'Im'"):
        read_recordings(path, columns={"voltage": "vm"})
    with pytest.raises(UnknownNameError, match="No channel's role named 'volt'"):
        read_recordings(path, columns={"volt": "Vm"})


def test_a_channel_without_a_unit_asks_for_it(tmp_path):
    path = version_1(tmp_path / "a.abf", units=("mV", ""))
    with pytest.raises(SchemaError, match=r"no unit in its file.*units=\{'current'"):
        read_recordings(path, columns={"current": "Im"})
    recordings, _ = read_recordings(path, units={"current": "pA"})
    np.testing.assert_allclose(recordings["0"].current_pA, CURRENT[0], atol=0.02)


def test_a_voltage_clamp_file_is_refused(tmp_path):
    writer.writeABF1(np.tile(CURRENT, (4, 1)), tmp_path / "vc.abf", 1e3 / DT_MS, units="pA")
    with pytest.raises(SchemaError, match=r"No channel .* is a voltage.*no recording in current clamp.*\(pA\)"):
        read_recordings(tmp_path / "vc.abf")


def test_a_file_by_pyabf_itself_without_a_current_is_refused(tmp_path):
    writer.writeABF1(np.tile(VOLTAGE, (4, 1)), tmp_path / "v.abf", 1e3 / DT_MS, units="mV")
    with pytest.raises(SchemaError, match="the injected current is not known"):
        read_recordings(tmp_path / "v.abf")


def test_the_sampling_interval_is_not_rounded_to_whole_hertz(tmp_path):
    path = version_1(tmp_path / "a.abf")
    content = bytearray(path.read_bytes())
    struct.pack_into("<f", content, 122, 33.3 / 2)
    path.write_bytes(content)
    assert read_recordings(path)[0]["0"].dt_ms == pytest.approx(0.0333, rel=1e-6)


def test_the_epochs_of_version_2_are_the_current(tmp_path):
    """Holding at 5 pA for 800 // 64 = 12 samples, then 0 pA for 187, then 100 and 60 pA for 400, then holding."""
    recordings, report = read_recordings(version_2(tmp_path / "a.abf"))
    assert recordings.labels == ("a/0", "a/1")
    for k, step in enumerate(STEPS):
        expected = np.concatenate([np.full(12, 5.0), np.zeros(187), np.full(400, step), np.full(N - 599, 5.0)])
        np.testing.assert_allclose(recordings[str(k)].current_pA, expected, rtol=1e-6)
        np.testing.assert_allclose(recordings[str(k)].voltage_mV, VOLTAGE[k], atol=0.01)
    assert "the current the command of the protocol" in report.find("channels")[0].message


def test_a_command_in_volts_is_refused(tmp_path):
    with pytest.raises(SchemaError, match=r"command 'Cmd 0' .*has to be a current.*'mV', a unit of voltage"):
        read_recordings(version_2(tmp_path / "a.abf", dac_unit="mV"))


def test_a_command_from_another_file_is_refused_and_never_looked_for(tmp_path):
    with pytest.raises(SchemaError, match=r"comes from a waveform file, which is not in this one"):
        read_recordings(version_2(tmp_path / "a.abf", source=2))


def test_epochs_longer_than_the_sweep_are_refused_before_they_fill_the_memory(tmp_path):
    with pytest.raises(SchemaError, match="epochs that do not lie in the sweep of 800 samples"):
        read_recordings(version_2(tmp_path / "a.abf", durations=(187, 2**31 - 1000)))


@pytest.mark.parametrize(
    ("version", "offset", "layout", "value"),
    [
        (1, 10, "<i", 2**31 - 1),  # samples
        (1, 10, "<i", -1),
        (1, 16, "<i", 2**31 - 1),  # sweeps
        (1, 48, "<i", 2**31 - 1),  # tags
        (1, 40, "<i", 2**22),  # where the samples start
        (2, 12, "<I", 2**32 - 1),  # sweeps
        (2, 244, "<i", 2**31 - 1),  # samples
        (2, 100, "<i", 2**31 - 1),  # channels
        (2, 260, "<i", 2**31 - 1),  # tags
    ],
)
def test_headers_that_declare_more_than_the_file_holds_are_refused(tmp_path, version, offset, layout, value):
    path = (version_1 if version == 1 else version_2)(tmp_path / "a.abf")
    content = bytearray(path.read_bytes())
    struct.pack_into(layout, content, offset, value)
    if offset in (260, 100):
        struct.pack_into("<I", content, offset - 4, 64)
    path.write_bytes(content)
    with pytest.raises(SchemaError, match="does not hold"):
        read_recordings(path)


def test_damaged_and_other_files_are_refused(tmp_path):
    with pytest.raises(MissingFileError, match=r"nowhere\.abf"):
        read_recordings(tmp_path / "nowhere.abf")
    for name, content in [("text.abf", b"no header"), ("zeros.abf", bytes(9000)), ("head.abf", b"ABF2" + bytes(508))]:
        (tmp_path / name).write_bytes(content)
        with pytest.raises(SchemaError):
            read_recordings(tmp_path / name)
    whole = version_1(tmp_path / "a.abf").read_bytes()
    (tmp_path / "cut.abf").write_bytes(whole[:-100])
    with pytest.raises(SchemaError, match="was cut off"):
        read_recordings(tmp_path / "cut.abf")


@pytest.mark.parametrize("version", [1, 2])
def test_random_damage_to_the_header_never_ends_in_anything_but_an_error_of_ours(tmp_path, version):
    whole = (version_1 if version == 1 else version_2)(tmp_path / "a.abf").read_bytes()
    random = np.random.default_rng(version)
    for _ in range(60):
        content = bytearray(whole)
        for place in random.integers(4, 2400, size=4):
            content[place] = random.integers(256)
        (tmp_path / "b.abf").write_bytes(content)
        try:
            read_recordings(tmp_path / "b.abf")
        except (SchemaError, SettingError, UnknownNameError):
            continue


def test_a_missing_library_names_its_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyabf", None)
    with pytest.raises(ImportError, match=r"pip install 'connectofit\[abf\]'"):
        read_recordings(version_1(tmp_path / "a.abf"))
