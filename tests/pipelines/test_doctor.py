"""``connectofit doctor`` says which kernels there are and why."""

from __future__ import annotations

import os
import subprocess
import sys

from click.testing import CliRunner

from connectofit.pipelines.cli import main
from connectofit.sim.native import SWITCH, compiled_kernels


def test_the_doctor_names_kernels_versions_and_devices():
    result = CliRunner().invoke(main, ["doctor"])
    assert result.exit_code == 0
    lines = {line.split()[0]: line for line in result.output.splitlines() if line}
    assert "cpu" in lines["devices"]
    for kernel in ("fused", "native"):
        assert ("yes:" in lines[kernel]) == compiled_kernels().available
    assert compiled_kernels().reason in lines["fused"]
    assert "right" in lines["arithmetic"]


def test_without_compiled_kernels_all_runs_on_jax_and_the_doctor_says_why():
    code = (
        "from connectofit.pipelines.doctor import installation; print(installation());"
        "from connectofit.sim.kernels import choose; print(choose('auto', 5000, 5000, spiking=True))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | {SWITCH: "1"}, capture_output=True, text=True, check=True
    )
    *report, chosen = done.stdout.splitlines()
    assert any(line.startswith("fused") and f"no: the environment variable {SWITCH}" in line for line in report)
    assert chosen == "event"
