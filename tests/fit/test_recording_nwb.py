"""NWB files in: units, pairs, gaps, corrections and what is left out; the files are written by pynwb itself."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pytest

from connectofit.connectome.errors import MissingFileError, SchemaError, SettingError, UnknownNameError
from connectofit.fit import read_recordings

h5py = pytest.importorskip("h5py")
pynwb = pytest.importorskip("pynwb", reason="the extra nwb is not installed")
icephys = pytest.importorskip("pynwb.icephys")

RATE_HZ, N = 2000.0, 800  # 0.5 ms, 400 ms


def traces(step_pA: float = 100.0, n: int = N) -> tuple[np.ndarray, np.ndarray]:
    """Current (pA) and voltage (mV) of a membrane of 150 MOhm and 20 ms; the step lasts from 100 to 300 ms."""
    t = 0.5 * np.arange(n)
    since, after = np.clip(t - 100, 0, 200), np.clip(t - 300, 0, None)
    v = -70 + 0.15 * step_pA * (1 - np.exp(-since / 20)) * np.exp(-after / 20)
    return np.where((t >= 100) & (t < 300), step_pA, 0.0), v


class Writer:
    """A small NWB file in the making."""

    def __init__(self, **session):
        when = datetime(2020, 1, 1, tzinfo=UTC)
        self.nwb = pynwb.NWBFile(session_description="test", identifier="test", session_start_time=when, **session)
        self.device = self.nwb.create_device(name="amplifier")

    def electrode(self, name="e0", cell_id=None, description="pipette"):
        return self.nwb.create_icephys_electrode(
            name=name, description=description, device=self.device, cell_id=cell_id
        )

    def response(self, electrode, name="r0", data=None, kind=icephys.CurrentClampSeries, **more):
        timing = {} if "timestamps" in more else {"rate": RATE_HZ, "starting_time": 0.0}
        data = traces()[1] * 1e-3 if data is None else data
        more = timing | {"conversion": 1.0} | more
        series = kind(name=name, data=data, electrode=electrode, gain=1.0, **more)
        self.nwb.add_acquisition(series)
        return series

    def stimulus(self, electrode, name="s0", data=None, kind=icephys.CurrentClampStimulusSeries, **more):
        timing = {} if "timestamps" in more else {"rate": RATE_HZ, "starting_time": 0.0}
        data = traces()[0] * 1e-12 if data is None else data
        series = kind(name=name, data=data, electrode=electrode, gain=1.0, **(timing | more))
        self.nwb.add_stimulus(series)
        return series

    def write(self, path):
        with pynwb.NWBHDF5IO(str(path), "w") as io:
            io.write(self.nwb)
        return path


def one_sweep(path, **more):
    writer = Writer()
    electrode = writer.electrode()
    writer.response(electrode, sweep_number=0, **more)
    writer.stimulus(electrode, sweep_number=0)
    return writer.write(path)


@pytest.mark.filterwarnings("ignore")
class TestNwb:
    def test_a_response_and_its_stimulus_become_a_sweep_in_pA_and_mV(self, tmp_path):
        recordings, report = read_recordings(one_sweep(tmp_path / "a.nwb"))
        (sweep,) = recordings
        i, v = traces()
        np.testing.assert_allclose(sweep.current_pA, i, rtol=1e-12)
        np.testing.assert_allclose(sweep.voltage_mV, v, rtol=1e-12)
        assert (sweep.label, sweep.dt_ms, sweep.start_ms) == ("e0/r0", 0.5, 0.0)
        assert (sweep.onset_ms, sweep.offset_ms) == (100.0, 300.0)
        assert report.rows_in == report.rows_kept == {"sweeps": 1}
        assert [finding.rule for finding in report.findings] == ["stimulus_found"]

    def test_conversion_and_offset_are_applied(self, tmp_path):
        """Integers of 0.01 mV from -100 mV, as an amplifier's converter gives them."""
        raw = np.round((traces()[1] + 100) / 0.01).astype(np.int16)
        recordings, _ = read_recordings(one_sweep(tmp_path / "a.nwb", data=raw, conversion=1e-5, offset=-0.1))
        np.testing.assert_allclose(recordings["r0"].voltage_mV, traces()[1], atol=0.0051)

    def test_sweeps_of_other_lengths_rates_and_starts_stand_side_by_side(self, tmp_path):
        writer = Writer()
        electrode = writer.electrode(cell_id="cell 7")
        for k, (n, rate, start) in enumerate([(800, 2000.0, 0.0), (700, 2000.0, 5.0), (800, 1000.0, 9.5)]):
            i, v = traces(100.0 - 20 * k, n)
            timing = {"rate": rate, "starting_time": start, "sweep_number": k}
            writer.response(electrode, f"r{k}", v * 1e-3, **timing)
            writer.stimulus(electrode, f"s{k}", i * 1e-12, **timing)
        recordings, report = read_recordings(writer.write(tmp_path / "a.nwb"))
        assert recordings.labels == ("cell 7/r0", "cell 7/r1", "cell 7/r2")
        assert [(s.n_samples, s.dt_ms, s.start_ms) for s in recordings] == [(800, 0.5, 0), (700, 0.5, 0), (800, 1.0, 0)]
        assert "0 to 9.5 s" in report.find("session_time")[0].message

    def test_timestamps_give_the_interval_and_have_to_be_equidistant(self, tmp_path):
        times = 3.0 + np.arange(N) / RATE_HZ
        writer = Writer()
        electrode = writer.electrode()
        writer.response(electrode, timestamps=times, sweep_number=1)
        writer.stimulus(electrode, timestamps=times, sweep_number=1)
        recordings, _ = read_recordings(writer.write(tmp_path / "a.nwb"))
        assert recordings["r0"].dt_ms == pytest.approx(0.5, rel=1e-9)
        times = times.copy()
        times[400:] += 0.01
        with pytest.raises(SchemaError, match="equidistant"):
            read_recordings(one_sweep(tmp_path / "b.nwb", timestamps=times))

    def test_a_stimulus_that_starts_later_is_aligned(self, tmp_path):
        i, v = traces()
        writer = Writer()
        electrode = writer.electrode()
        writer.response(electrode, data=v * 1e-3, starting_time=10.0, sweep_number=3)
        writer.stimulus(electrode, data=i[60:] * 1e-12, starting_time=10.03, sweep_number=3)
        recordings, report = read_recordings(writer.write(tmp_path / "a.nwb"))
        (sweep,) = recordings
        np.testing.assert_allclose(sweep.current_pA, i[60:], rtol=1e-12)
        np.testing.assert_allclose(sweep.voltage_mV, v[60:], rtol=1e-12)
        assert report.find("trimmed")[0].examples == ((1, "e0/r0: 60 samples"),)

    def test_a_sweep_that_was_broken_off_ends_where_its_numbers_end(self, tmp_path):
        v = traces()[1] * 1e-3
        v[650:] = np.nan
        recordings, report = read_recordings(one_sweep(tmp_path / "a.nwb", data=v))
        assert recordings["r0"].n_samples == 650
        assert report.find("trimmed")[0].count == 1

    @pytest.mark.parametrize(
        ("place", "unit", "message"),
        [
            ("stimulus/presentation/s0", "volts", "current 's0'.*has to be a current.*'volts', a unit of voltage"),
            ("acquisition/r0", "amperes", "voltage 'r0'.*has to be a voltage.*'amperes', a unit of current"),
            ("acquisition/r0", "furlongs", "'furlongs', which is no known unit of voltage"),
        ],
    )
    def test_a_trace_in_a_unit_of_another_quantity_is_refused(self, tmp_path, place, unit, message):
        path = one_sweep(tmp_path / "a.nwb")
        with h5py.File(path, "a") as file:
            file[f"{place}/data"].attrs["unit"] = unit
        with pytest.raises(SchemaError, match=message):
            read_recordings(path)

    def test_a_voltage_clamp_stimulus_of_a_current_clamp_response_is_refused(self, tmp_path):
        writer = Writer()
        electrode = writer.electrode()
        writer.response(electrode, sweep_number=0)
        writer.stimulus(electrode, kind=icephys.VoltageClampStimulusSeries, sweep_number=0)
        with pytest.raises(SchemaError, match="has to be a current"):
            read_recordings(writer.write(tmp_path / "a.nwb"))

    def test_millivolts_are_read_as_such_and_a_file_without_units_asks_for_them(self, tmp_path):
        path = one_sweep(tmp_path / "a.nwb", data=traces()[1])
        with h5py.File(path, "a") as file:
            file["acquisition/r0/data"].attrs["unit"] = "mV"
        np.testing.assert_allclose(read_recordings(path)[0]["r0"].voltage_mV, traces()[1], rtol=1e-12)
        with pytest.raises(SettingError, match="is in mV, as its file says, not in V"):
            read_recordings(path, units={"voltage": "V"})
        with h5py.File(path, "a") as file:
            file["acquisition/r0/data"].attrs["unit"] = "unknown"
        with pytest.raises(SchemaError, match=r"no unit in its file.*units=\{'voltage'"):
            read_recordings(path)
        recordings, _ = read_recordings(path, units={"voltage": "mV"})
        np.testing.assert_allclose(recordings["r0"].voltage_mV, traces()[1], rtol=1e-12)

    def test_what_the_amplifier_took_off_is_not_taken_off_again(self, tmp_path):
        path = one_sweep(tmp_path / "a.nwb", bridge_balance=15e6)
        recordings, report = read_recordings(path)
        sweep = recordings["r0"]
        assert sweep.bridge_MOhm == 15.0
        np.testing.assert_allclose(sweep.voltage_mV, traces()[1], rtol=1e-12)
        assert "15 MOhm" in report.find("bridge_balance")[0].examples[0][1]
        again, _ = read_recordings(path, bridge_MOhm=15.0)
        np.testing.assert_allclose(again["r0"].voltage_mV, traces()[1], rtol=1e-12)
        more, _ = read_recordings(path, bridge_MOhm=20.0)
        i, v = traces()
        np.testing.assert_allclose(more["r0"].voltage_mV, v - 5e-3 * i, rtol=1e-12)

    def test_junction_potentials_and_bias_currents_are_told_and_not_applied(self, tmp_path):
        writer = Writer(notes="Slices at 34 C. Liquid junction potential (14 mV) not corrected.")
        electrode = writer.electrode(description="5 MOhm; LJP = -14 mV")
        writer.response(electrode, sweep_number=0, bias_current=25e-12)
        writer.stimulus(electrode, sweep_number=0)
        path = writer.write(tmp_path / "a.nwb")
        recordings, report = read_recordings(path)
        texts = [text for _, text in report.find("junction_potential")[0].examples]
        assert any("14 mV" in text and "not corrected" in text for text in texts)
        assert any("LJP = -14 mV" in text for text in texts)
        assert report.find("bias_current")[0].examples == ((1, "r0: 25 pA"),)
        np.testing.assert_allclose(recordings["r0"].voltage_mV, traces()[1], rtol=1e-12)
        corrected, _ = read_recordings(path, junction_mV=14.0)
        np.testing.assert_allclose(corrected["r0"].voltage_mV, traces()[1] - 14, rtol=1e-12)

    def test_voltage_clamp_and_other_series_are_counted_and_left_out(self, tmp_path):
        writer = Writer()
        electrode = writer.electrode()
        writer.response(electrode, sweep_number=0)
        writer.stimulus(electrode, sweep_number=0)
        for k in (1, 2):
            writer.response(electrode, f"vc{k}", traces()[0] * 1e-12, icephys.VoltageClampSeries, sweep_number=k)
        writer.response(electrode, "rest", kind=icephys.IZeroClampSeries, sweep_number=3)
        writer.response(electrode, "alone", sweep_number=4)
        recordings, report = read_recordings(writer.write(tmp_path / "a.nwb"))
        assert recordings.names == ("r0",)
        left = {f.rule: (f.count, [text for _, text in f.examples]) for f in report.findings if f.rows_removed}
        assert left == {
            "left_out_voltage_clamp_series": (2, ["vc1", "vc2"]),
            "left_out_series_without_a_current": (1, ["rest"]),
            "left_out_responses_without_a_stimulus": (1, ["alone"]),
        }
        assert (report.rows_in, report.rows_kept) == ({"sweeps": 5}, {"sweeps": 1})

    def test_a_file_of_voltage_clamp_alone_is_refused_with_counts(self, tmp_path):
        writer = Writer()
        electrode = writer.electrode()
        writer.response(electrode, "vc", traces()[0] * 1e-12, icephys.VoltageClampSeries)
        with pytest.raises(SchemaError, match=r"no current-clamp response.*voltage-clamp series: 'vc' \(1 in all\)"):
            read_recordings(writer.write(tmp_path / "a.nwb"))

    def test_electrodes_of_several_cells_are_cells_and_can_be_chosen(self, tmp_path):
        writer = Writer()
        for k in range(2):
            electrode = writer.electrode(f"e{k}")
            writer.response(electrode, f"r{k}", sweep_number=0)
            writer.stimulus(electrode, f"s{k}", traces(100 + k)[0] * 1e-12, sweep_number=0)
        path = writer.write(tmp_path / "a.nwb")
        recordings, _ = read_recordings(path)
        assert recordings.labels == ("e0/r0", "e1/r1")
        assert recordings["r1"].current_pA.max() == pytest.approx(101)
        chosen, report = read_recordings(path, electrodes=["e1"])
        assert chosen.labels == ("e1/r1",)
        assert report.find("left_out_sweeps_of_other_electrodes")[0].count == 1
        with pytest.raises(UnknownNameError, match=r"No electrode named 'e2'.*'e0', 'e1' \(2 in all\)"):
            read_recordings(path, electrodes=["e2"])

    def test_two_electrodes_in_one_cell_ask_for_a_choice(self, tmp_path):
        writer = Writer()
        for name in ("soma", "dendrite"):
            electrode = writer.electrode(name, cell_id="L5")
            writer.response(electrode, f"r {name}", sweep_number=0)
            writer.stimulus(electrode, f"s {name}", sweep_number=0)
        path = writer.write(tmp_path / "a.nwb")
        with pytest.raises(SettingError, match=r"cell L5: electrodes dendrite, soma.*electrodes=\[\.\.\.\]"):
            read_recordings(path)
        assert read_recordings(path, electrodes=["soma"])[0].labels == ("L5/r soma",)

    def test_the_table_of_intracellular_recordings_says_what_belongs_together(self, tmp_path):
        """One long series holds two sweeps, which only the table tells apart."""
        (i0, v0), (i1, v1) = traces(100.0), traces(60.0)
        writer = Writer()
        electrode = writer.electrode()
        response = writer.response(electrode, "long", np.concatenate([v0, v1]) * 1e-3)
        stimulus = writer.stimulus(electrode, "drive", np.concatenate([i0, i1]) * 1e-12)
        writer.response(electrode, "other", starting_time=100.0)
        for k in range(2):
            writer.nwb.add_intracellular_recording(
                electrode=electrode, stimulus=stimulus, stimulus_start_index=k * N, stimulus_index_count=N,
                response=response, response_start_index=k * N, response_index_count=N,
            )  # fmt: skip
        recordings, report = read_recordings(writer.write(tmp_path / "a.nwb"))
        assert recordings.names == ("long", "long:1")
        np.testing.assert_allclose(recordings["long:1"].voltage_mV, v1, rtol=1e-12)
        np.testing.assert_allclose(recordings["long:1"].current_pA, i1, rtol=1e-12)
        assert report.find("left_out_series_outside_of_the_table_of_intracellular_recordings")[0].count == 1

    def test_a_response_with_two_possible_stimuli_is_refused(self, tmp_path):
        writer = Writer()
        electrode = writer.electrode()
        writer.response(electrode)
        writer.stimulus(electrode, "s0")
        writer.stimulus(electrode, "s1")
        with pytest.raises(SchemaError, match=r"not clear which stimulus.*r0: s0, s1"):
            read_recordings(writer.write(tmp_path / "a.nwb"))

    def test_other_rates_of_response_and_stimulus_are_refused(self, tmp_path):
        writer = Writer()
        electrode = writer.electrode()
        writer.response(electrode, sweep_number=0)
        writer.stimulus(electrode, sweep_number=0, rate=1000.0)
        with pytest.raises(SchemaError, match=r"every 0\.5 ms and its stimulus 's0' every 1 ms"):
            read_recordings(writer.write(tmp_path / "a.nwb"))

    def test_files_that_are_no_nwb_files_are_refused(self, tmp_path):
        with pytest.raises(MissingFileError, match=r"nowhere\.nwb"):
            read_recordings(tmp_path / "nowhere.nwb")
        (tmp_path / "text.nwb").write_text("no HDF5")
        with pytest.raises(SchemaError, match="no HDF5 file"):
            read_recordings(tmp_path / "text.nwb")
        with h5py.File(tmp_path / "other.nwb", "w") as file:
            file["x"] = 1
        with pytest.raises(SchemaError, match="cannot be read as an NWB file"):
            read_recordings(tmp_path / "other.nwb")

    def test_settings_of_other_formats_are_refused(self, tmp_path):
        path = one_sweep(tmp_path / "a.nwb")
        with pytest.raises(SettingError, match="columns cannot be given for NWB files"):
            read_recordings(path, columns={"current": "x"})
        with pytest.raises(SettingError, match="electrodes cannot be given for a table"):
            read_recordings(tmp_path / "a.csv", electrodes=["e0"])

    def test_links_out_of_the_file_are_refused_before_they_are_followed(self, tmp_path):
        other = one_sweep(tmp_path / "other.nwb")
        path = one_sweep(tmp_path / "a.nwb")
        with h5py.File(path, "a") as file:
            del file["acquisition/r0/data"]
            file["acquisition/r0/data"] = h5py.ExternalLink(str(other), "/acquisition/r0/data")
        with pytest.raises(SchemaError, match=r"points to other files.*acquisition/r0/data: links to .*other\.nwb"):
            read_recordings(path)

    def test_a_trace_far_larger_than_the_file_is_not_unpacked(self, tmp_path):
        path = one_sweep(tmp_path / "a.nwb")
        with h5py.File(path, "a") as file:
            unit = file["acquisition/r0/data"].attrs["unit"]
            del file["acquisition/r0/data"]
            bomb = file.create_dataset("acquisition/r0/data", (10**11,), "f8", chunks=(10**6,), compression="gzip")
            bomb.attrs.update({"unit": unit, "conversion": 1.0})
        with pytest.raises(SchemaError, match="said to have 800,000,000,000 bytes"):
            read_recordings(path)


def test_a_missing_library_names_its_extra(tmp_path, monkeypatch):
    import sys

    path = one_sweep(tmp_path / "a.nwb")
    monkeypatch.setitem(sys.modules, "pynwb", None)
    with pytest.raises(ImportError, match=r"pip install 'connectofit\[nwb\]'"):
        read_recordings(path)
