"""Build a SONATA folder with NEST's own reader and run it: ``python run_sonata_in_nest.py FOLDER OUT.npz``.

Needs NEST built with HDF5. Writes the spikes of all populations, and the number of edges.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import h5py  # noqa: F401  before NEST, whose HDF5 would take the place of the one that h5py brings with it
import nest
import numpy as np


def main() -> None:
    folder = Path(sys.argv[1])
    run = json.loads((folder / "nest_config.json").read_text())["run"]
    net = nest.SonataNetwork(folder / "nest_config.json")
    populations = net.BuildNetwork()
    recorders = {name: nest.Create("spike_recorder") for name in populations}
    for name, nodes in populations.items():
        if nodes[0].get("model") != "spike_generator":
            nest.Connect(nodes, recorders[name])
    edges = sum(
        len(nest.GetConnections(source=a, target=b)) for a in populations.values() for b in populations.values()
    )
    nest.Simulate(run["tstop"])
    time, population, node = [], [], []
    for name, recorder in recorders.items():
        events = recorder.get("events")
        time.append(events["times"])
        node.append(events["senders"] - populations[name][0].global_id)
        population.append(np.full(len(time[-1]), name))
    joined = {"time_ms": time, "population": population, "node": node}
    np.savez(Path(sys.argv[2]), edges=edges, **{name: np.concatenate(parts) for name, parts in joined.items()})


if __name__ == "__main__":
    main()
