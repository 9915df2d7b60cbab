"""Stages that are plain functions, with inputs, settings and outputs told by their annotations.

::

    @stage(version=1)
    def graph(edges: DataFile, min_count: int = 2) -> Connectome: ...

    @stage(version=1)
    def degrees(graph: Connectome, seed: int = 0) -> pd.DataFrame: ...

    Pipeline("mine", (degrees, graph), {"graph": {"edges": "edges.csv"}}).run()

A parameter without a default takes what the stage of that name returns, and has to be annotated with its type (or with
`Path`, for the folder of its output); one that is annotated `DataFile` names a file of data; every other one is a
setting, checked by its annotation. A parameter annotated `StageContext` gets the context (progress bars, a folder for
checkpoints).
"""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, overload

from pydantic import create_model

from connectofit.connectome.errors import SettingError
from connectofit.pipelines.artifacts import check_annotation, read_value, write_value
from connectofit.pipelines.config import DataFile, Settings
from connectofit.pipelines.stages import Stage, StageContext

Function = Callable[..., Any]


@overload
def stage(function: Function, /) -> Stage: ...
@overload
def stage(*, version: int = 1, name: str | None = None) -> Callable[[Function], Stage]: ...
def stage(
    function: Function | None = None, /, *, version: int = 1, name: str | None = None
) -> Stage | Callable[[Function], Stage]:
    """Make a `Stage` of a function; see the module's text for how.

    Parameters: `version` is to be raised when the output's meaning changes although the source may not; `name` is the
    stage's, by default the function's.
    Raises `SettingError` for a function whose annotations do not say what it takes and returns.
    """
    if function is None:
        return partial(_stage_of, version=version, name=name)
    return _stage_of(function, version=version, name=name)


def _stage_of(function: Function, *, version: int, name: str | None) -> Stage:
    if not isinstance(function, types.FunctionType):
        raise SettingError(f"A stage is made of a function written with def; found {function!r}.")
    name = name or function.__name__
    shape = _Shape.of(function)
    fields: dict[str, Any] = {}
    for parameter, (annotation, default) in shape.settings.items():
        fields[parameter] = (annotation, default)
    settings = create_model(f"{name.title()}Settings", __base__=Settings, **fields) if fields else None
    return Stage(
        name,
        partial(_call, function),
        version=version,
        settings=settings,
        inputs=tuple(shape.inputs),
        files=partial(_files, shape.files) if shape.files else None,
        returns=shape.returns,
        takes=dict(shape.inputs),
    )


class _Shape:
    """What a function's parameters are: inputs, settings, data files or the context."""

    def __init__(self) -> None:
        self.inputs: dict[str, Any] = {}
        self.settings: dict[str, tuple[Any, Any]] = {}
        self.files: tuple[str, ...] = ()
        self.context: str | None = None
        self.returns: Any = None

    @classmethod
    def of(cls, function: types.FunctionType) -> _Shape:
        where = f"Stage {function.__name__!r}"
        try:
            hints = typing.get_type_hints(function, include_extras=True)
        except NameError as error:
            raise SettingError(f"{where}: an annotation names what is not there: {error}.") from None
        shape = cls()
        for parameter in inspect.signature(function).parameters.values():
            name, empty = parameter.name, parameter.default is inspect.Parameter.empty
            if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
                raise SettingError(f"{where}: parameters have names of their own; found {parameter}.")
            if name not in hints:
                raise SettingError(f"{where}: the parameter {name!r} needs an annotation, which says what it takes.")
            hint = hints[name]
            if hint is StageContext:
                shape.context = name
            elif hint == DataFile or hint == (DataFile | None):
                shape.settings[name] = (hint, ... if empty else parameter.default)
                shape.files = (*shape.files, name)
            elif not empty:
                shape.settings[name] = (hint, parameter.default)
            else:
                if hint is not Path:
                    check_annotation(hint, f"{where}: what {name!r} takes")
                shape.inputs[name] = hint
        if "return" not in hints:
            raise SettingError(f"{where} needs an annotation of what it returns, such as -> pd.DataFrame.")
        check_annotation(hints["return"], f"{where}: what it returns")
        shape.returns = hints["return"]
        return shape


def _files(names: tuple[str, ...], settings: Any) -> dict[str, Path]:
    return {name: getattr(settings, name) for name in names if getattr(settings, name) is not None}


def _call(function: types.FunctionType, context: StageContext) -> None:
    shape = _Shape.of(function)
    arguments: dict[str, Any] = {name: getattr(context.settings, name) for name in shape.settings}
    for name, hint in shape.inputs.items():
        arguments[name] = context.inputs[name] if hint is Path else read_value(hint, context.inputs[name])
    if shape.context is not None:
        arguments[shape.context] = context
    write_value(function(**arguments), shape.returns, context.out, f"What stage {function.__name__!r} returned")
