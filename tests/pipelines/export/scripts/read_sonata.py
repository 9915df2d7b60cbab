"""Read a SONATA folder with libsonata and bluepysnap: ``python read_sonata.py FOLDER OUT.npz``."""

from __future__ import annotations

import sys
from pathlib import Path

import bluepysnap
import libsonata
import numpy as np


def main() -> None:
    folder, out = Path(sys.argv[1]).resolve(), Path(sys.argv[2]).resolve()
    circuit = libsonata.CircuitConfig.from_file(str(folder / "circuit_config.json"))
    nodes, names = [], {}
    for name in sorted(circuit.node_populations):
        population = circuit.node_population(name)
        ids = population.get_attribute("original_id", population.select_all())
        names[name] = [str(i) for i in ids]
        nodes += names[name]
    pre, post, weight, agree = [], [], [], True
    for name in sorted(circuit.edge_populations):
        edges = circuit.edge_population(name)
        everything = edges.select_all()
        sources, targets = edges.source_nodes(everything), edges.target_nodes(everything)
        pre += [names[edges.source][i] for i in sources]
        post += [names[edges.target][i] for i in targets]
        weight += edges.get_attribute("syn_weight", everything).tolist()
        afferent = [edges.afferent_edges([k]).flat_size for k in range(len(names[edges.target]))]
        efferent = [edges.efferent_edges([k]).flat_size for k in range(len(names[edges.source]))]
        agree &= afferent == np.bincount(targets, minlength=len(afferent)).tolist()
        agree &= efferent == np.bincount(sources, minlength=len(efferent)).tolist()
    snap = bluepysnap.Circuit(str(folder / "circuit_config.json"))
    snap_nodes = []
    for name in sorted(snap.nodes.population_names):
        snap_nodes += [str(i) for i in snap.nodes[name].get(properties="original_id")]
    snap_edges = sum(snap.edges[name].size for name in snap.edges.population_names)
    inputs = 0
    for path in sorted((folder / "inputs").glob("*.h5")):
        reader = libsonata.SpikeReader(str(path))
        inputs += sum(len(reader[name].get()) for name in reader.get_population_names())
    np.savez(
        out,
        nodes=nodes,
        snap_nodes=snap_nodes,
        pre=pre,
        post=post,
        weight=weight,
        snap_edges=snap_edges,
        indices_agree=agree,
        input_spikes=inputs,
    )


if __name__ == "__main__":
    main()
