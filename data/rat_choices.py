"""One rat's choices in a working-memory task: which of two sounds, a delay apart, was louder?"""

from __future__ import annotations

from pathlib import Path
from typing import Final

_PATH: Final = Path(__file__).parent / "behaviour" / "rat_delayed_comparison.parquet"

RAT_CHOICES_OPTIONS: Final = ("left", "right")
"""What the rat can choose: right is right where the first sound was the louder one."""

RAT_CHOICES_STIMULI: Final = ("s1", "s2")
"""Columns of the loudness of the first and the second sound, z-scored over the set."""

RAT_CHOICES_CITATION: Final = (
    "Akrami et al. 2018, Nature 554:368, doi 10.1038/nature25510; Roy et al. 2021, Neuron 109:597, "
    "doi 10.1016/j.neuron.2020.12.004"
)

RAT_CHOICES_LICENCE: Final = "MIT (from the Python package psytrack 2.0.2); full text in behaviour/LICENSE.txt"


def rat_choices_path() -> Path:
    """Path of the shipped Parquet file: 20,000 trials of one rat in 80 sessions (Akrami et al. 2018).

    Columns: ``session``, ``trial``, ``s1``, ``s2`` (loudness, z-scored), ``choice`` and ``answer`` ("left" or "right"),
    ``correct``.
    """
    return _PATH
