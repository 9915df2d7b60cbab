"""The optional compiled kernels; everything else about the package is in pyproject.toml.

Without a compiler, or without JAX's headers, the package installs all the same and runs on its kernels in JAX:
``connectofit doctor`` says which an installation has.
"""

import os
import sys

from setuptools import Extension, setup


def kernels() -> list[Extension]:
    """The extension, or none where it cannot be built: said in one line, which pip shows with ``-v``."""
    if os.environ.get("CONNECTOFIT_NO_EXTENSION"):
        return []
    try:
        from jax import ffi
    except ImportError as error:
        print(f"connectofit: no compiled kernels, spiking networks run more slowly ({error})", file=sys.stderr)
        return []
    unix = sys.platform != "win32"
    return [
        Extension(
            "connectofit.sim.native.compiled",
            sources=["sim/native/csr.cpp", "sim/native/fused.cpp", "sim/native/module.cpp"],
            depends=["sim/native/simd.h", "sim/native/neurons.inc"],
            include_dirs=[ffi.include_dir(), "sim/native"],
            language="c++",
            extra_compile_args=["-std=c++17", "-O3", "-fopenmp-simd", "-Wno-psabi", "-g0"]
            if unix
            else ["/std:c++17", "/O2"],
            optional=True,
        )
    ]


setup(ext_modules=kernels())
