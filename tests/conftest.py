"""What tests of several folders share."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import settings

from connectofit.sim import NeuronModel
from connectofit.sim.neurons import Drive

# A busy machine is no failure: examples have no deadline, and are the same in every run.
settings.register_profile("connectofit", deadline=None, derandomize=True)
settings.load_profile("connectofit")

LONGEST = ("test_readme.py", "test_worm_fit.py", "test_cell.py", "test_cell_fit.py", "test_uncertainty_gauge.py")


@pytest.hookimpl(tryfirst=True)  # before tests are chosen by their marks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark as slow what `few` leaves out; and the longest modules first: a module goes to one process, and at the end
    the others should not wait for it."""
    sets: dict[str, list[pytest.Item]] = {}
    for item in items:
        if item.get_closest_marker("few"):
            sets.setdefault(item.nodeid.partition("[")[0], []).append(item)
    for several in sets.values():
        (n,) = several[0].get_closest_marker("few").args
        kept = {round(k * (len(several) - 1) / max(n - 1, 1)) for k in range(n)}
        for k, item in enumerate(several):
            if k not in kept:
                item.add_marker(pytest.mark.slow)
    items.sort(key=lambda item: item.path.name not in LONGEST)


@pytest.fixture(scope="session")
def drive_neurons() -> Callable[..., dict[str, np.ndarray]]:
    """drive_neurons(model, currents, dt_ms, ...): the model alone under given currents, without a network.

    currents: [time, neuron] in pA, in float64. params: other values than the defaults, numbers or [neuron]. jumps:
    [time, neuron] or None. record: variables; their values at the ends of steps, [time, neuron], come with the spikes.
    """

    def run(
        model: NeuronModel,
        currents: np.ndarray,
        dt_ms: float,
        params: Mapping[str, Any] | None = None,
        *,
        jumps: np.ndarray | None = None,
        record: Sequence[str] | None = None,
    ) -> dict[str, np.ndarray]:
        n = currents.shape[1]
        unknown = set(params or {}) - set(model.parameters)
        assert not unknown, unknown
        record = (model.voltage,) if record is None else record
        with jax.enable_x64(True):
            p = {name: jnp.full(n, parameter.default) for name, parameter in model.parameters.items()}
            p |= {name: jnp.broadcast_to(jnp.asarray(value, float), n) for name, value in (params or {}).items()}

            def step(state: Any, given: Any) -> Any:
                state, spikes = model.step(p, state, Drive(given[0], jump=given[1]), dt_ms, None)
                return state, ({name: state[name] for name in record}, spikes)

            given = (jnp.asarray(currents), None if jumps is None else jnp.asarray(jumps))
            _, (traces, spikes) = jax.jit(lambda x: jax.lax.scan(step, model.initial(p), x))(given)
        out = {name: np.asarray(trace) for name, trace in traces.items()}
        return out if spikes is None else out | {"spikes": np.asarray(spikes)}

    return run
