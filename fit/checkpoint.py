"""Checkpoints of a fit: one npz file, written aside and renamed, that belongs to one fit and to no other."""

from __future__ import annotations

import os
import zipfile
import zlib
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from connectofit.connectome.errors import SettingError

_VERSION = 1


def write_checkpoint(path: Path, identity: str, done: int, carry: Any, losses: np.ndarray) -> None:
    """Write the state of a fit after `done` steps; a kill at any point leaves the last whole checkpoint."""
    leaves: dict[str, Any] = {f"leaf_{k}": np.asarray(leaf) for k, leaf in enumerate(jax.tree.leaves(carry))}
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(path.name + ".part")
    with aside.open("wb") as file:
        np.savez(file, version=_VERSION, identity=np.array(identity), done=done, losses=losses, **leaves)
        file.flush()
        os.fsync(file.fileno())
    aside.replace(path)


def read_checkpoint(path: Path, identity: str, carry: Any) -> tuple[int, Any, np.ndarray]:
    """The steps done, the state (with the structure of `carry`) and the losses so far.

    Raises `SettingError` for a file that is no checkpoint or one of another fit.
    """
    remedy = "Remove it to start anew."
    try:
        with np.load(path, allow_pickle=False) as file:
            held = {name: file[name] for name in file.files}
    except (OSError, EOFError, TypeError, ValueError, zipfile.BadZipFile, zlib.error) as error:
        raise SettingError(f"{path} cannot be read as a checkpoint ({error}). {remedy}") from None
    if not np.array_equal(held.get("version", 0), _VERSION) or str(held.get("identity")) != identity:
        raise SettingError(
            f"{path} is the checkpoint of another fit: other data, settings, seed or version of JAX. {remedy}"
        )
    leaves, structure = jax.tree.flatten(carry)
    restored = [jnp.asarray(held[f"leaf_{k}"]) for k in range(len(leaves))]
    return int(held["done"]), jax.tree.unflatten(structure, restored), held["losses"]
