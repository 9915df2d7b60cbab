"""The compiled kernels for every processor: each level passes the kernels' own tests, and threads change nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from connectofit.sim.native import LEVELS, compiled_kernels

TESTS = Path(__file__).parents[1]
KERNELS = ["sim/test_kernels.py", "sim/test_fused.py", "fit/train/test_compiled_block.py"]
needs_kernels = pytest.mark.skipif(not compiled_kernels().available, reason=compiled_kernels().reason)


def told(level: str) -> str:
    program = "from connectofit.sim.native import compiled_kernels as k; print(k().available, k().reason)"
    environment = os.environ | {"CONNECTOFIT_CPU_LEVEL": level}
    return subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True).stdout


@pytest.mark.slow
@needs_kernels
def test_a_lower_level_can_be_asked_for_and_is_told():
    assert "instructions base" in told("base")
    assert told("avx1024").startswith(
        "False the environment variable CONNECTOFIT_CPU_LEVEL is none of base, avx2, avx512"
    )


@needs_kernels
@pytest.mark.slow
@pytest.mark.parametrize("level", LEVELS[:2])
def test_the_kernels_pass_their_tests_at_every_level(level):
    if level not in told(level):
        pytest.skip(f"this processor has no {level}")
    environment = os.environ | {"CONNECTOFIT_CPU_LEVEL": level}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *(str(TESTS / name) for name in KERNELS)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=TESTS.parent)
    assert done.returncode == 0, done.stdout[-3000:]


TRAINING = """
import hashlib
import jax
import jax.numpy as jnp
import numpy as np
from connectofit.builders import task_network
from connectofit.connectome.synthetic import erdos_renyi
from connectofit.fit.train import new_readout, run_batch
from connectofit.fit.train.batch_step import make_batched

net = task_network(erdos_renyi(80, seed=0, probability=0.1, inhibitory=0.2), ["a"] * 10, seed=0)
readout = new_readout(net, 2, jax.random.key(0))
inputs = (jax.random.uniform(jax.random.key(1), (40, 60, 10)) < 0.1).astype(jnp.float32)

def loss(params):
    batched = make_batched(net.with_params(params), dt_ms=1.0, source="input", block="compiled")
    return jnp.sum(run_batch(batched, readout, inputs, checkpoint="sqrt").outputs ** 2)

value, slope = jax.jit(jax.value_and_grad(loss))(net.params)
digest = hashlib.sha256(np.asarray(value).tobytes())
for leaf in jax.tree.leaves(slope):
    digest.update(np.asarray(leaf).tobytes())
print(float(value), digest.hexdigest())
"""


@pytest.mark.slow
@pytest.mark.skipif(not compiled_kernels().training, reason=compiled_kernels().reason)
@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="processes cannot be kept on one processor here")
@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="there is one processor only")
def test_training_does_not_depend_on_the_number_of_threads():
    found = []
    for cores in (1, 2):
        program = f"import os\nos.sched_setaffinity(0, set(sorted(os.sched_getaffinity(0))[:{cores}]))\n{TRAINING}"
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
        found.append(done.stdout)
    assert found[0] == found[1]
    assert float(found[0].split()[0]) > 0
