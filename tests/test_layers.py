"""Layers import only those to their left: data <- connectome <- sim <- builders <- fit <- pipelines."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LAYERS = ("data", "connectome", "sim", "builders", "fit", "pipelines")
TEST_TOOLS = {"pytest", "hypothesis", "tests"}


def imported(path: Path) -> list[tuple[int, str]]:
    """Line and dotted name of every import in a file, those inside functions too; relative ones as '.name'."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            name = "." * node.level + (node.module or "")
            # `from connectofit import sim` names the layer after the import.
            found += [(node.lineno, f"{name}.{alias.name}" if name == "connectofit" else name) for alias in node.names]
    return found


def offences(layer: str, path: Path) -> list[str]:
    allowed = LAYERS[: LAYERS.index(layer) + 1]
    wrong = []
    for line, name in imported(path):
        parts = name.split(".")
        if name.startswith("."):
            wrong.append(f"{path}:{line} imports relatively: {name}")
        elif parts[0] in TEST_TOOLS:
            wrong.append(f"{path}:{line} imports {name}, a tool of the tests")
        elif parts[0] in LAYERS:
            wrong.append(f"{path}:{line} imports {name} without connectofit. before it")
        elif parts[0] == "connectofit" and (len(parts) < 2 or parts[1] not in allowed):
            wrong.append(f"{path}:{line} imports {name}; {layer} may import {', '.join(allowed)}")
    return wrong


@pytest.mark.parametrize("layer", LAYERS)
def test_a_layer_imports_only_itself_and_those_to_its_left(layer):
    files = sorted((ROOT / layer).rglob("*.py"))
    assert files
    assert [line for path in files for line in offences(layer, path)] == []


@pytest.mark.parametrize(
    "source",
    [
        "from connectofit.fit import x",
        "def f():\n    import connectofit.pipelines.run",
        "from connectofit import fit",
        "from . import x",
        "import pytest",
        "from connectome import x",
        "import connectofit",
    ],
)
def test_an_import_to_the_right_is_found(tmp_path, source):
    (tmp_path / "x.py").write_text(source)
    assert len(offences("sim", tmp_path / "x.py")) == 1


def test_imports_to_the_left_are_allowed(tmp_path):
    (tmp_path / "x.py").write_text("from connectofit.data import x\nimport connectofit.sim.network\nimport json")
    assert offences("sim", tmp_path / "x.py") == []
