"""Kernels for the CPU that were compiled when this package was installed; without them everything runs on JAX alone.

`compiled_kernels` says whether this installation has them, and why not. ``connectofit doctor`` shows it.
"""

from __future__ import annotations

import importlib
import os
from dataclasses import dataclass
from functools import cache

import jax

NAMES = tuple(
    f"connectofit_{kernel}_{dtype}" for kernel in ("push", "pull", "outer", "spiking") for dtype in ("f32", "f64")
)
TRAINING_NAMES = tuple(
    f"connectofit_{kernel}_{dtype}" for kernel in ("train_forward", "train_backward") for dtype in ("f32", "f64")
)
"""Kernels that need the vector types of GCC and Clang; a library of another compiler lacks them."""
SWITCH = "CONNECTOFIT_NO_NATIVE"
"""The environment variable that switches the compiled kernels off, if it is set to anything."""

VERSION = 2
"""What kernels take and give, as `kVersion` of module.cpp: an editable install may have older ones."""
LEVEL_SWITCH = "CONNECTOFIT_CPU_LEVEL"
LEVELS = ("base", "avx2", "avx512")
"""The instructions that the kernels were compiled for, of which the best that the processor has are used; the
environment variable asks for lower ones. Results differ between them in rounding."""


@dataclass(frozen=True)
class Kernels:
    """Whether the compiled kernels can be used, and why (not). training: whether those of `TRAINING_NAMES` are among
    them."""

    available: bool
    reason: str
    training: bool = False


@cache
def compiled_kernels() -> Kernels:
    """Look for the compiled kernels and register them with JAX, once."""
    if os.environ.get(SWITCH):
        return Kernels(False, f"the environment variable {SWITCH} switches compiled kernels off")
    asked = os.environ.get(LEVEL_SWITCH, LEVELS[0])
    if asked not in LEVELS:
        return Kernels(False, f"the environment variable {LEVEL_SWITCH} is none of {', '.join(LEVELS)} but {asked!r}")
    try:
        library = importlib.import_module("connectofit.sim.native.compiled")
    except ImportError as error:
        return Kernels(
            False,
            f"compiled kernels were not built ({error}): install a C++17 compiler and then this package again",
        )
    if getattr(library, "version", None) != VERSION:
        return Kernels(False, "compiled kernels are of another version than this package: install it again")
    training = all(hasattr(library, name) for name in TRAINING_NAMES)
    for name in (*NAMES, *(TRAINING_NAMES if training else ())):
        try:
            jax.ffi.register_ffi_target(name, getattr(library, name), platform="cpu")
        except jax.errors.JaxRuntimeError as error:
            return Kernels(
                False,
                f"compiled kernels were built for XLA's interface {library.ffi_major}.{library.ffi_minor}, which this "
                f"jaxlib does not take ({error}): install this package again",
            )
    made_for = f"XLA's interface {library.ffi_major}.{library.ffi_minor}, instructions {LEVELS[library.level]}"
    return Kernels(True, f"compiled kernels for {made_for}", training)
