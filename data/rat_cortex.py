"""Rat cortex in current clamp: two cells under five step currents each, as they were recorded.

Nothing is repaired here: the voltages carry an over-compensated bridge and no correction of the liquid junction
potential, and the current is the measured one with its holding current and noise
(`connectofit.fit.read_recordings` reads and corrects).
"""

from __future__ import annotations

from pathlib import Path
from types import MappingProxyType
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pa_parquet

_PATH: Final = Path(__file__).parent / "ephys" / "rat_cortex_step_currents.parquet"

RAT_CORTEX_COLUMNS: Final = MappingProxyType(
    {"cell": "cell", "sweep": "sweep", "time": "t_ms", "current": "i_pA", "voltage": "v_mV"}
)
"""Which column of the table holds what: the `columns` argument of `connectofit.fit.read_recordings`."""

RAT_CORTEX_STIMULUS_MS: Final = (700.0, 2700.0)
"""Onset and offset of the current step, the same in all ten sweeps."""

RAT_CORTEX_BRIDGE_MOhm: Final = MappingProxyType({"B6": -18.0, "B8": -15.0})
"""What is to be taken off the voltage of each cell: their bridges were over-compensated."""

RAT_CORTEX_ADVANCE_SAMPLES: Final = 1
"""By how many samples the recorded current lags behind the voltage's answer."""

RAT_CORTEX_HELD_OUT: Final = ("B6/183", "B8/147")
"""The middle one of each cell's five steps, on which fits are compared."""

RAT_CORTEX_CITATION: Final = (
    "Blue Brain Project, BluePyEfe: Blue Brain Python E-feature Extraction Library (its tests/exp_data), "
    "https://github.com/BlueBrain/BluePyEfe"
)

RAT_CORTEX_LICENCE: Final = "BSD (from the Python package bluepyefe 2.3.63); full text in ephys/LICENSE.txt"


def rat_cortex_path() -> Path:
    """Path of the shipped Parquet file."""
    return _PATH


def rat_cortex_step_currents() -> pa.Table:
    """Ten current-clamp sweeps as one long Arrow table [120,000 rows], unrepaired.

    Columns: ``cell`` (B6 or B8), ``sweep`` (181 to 185 of B6, 145 to 149 of B8), ``t_ms`` (0 to 2999.75 in steps of
    0.25 ms), ``i_pA`` (measured, in steps of 3.125 pA, holding current included), ``v_mV``. The current steps up at
    700 ms and down at 2700 ms. Source and licence: `RAT_CORTEX_CITATION`, `RAT_CORTEX_LICENCE`.
    """
    table = pa_parquet.ParquetFile(_PATH).read()
    fields = [field.with_type(pa.string()) if pa.types.is_large_string(field.type) else field for field in table.schema]
    return table.cast(pa.schema(fields)).replace_schema_metadata(None)
