"""What an installation has: versions, devices, kernels."""

from __future__ import annotations

import os
import platform
from importlib.metadata import version

import jax
import jax.numpy as jnp
import numpy as np

from connectofit.sim.native import compiled_kernels

_PACKAGES = ("connectofit", "jax", "jaxlib", "numpy", "scipy", "pandas", "pyarrow", "networkx", "optax")


def installation() -> str:
    """Lines for a person: Python and packages, JAX's devices, and for each kernel whether it is there and why."""
    compiled = compiled_kernels()
    devices = ", ".join(f"{device.platform} ({device.device_kind})" for device in jax.devices())
    on_cpu = jax.default_backend() == "cpu"
    lines = [
        f"Python     {platform.python_version()} on {platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        *(f"{name:<10} {version(name)}" for name in _PACKAGES),
        f"devices    {devices}",
        f"arithmetic {arithmetic()}",
        "",
        "Kernels of spiking networks, the first that can be used is taken:",
    ]
    if compiled.available and on_cpu:
        lines += [
            f"fused      yes: {compiled.reason}; for integrate-and-fire networks without gradients",
            "native     yes: the same library; for all other networks, and for gradients",
        ]
    else:
        why = compiled.reason if not compiled.available else "they are for CPUs; this runs on another device"
        lines += [f"fused      no: {why}", "native     no: see fused; spiking networks run more slowly on a CPU"]
    return "\n".join([*lines, "event      yes: JAX alone", "dense      yes: JAX alone; for small graded populations"])


def arithmetic() -> str:
    """Whether compiled reductions are right: in jaxlib 0.10.2 the maximum and a sum over the same rows were not on
    CPUs (jax-ml/jax issue 39103)."""
    y = np.random.default_rng(0).normal(0.0, 3.0, (700, 64, 2)).astype(np.float32)
    c = np.linspace(0.0, 1.0, 128, dtype=np.float32).reshape(64, 2)
    found = np.asarray(jax.jit(lambda y, c: jnp.max(y, -1) + jnp.sum(c * y, -1))(y, c))
    if np.allclose(found, y.max(-1) + (c * y).sum(-1), atol=1e-4):
        return "right: compiled reductions agree with NumPy's"
    return (
        f"WRONG: jaxlib {version('jaxlib')} gets sums wrong on this machine. Install another version of jax and jaxlib"
    )
