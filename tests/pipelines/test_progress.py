"""Progress is a bar on a terminal and lines of the log elsewhere, with the time that is left."""

from __future__ import annotations

import logging
import sys

import pytest
from tqdm import tqdm

from connectofit.pipelines import progress
from connectofit.pipelines.progress import Lines, progress_bar


@pytest.fixture
def clock(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def test_without_a_terminal_lines_say_how_far_it_is_and_how_long_it_takes(clock, caplog, monkeypatch, capsys):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: False)
    caplog.set_level(logging.INFO, "connectofit")
    with progress_bar(40, "fit", unit="step") as bar:
        for second in range(1, 41):
            clock[0] = 4.0 * second
            bar.update()
    # A line every 32 s (the first multiple of 4 from 30 s on) at 4 s a step; none for the end.
    assert [record.getMessage() for record in caplog.records] == [
        "fit: 8 of 40 steps, about 2 min left",
        "fit: 16 of 40 steps, about 96 s left",
        "fit: 24 of 40 steps, about 64 s left",
        "fit: 32 of 40 steps, about 32 s left",
    ]
    assert "\r" not in capsys.readouterr().err  # no bar; the lines themselves where a handler writes them there


def test_what_comes_before_the_first_unit_is_no_pace(clock, caplog):
    caplog.set_level(logging.INFO, "connectofit")
    bar = Lines(100, "training", "step")
    for clock[0] in (60.0, 62.0, 64.0, 91.0):
        bar.update()
    first, second = (record.getMessage() for record in caplog.records)
    assert first == "training: 1 of 100 steps"
    assert second == "training: 4 of 100 steps, about 17 min left"  # 31 s for 3 steps, 96 to go: 992 s


def test_a_total_that_nobody_knows_has_no_time_left(clock, caplog):
    caplog.set_level(logging.INFO, "connectofit")
    bar = Lines(None, "search", "start")
    clock[0] = 31.0
    bar.update(3)
    assert caplog.records[0].getMessage() == "search: 3 starts"


def test_on_a_terminal_it_is_a_bar_and_quiet_is_quiet(monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with progress_bar(3, "fit") as bar:
        assert isinstance(bar, tqdm)
    for terminal in (True, False):
        monkeypatch.setattr(sys.stderr, "isatty", lambda terminal=terminal: terminal)
        with progress_bar(3, "fit", show=False) as bar:
            assert isinstance(bar, tqdm)
            assert bar.disable
