"""Make the nodes of a SONATA folder with NEST's reader, whose part in C++ needs HDF5 and is left out:
``python read_in_nest.py FOLDER OUT.npz``."""

from __future__ import annotations

import sys
from pathlib import Path

import nest
import numpy as np
from nest.lib import hl_api_sonata


def main() -> None:
    hl_api_sonata.have_hdf5 = True
    net = nest.SonataNetwork(Path(sys.argv[1]) / "nest_config.json")
    found: dict[str, object] = {}
    for name, nodes in net.Create().items():
        got = nodes.get()
        found[name] = [len(times) for times in got["spike_times"]] if "spike_times" in got else got["C_m"]
    specs = net._create_graph_specs()
    models = [
        spec.get("synapse_model", "static_synapse") for each in specs["edges"] for spec in each["syn_specs"].values()
    ]
    np.savez(Path(sys.argv[2]), edges=models, **found)


if __name__ == "__main__":
    main()
