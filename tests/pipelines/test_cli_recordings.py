"""``connectofit recordings`` and the cell recipe's import: recordings of every format end in one table of sweeps."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from connectofit.fit import read_recordings
from connectofit.pipelines.cell_settings import ImportSettings
from connectofit.pipelines.cell_stages import import_files
from connectofit.pipelines.cli import main

DT_MS, N = 0.5, 800


def traces(step_pA=100.0):
    """Current (pA) and voltage (mV) of a membrane of 150 MOhm and 20 ms; the step lasts from 100 to 300 ms."""
    t = DT_MS * np.arange(N)
    since, after = np.clip(t - 100, 0, 200), np.clip(t - 300, 0, None)
    v = -70 + 0.15 * step_pA * (1 - np.exp(-since / 20)) * np.exp(-after / 20)
    return t, np.where((t >= 100) & (t < 300), step_pA, 0.0), v


@pytest.fixture
def table(tmp_path):
    t, i, v = traces()
    pd.DataFrame({"sweep": "s0", "time": t, "current": i / 1e3, "voltage": v}).to_csv(tmp_path / "a.csv", index=False)
    return tmp_path / "a.csv"


@pytest.fixture
def nwb(tmp_path):
    pynwb = pytest.importorskip("pynwb")
    from datetime import UTC, datetime

    from pynwb.icephys import CurrentClampSeries, CurrentClampStimulusSeries

    _, i, v = traces()
    file = pynwb.NWBFile(session_description="", identifier="x", session_start_time=datetime(2020, 1, 1, tzinfo=UTC))
    device = file.create_device(name="amplifier")
    electrode = file.create_icephys_electrode(name="e0", description="", device=device, cell_id="L5")
    shared = {"electrode": electrode, "gain": 1.0, "rate": 1e3 / DT_MS, "starting_time": 0.0}
    file.add_acquisition(CurrentClampSeries(name="r0", data=v * 1e-3, **shared))
    file.add_stimulus(CurrentClampStimulusSeries(name="s0", data=i * 1e-12, **shared))
    with pynwb.NWBHDF5IO(str(tmp_path / "a.nwb"), "w") as io:
        io.write(file)
    return tmp_path / "a.nwb"


def run(*arguments):
    return CliRunner().invoke(main, ["recordings", *map(str, arguments)])


def test_a_table_becomes_sweeps_and_its_report_is_shown(table, tmp_path):
    result = run(table, "--units", "current=nA", "--out", tmp_path / "sweeps.parquet")
    assert result.exit_code == 0, result.output
    assert "s0: 800 samples, 0.5 ms apart, stimulus 100 to 300 ms, 100.0 pA" in result.output
    sweep = read_recordings(tmp_path / "sweeps.parquet")[0]["s0"]
    np.testing.assert_allclose(sweep.current_pA, traces()[1])


def test_an_nwb_file_becomes_the_table_that_the_cell_recipe_reads(nwb, tmp_path):
    result = run(nwb, "--out", tmp_path / "sweeps.parquet", "--junction-mV", 14)
    assert result.exit_code == 0, result.output
    sweep = read_recordings(tmp_path / "sweeps.parquet")[0]["L5/r0"]
    np.testing.assert_allclose(sweep.voltage_mV, traces()[2] - 14, rtol=1e-12)


def test_nothing_is_written_without_a_place(table, tmp_path):
    assert run(table, "--units", "current=nA").exit_code == 0
    assert [path.name for path in tmp_path.iterdir()] == ["a.csv"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{a}", "--units", "current"], "--units expects NAME=VALUE"),
        (["{a}", "{a}"], "Only Igor's waves are read several at a time"),
        (["{a}", "--out", "x.csv"], "has to name a .parquet file"),
        (["{a}", "--out", "{folder}/no/x.parquet"], "There is no folder"),
        (["{a}", "--out", "{folder}/there.parquet"], "exists already"),
        (["{a}", "--electrode", "e0"], "electrodes cannot be given for a table"),
        (["{folder}/nowhere.nwb"], "nowhere.nwb"),
    ],
)
def test_bad_input_is_one_message_and_exit_code_2(table, tmp_path, arguments, message):
    (tmp_path / "there.parquet").write_bytes(b"mine")
    result = run(*(text.format(a=table, folder=tmp_path) for text in arguments))
    assert result.exit_code == 2
    assert message in result.output
    assert "Traceback" not in result.output
    assert (tmp_path / "there.parquet").read_bytes() == b"mine"


def test_the_recipe_takes_files_of_every_format_and_hashes_those_it_reads(nwb):
    settings = ImportSettings(recordings=nwb, electrodes=("e0",))
    assert import_files(settings) == {"recordings": nwb}
    both = ImportSettings(recordings="v.ibw", current="i.ibw")
    assert {name: path.name for name, path in import_files(both).items()} == {"recordings": "v.ibw", "current": "i.ibw"}


def test_the_stage_import_reads_an_nwb_file(nwb, tmp_path):
    from types import SimpleNamespace

    from connectofit.pipelines.cell_stages import import_recordings

    settings = ImportSettings(recordings=nwb, electrodes=("e0",), bridge_MOhm={"L5": 10.0})
    (tmp_path / "out").mkdir()
    import_recordings(SimpleNamespace(settings=settings, files=import_files(settings), out=tmp_path / "out"))
    sweep = read_recordings(tmp_path / "out" / "recordings.parquet")[0]["L5/r0"]
    assert sweep.bridge_MOhm == 10.0
    np.testing.assert_allclose(sweep.voltage_mV, traces()[2] - 0.01 * traces()[1], rtol=1e-12)
