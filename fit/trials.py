"""Behaviour as data: trials with a stimulus, ablated neurons and the animal's choice.

Here a trial is an assay: which neurons are stimulated, which are ablated, and which of a few answers the animal gives
(`read_trials`), such as the withdrawal of *C. elegans* from touch (Chalfie et al. 1985, J Neurosci 5:956).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from jaxtyping import Float, Int

from connectofit.connectome.errors import SchemaError, SettingError, offenders
from connectofit.connectome.report import Finding, ValidationReport, examples_of
from connectofit.connectome.tables import load_table
from connectofit.fit.responses import Id, mapped_columns

COLUMNS = {
    "assay": "assay",
    "stimulated": "stimulated",
    "ablated": "ablated",
    "choice": "choice",
    "reference": "reference",
}
"""Canonical columns of a table of assays; `read_trials` takes a mapping from these to the columns of a table."""


@dataclass(frozen=True, eq=False)
class Trials:
    """Assays: one row each.

    ids: the neurons that indices refer to. assay: name of each row. stimulated, ablated: indices of the neurons, one
    tuple a row.
    choice: index of the answer in `options`. reference: the source of each row.
    """

    ids: tuple[Id, ...]
    assay: tuple[str, ...]
    stimulated: tuple[tuple[int, ...], ...]
    ablated: tuple[tuple[int, ...], ...]
    choice: Int[np.ndarray, "row"]
    options: tuple[str, ...]
    reference: tuple[str, ...]

    @property
    def n_rows(self) -> int:
        return len(self.assay)

    @property
    def situation(self) -> tuple[str, ...]:
        """Stimulated and ablated neurons as text, in the order of `ids`: rows with the same one are the same experiment
        on the model, in whatever order the table names the neurons."""

        def named(neurons: tuple[int, ...]) -> str:
            return " ".join(str(self.ids[i]) for i in sorted(set(neurons))) or "-"

        return tuple(f"{named(s)} | {named(a)}" for s, a in zip(self.stimulated, self.ablated, strict=True))

    def drive(self) -> Float[np.ndarray, "row neuron"]:
        """1 where a neuron is stimulated."""
        return _one_hot(self.stimulated, len(self.ids))

    def alive(self) -> Float[np.ndarray, "row neuron"]:
        """0 where a neuron is ablated, else 1."""
        return 1.0 - _one_hot(self.ablated, len(self.ids))

    def subset(self, rows: np.ndarray) -> Trials:
        """The rows of a mask or index array, in their order."""
        k = np.arange(self.n_rows)[rows]
        return Trials(
            self.ids,
            tuple(self.assay[i] for i in k),
            tuple(self.stimulated[i] for i in k),
            tuple(self.ablated[i] for i in k),
            self.choice[k],
            self.options,
            tuple(self.reference[i] for i in k),
        )


def read_trials(
    source: str | Path | pa.Table,
    ids: Sequence[Id],
    *,
    options: Sequence[str],
    columns: Mapping[str, str] | None = None,
) -> tuple[Trials, ValidationReport]:
    """Read a table of assays; neurons are separated by spaces, and an empty cell means none.

    Parameters
    ----------
    source: path (CSV, Parquet, Feather), Arrow table or pandas frame.
    ids: the neurons of the network. options: the answers that exist, in the order of the choice's index.
    columns: canonical name (see `COLUMNS`) to the table's column, for those that differ.

    Returns
    -------
    The trials, and a report of situations that stand in more than one row.

    Raises
    ------
    SchemaError: neurons that the network does not have, an answer that is not among the options, or two answers for one
        situation. SettingError: fewer than two options, or one named twice. UnknownNameError: a column that is not
        there.
    """
    if len(set(options)) < max(len(options), 2):
        raise SettingError(f"Two options or more are needed, each named once; found {list(options)}.")
    table = load_table(source, "trials")
    data = {
        k: [str(v) if v is not None else "" for v in c.to_pylist()]
        for k, c in mapped_columns(table.arrow, COLUMNS, columns, table.where).items()
    }
    place = {str(neuron): k for k, neuron in enumerate(ids)}
    for name in ("stimulated", "ablated"):
        absent = [f"row {k + 1}: {n}" for k, cell in enumerate(data[name]) for n in cell.split() if n not in place]
        if absent:
            raise SchemaError(
                f"Column {(columns or {}).get(name, name)!r} of {table.where} names neurons that the network does not "
                f"have: {offenders(absent)}. Correct the names, or take these rows out."
            )
    unknown = [f"row {k + 1}: {c!r}" for k, c in enumerate(data["choice"]) if c not in options]
    if unknown:
        raise SchemaError(
            f"The answer in {table.where} has to be one of {', '.join(options)}; found {offenders(unknown)}. Correct "
            "these rows, or add to the options."
        )
    trials = Trials(
        tuple(ids),
        tuple(data["assay"]),
        tuple(tuple(place[n] for n in cell.split()) for cell in data["stimulated"]),
        tuple(tuple(place[n] for n in cell.split()) for cell in data["ablated"]),
        np.array([list(options).index(c) for c in data["choice"]], dtype=np.int32),
        tuple(options),
        tuple(data["reference"]),
    )
    first: dict[str, int] = {}
    repeated, contrary = [], []
    for k, situation in enumerate(trials.situation):
        if first.setdefault(situation, k) == k:
            continue
        repeated.append(k)
        if trials.choice[k] != trials.choice[first[situation]]:
            contrary.append(f"rows {first[situation] + 1} and {k + 1}: {situation}")
    if contrary:
        raise SchemaError(
            f"Rows of {table.where} give two answers to one situation (stimulated | ablated): {offenders(contrary)}. "
            "Keep one of each."
        )
    findings: tuple[Finding, ...] = ()
    if repeated:
        findings = (
            Finding(
                "info",
                "repeated_situation",
                "trials",
                "",
                len(repeated),
                "repeated_situation=keep",
                examples_of(repeated, [trials.assay[k] for k in repeated]),
                f"{len(repeated)} rows repeat the stimulated and ablated neurons of an earlier row; hold-outs keep "
                "them together",
            ),
        )
    n = {"trials": trials.n_rows}
    return trials, ValidationReport(findings, n, n, source={"trials": table.source})


def _one_hot(neurons: tuple[tuple[int, ...], ...], size: int) -> np.ndarray:
    rows = np.zeros((len(neurons), size))
    for k, indices in enumerate(neurons):
        rows[k, list(indices)] = 1.0
    return rows
