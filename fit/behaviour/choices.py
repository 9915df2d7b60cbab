"""An animal's choices as data: trials with stimuli, what was chosen and what would have been right, by session.

`read_choices` checks a table of trials before anything is fitted to it. Trials of a session follow one another: what
came before is part of what an animal goes by (`ChoiceTrials.previous`), and hold-outs are by session.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
import pandas as pd
import pyarrow as pa
from jaxtyping import Bool, Float, Int

from connectofit.connectome.errors import SchemaError, SettingError, offenders, unknown_name
from connectofit.connectome.report import Finding, ValidationReport, examples_of
from connectofit.connectome.tables import load_table
from connectofit.fit.responses import mapped_columns, numbers

COLUMNS = MappingProxyType({"session": "session", "trial": "trial", "choice": "choice"})
"""Columns that a table of choices has to have: canonical name to the table's, which `columns` may change."""

OPTIONAL = MappingProxyType({"answer": "answer", "correct": "correct", "reaction_time": "reaction_time"})
"""Columns that are read where they are there."""

_UNITS = {"ms": 1.0, "s": 1e3}
_SHORTEST_MS = 20.0  # median reaction times below are of another unit


@dataclass(frozen=True, eq=False)
class ChoiceTrials:
    """Trials in the order in which they happened, session after session.

    sessions: their names, in the table's order; session: of every trial, an index of these. place: the table's number
    of the trial in its session. stimuli, covariates: by name. options: what can be chosen; choice: an index of these,
    -1 where none was made. answer: the option that is right, -1 where none is known. reaction_ms: NaN where none was
    measured.
    """

    sessions: tuple[Any, ...] = field(repr=False)
    session: Int[np.ndarray, "trial"] = field(repr=False)
    place: Int[np.ndarray, "trial"] = field(repr=False)
    stimuli: Mapping[str, Float[np.ndarray, "trial"]] = field(repr=False)
    options: tuple[str, ...]
    choice: Int[np.ndarray, "trial"] = field(repr=False)
    answer: Int[np.ndarray, "trial"] = field(repr=False)
    reaction_ms: Float[np.ndarray, "trial"] = field(repr=False)
    covariates: Mapping[str, Float[np.ndarray, "trial"]] = field(default_factory=dict, repr=False)

    @property
    def n_rows(self) -> int:
        """Number of trials."""
        return int(self.choice.size)

    @property
    def correct(self) -> Float[np.ndarray, "trial"]:
        """1 where the choice was right, 0 where it was wrong, NaN where there is none or no answer is known."""
        unknown = (self.answer < 0) | (self.choice < 0)
        return np.where(unknown, np.nan, (self.choice == self.answer).astype(float))

    @property
    def previous(self) -> Int[np.ndarray, "trial"]:
        """The row of the trial before in the same session, -1 for the first of each: with trials that were left out,
        the last one that was kept."""
        rows = np.arange(self.n_rows) - 1
        return np.where(np.diff(self.session, prepend=-1) == 0, rows, -1)

    def subset(self, rows: Bool[np.ndarray, "trial"] | Int[np.ndarray, "row"]) -> ChoiceTrials:
        """The rows of a mask or index array, which have to keep their order. For hold-outs take whole sessions: a trial
        whose predecessor is left out is told that another came before it."""
        k = np.arange(self.n_rows)[rows]
        if (np.diff(k) <= 0).any():
            raise SettingError("Rows of trials have to be taken in the order in which they happened, each once.")
        return ChoiceTrials(
            self.sessions,
            self.session[k],
            self.place[k],
            {name: values[k] for name, values in self.stimuli.items()},
            self.options,
            self.choice[k],
            self.answer[k],
            self.reaction_ms[k],
            {name: values[k] for name, values in self.covariates.items()},
        )

    def to_pandas(self) -> pd.DataFrame:
        """One row a trial, with the options' names."""
        names = np.array([*self.options, ""], dtype=object)
        return pd.DataFrame(
            {
                "session": np.array(self.sessions, dtype=object)[self.session],
                "trial": self.place,
                **self.stimuli,
                "choice": names[self.choice],
                "answer": names[self.answer],
                "reaction_ms": self.reaction_ms,
                **self.covariates,
            }
        )


def read_choices(
    source: str | Path | pa.Table | pd.DataFrame,
    *,
    options: Sequence[str],
    stimuli: Sequence[str],
    covariates: Sequence[str] = (),
    columns: Mapping[str, str] | None = None,
    reaction_unit: Literal["ms", "s"] = "ms",
    unanswered: Literal["drop", "keep"] = "drop",
) -> tuple[ChoiceTrials, ValidationReport]:
    """Read a table of choices, one row a trial.

    Parameters
    ----------
    source: path (CSV, Parquet, Feather), Arrow table or pandas frame.
    options: what can be chosen, in the order of the choice's index, as the table writes it.
    stimuli, covariates: names of columns with numbers.
    columns: canonical name (`COLUMNS`, `OPTIONAL`) to the table's column, for those that differ.
    reaction_unit: of the column of reaction times.
    unanswered: whether trials without a choice are left out, or kept with choice -1, as reaction times need them; a
        reaction time of such a trial says for how long there was no answer.

    Returns
    -------
    The trials, ordered by session (as these first appear) and trial, and a report of the rows that were left out
    (without a choice, with stimuli or covariates that are missing or not finite) and of what is odd: sessions of one
    trial, stimuli and reaction times that never change, reaction times that are missing in some trials, options that
    are never chosen.

    Raises
    ------
    UnknownNameError: a column that is not there. SettingError: fewer than two options, one named twice, no stimulus.
    SchemaError: choices and answers that are not among the options, a trial that stands twice, trials that are no whole
        numbers, reaction times that are not above 0 or look like another unit, a column ``correct`` that contradicts
        choice and answer, and tables of which no row is left.
    """
    if len(set(options)) < max(len(options), 2):
        raise SettingError(f"Two options or more are needed, each named once; found {list(options)}.")
    if not stimuli:
        raise SettingError("Name the columns of the stimuli, one or more.")
    if reaction_unit not in _UNITS:
        raise unknown_name("unit of reaction times", reaction_unit, _UNITS)
    if unanswered not in ("drop", "keep"):
        raise unknown_name("way with unanswered trials", str(unanswered), ("drop", "keep"))
    table = load_table(source, "choices")
    given = dict(columns or {})
    for name in given:
        if name not in COLUMNS and name not in OPTIONAL:
            raise unknown_name("canonical column", name, (*COLUMNS, *OPTIONAL))
    wanted = dict(COLUMNS)
    wanted |= {name: name for name in OPTIONAL if given.get(name, name) in table.arrow.column_names or name in given}
    wanted |= {name: name for name in (*stimuli, *covariates)}
    data = mapped_columns(table.arrow, wanted, given, table.where)
    shown = {name: given.get(name, name) for name in wanted}
    codes = {name: _codes(data, name, shown.get(name, name), options, table.where) for name in ("choice", "answer")}
    place = numbers(data["trial"], shown["trial"], table.where)
    values = {name: numbers(data[name], shown[name], table.where) for name in (*stimuli, *covariates)}
    names = np.array(data["session"].to_pylist(), dtype=object)
    _check_trials(names, place, shown, table.where)
    _check_correct(data, codes, options, shown, table.where)
    reaction = _reaction_ms(data, shown, reaction_unit, table.where)

    findings: list[Finding] = []
    keep = np.ones(len(place), bool)

    def leave_out(rule: str, rows: np.ndarray, column: str, shown_values: Sequence[Any], message: str) -> None:
        rows = np.flatnonzero(rows & keep)
        if rows.size:
            examples = examples_of(rows, [shown_values[int(k)] for k in rows])
            text = f"{rows.size} {message}"
            findings.append(
                Finding("warning", rule, "choices", column, rows.size, f"{rule}=drop", examples, text, rows.size)
            )
            keep[rows] = False

    if unanswered == "drop":
        leave_out(
            "no_choice", codes["choice"] < 0, shown["choice"], names.tolist(), "trials have no choice and are left out"
        )
    for name, column in values.items():
        leave_out(
            "not_finite",
            ~np.isfinite(column),
            name,
            column.tolist(),
            f"trials have no finite {name!r} and are left out",
        )
    if not keep.any():
        raise SchemaError(f"No row of {table.where} is left: {'; '.join(f.message for f in findings)}.")

    sessions = tuple(dict.fromkeys(names[keep].tolist()))
    number = {name: k for k, name in enumerate(sessions)}
    session = np.array([number.get(name, -1) for name in names], np.int64)
    rows = np.flatnonzero(keep)
    rows = rows[np.lexsort((place[rows], session[rows]))]
    trials = ChoiceTrials(
        sessions,
        session[rows],
        place[rows].astype(np.int64),
        {name: values[name][rows] for name in stimuli},
        tuple(options),
        codes["choice"][rows],
        codes["answer"][rows],
        reaction[rows],
        {name: values[name][rows] for name in covariates},
    )
    findings += _odd(trials)
    report = ValidationReport(
        tuple(findings),
        {"choices": int(keep.size)},
        {"choices": trials.n_rows},
        source={"choices": table.source},
        columns=shown,
    )
    return trials, report


def _codes(
    data: Mapping[str, pa.ChunkedArray], name: str, column: str, options: Sequence[str], where: str
) -> Int[np.ndarray, "trial"]:
    """Indices of the options, -1 where the table has nothing."""
    if name not in data:
        return np.full(len(data["choice"]), -1)
    known = {option: k for k, option in enumerate(options)}
    texts = ["" if v is None else str(v).strip() for v in data[name].to_pylist()]
    odd = [f"row {k + 1}: {text!r}" for k, text in enumerate(texts) if text and text not in known]
    if odd:
        raise SchemaError(
            f"Column {column!r} of {where} has to hold one of {', '.join(options)} or nothing; found {offenders(odd)}. "
            "Correct these rows, or add to the options."
        )
    return np.array([known.get(text, -1) for text in texts])


def _check_trials(names: np.ndarray, place: np.ndarray, shown: Mapping[str, str], where: str) -> None:
    missing = [f"row {k + 1}" for k, name in enumerate(names) if name is None or name == "" or name != name]
    if missing:
        raise SchemaError(
            f"Column {shown['session']!r} of {where} is empty in {offenders(missing)}. Name the sessions."
        )
    odd = [f"row {k + 1}: {value:g}" for k, value in enumerate(place) if value % 1 != 0]
    if odd:
        raise SchemaError(
            f"Column {shown['trial']!r} of {where} has to number the trials of a session; found {offenders(odd)}."
        )
    pairs = pd.DataFrame({"session": [str(name) for name in names], "trial": place})
    again = np.flatnonzero(pairs.duplicated())
    if again.size:
        rows = [f"row {k + 1}: session {names[k]}, trial {place[k]:g}" for k in again]
        raise SchemaError(f"In {where} a trial of a session may stand once; found again: {offenders(rows)}.")


def _check_correct(
    data: Mapping[str, pa.ChunkedArray],
    codes: Mapping[str, np.ndarray],
    options: Sequence[str],
    shown: Mapping[str, str],
    where: str,
) -> None:
    if "correct" not in data or not (codes["answer"] >= 0).any():
        return
    words = {"true": 1, "1": 1, "1.0": 1, "false": 0, "0": 0, "0.0": 0, "": -1}
    told = [words.get("" if v is None else str(v).strip().lower(), -2) for v in data["correct"].to_pylist()]
    odd = [f"row {k + 1}" for k, value in enumerate(told) if value == -2]
    if odd:
        raise SchemaError(f"Column {shown['correct']!r} of {where} has to say true or false; see {offenders(odd)}.")
    stated, known = np.array(told), (codes["choice"] >= 0) & (codes["answer"] >= 0)
    wrong = np.flatnonzero(known & (stated >= 0) & (stated != (codes["choice"] == codes["answer"])))
    if wrong.size:
        rows = [
            f"row {k + 1}: chose {options[codes['choice'][k]]}, {options[codes['answer'][k]]} was right, "
            f"{shown['correct']} = {bool(stated[k])}"
            for k in wrong
        ]
        raise SchemaError(
            f"Column {shown['correct']!r} of {where} contradicts choice and answer in {wrong.size} rows: "
            f"{offenders(rows)}. Check which column means what."
        )


def _reaction_ms(
    data: Mapping[str, pa.ChunkedArray], shown: Mapping[str, str], unit: str, where: str
) -> Float[np.ndarray, "trial"]:
    if "reaction_time" not in data:
        return np.full(len(data["choice"]), np.nan)
    found = numbers(data["reaction_time"], shown["reaction_time"], where) * _UNITS[unit]
    odd = [f"row {k + 1}: {value / _UNITS[unit]:g} {unit}" for k, value in enumerate(found) if value <= 0]
    if odd:
        raise SchemaError(f"Column {shown['reaction_time']!r} of {where} has to be above 0; found {offenders(odd)}.")
    measured = found[np.isfinite(found)]
    if measured.size and np.median(measured) < _SHORTEST_MS:
        raise SchemaError(
            f"The median of column {shown['reaction_time']!r} of {where} would be {np.median(measured):g} ms, faster "
            "than any animal answers: it is probably in seconds (reaction_unit='s')."
        )
    return found


def _odd(trials: ChoiceTrials) -> list[Finding]:
    """What is odd about trials that were kept."""
    found = []

    def tell(severity: Literal["warning", "info"], rule: str, column: str, shown: Sequence[Any], message: str) -> None:
        examples = examples_of(np.arange(len(shown)), list(shown))
        found.append(Finding(severity, rule, "choices", column, len(shown), "", examples, message))

    sizes = np.bincount(trials.session, minlength=len(trials.sessions))
    single = [trials.sessions[k] for k in np.flatnonzero(sizes == 1)]
    if single:
        text = f"{len(single)} sessions have one trial, which says nothing about what came before: {offenders(single)}"
        tell("warning", "session_of_one", "session", single, text)
    for name, values in (*trials.stimuli.items(), *trials.covariates.items()):
        if np.ptp(values) == 0:
            tell("warning", "constant", name, [values[0]], f"{name!r} is the same in all trials: it explains nothing")
    silent = np.flatnonzero(trials.choice < 0)
    if silent.size:
        tell("info", "no_choice", "choice", silent.tolist(), f"{silent.size} trials have no choice")
    measured = np.isfinite(trials.reaction_ms)
    if measured.sum() > 1 and np.ptp(trials.reaction_ms[measured]) == 0:
        text = f"all reaction times are {trials.reaction_ms[measured][0]:g} ms: they explain nothing"
        tell("warning", "constant", "reaction_time", [float(trials.reaction_ms[measured][0])], text)
    lost = np.flatnonzero(~measured & (trials.choice >= 0))
    if measured.any() and lost.size:
        text = f"{lost.size} trials with a choice have no reaction time: likelihoods of reaction times refuse them"
        tell("warning", "no_reaction_time", "reaction_time", lost.tolist(), text)
    unused = [option for k, option in enumerate(trials.options) if not (trials.choice == k).any()]
    if unused:
        tell("warning", "never_chosen", "choice", unused, f"never chosen: {offenders(unused)}")
    return found
