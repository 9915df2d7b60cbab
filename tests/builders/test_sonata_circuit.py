"""SONATA circuits in: nodes, edges, types, parameters; what is not understood; files that lie about where they are."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from connectofit.builders import ModelSpec, build, read_sonata_circuit
from connectofit.connectome import Connectome
from connectofit.connectome.errors import MissingFileError, SchemaError, SettingError
from connectofit.pipelines.cli import main

h5py = pytest.importorskip("h5py", reason="the extra sonata is not installed")

EXC = {"E_L": -65.0, "C_m": 200.0, "tau_m": 20.0, "t_ref": 3.0, "V_th": -50.0, "V_reset": -60.0, "I_e": 5.0,
       "tau_syn_ex": 4.0, "tau_syn_in": 8.0, "V_m": -65.0}  # fmt: skip


def text(group, name, values):
    group.create_dataset(name, data=list(values), dtype=h5py.string_dtype())


class Circuit:
    """A small circuit: 3 neurons of two types in `cortex`, 2 sources in `thalamus`, edges from both."""

    def __init__(self, folder: Path):
        self.folder = folder
        (folder / "components").mkdir(parents=True)
        self.config = {
            "manifest": {"$BASE_DIR": ".", "$PARTS": "$BASE_DIR/components"},
            "components": {"point_neuron_models_dir": "$PARTS", "synaptic_models_dir": "${PARTS}"},
            "networks": {
                "nodes": [
                    {"nodes_file": "$BASE_DIR/cortex.h5", "node_types_file": "$BASE_DIR/cortex.csv"},
                    {"nodes_file": "thalamus.h5", "node_types_file": "thalamus.csv"},
                ],
                "edges": [
                    {"edges_file": "inner.h5", "edge_types_file": "inner.csv"},
                    {"edges_file": "outer.h5", "edge_types_file": "outer.csv"},
                ],
            },
        }
        self.json("components/exc.json", EXC)
        self.json("components/inh.json", {"C_m": 100.0})
        self.json("components/static.json", {})
        self.cortex_types("iaf_psc_exp exc.json", "iaf_psc_exp inh.json")
        self.table("thalamus.csv", "node_type_id model_type\n7 virtual\n")
        self.table("inner.csv", "edge_type_id model_template dynamics_params delay\n1 static_synapse static.json 1.5\n"
                   "2 static_synapse static.json NULL\n")  # fmt: skip
        self.table("outer.csv", "edge_type_id syn_weight delay\n5 12.5 2.0\n")
        with h5py.File(folder / "cortex.h5", "w") as file:
            group = file.create_group("nodes/cortex")
            group["node_id"] = [2, 0, 1]  # in any order
            group["node_type_id"] = [20, 10, 10]
            group["node_group_id"] = [0, 0, 0]
            group["node_group_index"] = [0, 1, 2]
            group["0/x"] = [3.0, 1.0, 2.0]
            group["0/layer"] = [1, 0, 0]
            text(group, "0/@library/layer", ["L4", "L5"])
        with h5py.File(folder / "thalamus.h5", "w") as file:
            group = file.create_group("nodes/thalamus")
            group["node_type_id"] = [7, 7]
            group["node_group_id"], group["node_group_index"] = [0, 0], [0, 1]
            group.create_group("0")
        self.edges("inner.h5", "inner", "cortex", "cortex", [0, 1, 2], [1, 2, 0], [1, 1, 2],
                   {"syn_weight": [10.0, 20.0, -30.0], "nsyns": [1, 2, 3]})  # fmt: skip
        with h5py.File(folder / "inner.h5", "a") as file:
            file["edges/inner/0/delay"] = [1.5, 1.5, 0.5]
        self.edges("outer.h5", "outer", "thalamus", "cortex", [0, 1], [0, 2], [5, 5], {})

    def json(self, name, value):
        (self.folder / name).write_text(json.dumps(value))

    def table(self, name, content):
        (self.folder / name).write_text(content)

    def cortex_types(self, of_10, of_20):
        """The models and parameters of the two types of `cortex`, as ``iaf_psc_exp exc.json``."""
        head = "node_type_id cell_class model_type model_template dynamics_params"
        rows = [f"10 Pyr point_neuron nest:{of_10}", f'20 "PV basket" point_neuron nest:{of_20}']
        self.table("cortex.csv", "\n".join([head, *rows]) + "\n")

    def edges(self, file, name, source, target, pre, post, types, attributes):
        with h5py.File(self.folder / file, "w") as handle:
            group = handle.create_group(f"edges/{name}")
            for end, rows, population in (("source", pre, source), ("target", post, target)):
                group[f"{end}_node_id"] = np.array(rows, np.uint64)
                group[f"{end}_node_id"].attrs["node_population"] = population
            group["edge_type_id"] = np.array(types, np.uint64)
            group["edge_group_id"], group["edge_group_index"] = (
                np.zeros(len(pre), "u8"),
                np.arange(len(pre), dtype="u8"),
            )
            own = group.create_group("0")
            for key, values in attributes.items():
                own[key] = values

    def write(self) -> Path:
        self.json("circuit_config.json", self.config)
        return self.folder / "circuit_config.json"

    def read(self, **more):
        return read_sonata_circuit(self.write(), **more)


@pytest.fixture
def circuit(tmp_path):
    return Circuit(tmp_path / "circuit")


def column(table, name):
    return table.column(name).to_pylist()


def test_nodes_become_neurons_with_what_their_tables_say(circuit):
    connectome, _, report = circuit.read()
    neurons = connectome.neurons
    assert column(neurons, "id") == ["cortex/0", "cortex/1", "cortex/2", "thalamus/0", "thalamus/1"]
    assert column(neurons, "node_type_id") == [10, 10, 20, 7, 7]
    assert column(neurons, "cell_class") == ["Pyr", "Pyr", "PV basket", None, None]
    assert column(neurons, "x") == [1.0, 2.0, 3.0, None, None]
    assert column(neurons, "layer") == ["L4", "L4", "L5", None, None]
    assert column(neurons, "model") == ["lif"] * 3 + ["spike_source"] * 2
    assert report.rows_in == report.rows_kept == {"neurons": 5, "edges": 5}
    assert [f for f in report.findings if f.severity == "warning"] == []


def test_edges_have_the_size_delay_and_count_of_the_file_or_of_their_type(circuit):
    connectome, _, _ = circuit.read()
    table = connectome.edge_table()
    found = {
        (pre, post): rest
        for pre, post, *rest in zip(
            *(column(table, name) for name in ("pre", "post", "count", "sign", "weight", "delay_ms")), strict=True
        )
    }
    assert found == {
        ("cortex/0", "cortex/1"): [1, 1, 10.0, 1.5],
        ("cortex/1", "cortex/2"): [2, 1, 20.0, 1.5],
        ("cortex/2", "cortex/0"): [3, -1, 30.0, 0.5],
        ("thalamus/0", "cortex/0"): [1, 1, 12.5, 2.0],
        ("thalamus/1", "cortex/2"): [1, 1, 12.5, 2.0],
    }


def test_the_network_has_nests_neurons_and_defaults(circuit):
    """R_m = tau_m / C_m; what the file leaves out is what NEST 3.10 has: tau_m 10, C_m 250, tau_syn 2 ms."""
    connectome, spec, _ = circuit.read()
    net = build(connectome, spec)
    cortex = {
        name: np.asarray(value)[np.asarray(net.population("cortex").type_index)]
        for name, value in net.params["cortex"].items()
    }
    np.testing.assert_allclose(cortex["tau_m_ms"], [20, 20, 10])
    np.testing.assert_allclose(cortex["r_m_GOhm"], [0.1, 0.1, 0.1])
    np.testing.assert_allclose(cortex["v_threshold_mV"], [-50, -50, -55])
    np.testing.assert_allclose(cortex["i_bias_pA"], [5, 5, 0])
    taus = {}
    for projection in net.projections:
        tau = np.asarray(net.params[projection.name]["tau_syn_ms"]).item()
        pre = [net.population(projection.pre).ids[i] for i in np.asarray(projection.pre_index)]
        post = [net.population(projection.post).ids[i] for i in np.asarray(projection.post_index)]
        weights = np.asarray(projection.base_weight)
        taus |= {(a, b): (tau, w) for a, b, w in zip(pre, post, weights.tolist(), strict=True)}
    assert taus == {
        ("cortex/0", "cortex/1"): (4.0, 10.0),
        ("cortex/1", "cortex/2"): (2.0, 40.0),
        ("cortex/2", "cortex/0"): (8.0, -90.0),
        ("thalamus/0", "cortex/0"): (4.0, 12.5),
        ("thalamus/1", "cortex/2"): (2.0, 12.5),
    }


def test_dynamics_params_of_single_nodes_come_before_those_of_their_type(circuit):
    with h5py.File(circuit.folder / "cortex.h5", "a") as file:
        file["nodes/cortex/0/dynamics_params/V_th"] = [-40.0, -51.0, -52.0]
    connectome, spec, _ = circuit.read()
    assert column(connectome.neurons, "v_threshold_mV")[:3] == [-51.0, -52.0, -40.0]
    assert column(connectome.neurons, "tau_m_ms")[:3] == [20.0, 20.0, 10.0]
    build(connectome, spec)


def test_conductances_have_reversal_potentials_by_the_sign_of_the_weight(circuit):
    circuit.cortex_types("iaf_cond_exp NULL", "iaf_cond_exp NULL")
    connectome, spec, _ = circuit.read()
    net = build(connectome, spec)
    found = {
        (
            round(float(np.asarray(net.params[p.name]["e_rev_mV"]).item())),
            np.asarray(net.params[p.name]["tau_syn_ms"]).item(),
        )
        for p in net.projections
    }
    assert {e for e, _ in found} == {0, -85}
    assert all(np.asarray(p.base_weight).min() > 0 for p in net.projections)
    np.testing.assert_allclose(np.asarray(net.params["cortex"]["tau_m_ms"]), 250 / 16.6667)


def test_receptor_types_name_the_time_constants_of_multisynapse_models(circuit):
    circuit.cortex_types("iaf_psc_alpha_multisynapse multi.json", "iaf_psc_alpha_multisynapse multi.json")
    circuit.json("components/multi.json", {"tau_syn": [3.0, 6.0]})
    circuit.json("components/static.json", {"receptor_type": 2})
    circuit.table("outer.csv", "edge_type_id syn_weight delay dynamics_params\n5 12.5 2.0 one.json\n")
    circuit.json("components/one.json", {"receptor_type": 1})
    connectome, spec, _ = circuit.read()
    taus = {rule.params["tau_syn_ms"]: rule.synapse for rule in spec.edges}
    assert taus == {6.0: "alpha", 3.0: "alpha"}
    build(connectome, spec)


@pytest.mark.parametrize(
    ("given", "model"),
    [({}, "glif1"), ({"spike_dependent_threshold": True}, "glif2"), ({"after_spike_currents": True}, "glif3"),
     ({"spike_dependent_threshold": True, "after_spike_currents": True}, "glif4")],
)  # fmt: skip
def test_glif_levels_follow_the_switches(circuit, given, model):
    circuit.cortex_types("glif_psc glif.json", "glif_psc glif.json")
    circuit.json("components/glif.json", {**given, "asc_amps": [-1.0, -2.0]})
    circuit.json("components/static.json", {"receptor_type": 1})
    circuit.table("outer.csv", "edge_type_id syn_weight delay dynamics_params\n5 12.5 2.0 static.json\n")
    connectome, spec, _ = circuit.read()
    assert set(column(connectome.neurons, "model")[:3]) == {model}
    net = build(connectome, spec)
    if "after_spike_currents" in given:
        assert np.asarray(net.params["cortex"]["asc_2_add_pA"]).tolist() == [-2.0, -2.0]  # one for each type


def test_models_that_are_none_here_are_counted_named_and_left_to_build_to_refuse(circuit):
    circuit.cortex_types("iaf_psc_exp exc.json", "aeif_cond_alpha inh.json")
    connectome, spec, report = circuit.read()
    (missing,) = report.find("model_not_understood")
    assert missing.count == 1
    assert "cortex (type 20, aeif_cond_alpha)" in missing.message
    edges = report.find("edges_not_understood")[0]
    assert edges.count == 2
    with pytest.raises(SettingError, match="cortex/2"):
        build(connectome, spec)


def test_plastic_synapses_weight_functions_and_parameters_without_counterpart_are_told(circuit):
    circuit.table(
        "inner.csv", "edge_type_id model_template weight_function\n1 tsodyks2_synapse NULL\n2 static_synapse gauss\n"
    )
    circuit.json("components/exc.json", EXC | {"V_m": -58.0, "tau_minus": 20.0})
    connectome, spec, report = circuit.read()
    texts = " ".join(report.find("edges_not_understood")[0].message.split())
    assert report.find("edges_not_understood")[0].count == 3
    assert "tsodyks2_synapse" in texts
    assert "weight_function 'gauss'" in texts
    unused = report.find("parameter_not_used")[0]
    assert unused.count == 4
    assert "V_m = -58.0" in unused.message
    assert "tau_minus" in unused.message
    with pytest.raises(SettingError):
        build(connectome, spec)


def test_nests_defaults_for_weights_and_delays_are_told(circuit):
    circuit.table("outer.csv", "edge_type_id model_template\n5 static_synapse\n")
    connectome, _, report = circuit.read()
    told = report.find("nest_default")
    assert {f.count for f in told} == {2}
    assert len(told) == 2
    weights = dict(zip(column(connectome.edge_table(), "pre"), column(connectome.edge_table(), "weight"), strict=True))
    assert weights["thalamus/0"] == 1.0


def test_parallel_edges_of_one_kind_are_merged_and_others_refused(circuit):
    circuit.edges(
        "outer.h5", "outer", "thalamus", "cortex", [0, 0, 1], [0, 0, 2], [5, 5, 5], {"syn_weight": [2.0, 4.0, 1.0]}
    )
    connectome, _, report = circuit.read()
    table = connectome.edge_table()
    row = column(table, "pre").index("thalamus/0")
    assert (column(table, "count")[row], column(table, "weight")[row]) == (2, 3.0)
    assert report.find("edges_merged")[0].count == 1
    circuit.edges("outer.h5", "outer", "thalamus", "cortex", [0, 0], [0, 0], [5, 5], {"delay": [1.0, 2.0]})
    with pytest.raises(
        SchemaError, match=r"1 pairs of neurons are joined by edges of different delays.*thalamus/0 -> cortex/0"
    ):
        circuit.read()


def test_different_delays_of_a_pair_are_averaged_when_asked_for(circuit):
    given = {"syn_weight": [2.0, 4.0, 1.0], "delay": [1.0, 2.5, 7.0]}
    circuit.edges("outer.h5", "outer", "thalamus", "cortex", [0, 0, 1], [0, 0, 2], [5, 5, 5], given)
    connectome, spec, report = circuit.read(pair_delays="mean")
    table = connectome.edge_table()
    values = (column(table, name) for name in ("pre", "count", "weight", "delay_ms"))
    rows = set(zip(*values, strict=True))
    assert ("thalamus/0", 2, 3.0, (2.0 * 1.0 + 4.0 * 2.5) / 6.0) in rows
    assert ("thalamus/1", 1, 1.0, 7.0) in rows
    (told,) = report.find("delays_averaged")
    assert told.count == 1
    assert "at most 1.5 ms apart" in told.message
    assert build(connectome, spec).n_neurons == connectome.n_neurons
    circuit.edges("outer.h5", "outer", "thalamus", "cortex", [0, 0], [0, 0], [5, 5], {"syn_weight": [2.0, -4.0]})
    with pytest.raises(SchemaError, match="different signs or receptors"):
        circuit.read(pair_delays="mean")
    with pytest.raises(SettingError, match="'one' or 'mean'; found 'median'"):
        circuit.read(pair_delays="median")


def test_the_command_writes_what_builds_the_same_network(circuit, tmp_path):
    config, out = circuit.write(), tmp_path / "read"
    connectome, spec, report = read_sonata_circuit(config)
    shown = CliRunner().invoke(main, ["circuit", str(config), "--out", str(out)])
    assert shown.exit_code == 0, shown.output
    assert str(report) in shown.output
    assert sorted(path.name for path in out.iterdir()) == ["connectome", "model.toml", "report.txt"]
    assert ModelSpec.load(out / "model.toml") == spec
    again = Connectome.read(out / "connectome")
    assert again.edge_table().equals(connectome.edge_table())
    assert build(again, spec).n_neurons == connectome.n_neurons
    twice = CliRunner().invoke(main, ["circuit", str(config), "--out", str(out)])
    assert (twice.exit_code, "exists already" in twice.output) == (2, True)
    nowhere = CliRunner().invoke(main, ["circuit", str(config), "--out", str(tmp_path / "no" / "read")])
    assert (nowhere.exit_code, "There is no folder" in nowhere.output) == (2, True)


def test_delays_that_are_rounded_are_counted(circuit):
    report = circuit.read(resolution_ms=1.0)[2]
    assert report.find("delay_rounded")[0].count == 3
    with pytest.raises(SettingError, match="above 0"):
        circuit.read(resolution_ms=0.0)


def test_a_simulations_configuration_names_the_circuit(circuit):
    circuit.write()
    circuit.json("simulation.json", {"network": "./circuit_config.json", "run": {"tstop": 1.0}})
    connectome, _, report = read_sonata_circuit(circuit.folder / "simulation.json")
    assert connectome.n_neurons == 5
    assert "run" in report.find("section_not_read")[0].message


def test_libsonata_reads_the_same_nodes_and_edges(circuit):
    libsonata = pytest.importorskip("libsonata", reason="libsonata is not installed")
    connectome, _, _ = circuit.read()
    nodes = libsonata.NodeStorage(str(circuit.folder / "thalamus.h5")).open_population("thalamus")
    assert nodes.size == column(connectome.neurons, "population").count("thalamus")
    table = connectome.edge_table()
    ours = set(zip(*(column(table, name) for name in ("pre", "post", "weight")), strict=True))
    edges = libsonata.EdgeStorage(str(circuit.folder / "inner.h5")).open_population("inner")
    every = libsonata.Selection([(0, edges.size)])
    theirs = zip(
        edges.source_nodes(every), edges.target_nodes(every), edges.get_attribute("syn_weight", every), strict=True
    )
    assert {(f"cortex/{a}", f"cortex/{b}", abs(w)) for a, b, w in theirs} <= ours
    assert edges.size == 3


@pytest.mark.parametrize("way", ["manifest", "parent", "absolute", "link", "parameters"])
def test_files_outside_of_the_circuits_folder_are_refused_until_the_caller_allows_it(circuit, tmp_path, way):
    outside = tmp_path / "elsewhere"
    outside.mkdir()
    (circuit.folder / "cortex.h5").rename(outside / "cortex.h5")
    entry = circuit.config["networks"]["nodes"][0]
    if way == "manifest":
        circuit.config["manifest"]["$BASE_DIR"] = str(outside)
    elif way == "parent":
        entry["nodes_file"] = "../elsewhere/cortex.h5"
    elif way == "absolute":
        entry["nodes_file"] = str(outside / "cortex.h5")
    elif way == "link":
        (circuit.folder / "cortex.h5").symlink_to(outside / "cortex.h5")
    else:
        (outside / "cortex.h5").rename(circuit.folder / "cortex.h5")
        circuit.cortex_types("iaf_psc_exp ../../elsewhere/exc.json", "iaf_psc_exp inh.json")
        (outside / "exc.json").write_text("{}")
    with pytest.raises(SchemaError, match="is outside of"):
        circuit.read()
    if way not in ("manifest",):
        assert circuit.read(root=tmp_path)[0].n_neurons == 5


def test_hdf5_files_that_point_to_others_are_refused(circuit, tmp_path):
    (circuit.folder / "cortex.h5").rename(tmp_path / "other.h5")
    with h5py.File(circuit.folder / "cortex.h5", "w") as file:
        file["nodes"] = h5py.ExternalLink(str(tmp_path / "other.h5"), "/nodes")
    with pytest.raises(SchemaError, match=r"points to other files.*/nodes: links to .*other\.h5"):
        circuit.read(root=tmp_path)


def test_broken_circuits_are_refused_with_what_is_wrong(circuit):
    def refused(match, error=SchemaError):
        with pytest.raises(error, match=match):
            circuit.read()

    config = json.loads(json.dumps(circuit.config))
    circuit.config["networks"]["nodes"][0]["nodes_file"] = "$NOWHERE/cortex.h5"
    refused(r"variable that its manifest does not have; it has 'BASE_DIR', 'PARTS'")
    circuit.config = {"networks": 3}
    refused(r"no list networks\.nodes")
    circuit.config = json.loads(json.dumps(config))
    circuit.config["networks"]["nodes"].append(config["networks"]["nodes"][0])
    refused("'cortex' stands twice")
    circuit.config = json.loads(json.dumps(config))
    circuit.config["networks"]["nodes"][0]["nodes_file"] = "inner.h5"
    refused("has no group 'nodes'")
    circuit.config["networks"]["nodes"][0]["nodes_file"] = "nowhere.h5"
    refused(r"nowhere\.h5", MissingFileError)
    circuit.config = config
    circuit.edges("outer.h5", "outer", "thalamus", "cortex", [0, 9], [0, 2], [5, 5], {})
    refused(r"source_node_id of edges 'outer' .* have to be below 2.*edge 1: 9")
    circuit.edges("outer.h5", "outer", "thalamus", "cortx", [0, 1], [0, 2], [5, 5], {})
    refused("target in population 'cortx'.*'cortex', 'thalamus'")
    circuit.edges("outer.h5", "outer", "thalamus", "cortex", [0, 1], [0, 2], [5, 5], {"delay": [1.0, -1.0]})
    refused("delay of edges 'outer' cannot be 'edge 1: -1'")
    circuit.edges("outer.h5", "outer", "thalamus", "cortex", [0, 1], [0, 2], [5, 5], {})
    circuit.table("cortex.csv", "node_type_id,model_type\n10,point_neuron\n")
    refused("no column 'node_type_id'")
    circuit.table("cortex.csv", "node_type_id model_type\n10 virtual\n10 virtual\n")
    refused("type 10 stands twice")


def test_deep_and_endless_configurations_are_refused(circuit):
    path = circuit.write()
    path.write_text('{"networks": ' + "[" * 200_000 + "]" * 200_000 + "}")
    with pytest.raises(SchemaError, match="nested too deeply"):
        read_sonata_circuit(path)
    path.write_text('{"networks": {"nodes": NaN}}')
    with pytest.raises(SchemaError, match="NaN is no number"):
        read_sonata_circuit(path)
    circuit.config["manifest"] = {"$A": "$B$B$B$B", "$B": "$A$A$A$A", "$BASE_DIR": "$A"}
    with pytest.raises(SchemaError):
        circuit.read()
    circuit.json("a.json", {"network": "a.json"})
    with pytest.raises(SchemaError, match="a circuit is named once"):
        read_sonata_circuit(circuit.folder / "a.json")


@pytest.mark.parametrize("name", ["a\0b", "a" * 300])
def test_names_that_no_file_can_have_are_refused(circuit, name):
    circuit.config["networks"]["nodes"][0]["nodes_file"] = name
    with pytest.raises(SchemaError, match="no file can be called"):
        circuit.read()


def test_many_variables_edges_that_are_no_list_and_pipes_are_refused(circuit):
    path = circuit.write()
    os.mkfifo(circuit.folder / "pipe.json")
    with pytest.raises(SchemaError, match="no plain file"):
        read_sonata_circuit(circuit.folder / "pipe.json")
    config = json.loads(path.read_text())
    path.write_text(json.dumps(config | {"manifest": {f"$V{k}": "$V1" for k in range(400)}}))
    with pytest.raises(SchemaError, match="has 400 variables"):
        read_sonata_circuit(path)
    path.write_text(json.dumps(config | {"networks": config["networks"] | {"edges": 5}}))
    with pytest.raises(SchemaError, match=r"networks\.edges .* has to be a list"):
        read_sonata_circuit(path)


def test_a_missing_library_names_its_extra(circuit, monkeypatch):
    path = circuit.write()
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(ImportError, match=r"pip install 'connectofit\[sonata\]'"):
        read_sonata_circuit(path)
