"""Current-clamp sweeps from Igor binary waves (``.ibw``, versions 1, 2, 3 and 5), by igor2.

A wave is one quantity: a sweep is one wave of voltage and one of current, or a column of each where waves are matrices
[time, sweep]. Version and layout: WaveMetrics, Technical Note 003, "Igor Binary Format".
"""

from __future__ import annotations

import logging
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from connectofit.connectome.errors import MissingFileError, SchemaError, SettingError
from connectofit.connectome.extras import needed
from connectofit.connectome.report import Finding
from connectofit.fit.recording_traces import Trace
from connectofit.fit.recording_units import FACTORS, stated_unit

_TEXT_BYTES = 64 * 2**20  # notes, units and labels of a wave


@dataclass(frozen=True, eq=False)
class _Wave:
    """A wave in pA or mV: [time, sweep], with its interval and the time of its first sample in ms."""

    name: str
    values: Float[np.ndarray, "time sweep"]
    dt_ms: float
    start_ms: float


def ibw_traces(
    voltages: Sequence[Path], currents: Sequence[Path], *, units: Mapping[str, str]
) -> tuple[list[Trace], list[Finding]]:
    """The sweeps of pairs of waves, called like the voltage's wave, with the column's number where it has several.

    Parameters: `units` for waves that state none.
    Raises what `connectofit.fit.read_recordings` says of Igor's waves.
    """
    if len(voltages) != len(currents):
        raise SettingError(
            f"An Igor wave holds one quantity: give as many waves of the current as of the voltage, with current=...; "
            f"found {len(voltages)} of the voltage and {len(currents)} of the current."
        )
    traces: list[Trace] = []
    for of_voltage, of_current in zip(voltages, currents, strict=True):
        voltage, current = _wave(of_voltage, "voltage", units), _wave(of_current, "current", units)
        if voltage.values.shape != current.values.shape:
            raise SchemaError(
                f"{of_voltage} holds {_shape(voltage)} and {of_current} {_shape(current)}; both have to be sampled "
                "together. Name the wave of the same sweep."
            )
        for what, a, b, unit in (
            ("sampling interval", voltage.dt_ms, current.dt_ms, voltage.dt_ms),
            ("start", voltage.start_ms, current.start_ms, voltage.dt_ms),
        ):
            if abs(a - b) > 1e-6 * unit:
                raise SchemaError(
                    f"The {what} of {of_voltage} is {a:g} ms and that of {of_current} {b:g} ms; both have to be "
                    "sampled together. Name the wave of the same sweep."
                )
        n = voltage.values.shape[1]
        for k in range(n):
            name = f"{voltage.name}:{k}" if n > 1 else voltage.name
            v, i = voltage.values[:, k], current.values[:, k]
            traces.append(Trace(name, i, v, voltage.dt_ms, start_ms=voltage.start_ms))
    return traces, []


def _shape(wave: _Wave) -> str:
    n, m = wave.values.shape
    return f"{m} sweeps of {n} samples" if m != 1 else f"{n} samples"


def _wave(path: Path, quantity: str, units: Mapping[str, str]) -> _Wave:
    binarywave = needed("igor2.binarywave", "igor", "Reading Igor's waves")
    if not path.is_file():
        raise MissingFileError(f"There is no file {str(path)!r}. Check the path.")
    if path.suffix.lower() != ".ibw":
        raise SettingError(f"The current of Igor's waves has to be an .ibw file, too; found {str(path)!r}.")
    _check_header(path)
    # igor2 logs the whole of the data that it cannot use.
    logger = logging.getLogger("igor2")
    before, logger.disabled = logger.disabled, True
    try:
        loaded = binarywave.load(str(path))
        wave = loaded["wave"]
        header, data = wave["wave_header"], np.asarray(wave["wData"])
        five = loaded["version"] == 5
        unit = _text(wave.get("data_units")) or _text(header["dataUnits"])
        extended = wave.get("dimension_units") or []
        time_unit = (_text(extended[0]) if len(extended) else "") or _text(
            header["dimUnits"][0] if five else header["xUnits"]
        )
        step, start = (float(np.ravel(header[name])[0]) for name in (("sfA", "sfB") if five else ("hsA", "hsB")))
        name = _text(header["bname"]) or path.stem
    except Exception as error:  # igor2 asserts, and raises whatever broken headers lead to
        raise SchemaError(f"{path} cannot be read as an Igor binary wave: {error!r:.300}") from error
    finally:
        logger.disabled = before
    if data.dtype.kind not in "iuf" or data.ndim not in (1, 2) or not data.size:
        raise SchemaError(
            f"{path} has to hold one trace or a matrix [time, sweep] of real numbers; it holds {data.dtype.name} of "
            f"shape {data.shape}."
        )
    factor = FACTORS["time"][stated_unit("time", time_unit, units.get("time"), f"The x axis of {path}")]
    stated = stated_unit(quantity, unit, units.get(quantity), f"The {quantity} in {path}")
    if not (np.isfinite(step) and step > 0 and np.isfinite(start)):
        raise SchemaError(f"The x axis of {path} has steps of {step!r} from {start!r}; steps have to be above 0.")
    values = np.asarray(data, dtype=np.float64).reshape(data.shape[0], -1) * FACTORS[quantity][stated]
    return _Wave(name, values, step * factor, start * factor)


def _text(value: Any) -> str:
    """Text of a header, up to its null: bytes, or an array or list of them."""
    if value is None:
        return ""
    raw = value if isinstance(value, bytes) else b"".join(bytes(part) for part in np.ravel(np.asarray(value)).tolist())
    return raw.split(b"\0")[0].decode("latin-1").strip()


def _check_header(path: Path) -> None:
    """Raise `SchemaError` if the sizes in the header are more than the file has: igor2 takes what it says for true."""
    with path.open("rb") as file:
        head = file.read(64)
    size = path.stat().st_size
    for order in "<>":
        version = struct.unpack_from(f"{order}h", head)[0] if len(head) >= 2 else 0
        if version in _SIZES:
            layout = f"{order}{_SIZES[version]}"
            if len(head) < struct.calcsize(layout):
                break
            sizes = struct.unpack_from(layout, head)[_FIRST_SIZE.get(version, 1) :]
            if all(0 <= given <= size for given in sizes) and sum(sizes[1:]) <= _TEXT_BYTES:
                return
            raise SchemaError(
                f"The header of {path} declares parts of {sizes} bytes; the file has {size}. It is damaged."
            )
    raise SchemaError(f"{path} is no Igor binary wave: it does not begin with a version that there is (1, 2, 3, 5).")


# Version, then the sizes of data and texts; the version-5 header has its checksum before them (Technical Note 003).
_SIZES = {1: "hl", 2: "hll", 3: "hlll", 5: "hhl" + "l" * 12}
_FIRST_SIZE = {5: 2}
