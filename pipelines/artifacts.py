"""What typed stages hand to each other, and how each kind of value lies on the disk.

A stage that is a plain function says by its annotations what it takes and returns. Each type here has one form on the
disk, so that a value that was loaded again is the one that was returned; nothing is pickled.
"""

from __future__ import annotations

import dataclasses
import json
import math
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from connectofit.builders import ModelSpec
from connectofit.connectome import Connectome
from connectofit.connectome.errors import ConnectofitError, SettingError, offenders
from connectofit.pipelines.arrays import read_arrays, write_arrays
from connectofit.pipelines.bundle import Model, load_model, write_bundle


class ReturnedError(ConnectofitError, TypeError):
    """A stage returned something else than it declares."""


@dataclass(frozen=True)
class _Form:
    """How values of one type are written to a folder and read from it."""

    name: str
    write: Callable[[Any, Path], object]
    read: Callable[[Path], Any]


def _write_frame(frame: pd.DataFrame, folder: Path) -> None:
    try:
        frame.to_parquet(folder / "table.parquet")
    except (pa.ArrowException, ValueError) as error:
        raise ReturnedError(f"A table cannot be written as Parquet: {error}. Give its columns plain types.") from None


def _write_array(array: np.ndarray, folder: Path) -> None:
    if array.dtype.hasobject:
        raise ReturnedError("An array of Python objects cannot be kept; return numbers, text or a table.")
    np.save(folder / "array.npy", array, allow_pickle=False)


def _write_named_arrays(arrays: Mapping[str, np.ndarray], folder: Path) -> None:
    wrong = [repr(name) for name, a in arrays.items() if not isinstance(name, str) or np.asarray(a).dtype.hasobject]
    if wrong:
        raise ReturnedError(f"Named arrays are numbers or text by names that are text; not so: {offenders(wrong)}.")
    write_arrays(folder / "arrays.npz", {name: np.asarray(array) for name, array in arrays.items()})


def _write_json(value: Any, folder: Path) -> None:
    _check_plain(value, "the returned value")
    text = json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False)
    (folder / "value.json").write_text(text + "\n", encoding="utf-8")


def _check_plain(value: Any, where: str) -> None:
    if value is None or isinstance(value, bool | int | str):
        return
    if isinstance(value, float) and math.isfinite(value):
        return
    if isinstance(value, list):
        for i, item in enumerate(value):
            _check_plain(item, f"{where}[{i}]")
    elif isinstance(value, dict) and all(isinstance(key, str) for key in value):
        for key, item in value.items():
            _check_plain(item, f"{where}[{key!r}]")
    else:
        raise ReturnedError(
            f"{where} is {value!r}, which JSON does not keep as it is. Plain values are None, numbers that are finite, "
            f"text, lists, and mappings with names that are text; arrays and tables have types of their own."
        )


def _read_json(folder: Path) -> Any:
    return json.loads((folder / "value.json").read_text(encoding="utf-8"))


_FORMS: dict[Any, _Form] = {
    Connectome: _Form(
        "connectome", lambda c, folder: c.write(folder / "connectome"), lambda f: Connectome.read(f / "connectome")
    ),
    Model: _Form(
        "model", lambda model, folder: write_bundle(model, folder / "model"), lambda f: load_model(f / "model")
    ),
    ModelSpec: _Form("spec", lambda s, folder: s.dump(folder / "spec.toml"), lambda f: ModelSpec.load(f / "spec.toml")),
    pd.DataFrame: _Form("table", _write_frame, lambda folder: pd.read_parquet(folder / "table.parquet")),
    pa.Table: _Form(
        "arrow table",
        lambda table, folder: pq.write_table(table, folder / "table.parquet"),
        lambda folder: pq.read_table(folder / "table.parquet", memory_map=False),
    ),
    np.ndarray: _Form("array", _write_array, lambda folder: np.load(folder / "array.npy", allow_pickle=False)),
    "arrays": _Form("named arrays", _write_named_arrays, lambda folder: read_arrays(folder / "arrays.npz")),
    str: _Form(
        "text",
        lambda text, folder: (folder / "text.txt").write_text(text, encoding="utf-8", newline=""),
        lambda folder: (folder / "text.txt").read_bytes().decode("utf-8"),
    ),
    "plain": _Form("plain value", _write_json, _read_json),
}
_PLAIN = (int, float, bool, list, dict, type(None))


def _form(annotation: Any) -> _Form | None:
    base = typing.get_origin(annotation) or annotation
    base = getattr(base, "array_type", base)  # jaxtyping's annotations name an array's type and shape
    if base in (dict, Mapping) and typing.get_args(annotation)[1:] == (np.ndarray,):
        return _FORMS["arrays"]
    if base in _PLAIN or annotation is None:
        return _FORMS["plain"]
    return _FORMS.get(base) if isinstance(base, type) else None


def _parts(annotation: Any) -> dict[str, Any] | None:
    """The fields, with their types, of a dataclass that stands for several outputs."""
    if isinstance(annotation, type) and dataclasses.is_dataclass(annotation) and annotation not in _FORMS:
        hints = typing.get_type_hints(annotation)
        return {field.name: hints[field.name] for field in dataclasses.fields(annotation)}
    return None


def check_annotation(annotation: Any, where: str) -> None:
    """Raise `SettingError` for a type that stages cannot hand on."""
    parts = _parts(annotation)
    if parts is not None and parts:
        for name, part in parts.items():
            check_annotation(part, f"{where}, field {name!r},")
        return
    if _form(annotation) is None:
        known = ["Connectome", "Model", "ModelSpec", "pandas.DataFrame", "pyarrow.Table", "numpy.ndarray"]
        known += ["dict[str, numpy.ndarray]", "str", "plain values (numbers, lists, dicts)", "a dataclass of these"]
        raise SettingError(
            f"{where} is {type_name(annotation)}, which stages do not hand on. Known: {', '.join(known)}."
        )


def type_name(annotation: Any) -> str:
    """An annotation as it is written."""
    return annotation.__name__ if isinstance(annotation, type) and not typing.get_args(annotation) else str(annotation)


def write_value(value: Any, annotation: Any, folder: Path, where: str) -> None:
    """Write a returned value in the form of its declared type. Raises `ReturnedError` for a value of another type."""
    parts = _parts(annotation)
    if parts is not None:
        if not isinstance(value, annotation):
            raise _another(value, annotation, where)
        for name, part in parts.items():
            (folder / name).mkdir()
            write_value(getattr(value, name), part, folder / name, f"{where}.{name}")
        return
    form = _form(annotation)
    if form is None or not _is_of(value, annotation):
        raise _another(value, annotation, where)
    try:
        form.write(value, folder)
    except ReturnedError as error:
        raise ReturnedError(f"{where}: {error}") from None


def read_value(annotation: Any, folder: Path) -> Any:
    """The value that `write_value` wrote."""
    parts = _parts(annotation)
    if parts is not None:
        return annotation(**{name: read_value(part, folder / name) for name, part in parts.items()})
    form = _form(annotation)
    if form is None:
        raise SettingError(f"{type_name(annotation)} is no type that stages hand on.")
    return form.read(folder)


def _is_of(value: Any, annotation: Any) -> bool:
    base = typing.get_origin(annotation) or annotation
    base = getattr(base, "array_type", base)
    if base is Mapping:
        return isinstance(value, Mapping)
    if annotation is None:
        return value is None
    if base is float:
        return isinstance(value, float | int) and not isinstance(value, bool)
    if base is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, base)


def _another(value: Any, annotation: Any, where: str) -> ReturnedError:
    return ReturnedError(
        f"{where} is a {type(value).__name__}, where {type_name(annotation)} is declared. Return that, or change the "
        f"annotation."
    )
