"""Presets: how published connectome tables are laid out, which of their columns mean what, and what to assume of them.

A preset is data, not code: the forms in which its tables come, the columns that tell a form, the mapping onto canonical
names, and policies with their source. ``read_connectome(..., preset="flywire")`` uses one; ``preset="auto"`` recognises
it by the tables' columns and says in the report which it was. Whatever the caller says too (`columns`, `policies`,
`id_type`) goes before what the preset says.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, Literal

from connectofit.connectome.errors import SchemaError, SettingError, offenders, unknown_name
from connectofit.connectome.policies import Policies
from connectofit.connectome.sources import CsvFile, JoinedTables, column_names, files_of, first_path, format_of, load


@dataclass(frozen=True)
class TableForm:
    """One form in which a table of a preset comes.

    Attributes
    ----------
    files
        Which files these are, in words.
    columns
        The columns that tell this form; a table that has them all has this form. Without `header` they are the names
        that its columns get, in order.
    mapping
        What they mean: canonical names to columns, as the argument `columns` of `read_connectome`.
    header
        False for a CSV whose first line is data; such a form is told by `patterns` and its number of columns, or by the
        caller, who names the preset.
    patterns
        Names of files (with ``*``).
    left_out
        Columns that repeat others, which are not read.
    whole
        Columns of whole numbers that are written as floats (``9.0``).
    layout
        ``"edges"`` (a row per connection), ``"synapses"`` (a row per synapse, for `aggregate_synapses`) or ``"matrix"``
        (an adjacency matrix with ids in its margins, rows presynaptic).
    refused
        Why a table of this form is recognised, but cannot be read.
    """

    files: str
    columns: tuple[str, ...]
    mapping: Mapping[str, str | None]
    header: bool = True
    patterns: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    whole: tuple[str, ...] = ()
    layout: Literal["edges", "synapses", "matrix"] = "edges"
    refused: str = ""

    @property
    def told_by(self) -> str:
        """What tells this form, in words."""
        if self.layout == "matrix":
            return "a matrix with ids in its header and first column"
        names = ", ".join(map(repr, self.columns))
        return names if self.header else f"no header, {len(self.columns)} columns ({names})"

    def fits(self, names: Sequence[str], path: Path | None, width: int, replaced: Iterable[str], asked: bool) -> bool:
        """Whether a table with these column names has this form; `path` is its (first) file, if it is one, which has
        `width` columns.

        Columns whose canonical names are `replaced` by the caller's need not be there. `asked`: the caller has named
        the preset, so that it need not be recognised.
        """
        named = path is not None and any(fnmatch(path.name.lower(), pattern) for pattern in self.patterns)
        if self.layout == "matrix":
            return named and len(names) > 1
        there = bool(names) and set(self.columns) - {self.mapping.get(name) for name in replaced} <= set(names)
        if self.header:
            return there
        without_header = path is not None and format_of(path) == "CSV" and width == len(self.columns)
        return (there and asked) or (without_header and (named or asked))


@dataclass(frozen=True)
class Preset:
    """The tables of one source of connectomes, and how to read them.

    Attributes
    ----------
    name
        What ``preset=`` takes.
    title
        What it is.
    citation
        The works to cite, one a line of text.
    edges, neurons
        The forms in which the tables come, the most telling first.
    id_type
        The type of the ids in tables without types: ids above 2^53 must never pass through a float.
    policies
        What to do where the tables can be read in more than one way, signs included.
    sign_source
        Where the sign policy comes from.
    join_on
        The id column on which several neuron tables with different columns are joined.
    no_neuron
        Ids in tables of synapses that mean that there is no neuron.
    notes
        What else to know.
    """

    name: str
    title: str
    citation: tuple[str, ...]
    edges: tuple[TableForm, ...]
    neurons: tuple[TableForm, ...]
    id_type: Literal["string", "int64"]
    policies: Policies = field(default_factory=Policies)
    sign_source: str = ""
    join_on: str | None = None
    no_neuron: tuple[int, ...] = ()
    notes: str = ""

    def __str__(self) -> str:
        lines = [f"{self.name}: {self.title}"]
        lines += [f"  edges:   {form.files}: {form.told_by}" for form in self.edges]
        lines += [f"  neurons: {form.files}: {form.told_by}" for form in self.neurons]
        lines += [f"  signs:   {self.sign_source}"] if self.sign_source else []
        lines += [f"  note:    {self.notes}"] if self.notes else []
        return "\n".join(lines + [f"  cite:    {work}" for work in self.citation])


@dataclass(frozen=True)
class Choice:
    """A preset, and the forms of it that the given tables have."""

    preset: Preset
    edges: TableForm
    neurons: TableForm | None
    recognised: bool

    def mapping(self, columns: Mapping[str, str | None]) -> dict[str, str | None]:
        """What the columns mean: the caller's `columns`, and the forms' where these are silent."""
        result = {**self.edges.mapping, **(self.neurons.mapping if self.neurons else {})}
        for one, other in (("count", "signed_weight"), ("signed_weight", "count")):
            if one in columns:
                result.pop(other, None)  # the two say the same thing
        return {**result, **columns}


def presets() -> dict[str, Preset]:
    """All presets by name; print one to see its files, columns, policies and citations."""
    from connectofit.connectome.known_presets import PRESETS

    return {preset.name: preset for preset in PRESETS}


def find_preset(name: str) -> Preset:
    """The preset of that name; `UnknownNameError` with the nearest name if there is none."""
    if not isinstance(name, str):
        raise SettingError(f"preset must be the name of a preset, 'auto' or None; it is {name!r}.")
    known = presets()
    if name not in known:
        raise unknown_name("preset", name, [*known, "auto"])
    return known[name]


def choose(name: str, edges: Any, neurons: Any, columns: Mapping[str, str | None]) -> Choice | None:
    """The preset `name` with the forms that the tables have; with ``"auto"`` the one that they fit, None if none.

    Raises `UnknownNameError` for a preset that does not exist, and `SchemaError` if the tables have none of its forms,
    if one of them cannot be read, or if they fit several presets equally well.
    """
    if name == "auto":
        fitting = recognise(edges, neurons)
        if len(fitting) > 1:
            names = [choice.preset.name for choice in fitting]
            raise SchemaError(f"The tables fit several presets, {offenders(names)}: say which, preset='...'.")
        return _readable(fitting[0]) if fitting else None
    wanted = find_preset(name)
    edge_form = _form(wanted.edges, edges, columns, asked=True)
    if edge_form is None:
        raise _no_form(wanted, "edges", wanted.edges, edges, neurons)
    neuron_form = None
    if neurons is not None:
        neuron_form = _form(wanted.neurons, neurons, columns, asked=True)
        if neuron_form is None:
            raise _no_form(wanted, "neurons", wanted.neurons, neurons, neurons, edges)
    return _readable(Choice(wanted, edge_form, neuron_form, False))


def recognise(edges: Any, neurons: Any) -> list[Choice]:
    """The presets that the tables fit, of those that fit the most telling columns; several only if equally well."""
    found: list[tuple[int, Choice]] = []
    for candidate in presets().values():
        edge_form = _form(candidate.edges, edges, {})
        neuron_form = None if neurons is None else _form(candidate.neurons, neurons, {})
        if edge_form is not None and (neurons is None or neuron_form is not None):
            telling = len(edge_form.columns) + (len(neuron_form.columns) if neuron_form else 0)
            found.append((telling, Choice(candidate, edge_form, neuron_form, True)))
    best = max((telling for telling, _ in found), default=0)
    return [choice for telling, choice in found if telling == best]


def hint(edges: Any, neurons: Any) -> str:
    """For an error about missing columns: which preset the tables look like, or "" if they look like none."""
    fitting = recognise(edges, neurons) or recognise(edges, None)
    if not fitting:
        return ""
    names = " or ".join(f"preset={choice.preset.name!r}" for choice in fitting)
    return f" These look like {fitting[0].preset.title} ({fitting[0].edges.files}): say {names}."


def as_source(source: Any, form: TableForm | None) -> Any:
    """The source as its form says it is to be read: without header, with these names."""
    if form is None or form.header or isinstance(source, CsvFile) or set(form.columns) <= set(column_names(source)):
        return source
    if isinstance(source, list | tuple):
        return [as_source(item, form) for item in source]
    if Path(source).is_dir():
        return [CsvFile(path, names=form.columns) for path in files_of(Path(source), "edges")]
    return CsvFile(source, names=form.columns)


def _form(
    forms: tuple[TableForm, ...], source: Any, columns: Mapping[str, str | None], asked: bool = False
) -> TableForm | None:
    """The first form that the source has."""
    names, path = column_names(source), first_path(source)
    width = len(column_names(source[0])) if isinstance(source, list | tuple) and source else len(names)
    return next((form for form in forms if form.fits(names, path, width, columns, asked)), None)


def _readable(choice: Choice) -> Choice:
    for form in (choice.edges, choice.neurons):
        if form is not None and form.refused:
            raise SchemaError(f"These are {choice.preset.title} ({form.files}), which cannot be read: {form.refused}")
    return choice


def _no_form(
    wanted: Preset, role: str, forms: tuple[TableForm, ...], source: Any, neurons: Any, edges: Any = None
) -> SchemaError:
    names = column_names(source)
    if not names and not isinstance(source, JoinedTables):
        load(source, role)  # raises, if the file is not there or cannot be read, the error that says so
    known = "; ".join(f"{form.files}: {form.told_by}" for form in forms)
    fitting = recognise(source if role == "edges" else edges, neurons)
    other = f" The tables look like preset={fitting[0].preset.name!r}." if fitting else ""
    path = first_path(source)
    where = f" ({path.name})" if path is not None else ""
    return SchemaError(
        f"The {role} table{where} has none of the forms of preset {wanted.name!r}, {known}. Its columns are "
        f"{offenders(names, 20)}.{other} Columns under other names can be declared beside the preset: columns={{...}}."
    )
