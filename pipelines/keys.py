"""Keys: the SHA-256 that decides whether a stage has to run.

A key is made of everything the stage's result may depend on: its name and version, its settings, the content of its
data files and of its input stages' outputs, the seed, the versions of the libraries that compute, for a stage that
uses JAX the precision, backend and kernels, and the source of the stage's function with all of the package that it
imports. What cannot be hashed is an error, never a constant, because a constant would silently take an old result for a
new one.
"""

from __future__ import annotations

import dataclasses
import datetime
import enum
import functools
import hashlib
import importlib.metadata
import importlib.util
import inspect
import json
import sys
import types
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel

from connectofit.connectome.errors import MissingFileError, SettingError
from connectofit.pipelines.sources import imported_modules, imports_library
from connectofit.pipelines.stages import Stage

LIBRARIES = ("connectofit", "jax", "jaxlib", "numpy")
"""The libraries whose version is part of every key."""


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal. Raises `MissingFileError`."""
    try:
        with path.open("rb") as handle:
            return hashlib.file_digest(handle, "sha256").hexdigest()
    except (FileNotFoundError, IsADirectoryError):
        raise MissingFileError(f"There is no file {str(path)!r}. Check the path.") from None
    except OSError as error:
        raise MissingFileError(
            f"The file {str(path)!r} cannot be read: {error.strerror}. Check its permissions."
        ) from None


def value_digest(value: Any, where: str = "value") -> str:
    """SHA-256 of a value: plain ones, arrays, sequences, mappings, dataclasses, models, files (content), functions.

    Types count: 1, 1.0, True and "1" differ. Raises `SettingError` naming `where` if something cannot be hashed.
    """
    sha = hashlib.sha256()
    for piece in _pieces(value, where):
        # Every piece goes in with its length, so that ("ab", "c") and ("a", "bc") differ.
        sha.update(len(piece).to_bytes(8, "little"))
        sha.update(piece)
    return sha.hexdigest()


def _pieces(value: Any, where: str) -> Iterator[bytes]:
    if value is None or isinstance(value, bool | int | float | complex | str):
        yield f"{type(value).__name__}:{value!r}".encode()
    elif isinstance(value, bytes):
        yield b"bytes"
        yield value
    elif isinstance(value, enum.Enum):
        yield f"enum:{type(value).__qualname__}.{value.name}".encode()
    elif isinstance(value, datetime.date | datetime.time):
        yield f"{type(value).__name__}:{value.isoformat()}".encode()
    elif isinstance(value, Path):
        yield b"file"
        yield file_digest(value).encode()
    elif isinstance(value, np.ndarray | np.generic):
        array = np.asarray(value)
        if array.dtype.hasobject:
            raise _unhashable(value, where)
        yield f"array:{array.dtype.str}:{array.shape}".encode()
        yield array.tobytes()
    elif isinstance(value, list | tuple):
        yield f"sequence:{len(value)}".encode()
        for i, item in enumerate(value):
            yield from _pieces(item, f"{where}[{i}]")
    elif isinstance(value, Mapping):
        yield f"mapping:{len(value)}".encode()
        for key in sorted(value, key=repr):
            yield from _pieces(key, f"a key of {where}")
            yield from _pieces(value[key], f"{where}[{key!r}]")
    elif isinstance(value, BaseModel):
        yield f"model:{type(value).__qualname__}".encode()
        yield from _pieces({name: getattr(value, name) for name in type(value).model_fields}, where)
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        yield f"dataclass:{type(value).__qualname__}".encode()
        yield from _pieces({f.name: getattr(value, f.name) for f in dataclasses.fields(value)}, where)
    elif isinstance(value, functools.partial):
        yield b"partial"
        yield from _pieces([value.func, value.args, dict(value.keywords)], where)
    elif isinstance(value, types.FunctionType):
        yield from _function_pieces(value, where)
    else:
        raise _unhashable(value, where)


def _function_pieces(function: types.FunctionType, where: str) -> Iterator[bytes]:
    """A function is its source with that of the package modules it imports, its defaults and what it closes over."""
    yield f"function:{function.__qualname__}".encode()
    yield source_digest(function).encode()
    yield from _pieces(list(function.__defaults__ or ()), f"a default of {where}")
    yield from _pieces(dict(function.__kwdefaults__ or {}), f"a default of {where}")
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        yield from _pieces(cell.cell_contents, f"{name!r}, which {where} closes over,")


def _unhashable(value: Any, where: str) -> SettingError:
    return SettingError(
        f"{where} is a {type(value).__qualname__}, which cannot be hashed, so a later change of it would go unseen and "
        f"an old result would be taken for a new one. Use plain values, arrays, dataclasses or files."
    )


def source_digest(function: Callable[..., object]) -> str:
    """SHA-256 over the source of a function's module and of every module of the package that it imports, in turn.

    Raises `SettingError` if the function has no source file (it was typed at a prompt).
    """
    sha = hashlib.sha256()
    for name, digest in source_digests(function).items():
        sha.update(f"{name}:{digest}\n".encode())
    return sha.hexdigest()


def source_digests(function: Callable[..., object]) -> dict[str, str]:
    """{module: SHA-256 of its source} for `source_digest`."""
    return {name: file_digest(file) for name, file in sorted(_modules_of(function).items())}


def uses_jax(function: Callable[..., object]) -> bool:
    """Whether a function's module imports JAX, itself or through the modules that `source_digest` counts."""
    return imports_library(_modules_of(function), "jax")


def _modules_of(function: Callable[..., object]) -> dict[str, Path]:
    while isinstance(function, functools.partial):
        # What is called with a function of somebody's own does what that function says: both count.
        inner = [a for a in (*function.args, *function.keywords.values()) if isinstance(a, types.FunctionType)]
        if inner:
            found: dict[str, Path] = {}
            parts: list[Callable[..., object]] = [function.func, *inner]
            for part in parts:
                found |= _modules_of(part)
            return found
        function = function.func
    module = inspect.getmodule(function)
    path = getattr(module, "__file__", None)
    if module is None or path is None or not Path(path).is_file():
        raise SettingError(
            f"The function {getattr(function, '__qualname__', function)!r} has no source file, so a change of it would "
            f"go unseen. Put it into a module (a .py file)."
        )
    return imported_modules(module.__name__, Path(path))


def library_versions() -> dict[str, str]:
    """The versions of `LIBRARIES`, as installed."""
    return {name: importlib.metadata.version(name) for name in LIBRARIES}


def environment() -> dict[str, str]:
    """The interpreter, the platform and the libraries' versions, as written beside every result."""
    return {"python": sys.version.split()[0], "platform": sys.platform, **library_versions()}


def numerics() -> dict[str, str]:
    """What of this machine may change the last digits of what JAX computes: precision, backend and kernels."""
    import jax

    from connectofit.sim.native import compiled_kernels

    return {
        "dtype": "float64" if jax.config.read("jax_enable_x64") else "float32",
        "backend": jax.default_backend(),
        "compiled kernels": str(compiled_kernels().available),
    }


@dataclasses.dataclass(frozen=True)
class KeyParts:
    """What a stage's result depends on: `digests` by part, which `stage_key` combines, and what they are digests of, as
    far as it is short enough to be written down (`told`: {part: {name: text}}), so that a later run can say what
    changed."""

    digests: Mapping[str, str]
    told: Mapping[str, Mapping[str, str]]


def key_parts(
    stage: Stage, settings: Any, files: Mapping[str, Path], inputs: Mapping[str, str], earlier: Mapping[str, str]
) -> KeyParts:
    """Each thing that a stage's result depends on.

    Parameters: `settings` the stage's checked section or None; `files` its data files; `inputs` the content digest of
    each input stage's output; `earlier` the keys of the stages before it, which count if it documents the run.
    """
    plain = {name: getattr(settings, name) for name in type(settings).model_fields} if settings is not None else {}
    seed = plain.pop("seed", None)
    told: dict[str, Mapping[str, str]] = {
        "settings": {name: _short(value) for name, value in plain.items()},
        "seed": {} if seed is None else {"seed": _short(seed)},
        "files": {name: file_digest(Path(path)) for name, path in files.items()},
        "inputs": {name: inputs[name] for name in stage.inputs},
        "earlier_stages": dict(earlier) if stage.documents_run else {},
        "libraries": library_versions(),
        "source": source_digests(stage.function),
        "numerics": numerics() if uses_jax(stage.function) else {},
    }
    digests = {
        "name": stage.name,
        "version": str(stage.version),
        "settings": value_digest(plain, f"section {stage.name!r}"),
        "seed": value_digest(seed, f"{stage.name}.seed"),
        "source": value_digest(stage.function, f"the function of stage {stage.name!r}"),
    }
    digests |= {
        part: value_digest(told[part]) for part in ("files", "inputs", "earlier_stages", "libraries", "numerics")
    }
    return KeyParts(digests, told)


def _short(value: Any) -> str:
    """A setting as text, cut where it is long."""
    text = repr(value.model_dump(mode="json")) if isinstance(value, BaseModel) else repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def stage_key(parts: KeyParts) -> str:
    """The key: SHA-256 over the named parts."""
    return hashlib.sha256(json.dumps(dict(parts.digests), sort_keys=True).encode()).hexdigest()
