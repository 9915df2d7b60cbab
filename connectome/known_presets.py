"""The layouts of published connectome tables, from their public descriptions; no data.

Where a fact about a format comes from stands beside it. The ids of FlyWire, CAVE and some neuPrint tables are 64-bit
integers above 2^53: all those presets read ids from CSV as int64.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from connectofit.connectome.policies import Policies, SignPolicy
from connectofit.connectome.presets import Preset, TableForm
from connectofit.data import CELEGANS_COLUMNS, citations

_DORKENWALD = "Dorkenwald et al. 2024, Neuronal wiring diagram of an adult brain, Nature 634:124, \
10.1038/s41586-024-07558-y"
_SCHLEGEL = "Schlegel et al. 2024, Whole-brain annotation and multi-connectome cell typing of Drosophila, Nature \
634:139, 10.1038/s41586-024-07686-5"
_ECKSTEIN = "Eckstein, Bates et al. 2024, Neurotransmitter classification from electron microscopy images at synaptic \
sites in Drosophila melanogaster, Cell 187:2574, 10.1016/j.cell.2024.03.016"
_SHIU = "Shiu et al. 2024, A Drosophila computational brain model reveals sensorimotor processing, Nature 634:210, \
10.1038/s41586-024-07763-9"
_LIU = "Liu & Wilson 2013, Glutamate is an inhibitory neurotransmitter in the Drosophila olfactory system, PNAS \
110:10294, 10.1073/pnas.1220560110"

# The six transmitters that Eckstein et al. (2024) predict, under Codex's names and under the full names of Schlegel et
# al. and neuPrint. Glutamate inhibits (Liu & Wilson 2013). What a monoamine does depends on the receptor: no sign.
FLY_TRANSMITTERS: Final[Mapping[str, int]] = MappingProxyType(
    {"ACH": 1, "GABA": -1, "GLUT": -1, "DA": 0, "SER": 0, "OCT": 0}
    | {"acetylcholine": 1, "gaba": -1, "glutamate": -1, "dopamine": 0, "serotonin": 0, "octopamine": 0}
)
_FLY_SIGNS = (
    "acetylcholine excites, GABA and glutamate inhibit (Shiu et al. 2024; Liu & Wilson 2013); dopamine, serotonin and "
    "octopamine, and edges without a transmitter, have no sign. Shiu et al. count the monoamines as exciting: for "
    "that, set SignPolicy.transmitters"
)


def _policies(**changes: Any) -> Policies:
    """No sign where nothing says one, and no neuron dropped for lack of a type: most fly neurons have no class."""
    return Policies(untyped_neurons="keep", sign=SignPolicy(transmitters=FLY_TRANSMITTERS, unknown=0), **changes)


# Codex's downloads: headers as in the files of snapshot 783, one row per pair and neuropil.
_CODEX = ("pre_root_id", "post_root_id", "neuropil", "syn_count", "nt_type")
_CODEX_ENDS: Mapping[str, str | None] = {"pre": "pre_root_id", "post": "post_root_id", "count": "syn_count"}
# Zenodo 10.5281/zenodo.10676866, which describes these columns.
_ZENODO = ("pre_pt_root_id", "post_pt_root_id", "neuropil", "syn_count")
_ZENODO_POSITION = tuple(f"pre_pt_position_{axis}" for axis in "xyz")
_ZENODO_SCORES = ("gaba_avg", "ach_avg", "glut_avg", "oct_avg", "ser_avg", "da_avg")

FLYWIRE: Final = Preset(
    name="flywire",
    title="tables of FlyWire, the adult fly's brain, from Codex, Zenodo or Schlegel et al.",
    citation=(_DORKENWALD, _SCHLEGEL, _ECKSTEIN, _LIU),
    edges=(
        TableForm(
            "Codex, connections*.csv.gz",
            _CODEX,
            {**_CODEX_ENDS, "region": "neuropil", "edges.transmitter": "nt_type"},
        ),
        TableForm("Codex, without transmitters", _CODEX[:4], {**_CODEX_ENDS, "region": "neuropil"}),
        TableForm(
            "Codex, added up over neuropils",
            ("pre_root_id", "post_root_id", "syn_count", "nt_type"),
            {**_CODEX_ENDS, "edges.transmitter": "nt_type"},
        ),
        TableForm("Codex, pairs and counts only", ("pre_root_id", "post_root_id", "syn_count"), _CODEX_ENDS),
        TableForm(
            "Zenodo, proofread_connections_783.feather",
            _ZENODO,
            {"pre": "pre_pt_root_id", "post": "post_pt_root_id", "count": "syn_count", "region": "neuropil"},
            left_out=_ZENODO_SCORES,  # means over the synapses of one neuropil: they cannot be merged by a rule
        ),
        TableForm(
            "Zenodo, flywire_synapses_783.feather",
            ("pre_pt_root_id", "post_pt_root_id", "cleft_score", "neuropil", *_ZENODO_POSITION),
            {
                "pre": "pre_pt_root_id",
                "post": "post_pt_root_id",
                "region": "neuropil",
                **dict(zip("xyz", _ZENODO_POSITION, strict=True)),
            },
            layout="synapses",
        ),
        TableForm(
            "Codex, fafb_v783_princeton_synapse_table.csv.gz",
            ("pre_root_id_720575940", "post_root_id_720575940"),
            {},
            layout="synapses",
            refused="its ids lack their first nine digits, 720575940, and so name no neuron of the other tables. Put "
            "them back (as text, with nine digits after them) into columns pre_root_id and post_root_id.",
        ),
    ),
    neurons=(
        # Columns explained in the annotations' repository, supplemental_files/Supplemental_files_columns.md.
        TableForm(
            "Schlegel et al., Supplemental_file1_neuron_annotations.tsv",
            ("root_id", "super_class", "cell_class", "cell_type", "top_nt"),
            {"id": "root_id", "transmitter": "top_nt"},
        ),
        TableForm(
            "Codex, neurons.csv.gz",
            ("root_id", "nt_type", "nt_type_score"),
            {"id": "root_id", "transmitter": "nt_type"},
        ),
        TableForm(
            "Codex, classification.csv.gz",
            ("root_id", "flow", "super_class", "class"),
            {"id": "root_id"},
        ),
        TableForm("Codex, consolidated_cell_types.csv.gz", ("root_id", "primary_type"), {"id": "root_id"}),
        TableForm(
            "Codex, neurons as its page exports them",
            ("Root ID", "Predicted NT type"),
            {"id": "Root ID", "transmitter": "Predicted NT type"},
        ),
        TableForm("any table of one row per root_id", ("root_id",), {"id": "root_id"}),
    ),
    id_type="int64",
    policies=_policies(),
    sign_source=_FLY_SIGNS,
    join_on="root_id",
    no_neuron=(0,),
    notes="rows per neuropil are added up to connections, and the counts by neuropil kept. The transmitter of a "
    "connection (nt_type) goes before that of its neuron. Codex leaves out pairs with fewer than 5 synapses, except in "
    "the *_no_threshold files. labels.csv.gz has several rows per neuron and cannot be joined.",
)

SHIU: Final = Preset(
    name="shiu",
    title="the tables of the fly brain model of Shiu et al.",
    citation=(_SHIU, _DORKENWALD),
    edges=(
        # The Parquet file was written with pandas' index as one more column, __index_level_0__.
        TableForm(
            "Connectivity_783.parquet (and its older versions)",
            ("Presynaptic_ID", "Postsynaptic_ID", "Excitatory x Connectivity"),
            {
                "pre": "Presynaptic_ID",
                "post": "Postsynaptic_ID",
                "signed_weight": "Excitatory x Connectivity",
            },
            left_out=("Presynaptic_Index", "Postsynaptic_Index", "Connectivity", "Excitatory", "__index_level_0__"),
        ),
    ),
    neurons=(
        # The id column is the frame's index, written without a name: the header is ",Completed".
        TableForm("Completeness_783.csv (and its older versions)", ("", "Completed"), {"id": ""}),
        TableForm("the same, written again by pandas", ("Unnamed: 0", "Completed"), {"id": "Unnamed: 0"}),
    ),
    id_type="int64",
    policies=_policies(),
    sign_source="the table's own: its weights are negative where the presynaptic neuron's transmitter is GABA or "
    "glutamate, and positive for all others, the monoamines included (Shiu et al. 2024, Methods)",
    notes="the columns Presynaptic_Index and Postsynaptic_Index are rows of the completeness table, and Connectivity "
    "and Excitatory are the size and sign of the weight: they repeat other columns and are not read.",
)

NEUPRINT: Final = Preset(
    name="neuprint",
    title="tables exported from neuPrint: hemibrain, MANC, male CNS, optic lobe",
    citation=(
        "Scheffer et al. 2020, A connectome and analysis of the adult Drosophila central brain, eLife 9:e57443, \
10.7554/eLife.57443",
        "Plaza et al. 2022, neuPrint: an open access tool for EM connectomics, Frontiers in Neuroinformatics \
16:896292, 10.3389/fninf.2022.896292",
    ),
    edges=(
        # exported-traced-adjacencies-v1.2 and neuprint-python's fetch_adjacencies.
        TableForm(
            "traced-roi-connections.csv",
            ("bodyId_pre", "bodyId_post", "roi", "weight"),
            {"pre": "bodyId_pre", "post": "bodyId_post", "region": "roi", "count": "weight"},
        ),
        TableForm(
            "traced-total-connections.csv",
            ("bodyId_pre", "bodyId_post", "weight"),
            {"pre": "bodyId_pre", "post": "bodyId_post", "count": "weight"},
        ),
        TableForm(
            "connectome-weights-*.feather of the male CNS",
            ("body_pre", "body_post", "weight"),
            {"pre": "body_pre", "post": "body_post", "count": "weight"},
            left_out=("type_pre", "type_post"),
        ),
        TableForm(
            "the inputs of its database, Neuprint_Neuron_Connections*",
            (":START_ID(Body-ID)", ":END_ID(Body-ID)", "weight:int"),
            {"pre": ":START_ID(Body-ID)", "post": ":END_ID(Body-ID)", "count": "weight:int"},
            left_out=("weightHP:int", "weightHR:int", "roiInfo:string"),
        ),
    ),
    neurons=(
        *(
            TableForm(f"neurons with {name}", ("bodyId", name), {"id": "bodyId", "transmitter": name})
            for name in ("consensusNt", "predictedNt")
        ),
        TableForm("traced-neurons.csv", ("bodyId", "type", "instance"), {"id": "bodyId"}),
        TableForm("any table of one row per bodyId", ("bodyId",), {"id": "bodyId"}),
    ),
    id_type="int64",
    policies=_policies(),
    sign_source=_FLY_SIGNS + ". The hemibrain's tables have no transmitters: all its edges are without a sign",
    join_on="bodyId",
    notes="rows per roi are added up to connections, and the counts by roi kept. The rois must be the primary ones, as "
    "in the export: neuPrint also knows rois that contain others, whose synapses would count twice.",
)

_CAVE = ("pre_pt_root_id", "post_pt_root_id", "size")
_CAVE_ENDS: Mapping[str, str | None] = {"pre": "pre_pt_root_id", "post": "post_pt_root_id", "size": "size"}
_SPLIT = tuple(f"ctr_pt_position_{axis}" for axis in "xyz")

CAVE: Final = Preset(
    name="cave",
    title="synapse tables of CAVE, as MICrONS has them",
    citation=(
        "MICrONS Consortium 2025, Functional connectomics spanning multiple areas of mouse visual cortex, Nature \
640:435, 10.1038/s41586-025-08790-w",
        "Dorkenwald et al. 2023, CAVE: Connectome Annotation Versioning Engine, bioRxiv, 10.1101/2023.07.26.550598",
    ),
    edges=(
        # A synapse's centre is one column, or three with CAVEclient's split_positions=True.
        TableForm(
            "synapses, positions split",
            (*_CAVE, *_SPLIT),
            {**_CAVE_ENDS, **dict(zip("xyz", _SPLIT, strict=True))},
            layout="synapses",
        ),
        TableForm(
            "synapses, positions in one column",
            (*_CAVE, "ctr_pt_position"),
            {**_CAVE_ENDS, "position": "ctr_pt_position"},
            layout="synapses",
        ),
        TableForm("synapses without positions", _CAVE, _CAVE_ENDS, layout="synapses"),
    ),
    neurons=(
        TableForm("cell tables, such as aibs_cell_info", ("pt_root_id",), {"id": "pt_root_id"}),
        TableForm("tables of one row per root_id", ("root_id",), {"id": "root_id"}),
    ),
    id_type="int64",
    policies=Policies(untyped_neurons="keep", sign=SignPolicy(transmitters={}, unknown=0)),
    sign_source="none: the tables have no transmitters, and all edges are without a sign",
    no_neuron=(0,),  # the background
    notes="positions are in voxels (of 4 x 4 x 40 nm in MICrONS), unless the query asked for another resolution; size "
    "counts voxels. The root id 0 is the background: its synapses are left out, and counted. Cell tables name a neuron "
    "in several rows where it has several nuclei or entries.",
)

WINDING: Final = Preset(
    name="winding",
    title="the brain of the fly larva, of Winding et al.",
    citation=(
        "Winding et al. 2023, The connectome of an insect brain, Science 379:eadd9330, 10.1126/science.add9330",
        "Pedigo et al. 2023, Generative network modeling reveals quantitative definitions of bilateral symmetry \
exhibited by a whole insect brain connectome, eLife 12:e83739, 10.7554/eLife.83739 (the edge list and node table)",
    ),
    edges=(
        # networkx.write_edgelist(delimiter=",", data=["weight"]): no header, weights written as 9.0.
        TableForm(
            "*_edgelist.csv, without header",
            ("pre", "post", "weight"),
            {"count": "weight"},
            header=False,
            patterns=("*edgelist*.csv", "*edgelist*.csv.gz"),
            whole=("weight",),
        ),
        # Data S1: ids in the header and the first column, rows presynaptic, in another order in every file.
        TableForm(
            "Data S1, *_connectivity_matrix.csv",
            (),
            {},
            patterns=("*connectivity_matrix.csv", "*connectivity_matrix.csv.gz"),
            layout="matrix",
        ),
    ),
    neurons=(
        # A pandas frame with its index, which has no name: the header begins with a comma.
        TableForm("*_nodes.csv", ("", "name", "class1", "hemisphere"), {"id": ""}),
        TableForm("the same, written again by pandas", ("Unnamed: 0", "name", "class1"), {"id": "Unnamed: 0"}),
    ),
    id_type="int64",
    policies=Policies(untyped_neurons="keep", sign=SignPolicy(transmitters={}, unknown=0)),
    sign_source="none: the tables have no transmitters, and all edges are without a sign",
    notes="counts are synapses of all four kinds (axo-dendritic, axo-axonic, dendro-dendritic, dendro-axonic); the "
    "matrices of Data S1 have them apart.",
)

COOK_WORM: Final = Preset(
    name="cook_worm",
    title="the worm's tables that ship with this package (Cook et al.)",
    citation=(*citations("edges"), *citations("neurons")[1:]),
    edges=(
        TableForm(
            "edges_cook2019_hermaphrodite.csv",
            ("pre", "post", "weight", "type", "pred_sign"),
            {name: CELEGANS_COLUMNS[name] for name in ("pre", "post", "count", "kind", "sign")},
        ),
    ),
    neurons=(
        TableForm(
            "neurons.csv",
            ("name", "cell_class", "nt"),
            {name: CELEGANS_COLUMNS[name] for name in ("id", "transmitter")},
        ),
    ),
    id_type="string",
    policies=Policies(),
    sign_source="the sign predicted from receptors (Fenyves et al. 2020), then the transmitter of the presynaptic "
    "neuron, then +1",
    notes="weights are sections in contact; gap junctions stand in both directions.",
)

PRESETS: Final = (FLYWIRE, SHIU, NEUPRINT, CAVE, WINDING, COOK_WORM)
