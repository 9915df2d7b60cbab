"""One run at a time on one folder.

The lock is the operating system's (``flock``), so it goes away with the process that holds it, however that ends; the
file's text says who holds it. A text left by a killed process on this machine is stale and is written over. One left
on another machine is not, because some network file systems do not carry ``flock`` from machine to machine.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from connectofit.connectome.errors import FolderError

LOCK = ".lock"


@contextmanager
def hold(folder: Path) -> Iterator[None]:
    """Hold the lock of `folder` for the block. Raises `FolderError` that says who holds it, if someone else does."""
    path = folder / LOCK
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise FolderError(f"Cannot write to {str(folder)!r}: {error.strerror or error}. Name another folder.") from None
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise FolderError(
                f"{str(folder)!r} is in use by another run: {_holder(path)}. Wait for its end, or name another folder."
            ) from None
        except OSError as error:
            raise FolderError(f"{str(path)!r} cannot be locked: {error.strerror or error}.") from None
        before = _read(path)
        if before.get("host", socket.gethostname()) != socket.gethostname():
            raise FolderError(
                f"{str(folder)!r} is marked as in use on another machine: {_holder(path)}. If that run has ended, "
                f"delete {str(path)!r} and run again."
            )
        note = {"pid": os.getpid(), "host": socket.gethostname(), "since": datetime.now(UTC).isoformat("T", "seconds")}
        _write(handle, json.dumps(note))
        try:
            yield
        finally:
            # Emptied, not deleted: a second process may already have the file open, and would then lock a deleted one.
            _write(handle, "")
    finally:
        os.close(handle)


def _write(handle: int, text: str) -> None:
    os.ftruncate(handle, 0)
    os.pwrite(handle, text.encode(), 0)


def _read(path: Path) -> dict[str, object]:
    try:
        note = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return note if isinstance(note, dict) else {}


def _holder(path: Path) -> str:
    note = _read(path)
    if not note:
        return "its holder left no name"
    return f"process {note.get('pid')} on {note.get('host')}, since {note.get('since')}"
