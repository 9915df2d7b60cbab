"""Run a SONATA folder in BMTK's PointNet: ``python run_bmtk.py FOLDER OUT.npz`` writes its spikes."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import h5py
import numpy as np
from bmtk.simulator import pointnet


def main() -> None:
    folder, out = Path(sys.argv[1]).resolve(), Path(sys.argv[2]).resolve()
    os.chdir(folder)
    configure = pointnet.Config.from_json("config.json")
    configure.build_env()
    network = pointnet.PointNetwork.from_config(configure)
    pointnet.PointSimulator.from_config(configure, network).run()
    time, population, node = [], [], []
    with h5py.File(folder / "output" / "spikes.h5") as file:
        for name, group in file["spikes"].items():
            time.append(group["timestamps"][:])
            node.append(group["node_ids"][:])
            population.append(np.full(len(time[-1]), name))
    np.savez(
        out, time_ms=np.concatenate(time), population=np.concatenate(population), node=np.concatenate(node).astype(int)
    )


if __name__ == "__main__":
    main()
