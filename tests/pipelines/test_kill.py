"""A run killed at any point finishes, when it is run again, with the bytes of an undisturbed run."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import pytest

# Forks one child for each kill, so that the package is imported once. `event:N` kills the child when it does its Nth
# thing to a file (an audit event), which reaches every step of sealing and renaming; `after:S` kills it S seconds in.
DRIVER = """
import os, signal, sys, time
from pathlib import Path
import users_stages
from connectofit.pipelines.pipeline import Pipeline

out, order = Path(sys.argv[1]), sys.argv[2:]
FILE_EVENTS = {"open", "os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.truncate", "shutil.rmtree"}

def run():
    return Pipeline("users", users_stages.STAGES).run(out)

for kill in order:
    child = os.fork()
    if child == 0:
        how, _, when = kill.partition(":")
        if how == "event":
            seen = 0
            def count(event, arguments):
                global seen
                if event in FILE_EVENTS:
                    seen += 1
                    if seen == int(when):
                        os.kill(os.getpid(), signal.SIGKILL)
            sys.addaudithook(count)
        run()
        os._exit(0)
    if kill.startswith("after"):
        time.sleep(float(kill.partition(":")[2]))
        try:
            os.kill(child, signal.SIGKILL)
        except ProcessLookupError:
            pass
    _, status = os.waitpid(child, 0)
    print(kill, "killed" if os.WIFSIGNALED(status) else os.waitstatus_to_exitcode(status), flush=True)
print("last", [stage.status for stage in run().stages], flush=True)
"""

USERS_STAGES = """
import time
from connectofit.pipelines.stages import Stage

def first(context):
    for i in range(3):
        (context.out / f"part{i}.txt").write_text("abc" * 1000 * (i + 1))
        time.sleep(0.01)

def second(context):
    (context.out / "folder").mkdir()
    text = (context.inputs["first"] / "part2.txt").read_text()
    time.sleep(0.02)
    (context.out / "folder" / "upper.txt").write_text(text.upper())

def third(context):
    text = (context.inputs["second"] / "folder" / "upper.txt").read_text()
    (context.out / "length.txt").write_text(str(len(text)))

STAGES = (Stage("first", first), Stage("second", second, inputs=("first",)), Stage("third", third, inputs=("second",)))
"""


def drive(tmp_path: Path, out: str, kills: list[str]) -> str:
    (tmp_path / "users_stages.py").write_text(USERS_STAGES)
    (tmp_path / "driver.py").write_text(DRIVER)
    command = [sys.executable, str(tmp_path / "driver.py"), str(tmp_path / out), *kills]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


def results(folder: Path) -> dict[str, bytes]:
    """Every file of the stages but their manifests, which hold times."""
    files = (path for path in folder.rglob("*") if path.is_file() and len(path.relative_to(folder).parts) > 1)
    return {str(path.relative_to(folder)): path.read_bytes() for path in files if path.name != "manifest.json"}


def check(tmp_path: Path, kills: list[str]) -> str:
    text = drive(tmp_path, "killed", kills)
    drive(tmp_path, "undisturbed", [])
    assert results(tmp_path / "killed") == results(tmp_path / "undisturbed")
    assert len(results(tmp_path / "killed")) == 5
    leftovers = {path.name for path in (tmp_path / "killed").iterdir() if path.name.startswith(".")} - {".lock"}
    assert leftovers <= {".tmp-run.json"}
    return text


def test_five_kills_at_random_moments_lose_nothing(tmp_path):
    generator = random.Random(20)
    kills = [f"event:{generator.randint(1, 120)}" for _ in range(3)]
    kills += [f"after:{generator.uniform(0.001, 0.15):.4f}" for _ in range(2)]
    assert "killed" in check(tmp_path, kills)


@pytest.mark.slow
def test_a_kill_at_every_file_operation_loses_nothing(tmp_path):
    # Counted down, so that early kills do not leave nothing to do for the later ones.
    text = check(tmp_path, [f"event:{n}" for n in range(150, 0, -1)])
    assert text.count("killed") >= 50
