"""Which of the package's modules a module imports, in turn, read from the source without running it.

A change in any of them may change what a stage computes, so their content is part of its key; a change elsewhere (the
report's look, the command line) leaves the key of a long fit alone.
"""

from __future__ import annotations

import ast
import functools
import importlib.util
from collections.abc import Mapping
from pathlib import Path

PACKAGE = "connectofit"
_COMPILED = (".so", ".pyd", ".dylib")


def imported_modules(name: str, path: Path) -> dict[str, Path]:
    """The module `name` at `path` and all modules of connectofit, and of its own package, that it imports in turn.

    Imports inside functions count; modules imported by a computed name are not seen. Compiled libraries that lie
    beside a module count too.
    """
    roots = {PACKAGE, name.partition(".")[0]}
    found: dict[str, Path] = {}
    waiting = [(name, path)]
    while waiting:
        module, file = waiting.pop()
        if module in found:
            continue
        found[module] = file
        package = module if file.name == "__init__.py" else module.rpartition(".")[0]
        libraries = [lib for lib in file.parent.iterdir() if lib.suffix in _COMPILED]
        found.update({f"{package}/{lib.name}": lib for lib in libraries})
        for target in _imports(file, file.stat().st_mtime_ns, package):
            if target.partition(".")[0] in roots and target not in found:
                source = _locate(target)
                if source is not None:
                    waiting.append((target, source))
    return found


def imports_library(modules: Mapping[str, Path], library: str) -> bool:
    """Whether any of the modules that `imported_modules` found imports that library."""
    for module, file in modules.items():
        if file.suffix == ".py":
            package = module if file.name == "__init__.py" else module.rpartition(".")[0]
            if any(name.partition(".")[0] == library for name in _imports(file, file.stat().st_mtime_ns, package)):
                return True
    return False


@functools.lru_cache(maxsize=1024)
def _imports(file: Path, modified_ns: int, package: str) -> frozenset[str]:
    """Dotted names that a source file may import.

    ``from a.b import c`` gives a.b and a.b.c. The ``__init__`` of a runs too, but it holds only public names, and
    following it would tie every stage to the whole package. ``import a.b`` gives a as well, whose names are then used.
    """
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_bytes(), filename=str(file))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                parts = alias.name.split(".")
                names.update(".".join(parts[:i]) for i in range(1, len(parts) + 1))
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parts = package.split(".")
                above = parts[: len(parts) - (node.level - 1)]
                base = ".".join([*above, base] if base else above)
            inner = {f"{base}.{alias.name}" for alias in node.names if alias.name != "*"}
            names |= inner
            # Inside a package, `from package import module` names siblings, not what the package's __init__ imports.
            if base != package or not all(_locate(name) for name in inner):
                names.add(base)
    return frozenset(names)


def _locate(name: str) -> Path | None:
    """The source file of a module; None where the name is an attribute, a namespace or nothing at all."""
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, AttributeError, ValueError):
        return None
    if spec is None or spec.origin is None or not spec.origin.endswith(".py"):
        return None
    return Path(spec.origin)
