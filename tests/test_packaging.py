"""What an installed wheel holds is what the tree holds: no sub-package or data file is forgotten in pyproject.toml."""

from __future__ import annotations

import fnmatch
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LAYERS = ("data", "connectome", "sim", "builders", "fit", "pipelines")
LEFT_OUT = ("*.pyc", "*.so", "*.pyd", "*/.*")  # made by the interpreter, by the build, or by editors


def tree_files() -> set[str]:
    """Every file of the layers, as it is named inside the installed package."""
    files = (
        path.relative_to(ROOT).as_posix() for layer in LAYERS for path in (ROOT / layer).rglob("*") if path.is_file()
    )
    return {f"connectofit/{name}" for name in files if not any(fnmatch.fnmatch(name, pattern) for pattern in LEFT_OUT)}


def declared_files() -> set[str]:
    """The files that the settings of setuptools name."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]
    files = set()
    for package in settings["packages"]:
        parent, inner = package, []
        while parent not in settings["package-dir"]:
            parent, _, last = parent.rpartition(".")
            inner.insert(0, last)
        folder = ROOT.joinpath(settings["package-dir"][parent], *inner)
        assert folder.is_dir(), f"{package} is listed, but there is no folder {folder}"
        data = [path for pattern in settings["package-data"].get(package, []) for path in folder.glob(pattern)]
        files |= {path.relative_to(ROOT).as_posix() for path in [*folder.glob("*.py"), *data] if path.is_file()}
    return {f"connectofit/{name}" for name in files}


def test_pyproject_lists_every_package_and_data_file_of_the_tree():
    forgotten = tree_files() - declared_files()
    assert not forgotten, f"not in pyproject.toml's packages or package-data: {sorted(forgotten)}"


def test_connectofit_is_a_namespace_and_every_folder_with_modules_is_a_package():
    assert not (ROOT / "__init__.py").exists()
    folders = {path.parent for layer in LAYERS for path in (ROOT / layer).rglob("*.py")}
    assert [str(folder) for folder in folders if not (folder / "__init__.py").is_file()] == []


def test_every_layer_says_that_it_is_typed():
    assert [layer for layer in LAYERS if not (ROOT / layer / "py.typed").is_file()] == []


def test_the_command_exists():
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["scripts"]
    module, _, function = scripts["connectofit"].partition(":")
    text = (ROOT / Path(*module.split(".")[1:])).with_suffix(".py").read_text(encoding="utf-8")
    assert f"def {function}(" in text


@pytest.mark.slow
def test_the_wheel_holds_the_tree(tmp_path):
    source = tmp_path / "source"
    ignored = shutil.ignore_patterns(".*", "*.egg-info", "build", "__pycache__", "runs", "tests")
    shutil.copytree(ROOT, source, ignore=ignored)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(tmp_path), str(source)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    inside = {name for name in zipfile.ZipFile(wheel).namelist() if name.startswith("connectofit/")}
    assert tree_files() - inside == set()
    assert {name for name in inside - tree_files() if not name.endswith((".so", ".pyd"))} == set()
