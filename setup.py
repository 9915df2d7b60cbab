"""The optional compiled kernels; everything else about the package is in pyproject.toml.

Without a compiler, or without JAX's headers, the package installs all the same and runs on its kernels in JAX:
``connectofit doctor`` says which an installation has.
"""

import os
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext


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
            # The one that takes longest first: they are compiled side by side.
            sources=[f"sim/native/{name}.cpp" for name in ("fused", "train_block", "csr", "module")],
            depends=[f"sim/native/{name}" for name in ("simd.h", "threads.h", "neurons.inc", "train_steps.inc")],
            include_dirs=[ffi.include_dir(), "sim/native"],
            language="c++",
            extra_compile_args=["-std=c++17", "-O3", "-fopenmp-simd", "-Wno-psabi", "-g0"]
            if unix
            else ["/std:c++17", "/O2"],
            optional=True,
        )
    ]


class SideBySide(build_ext):
    """Compiles the sources of an extension on all cores, which setuptools does one after the other."""

    def build_extensions(self) -> None:
        one_by_one = self.compiler.compile

        def side_by_side(sources: Sequence[str], **settings: object) -> list[str]:
            with ThreadPoolExecutor(os.cpu_count()) as pool:
                made = pool.map(lambda source: one_by_one([source], **settings), sources)
                return [file for files in made for file in files]

        self.compiler.compile = side_by_side
        super().build_extensions()


setup(ext_modules=kernels(), cmdclass={"build_ext": SideBySide})
