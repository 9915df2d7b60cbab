"""Current-clamp sweeps from Axon Binary Files, versions 1 and 2, by pyabf.

A file has channels that were recorded, each with a name and a unit, and commands that were sent. The voltage is a
recorded channel; the current is one, too, where it was recorded, and else the command's epochs as the protocol has
them (version 2). A command from a waveform file is not used: it would be looked for wherever the header says.
"""

from __future__ import annotations

import struct
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from connectofit.connectome.errors import MissingFileError, SchemaError, SettingError, UnknownNameError, offenders
from connectofit.connectome.errors import unknown_name as unknown
from connectofit.connectome.extras import needed
from connectofit.connectome.report import Finding
from connectofit.fit.recording_traces import Trace
from connectofit.fit.recording_units import FACTORS, spelt_unit, stated_unit

COMMAND = "command"
"""What to name the current by that the protocol asked for."""

_EPOCHS = 1  # nWaveformSource: the table of epochs; 2 is a file


@dataclass(frozen=True)
class _Channel:
    """A recorded channel: its number, name and unit as the header has them."""

    index: int
    name: str
    unit: str

    def __str__(self) -> str:
        return f"{self.name!r} ({self.unit or 'no unit'})"

    def is_a(self, quantity: str) -> bool:
        return spelt_unit(self.unit) in FACTORS[quantity]


def abf_traces(
    path: Path, *, channels: Mapping[str, str] | None, units: Mapping[str, str]
) -> tuple[list[Trace], list[Finding]]:
    """The sweeps of a file, called "0", "1", ..., of a cell called like the file; each starts at 0 ms.

    Parameters: `channels` may name the channel of the ``voltage`` and of the ``current`` (`COMMAND` for what the
    protocol asked for); `units` for channels that state none.
    Raises what `connectofit.fit.read_recordings` says of ABF files.
    """
    pyabf = needed("pyabf", "abf", "Reading ABF files")
    if not path.is_file():
        raise MissingFileError(f"There is no file {str(path)!r}. Check the path.")
    _check_header(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            abf = pyabf.ABF(str(path), cacheStimulusFiles=False)
    except Exception as error:  # pyabf raises plain ones, and whatever broken headers lead to
        raise SchemaError(f"{path} cannot be read as an Axon Binary File: {error}") from error
    recorded = [
        _Channel(k, name.strip(), "" if unit.strip() == "?" else unit.strip())
        for k, (name, unit) in enumerate(zip(abf.adcNames, abf.adcUnits, strict=True))
    ]
    asked = dict(channels or {})
    for name in asked:
        if name not in ("current", "voltage"):
            raise unknown("channel's role", name, ("current", "voltage"), "columns of an ABF file")
    voltage = _voltage_channel(recorded, asked.get("voltage"), path, units)
    current = _current_channel(abf, recorded, voltage, asked.get("current"), path, units)
    answers = _sweeps(abf, voltage, FACTORS["voltage"][_unit("voltage", voltage, path, units)])
    if current is None:
        injected = _commands(pyabf, abf, voltage.index, path, units)
    else:
        injected = _sweeps(abf, current, FACTORS["current"][_unit("current", current, path, units)])
    dt_ms = _interval_ms(abf)
    traces = [Trace(str(k), i, v, dt_ms, path.stem) for k, (i, v) in enumerate(zip(injected, answers, strict=True))]
    source = "the command of the protocol" if current is None else f"channel {current}"
    message = f"the voltage is channel {voltage}, the current {source}"
    return traces, [Finding("info", "channels", "sweeps", "", len(traces), "columns", (), message)]


def _check_header(path: Path) -> None:
    """Raise `SchemaError` where the header declares more than the file holds: pyabf takes what it says for true."""
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(512)
    if len(head) < 512 or head[:4] not in (b"ABF ", b"ABF2"):
        raise SchemaError(f"{path} is no Axon Binary File: it does not begin with the header of one.")
    parts: list[tuple[str, int, int]] = []
    if head[:4] == b"ABF ":
        points, episodes = struct.unpack_from("<i2xi", head, 10)
        data, tags, n_tags = struct.unpack_from("<iii", head, 40)
        bytes_each = 4 if struct.unpack_from("<h", head, 100)[0] else 2
        parts = [("samples", data * 512, points * bytes_each), ("tags", tags * 512, n_tags * 64)]
    else:
        (episodes,) = struct.unpack_from("<I", head, 12)
        points = struct.unpack_from("<i", head, 244)[0]
        for k in range(18):
            block, entry, count = struct.unpack_from("<IIi", head, 76 + 16 * k)
            parts.append((f"section {k}", block * 512, max(entry, 1) * count))
    wrong = [
        f"{what}: {length:,} bytes from byte {start:,} on" for what, start, length in parts if start + length > size
    ]
    wrong += [f"{what}: {length:,} bytes" for what, start, length in parts if min(start, length) < 0]
    if points <= 0 or not 0 <= episodes <= points:
        wrong.append(f"{episodes:,} sweeps of {points:,} samples in all")
    if wrong:
        raise SchemaError(
            f"The header of {path} declares what the file, of {size:,} bytes, does not hold: {offenders(wrong)}. It is "
            "damaged, or was cut off: copy it again."
        )


def _interval_ms(abf: Any) -> float:
    """From the header in µs; pyabf rounds the rate to whole Hz."""
    if abf.abfVersion["major"] == 1:
        interval_us = abf._headerV1.fADCSampleInterval * abf.channelCount
    else:
        interval_us = abf._protocolSection.fADCSequenceInterval
    # Kept in single precision, so that 33.3 µs come as 33.29999924.
    return float(f"{interval_us:.7g}") / 1e3


def _named(recorded: list[_Channel], name: str, what: str, path: Path) -> _Channel:
    found = [channel for channel in recorded if channel.name == name]
    if not found:
        names = [channel.name for channel in recorded]
        raise UnknownNameError(f"{unknown('channel', name, names, str(path))} Its channels are {_listed(recorded)}.")
    if len(found) > 1:
        raise SchemaError(f"{len(found)} channels of {path} are called {name!r}: which is the {what} cannot be told.")
    return found[0]


def _listed(channels: list[_Channel]) -> str:
    return ", ".join(map(str, channels)) or "none"


def _voltage_channel(recorded: list[_Channel], asked: str | None, path: Path, units: Mapping[str, str]) -> _Channel:
    if asked is not None:
        return _named(recorded, asked, "voltage", path)
    found = [channel for channel in recorded if channel.is_a("voltage")]
    if not found and "voltage" in units:
        found = [channel for channel in recorded if not channel.unit]
    if not found:
        raise SchemaError(
            f"No channel of {path} is a voltage, so that it is no recording in current clamp; its channels are "
            f"{_listed(recorded)}. In voltage clamp the current is the answer, and nothing here is fitted to it."
        )
    if len(found) > 1:
        raise SettingError(
            f"{path} has {len(found)} channels in units of voltage: {_listed(found)}. Name the membrane's: "
            f"columns={{'voltage': {found[0].name!r}}}."
        )
    return found[0]


def _current_channel(
    abf: Any,
    recorded: list[_Channel],
    voltage: _Channel,
    asked: str | None,
    path: Path,
    units: Mapping[str, str],
) -> _Channel | None:
    """The recorded channel of the current; None for the command."""
    if asked == COMMAND:
        return None
    if asked is not None:
        return _named(recorded, asked, "current", path)
    found = [channel for channel in recorded if channel.is_a("current")]
    if not found and "current" in units:
        found = [channel for channel in recorded if not channel.unit and channel is not voltage]
    if len(found) > 1:
        raise SettingError(
            f"{path} has {len(found)} channels in units of current: {_listed(found)}. Name the electrode's: "
            f"columns={{'current': {found[0].name!r}}}, or {COMMAND!r} for what the protocol asked for."
        )
    return found[0] if found else None


def _unit(quantity: str, channel: _Channel, path: Path, units: Mapping[str, str]) -> str:
    what = f"The {quantity} channel {channel.name!r} of {path}"
    return stated_unit(quantity, channel.unit, units.get(quantity), what)


def _sweeps(abf: Any, channel: _Channel, factor: float) -> list[np.ndarray]:
    """Every sweep of a channel. `ABF.setSweep` would make the epochs of all sweeps for each of them."""
    lengths = [abf.sweepPointCount] * abf.sweepCount
    synchronised = getattr(abf, "_synchArraySection", None)
    if abf.sweepCount > 1 and synchronised is not None and len(set(synchronised.lLength)) > 1:
        lengths = [length // abf.channelCount for length in synchronised.lLength]
    ends = np.cumsum(lengths)
    data = abf.data[channel.index]
    return [np.asarray(data[end - n : end], np.float64) * factor for n, end in zip(lengths, ends, strict=True)]


def _commands(pyabf: Any, abf: Any, channel: int, path: Path, units: Mapping[str, str]) -> list[np.ndarray]:
    """The protocol's current, in pA, of the output that goes with a channel, for every sweep."""
    name, unit = (abf._getDacNameAndUnits(channel)[k] or "" for k in range(2))
    what = f"The command {name.strip()!r} of {path}"
    why = _why_not(abf, channel)
    if why:
        raise SchemaError(
            f"{what} {why}, and no channel of current was recorded or chosen: the injected current is not known. Name "
            "a channel with columns={'current': ...}, or give the traces to recordings_from_arrays."
        )
    factor = FACTORS["current"][stated_unit("current", unit, units.get("current"), what)]
    found = []
    for sweep, epochs in enumerate(pyabf.waveform.EpochTable(abf, channel).epochWaveformsBySweep):
        if max(epochs.p2s) > abf.sweepPointCount or min(*epochs.p1s, *epochs.p2s) < 0:
            raise SchemaError(f"{what} has epochs that do not lie in the sweep of {abf.sweepPointCount:,} samples.")
        values = np.asarray(epochs.getWaveform(), dtype=np.float64) * factor
        bad = np.flatnonzero(~np.isfinite(values))
        if bad.size:
            raise SchemaError(f"{what} has no value at samples {offenders(bad.tolist())} of sweep {sweep}.")
        found.append(values)
    return found


def _why_not(abf: Any, channel: int) -> str:
    """Why the command cannot be used; "" if it can."""
    if abf.abfVersion["major"] == 1:
        return "is not read from files of version 1, whose holding level pyabf does not know"
    section = abf._dacSection
    if channel >= len(section.nWaveformEnable) or not section.nWaveformEnable[channel]:
        return "is off"
    if section.nWaveformSource[channel] != _EPOCHS:
        return "comes from a waveform file, which is not in this one"
    if len(set(abf._synchArraySection.lLength)) > 1:
        return "is not known for sweeps of different lengths"
    return ""
