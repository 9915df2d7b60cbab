"""Each preset reads small tables in its published form, quirks included, as exactly the connectome they describe."""

from __future__ import annotations

import gzip
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.feather as pa_feather
import pyarrow.parquet as pa_parquet
import pytest

from connectofit.connectome import (
    AdjacencyMatrix,
    Connectome,
    CsvFile,
    MissingFileError,
    Policies,
    SchemaError,
    SettingError,
    SignPolicy,
    UnknownNameError,
    ValidationReport,
    presets,
    read_connectome,
)
from connectofit.data import CELEGANS_COLUMNS, celegans_paths

# Neighbours above 2^53, as FlyWire has them: as float64 they are one number.
A, B, C = 720575940596125868, 720575940596125869, 720575940596125870
assert float(A) == float(B) == float(C)


def save(path: Path, text: str) -> Path:
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


def signed(found: Connectome) -> dict[tuple[Any, Any], tuple[int, int]]:
    """Count and sign by (pre, post)."""
    table = found.edge_table()
    names = [table.column(name).to_pylist() for name in ("pre", "post", "count", "sign")]
    return {(pre, post): (count, sign) for pre, post, count, sign in zip(*names, strict=True)}


def by_region(found: Connectome) -> list[dict[Any, int]]:
    columns = [found.edge_columns.column(name).to_pylist() for name in ("region", "region_count")]
    return [dict(zip(*pair, strict=True)) for pair in zip(*columns, strict=True)]


def used(report: ValidationReport) -> str:
    return report.find("preset")[0].message


# ---- FlyWire ----

CODEX = (
    "pre_root_id,post_root_id,neuropil,syn_count,nt_type\n"
    f"{A},{B},AL_R,6,ACH\n{A},{B},LH_R,9,ACH\n{B},{C},AL_R,7,GABA\n{C},{A},AL_R,5,GLUT\n{C},{B},AL_R,5,DA\n{B},{A},AL_R,8,\n"
)
CODEX_NEURONS = (
    "root_id,group,nt_type,nt_type_score,da_avg,ser_avg,gaba_avg,glut_avg,ach_avg,oct_avg\n"
    f"{A},AL,ACH,0.9,0.0,0.0,0.0,0.1,0.9,0.0\n{B},AL.LH,GABA,0.7,0.0,0.0,0.7,0.3,0.0,0.0\n{C},AL,,0.0,0,0,0,0,0,0\n"
)
CLASSES = (
    "root_id,flow,super_class,class,sub_class,hemilineage,side,nerve\n"
    f"{A},afferent,sensory,olfactory,,,left,AN\n{B},intrinsic,central,ALLN,,ALl1_dorsal,right,\n"
)
TYPES = f"root_id,primary_type,additional_type(s)\n{C},DM4_adPN,\n{A},ORN_DM4,\n"
SCHLEGEL = (
    "supervoxel_id\troot_id\tpos_x\tsoma_x\tflow\tsuper_class\tcell_class\tcell_type\ttop_nt\ttop_nt_conf\tside\n"
    f"78112261444987077\t{A}\t143336.0\t\tafferent\tsensory\tolfactory\tORN_DM4\tacetylcholine\t0.93\tleft\n"
    f"78112261444987078\t{B}\t143337.0\t1.5\tintrinsic\tcentral\tALLN\tlLN1\tgaba\t0.8\tright\n"
    f"78112261444987079\t{C}\t143338.0\t\tintrinsic\tcentral\t\t\tdopamine\t0.5\tright\n"
)


def test_codex_rows_by_neuropil_become_connections_with_their_own_transmitters(tmp_path: Path) -> None:
    edges = save(tmp_path / "connections_princeton.csv.gz", CODEX)
    found, report = read_connectome(edges, save(tmp_path / "neurons.csv.gz", CODEX_NEURONS), preset="flywire")
    assert found.ids == (A, B, C)
    # Dopamine says nothing, and its neuron has no transmitter; an edge without transmitter takes its neuron's.
    assert signed(found) == {(A, B): (15, 1), (B, A): (8, -1), (B, C): (7, -1), (C, A): (5, -1), (C, B): (5, 0)}
    assert by_region(found)[0] == {"AL_R": 6, "LH_R": 9}
    assert found.edge_columns.column("transmitter").to_pylist() == ["ACH", None, "GABA", "GLUT", "DA"]
    assert report.find("sign_from_edge_transmitter")[0].count == 3
    assert report.find("sign_from_transmitter")[0].count == 1
    assert not report.find("duplicate_edge")
    assert not report.find("untyped_neuron")
    assert found.neurons.column_names[:3] == ["id", "transmitter", "group"]


def test_codex_annotation_files_are_joined_by_root_id(tmp_path: Path) -> None:
    neurons = [
        save(tmp_path / "neurons.csv.gz", CODEX_NEURONS),
        save(tmp_path / "classification.csv.gz", CLASSES),
        save(tmp_path / "consolidated_cell_types.csv.gz", TYPES),
    ]
    found, report = read_connectome(save(tmp_path / "connections.csv.gz", CODEX), neurons, preset="flywire")
    assert found.column("super_class").tolist() == ["sensory", "central", None]
    assert found.column("primary_type").tolist() == ["ORN_DM4", None, "DM4_adPN"]
    assert found.column("transmitter").tolist() == ["ACH", "GABA", None]
    assert len(report.find("joined_table")) == 2


@pytest.mark.parametrize(
    ("name", "text", "transmitters", "form"),
    [
        ("classification.csv.gz", CLASSES, None, "Codex, classification.csv.gz"),
        ("consolidated_cell_types.csv.gz", TYPES, None, "Codex, consolidated_cell_types.csv.gz"),
        (
            "Supplemental_file1_neuron_annotations.tsv",
            SCHLEGEL,
            ["acetylcholine", "gaba", "dopamine"],
            "Schlegel et al., Supplemental_file1_neuron_annotations.tsv",
        ),
        (
            "neurons.csv",
            f"Root ID,Flow,Super Class,Predicted NT type,Predicted NT confidence\n{A},afferent,sensory,ACH,0.9\n",
            ["ACH"],
            "Codex, neurons as its page exports them",
        ),
        ("some.csv", f"root_id,note\n{A},x\n", None, "any table of one row per root_id"),
    ],
)
def test_flywire_annotations_come_in_several_forms(
    tmp_path: Path, name: str, text: str, transmitters: list[str] | None, form: str
) -> None:
    edges = save(tmp_path / "connections.csv.gz", CODEX)
    policies = replace(presets()["flywire"].policies, max_unmatched=1.0)
    found, report = read_connectome(edges, save(tmp_path / name, text), preset="flywire", policies=policies)
    assert f"neurons: {form}" in used(report)
    assert all(type(name) is int for name in found.ids)
    if transmitters is not None:
        assert found.column("transmitter").tolist() == transmitters


def test_the_full_names_of_transmitters_give_the_signs_of_the_fly(tmp_path: Path) -> None:
    edges = save(tmp_path / "connections.csv", "\n".join(line.rpartition(",")[0] for line in CODEX.splitlines()))
    found, _ = read_connectome(edges, save(tmp_path / "annotations.tsv", SCHLEGEL), preset="flywire")
    assert signed(found) == {(A, B): (15, 1), (B, A): (8, -1), (B, C): (7, -1), (C, A): (5, 0), (C, B): (5, 0)}


def test_zenodos_connections_leave_out_the_scores_and_keep_the_neuropils(tmp_path: Path) -> None:
    table = pa.table(
        {
            "pre_pt_root_id": [A, A, B],
            "post_pt_root_id": [B, B, C],
            "neuropil": ["AL_R", "LH_R", "AL_R"],
            "syn_count": [1, 2, 3],
            **{f"{name}_avg": [0.1, 0.2, 0.3] for name in ("gaba", "ach", "glut", "oct", "ser", "da")},
        }
    )
    pa_feather.write_feather(table, str(tmp_path / "proofread_connections_783.feather"))
    found, report = read_connectome(tmp_path / "proofread_connections_783.feather", preset="auto")
    assert signed(found) == {(A, B): (3, 0), (B, C): (3, 0)}
    assert by_region(found) == [{"AL_R": 1, "LH_R": 2}, {"AL_R": 3}]
    assert found.edge_columns.column_names == ["sign_source", "region", "region_count"]
    assert "columns not read, as they repeat others: gaba_avg, ach_avg" in used(report)


def test_connections_already_added_up_over_neuropils_are_read(tmp_path: Path) -> None:
    text = f"pre_root_id,post_root_id,syn_count,nt_type\n{A},{B},15,ACH\n"
    found, _ = read_connectome(save(tmp_path / "sum.csv", text), preset="flywire")
    assert signed(found) == {(A, B): (15, 1)}
    text = f"pre_root_id,post_root_id,syn_count\n{A},{B},15\n"
    found, _ = read_connectome(save(tmp_path / "pairs.csv", text), preset="flywire")
    assert signed(found) == {(A, B): (15, 0)}


def test_codex_synapses_whose_ids_lack_digits_are_recognised_and_refused(tmp_path: Path) -> None:
    text = "pre_x,size,pre_root_id_720575940,post_root_id_720575940,neuropil\n1,7,596125868,596125869,AL_R\n"
    path = save(tmp_path / "fafb_v783_princeton_synapse_table.csv.gz", text)
    for preset in ("flywire", "auto"):
        with pytest.raises(SchemaError, match="lack their first nine digits, 720575940"):
            read_connectome(path, preset=preset)


# ---- Shiu et al. ----


def shiu(folder: Path) -> tuple[Path, Path]:
    """The two files as pandas writes them: an index without a name, and one kept as a column."""
    frame = pd.DataFrame(
        {
            "Presynaptic_ID": [A, A, B],
            "Postsynaptic_ID": [B, C, A],
            "Presynaptic_Index": [0, 0, 1],
            "Postsynaptic_Index": [1, 2, 0],
            "Connectivity": [12, 1, 5],
            "Excitatory": [1, 1, -1],
            "Excitatory x Connectivity": [12, 1, -5],
        },
        index=[0, 2, 7],
    )
    frame.to_parquet(folder / "Connectivity_783.parquet")
    assert "__index_level_0__" in pa_parquet.ParquetFile(folder / "Connectivity_783.parquet").schema_arrow.names
    neurons = save(folder / "Completeness_783.csv", f",Completed\n{A},True\n{B},True\n{C},True\n")
    return folder / "Connectivity_783.parquet", neurons


def test_shius_signed_weights_are_split_and_the_unnamed_index_is_the_id(tmp_path: Path) -> None:
    found, report = read_connectome(*shiu(tmp_path), preset="shiu")
    assert found.ids == (A, B, C)
    assert signed(found) == {(A, B): (12, 1), (A, C): (1, 1), (B, A): (5, -1)}
    assert found.edge_columns.column_names == ["sign_source"]
    assert found.neurons.column_names == ["id", "Completed"]
    assert "columns not read, as they repeat others: Presynaptic_Index, " in used(report)
    assert report.columns["id"] == ""


def test_shius_older_files_and_frames_read_by_pandas_have_the_same_form(tmp_path: Path) -> None:
    edges, neurons = shiu(tmp_path)
    older = edges.rename(tmp_path / "2023_03_23_connectivity_630_final.parquet")
    expected = {(A, B): (12, 1), (A, C): (1, 1), (B, A): (5, -1)}
    found, _ = read_connectome(older, pd.read_csv(neurons), preset="shiu")
    assert signed(found) == expected
    found, _ = read_connectome(pd.read_parquet(older), neurons, preset="auto")
    assert signed(found) == expected


# ---- neuPrint ----


def neuprint_neurons(folder: Path) -> Path:
    return save(
        folder / "traced-neurons.csv", "bodyId,type,instance\n200326126,CL141,CL141_R\n202916528,,\n5813009352,X,\n"
    )


def test_hemibrains_total_connections_are_read(tmp_path: Path) -> None:
    text = "bodyId_pre,bodyId_post,weight\n202916528,5813009352,2\n5813009352,200326126,11\n"
    edges = save(tmp_path / "traced-total-connections.csv", text)
    found, report = read_connectome(edges, neuprint_neurons(tmp_path), preset="neuprint")
    assert found.ids == (200326126, 202916528, 5813009352)
    assert signed(found) == {(202916528, 5813009352): (2, 0), (5813009352, 200326126): (11, 0)}
    assert found.column("type").tolist() == ["CL141", None, "X"]
    assert report.find("sign_assumed")[0].policy == "sign.unknown=0"


def test_hemibrains_connections_by_roi_keep_their_parts(tmp_path: Path) -> None:
    text = (
        "bodyId_pre,bodyId_post,roi,weight\n"
        "202916528,5813009352,SMP(R),2\n202916528,5813009352,FB,3\n5813009352,200326126,NotPrimary,1\n"
    )
    edges = save(tmp_path / "traced-roi-connections.csv", text)
    found, report = read_connectome(edges, neuprint_neurons(tmp_path), preset="auto")
    assert signed(found) == {(202916528, 5813009352): (5, 0), (5813009352, 200326126): (1, 0)}
    assert by_region(found) == [{"SMP(R)": 2, "FB": 3}, {"NotPrimary": 1}]
    assert "preset 'neuprint', recognised by the tables' columns" in used(report)
    assert "edges: traced-roi-connections.csv" in used(report)


@pytest.mark.parametrize("column", ["consensusNt", "predictedNt"])
def test_neuprint_neurons_with_transmitters_give_signs(tmp_path: Path, column: str) -> None:
    neurons = pa.table({"bodyId": [1, 2, 3], "type": ["X", None, "Y"], column: ["gaba", "acetylcholine", "unclear"]})
    edges = pa.table({"body_pre": [1, 2, 3], "body_post": [2, 3, 1], "weight": [4, 5, 6], "type_pre": ["X", None, "Y"]})
    found, report = read_connectome(edges, neurons, preset="neuprint")
    assert signed(found) == {(1, 2): (4, -1), (2, 3): (5, 1), (3, 1): (6, 0)}
    assert report.find("undeclared_transmitter")[0].examples == ((3, "unclear"),)


def test_the_inputs_of_neuprints_database_are_read() -> None:
    edges = pa.table(
        {
            ":START_ID(Body-ID)": [10, 20],
            "weight:int": [4, 5],
            "weightHP:int": [3, 5],
            ":END_ID(Body-ID)": [20, 10],
            "roiInfo:string": ['{"FB": {"post": 4}}', "{}"],
        }
    )
    found, _ = read_connectome(edges, preset="auto")
    assert signed(found) == {(10, 20): (4, 0), (20, 10): (5, 0)}
    assert found.edge_columns.column_names == ["sign_source"]


# ---- CAVE ----

SYNAPSES = (
    "id,valid,pre_pt_supervoxel_id,pre_pt_root_id,post_pt_supervoxel_id,post_pt_root_id,size,"
    "ctr_pt_position_x,ctr_pt_position_y,ctr_pt_position_z\n"
    f"1,t,9,{A},8,{B},100,10,20,30\n2,t,9,{B},8,{C},7,1,2,3\n3,t,9,{A},8,{B},50,20,40,31\n4,t,9,0,8,{C},7,1,2,3\n"
)


@pytest.mark.parametrize("preset", ["cave", "auto"])
def test_caves_synapses_are_aggregated_to_connections_and_those_of_the_background_left_out(
    tmp_path: Path, preset: str
) -> None:
    found, report = read_connectome(save(tmp_path / "synapses_pni_2.csv.gz", SYNAPSES), preset=preset)
    assert found.ids == (A, B, C)
    assert signed(found) == {(A, B): (2, 0), (B, C): (1, 0)}
    assert found.edge_columns.drop_columns("sign_source").to_pylist() == [
        {"size": 150, "x": 15.0, "y": 30.0, "z": 30.5},
        {"size": 7, "x": 1.0, "y": 2.0, "z": 3.0},
    ]
    assert (report.rows_in, report.rows_kept) == ({"synapses": 4, "edges": 2}, {"synapses": 3, "edges": 2})
    assert report.find("no_neuron")[0].examples == ((4, "'0'"),)
    assert report.source["edges"] == "connections of synapses_pni_2.csv.gz"


def test_caves_positions_may_stand_in_one_column_and_a_neuron_table_beside_the_synapses() -> None:
    synapses = pd.DataFrame(
        {
            "pre_pt_root_id": [A, A],
            "post_pt_root_id": [B, B],
            "size": [1, 2],
            "ctr_pt_position": [[1, 2, 3], [3, 4, 5]],
        }
    )
    cells = pd.DataFrame({"pt_root_id": [A, B, C], "cell_type": ["L4", "BC", "L5"]})
    found, report = read_connectome(synapses, cells, preset="cave")
    assert signed(found) == {(A, B): (2, 0)}
    assert found.edge_columns.select(["size", "x", "y", "z"]).to_pylist() == [{"size": 3, "x": 2.0, "y": 3.0, "z": 4.0}]
    assert found.column("cell_type").tolist() == ["L4", "BC", "L5"]
    assert "edges: synapses, positions in one column; neurons: cell tables" in used(report)


def test_caves_synapses_of_several_files_are_one_table(tmp_path: Path) -> None:
    header, *lines = SYNAPSES.splitlines(keepends=True)
    (tmp_path / "synapses").mkdir()
    for number, line in enumerate(lines):
        save(tmp_path / "synapses" / f"{number}.csv", header + line)
    found, report = read_connectome(tmp_path / "synapses", preset="cave")
    assert signed(found) == {(A, B): (2, 0), (B, C): (1, 0)}
    assert report.locate("synapses", 4) == ("3.csv", 1)


def test_zenodos_synapses_of_flywire_keep_their_neuropils(tmp_path: Path) -> None:
    frame = pd.DataFrame(
        {
            "id": [1, 2, 3],
            "pre_pt_root_id": [A, A, A],
            "post_pt_root_id": [B, B, B],
            "connection_score": [1.0, 2.0, 3.0],
            "cleft_score": [100, 90, 80],
            "neuropil": ["AL_R", "LH_R", "AL_R"],
            **{f"{end}_pt_position_{axis}": [4, 8, 12] for end in ("pre", "post") for axis in "xyz"},
        }
    )
    pa_feather.write_feather(pa.Table.from_pandas(frame), str(tmp_path / "flywire_synapses_783.feather"))
    found, _ = read_connectome(tmp_path / "flywire_synapses_783.feather", preset="auto")
    assert signed(found) == {(A, B): (3, 0)}
    assert by_region(found) == [{"AL_R": 2, "LH_R": 1}]
    assert found.edge_columns.column("x").to_pylist() == [8.0]


# ---- Winding et al. ----

WINDING_NODES = (
    ",name,left,class1,all_class1,hemisphere,celltype_discrete\n"
    "11691603,KC17,True,KC,['KC'],L,KC\n"
    "9787933,BAmas lineage Neuron left 2,True,unk,[],L,PN\n"
    "29,Inter2 left ,False,dSEZ,['dSEZ' 'pre-dSEZ'],R,DN$^{\\mathrm{SEZ}}$\n"
)


def test_windings_edge_list_has_no_header_and_whole_counts_written_as_floats(tmp_path: Path) -> None:
    edges = save(tmp_path / "unmatched_full_edgelist.csv", "29,11691603,9.0\n11691603,9787933,1.0\n29,29,2.0\n")
    nodes = save(tmp_path / "unmatched_full_nodes.csv", WINDING_NODES)
    for preset in ("winding", "auto"):
        found, report = read_connectome(edges, nodes, preset=preset)
        assert found.ids == (11691603, 9787933, 29)
        assert signed(found) == {(11691603, 9787933): (1, 0), (29, 11691603): (9, 0), (29, 29): (2, 0)}
        assert str(found.count.dtype) == "int32"
        assert found.column("name").tolist()[2] == "Inter2 left "
        assert report.rows_in == {"edges": 3, "neurons": 3}


def test_edge_lists_without_header_may_come_as_a_list_or_folder(tmp_path: Path) -> None:
    (tmp_path / "edges").mkdir()
    files = [
        save(tmp_path / "edges" / "left_edgelist.csv", "29,11691603,9.0\n29,30,2.0\n"),
        save(tmp_path / "edges" / "right_edgelist.csv", "30,29,1.0\n"),
    ]
    for source in (files, tmp_path / "edges"):
        found, report = read_connectome(source, preset="winding")
        assert signed(found) == {(29, 11691603): (9, 0), (29, 30): (2, 0), (30, 29): (1, 0)}
        assert report.locate("edges", 3) == ("right_edgelist.csv", 1)


def test_a_count_of_winding_that_is_not_whole_is_refused(tmp_path: Path) -> None:
    edges = save(tmp_path / "x_edgelist.csv", "29,11691603,9.0\n11691603,29,1.5\n")
    with pytest.raises(SchemaError, match=r"'weight' of the edges table .* not a whole number in row 2: '1\.5'"):
        read_connectome(edges, preset="winding")


def test_windings_edge_list_may_have_any_name_if_the_preset_is_named(tmp_path: Path) -> None:
    edges = save(tmp_path / "larva.csv", "29,11691603,9.0\n30,29,1.0\n")
    assert signed(read_connectome(edges, preset="winding")[0]) == {(29, 11691603): (9, 0), (30, 29): (1, 0)}
    with pytest.raises(SchemaError, match="No column named 'pre'"):
        read_connectome(edges, preset="auto")
    named = CsvFile(edges, names=["pre", "post", "weight"])
    assert signed(read_connectome(named, preset="winding")[0]) == {(29, 11691603): (9, 0), (30, 29): (1, 0)}


def test_windings_matrices_have_ids_in_their_margins(tmp_path: Path) -> None:
    path = save(tmp_path / "ad_connectivity_matrix.csv", ",29,11691603,9787933\n11691603,0.0,0.0,4.0\n29,1.0,0.0,0.0\n")
    found, report = read_connectome(path, preset="auto")
    assert signed(found) == {(11691603, 9787933): (4, 0), (29, 29): (1, 0)}
    assert found.ids == (11691603, 29, 9787933)
    assert "Data S1" in used(report)
    assert signed(read_connectome(AdjacencyMatrix(path), id_type="int64")[0]).keys() == signed(found).keys()


# ---- Cook et al. ----


def test_the_worms_preset_reads_what_its_columns_read() -> None:
    paths = celegans_paths()
    expected, _ = read_connectome(paths["edges"], paths["neurons"], columns=CELEGANS_COLUMNS)
    for preset in ("cook_worm", "auto"):
        found, report = read_connectome(paths["edges"], paths["neurons"], preset=preset)
        assert found.digest() == expected.digest()
        assert "preset 'cook_worm'" in used(report)
    worm = presets()["cook_worm"]
    assert {**worm.edges[0].mapping, **worm.neurons[0].mapping} == dict(CELEGANS_COLUMNS)


# ---- choosing and overriding ----


def test_without_preset_the_error_says_which_one_matches(tmp_path: Path) -> None:
    edges = save(tmp_path / "connections.csv.gz", CODEX)
    with pytest.raises(
        SchemaError, match=r"needs the column 'pre'.*These look like tables of FlyWire.*preset='flywire'"
    ):
        read_connectome(edges)
    with pytest.raises(SchemaError, match=r"needs the column 'pre'.*preset='shiu'"):
        read_connectome(shiu(tmp_path)[0])
    with pytest.raises(SchemaError) as caught:
        read_connectome(save(tmp_path / "other.csv", "from,to\na,b\n"))
    assert "look like" not in str(caught.value)


def test_canonical_names_need_no_preset_and_get_no_hint() -> None:
    table = pa.table({"pre": ["a"], "post": ["b"], "weight": [1], "type": ["chemical"], "pred_sign": ["+"]})
    with pytest.raises(SchemaError) as caught:
        read_connectome(table.select(["pre", "post", "weight"]))
    assert "look like" not in str(caught.value)


def test_auto_takes_canonical_names_where_it_recognises_nothing() -> None:
    found, report = read_connectome(pa.table({"pre": ["a"], "post": ["b"], "count": [3]}), preset="auto")
    assert signed(found) == {("a", "b"): (3, 1)}
    assert "of no preset" in used(report)


def test_of_several_presets_that_match_the_one_with_the_most_telling_columns_is_recognised() -> None:
    codex = {"pre_root_id": [A], "post_root_id": [B], "neuropil": ["AL_R"], "syn_count": [6], "nt_type": ["ACH"]}
    neuprint = {"bodyId_pre": [1], "bodyId_post": [2], "weight": [3]}
    found, report = read_connectome(pa.table(codex | neuprint), preset="auto")
    assert "preset 'flywire'" in used(report)
    assert signed(found) == {(A, B): (6, 1)}
    shius = {"Presynaptic_ID": [A], "Postsynaptic_ID": [B], "Excitatory x Connectivity": [-4]}
    both = pa.table(neuprint | shius)
    with pytest.raises(SchemaError, match=r"fit several presets, 'shiu', 'neuprint' \(2 in all\): say which"):
        read_connectome(both, preset="auto")
    with pytest.raises(SchemaError, match="say preset='shiu' or preset='neuprint'"):
        read_connectome(both)
    assert signed(read_connectome(both, preset="shiu")[0]) == {(A, B): (4, -1)}


def test_the_wrong_preset_is_told_apart_from_the_right_one(tmp_path: Path) -> None:
    edges, neurons = save(tmp_path / "connections.csv.gz", CODEX), save(tmp_path / "neurons.csv.gz", CODEX_NEURONS)
    with pytest.raises(
        SchemaError, match=r"edges table \(connections\.csv\.gz\) has none of the forms of preset 'neuprint'"
    ):
        read_connectome(edges, neurons, preset="neuprint")
    with pytest.raises(SchemaError, match=r"The tables look like preset='flywire'\. "):
        read_connectome(edges, neurons, preset="shiu")
    with pytest.raises(
        SchemaError, match=r"neurons table \(traced-neurons\.csv\) has none of the forms of preset 'flywire'"
    ):
        read_connectome(edges, neuprint_neurons(tmp_path), preset="flywire")
    with pytest.raises(UnknownNameError, match=r"No preset named 'flywyre'\. Did you mean 'flywire'"):
        read_connectome(edges, preset="flywyre")
    with pytest.raises(SettingError, match="preset must be the name of a preset"):
        read_connectome(edges, preset=1)  # type: ignore[arg-type]


@pytest.mark.parametrize("preset", ["flywire", "auto"])
def test_a_file_that_is_missing_or_truncated_says_so_with_a_preset_too(tmp_path: Path, preset: str) -> None:
    whole = save(tmp_path / "connections.csv.gz", CODEX)
    with pytest.raises(MissingFileError, match=r"Did you mean 'connections\.csv\.gz'"):
        read_connectome(tmp_path / "conections.csv.gz", preset=preset)
    with pytest.raises(MissingFileError, match=r"neurons table.* does not exist"):
        read_connectome(whole, tmp_path / "neurons.csv.gz", preset=preset)
    (tmp_path / "cut.csv.gz").write_bytes(whole.read_bytes()[:20])
    with pytest.raises(SchemaError, match=r"cut\.csv\.gz cannot be read as csv"):
        read_connectome(tmp_path / "cut.csv.gz", preset=preset)


def test_a_missing_column_can_be_replaced_and_the_callers_word_goes_first(tmp_path: Path) -> None:
    text = f"pre_root_id,post_root_id,neuropil,n_syn,nt_type\n{A},{B},AL_R,6,ACH\n{A},{B},AL_L,6,ACH\n"
    edges = save(tmp_path / "connections.csv", text)
    with pytest.raises(SchemaError, match="has none of the forms of preset 'flywire'"):
        read_connectome(edges, preset="flywire")
    found, report = read_connectome(edges, preset="flywire", columns={"count": "n_syn"})
    assert signed(found) == {(A, B): (12, 1)}
    assert report.columns["count"] == "n_syn"
    found, _ = read_connectome(edges, preset="flywire", columns={"count": None})
    assert signed(found) == {(A, B): (2, 1)}


def test_policies_and_id_type_go_before_those_of_the_preset(tmp_path: Path) -> None:
    edges = save(tmp_path / "connections.csv", CODEX)
    fly = presets()["flywire"].policies
    exciting = replace(fly, sign=replace(fly.sign, transmitters={**fly.sign.transmitters, "DA": 1}))
    found, report = read_connectome(edges, preset="flywire", policies=exciting, id_type="string")
    assert signed(found)[str(C), str(B)] == (5, 1)
    assert "signs:" not in used(report)
    plain, _ = read_connectome(edges, preset="flywire", policies=Policies(sign=SignPolicy(unknown=-1, transmitters={})))
    assert set(plain.sign.tolist()) == {-1}


def test_a_shiu_weight_can_be_read_as_another_count(tmp_path: Path) -> None:
    edges, neurons = shiu(tmp_path)
    table = pa_parquet.ParquetFile(edges).read().append_column("n", pa.array([1, 2, 3]))
    found, _ = read_connectome(table, neurons, preset="shiu", columns={"count": "n"})
    assert {pair: count for pair, (count, _) in signed(found).items()} == {(A, B): 1, (A, C): 2, (B, A): 3}


@pytest.mark.parametrize("suffix", ["csv", "csv.gz"])
def test_an_id_that_went_through_a_float_is_refused_by_every_preset(tmp_path: Path, suffix: str) -> None:
    text = f"pre_root_id,post_root_id,syn_count\n{A},7.205759405961259e+17,5\n"
    with pytest.raises(SchemaError, match=r"'post_root_id' .* went through a float .* in row 1"):
        read_connectome(save(tmp_path / f"c.{suffix}", text), preset="flywire")


def test_presets_are_listed_with_their_files_signs_and_citations() -> None:
    assert list(presets()) == ["flywire", "shiu", "neuprint", "cave", "winding", "cook_worm"]
    for name, preset in presets().items():
        text = str(preset)
        assert text.startswith(f"{name}: {preset.title}")
        assert all(work in text for work in preset.citation)
        assert all(form.files in text for form in (*preset.edges, *preset.neurons))
        assert preset.sign_source in text
        assert Policies.from_dict(preset.policies.to_dict()) == preset.policies
