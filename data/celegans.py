"""The adult *C. elegans* hermaphrodite: neurons, connectome, signal-propagation atlas, touch assays.

Four tables on the same 302 neurons, exactly as they were published (their traps included): nothing is repaired here,
that is the reader's work (`connectofit.connectome.read_connectome`).
"""

from __future__ import annotations

from pathlib import Path
from types import MappingProxyType
from typing import Final, TypeVar

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pa_parquet

_T = TypeVar("_T")

_FOLDER: Final = Path(__file__).parent / "celegans"

_FILES: Final = MappingProxyType(
    {
        "neurons": "neurons.csv",
        "edges": "edges_cook2019_hermaphrodite.csv",
        "atlas": "signal_propagation_wild_type.parquet",
        "touch": "touch_withdrawal.csv",
    }
)

_COLUMN_TYPES: Final = MappingProxyType(
    {
        "neurons": {
            "name": pa.string(),
            "x_um": pa.float64(),
            "y_um": pa.float64(),
            "z_um": pa.float64(),
            "diam_um": pa.float64(),
            "cell_class": pa.string(),
            "cell_type": pa.string(),
            "classification": pa.string(),
            "nt": pa.string(),
            "nt_alt": pa.string(),
        },
        "edges": {
            "pre": pa.string(),
            "post": pa.string(),
            "weight": pa.int64(),
            "type": pa.string(),
            "pred_sign": pa.string(),
        },
        "touch": {name: pa.string() for name in ("assay", "stimulus", "ablated", "response", "reference")},
    }
)

CELEGANS_COLUMNS: Final = MappingProxyType(
    {
        "pre": "pre",
        "post": "post",
        "count": "weight",
        "kind": "type",
        "sign": "pred_sign",
        "id": "name",
        "transmitter": "nt",
    }
)
"""Which column of the worm's tables holds what: the `columns` argument of `read_connectome`."""

_COOK = (
    "Cook et al. 2019, Whole-animal connectomes of both Caenorhabditis elegans sexes, Nature 571:63-71, "
    "doi 10.1038/s41586-019-1352-7"
)
_WHITE = "White et al. 1986, The structure of the nervous system of the nematode C. elegans, Phil. Trans. R. Soc. B 314"
_FENYVES = (
    "Fenyves et al. 2020, Synaptic polarity and sign-balance prediction using gene expression data in the "
    "Caenorhabditis elegans chemical synapse neuronal connectome network, PLoS Comput. Biol. 16:e1007974, "
    "doi 10.1371/journal.pcbi.1007974 (S3 table: column pred_sign)"
)
_RANDI = (
    "Randi et al. 2023, Neural signal propagation atlas of Caenorhabditis elegans, Nature 623:406-414, "
    "doi 10.1038/s41586-023-06683-4"
)

_CITATIONS: Final = MappingProxyType(
    {
        "neurons": (_COOK, _WHITE),
        "edges": (_COOK, _FENYVES),
        "atlas": (_RANDI,),
        "touch": ("The papers named in the table's column 'reference', one a row",),
    }
)

_LICENCES: Final = MappingProxyType(
    {
        "neurons": "MIT (from the Python packages cect 0.3.5 and c302 0.12.1)",
        "edges": "MIT (from the Python package cect 0.3.5); column pred_sign: CC-BY 4.0",
        "atlas": "CC-BY 4.0 (DANDI 001075)",
        "touch": "facts from the literature",
    }
)


def celegans_paths() -> dict[str, Path]:
    """Paths of the shipped files, by name: ``neurons``, ``edges``, ``atlas``, ``touch``."""
    return {name: _FOLDER / file for name, file in _FILES.items()}


def celegans_tables() -> dict[str, pa.Table]:
    """The four tables as Arrow, unrepaired; empty fields are null and every neuron name is a string.

    Returns a dict with the tables

    - ``neurons`` [303 rows]: name, soma position ``x_um, y_um, z_um`` and diameter ``diam_um`` in µm, ``cell_class``
      (White et al. 1986), ``cell_type``, ``classification``, transmitter ``nt`` and a second one ``nt_alt``;
    - ``edges`` [7,379 rows]: ``pre, post``, ``weight`` (EM serial sections in contact), ``type`` (chemical or
      electrical), ``pred_sign`` (sign predicted from receptor expression);
    - ``atlas`` [24,074 rows]: response of ``response`` to the stimulation of ``stim``: mean dF/F, trials ``n``,
      false-discovery ``q``;
    - ``touch`` [14 rows]: ``assay``, neurons in ``stimulus`` and ``ablated`` (separated by blanks), ``response``.

    Sources: see `citations`.
    """
    tables = {}
    for name, path in celegans_paths().items():
        if path.suffix == ".parquet":
            table = pa_parquet.ParquetFile(path).read()
            fields = [
                field.with_type(pa.string()) if pa.types.is_large_string(field.type) else field
                for field in table.schema
            ]
            tables[name] = table.cast(pa.schema(fields)).replace_schema_metadata(None)
        else:
            # Only the empty field is missing: with Arrow's defaults a neuron called "NA" would vanish.
            options = pa_csv.ConvertOptions(
                column_types=_COLUMN_TYPES[name], null_values=[""], strings_can_be_null=True
            )
            tables[name] = pa_csv.read_csv(path, convert_options=options)
    return tables


def citations(name: str) -> tuple[str, ...]:
    """The works to cite when the table `name` (a key of `celegans_paths`) is used."""
    return _entry(_CITATIONS, name)


def licence(name: str) -> str:
    """The licence of the table `name` (a key of `celegans_paths`); full texts are in ``celegans/LICENSE.txt``."""
    return _entry(_LICENCES, name)


def _entry(entries: MappingProxyType[str, _T], name: str) -> _T:
    if name not in entries:
        raise LookupError(f"No worm table named {name!r}. Known: {', '.join(entries)}.")
    return entries[name]
