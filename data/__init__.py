"""Small real data sets that ship with the package, each with its licence and citation."""

from connectofit.data.celegans import CELEGANS_COLUMNS, celegans_paths, celegans_tables, citations, licence
from connectofit.data.rat_choices import (
    RAT_CHOICES_CITATION,
    RAT_CHOICES_LICENCE,
    RAT_CHOICES_OPTIONS,
    RAT_CHOICES_STIMULI,
    rat_choices_path,
)
from connectofit.data.rat_cortex import (
    RAT_CORTEX_ADVANCE_SAMPLES,
    RAT_CORTEX_CITATION,
    RAT_CORTEX_COLUMNS,
    RAT_CORTEX_HELD_OUT,
    RAT_CORTEX_LICENCE,
    RAT_CORTEX_STIMULUS_MS,
    RAT_CORTEX_BRIDGE_MOhm,
    rat_cortex_path,
    rat_cortex_step_currents,
)

__all__ = [
    "CELEGANS_COLUMNS",
    "RAT_CHOICES_CITATION",
    "RAT_CHOICES_LICENCE",
    "RAT_CHOICES_OPTIONS",
    "RAT_CHOICES_STIMULI",
    "RAT_CORTEX_ADVANCE_SAMPLES",
    "RAT_CORTEX_CITATION",
    "RAT_CORTEX_COLUMNS",
    "RAT_CORTEX_HELD_OUT",
    "RAT_CORTEX_LICENCE",
    "RAT_CORTEX_STIMULUS_MS",
    "RAT_CORTEX_BRIDGE_MOhm",
    "celegans_paths",
    "celegans_tables",
    "citations",
    "licence",
    "rat_choices_path",
    "rat_cortex_path",
    "rat_cortex_step_currents",
]
