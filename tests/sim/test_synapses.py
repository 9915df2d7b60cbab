"""Synapses against the differential equations that they stand for, solved by SciPy, and delays of single edges."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp

from connectofit.connectome.errors import SettingError
from connectofit.sim import (
    LIF,
    NMDA,
    Alpha,
    AlphaConductance,
    Delta,
    DualExponential,
    DualExponentialConductance,
    Exponential,
    ExponentialConductance,
    GapJunction,
    Graded,
    GradedLeaky,
    Network,
    Population,
    Projection,
    check_network,
    rollout,
    simulate,
)
from connectofit.sim.synapses import SYNAPSE_MODELS

TAU_M, R, REST = 20.0, 0.1, -70.0
SENDER = {"t_ref_ms": 1e3}


def population(name: str, n: int, model=None, **values) -> tuple[Population, dict[str, np.ndarray]]:
    model = LIF() if model is None else model
    params = {key: np.full(n, values.get(key, p.default)) for key, p in model.parameters.items()}
    ids = tuple(f"{name}{k}" for k in range(n))
    return Population(name, model, ids, np.arange(n, dtype=np.int32), ids), params


def network(
    synapse, weights, *, delay_ms=1.0, edge_delay_ms=None, plasticity=None, post=None, post_values=None, **params
):
    """n sending neurons (LIF, one spike each at most) onto one receiving neuron, an edge each."""
    n = len(weights)
    sender, sending = population("pre", n, **SENDER)
    receiver, receiving = population("post", 1, post, **(post_values or {"v_threshold_mV": 1e6}))
    edges = {"edge_delay_ms": None, "longest_delay_ms": None}
    if edge_delay_ms is not None:
        edges = {"edge_delay_ms": np.asarray(edge_delay_ms, float), "longest_delay_ms": max(edge_delay_ms)}
        delay_ms = min(edge_delay_ms)
    projection = Projection(
        "syn", "pre", "post", synapse, np.arange(n + 1, dtype=np.int32), np.zeros(n, np.int32),
        np.asarray(weights, float), np.zeros(n, np.int32), ("all",), delay_ms, **edges,
    )  # fmt: skip
    values = {key: np.full(1, params.get(key, p.default)) for key, p in projection.parameters.items()}
    net = Network(
        (sender, receiver),
        (projection,),
        {"pre": sending, "post": receiving, "syn": {"log_gain": np.zeros(1)} | values},
    )
    check_network(net)
    return net


def spikes_at(steps: list[int], n_steps: int) -> dict[str, np.ndarray]:
    """Inputs that make sender k spike at the end of step ``steps[k]``."""
    pulses = np.zeros((n_steps, len(steps)))
    pulses[steps, np.arange(len(steps))] = 1e6
    return {"pre": pulses, "post": np.zeros((n_steps, 1))}


def voltage(net: Network, inputs, dt_ms: float, variable="v_mV") -> np.ndarray:
    with jax.enable_x64(True):
        _, out = jax.jit(lambda x: rollout(net, None, x, dt_ms=dt_ms, record=(variable,)))(inputs)
        return np.asarray(out["post"][variable][:, 0])


def course(kind: str, t: np.ndarray, w: float, p: dict[str, float]) -> np.ndarray:
    """The time courses of Roth & van Rossum 2009, eqs 6.2 to 6.4."""
    t = np.maximum(t, 0.0)
    if kind == "exponential":
        return w * np.exp(-t / p["tau_syn_ms"])
    if kind == "alpha":
        return w * t / p["tau_syn_ms"] * np.exp(1 - t / p["tau_syn_ms"])
    rise, decay = p["tau_rise_ms"], p["tau_decay_ms"]
    return w * (np.exp(-t / decay) - np.exp(-t / rise)) / peak(rise, decay)


@cache
def peak(rise: float, decay: float) -> float:
    t = np.linspace(0, 50 * decay, 2_000_001)
    return (np.exp(-t / decay) - np.exp(-t / rise)).max()


@pytest.mark.few(2)
@pytest.mark.parametrize(
    ("synapse", "kind", "params"),
    [
        (Exponential(), "exponential", {"tau_syn_ms": 3.0}),
        (Alpha(), "alpha", {"tau_syn_ms": 3.0}),
        (Alpha(), "alpha", {"tau_syn_ms": TAU_M}),
        (DualExponential(), "dual", {"tau_rise_ms": 0.8, "tau_decay_ms": 6.0}),
    ],
)
def test_potential_after_a_spike_through_a_current_solves_the_equation(synapse, kind, params):
    dt_ms, n_steps = 0.5, 120
    net = network(synapse, [40.0], delay_ms=1.5, **params)
    v = voltage(net, spikes_at([3], n_steps), dt_ms)
    times, start = (1 + np.arange(n_steps)) * dt_ms, 4 * dt_ms + 1.5

    def slope(t: float, y: np.ndarray) -> np.ndarray:
        current = course(kind, np.array(t - start), 40.0, params) * (t >= start)
        return (-(y - REST) + R * current) / TAU_M

    # The equation from the arrival on, so that the solver sees no jump.
    shifted = solve_ivp(
        lambda t, y: slope(t + start, y), (0, times[-1] - start), [REST],
        t_eval=times[times >= start] - start, rtol=1e-12, atol=1e-12,
    )  # fmt: skip
    np.testing.assert_allclose(v[times >= start], shifted.y[0], atol=1e-6 if kind == "dual" else 1e-9)
    np.testing.assert_array_equal(v[times < start], REST)


def block(v):
    return 1.0 / (1.0 + 1.0 * np.exp(-0.062 * v) / 3.57)


@pytest.mark.few(1)
@pytest.mark.parametrize(
    ("synapse", "kind", "params", "unblocked"),
    [
        (ExponentialConductance(), "exponential", {"tau_syn_ms": 3.0}, lambda v: 1.0),
        (AlphaConductance(), "alpha", {"tau_syn_ms": 3.0, "e_rev_mV": -80.0}, lambda v: 1.0),
        (DualExponentialConductance(), "dual", {"tau_rise_ms": 0.8, "tau_decay_ms": 6.0}, lambda v: 1.0),
        (NMDA(), "dual", {"tau_rise_ms": 2.0, "tau_decay_ms": 30.0}, block),
    ],
)
def test_potential_after_a_spike_through_a_conductance_converges_to_the_equation(synapse, kind, params, unblocked):
    e_rev, start, stop = params.get("e_rev_mV", 0.0), 3.0, 40.0
    errors = []
    for dt_ms in (0.5, 0.25):
        n_steps = round(stop / dt_ms)
        net = network(synapse, [30.0], delay_ms=1.0, **params)
        v = voltage(net, spikes_at([round(2.0 / dt_ms) - 1], n_steps), dt_ms)
        times = (1 + np.arange(n_steps)) * dt_ms

        def slope(t: float, y: np.ndarray) -> np.ndarray:
            g = course(kind, np.array(t), 30.0, params)
            return (-(y - REST) + R * g * unblocked(y) * (e_rev - y)) / TAU_M

        found = solve_ivp(
            slope, (0, stop - start), [REST], t_eval=times[times >= start] - start, rtol=1e-11, atol=1e-11
        )
        errors.append(np.abs(v[times >= start] - found.y[0]).max())
    order = np.log2(errors[0] / errors[1])
    # Magnesium's block is read at the start of each step, which costs one order.
    assert order > (0.9 if isinstance(synapse, NMDA) else 1.8)
    assert errors[1] < (0.15 if isinstance(synapse, NMDA) else 0.02)


def test_delta_synapse_adds_its_weight_at_the_arrival_and_crosses_the_threshold_in_that_step():
    dt_ms = 0.5
    net = network(Delta(), [4.0, 12.0], delay_ms=1.5, post_values={"t_ref_ms": 2.0})
    inputs = spikes_at([3, 20], 40)
    with jax.enable_x64(True):
        _, out = rollout(net, None, inputs, dt_ms=dt_ms)
    v, fired = np.asarray(out["post"]["v_mV"])[:, 0], np.asarray(out["post"]["spikes"])[:, 0]
    assert v[5] == REST
    assert v[6] == REST + 4.0
    np.testing.assert_allclose(v[7], REST + 4.0 * np.exp(-dt_ms / TAU_M), rtol=1e-12)
    before = 4.0 * np.exp(-(23 - 6) * dt_ms / TAU_M)
    assert before + 12.0 < 15.0
    assert not fired.any()
    stronger = network(Delta(), [4.0, 15.0], delay_ms=1.5, post_values={"t_ref_ms": 2.0})
    with jax.enable_x64(True):
        _, out = rollout(stronger, None, inputs, dt_ms=dt_ms)
    assert list(np.flatnonzero(np.asarray(out["post"]["spikes"])[:, 0])) == [23]


def test_magnesium_blocks_at_rest_and_not_at_plus_40_mV():
    # Jahr & Stevens 1990: at 1 mM about 0.045 of the conductance is left at -70 mV, and nearly all at +40 mV.
    at_rest, depolarised = (float(NMDA().unblocked({"mg_mM": jnp.ones(1)}, jnp.array([v]))[0]) for v in (-70.0, 40.0))
    assert at_rest == pytest.approx(1 / (1 + np.exp(4.34) / 3.57), rel=1e-5)
    assert at_rest < 0.05
    assert depolarised > 0.95


def test_every_edge_acts_after_its_own_delay():
    dt_ms, delays = 0.5, [1.0, 3.5, 2.0, 3.5]
    weights = [10.0, -20.0, 40.0, 80.0]
    net = network(Exponential(), weights, edge_delay_ms=delays)
    steps = [2, 5, 3, 9]
    v = voltage(net, spikes_at(steps, 60), dt_ms)
    each = [
        voltage(network(Exponential(), [w], delay_ms=d), spikes_at([s], 60), dt_ms) - REST
        for w, d, s in zip(weights, delays, steps, strict=True)
    ]
    np.testing.assert_allclose(v - REST, np.sum(each, axis=0), atol=1e-11)


@pytest.mark.slow
@pytest.mark.parametrize("first", [1, pytest.param(7, marks=pytest.mark.slow), 8])
def test_run_with_delays_of_edges_goes_on_from_any_state(first):
    net = network(Exponential(), [10.0, -20.0, 40.0], edge_delay_ms=[1.0, 3.5, 2.0])
    inputs = spikes_at([2, 5, 6], 30)
    with jax.enable_x64(True):
        _, whole = rollout(net, None, inputs, dt_ms=0.5)
        state, one = rollout(net, None, {k: a[:first] for k, a in inputs.items()}, dt_ms=0.5)
        _, two = rollout(net, state, {k: a[first:] for k, a in inputs.items()}, dt_ms=0.5)
    joined = np.concatenate([one["post"]["v_mV"], two["post"]["v_mV"]])
    np.testing.assert_allclose(joined, whole["post"]["v_mV"], atol=1e-12)


def test_graded_synapse_with_delays_of_edges_is_at_rest_when_its_neurons_are():
    sender, sending = population("pre", 2, GradedLeaky())
    receiver, receiving = population("post", 1, GradedLeaky())
    projection = Projection(
        "syn", "pre", "post", Graded(), np.array([0, 1, 2], np.int32), np.zeros(2, np.int32), np.array([0.5, 0.7]),
        np.zeros(2, np.int32), ("all",), 1.0, edge_delay_ms=np.array([1.0, 3.0]), longest_delay_ms=3.0,
    )  # fmt: skip
    params = {"log_gain": np.zeros(1), "slope": np.ones(1), "v_half": np.zeros(1)}
    net = Network((sender, receiver), (projection,), {"pre": sending, "post": receiving, "syn": params})
    inputs = {"pre": np.zeros((40, 2)), "post": np.zeros((40, 1))}
    inputs["pre"][:, 1] = 1.0
    v = voltage(net, inputs, 1.0, "v")
    np.testing.assert_array_equal(v[:4], 0.0)  # one step to move the sender, three on the way
    assert v[4] > 0


@pytest.mark.slow
def test_gradient_by_gain_and_every_parameter_is_that_of_finite_differences():
    """Of all synapses that carry spikes, each onto a population of its own."""
    rng = np.random.default_rng(0)
    kinds = [kind for kind, model in SYNAPSE_MODELS.items() if model.spiking]
    sender, sending = population("pre", 4, **SENDER)
    populations, projections, params = [sender], [], {"pre": sending}
    for kind in kinds:
        delays = [1.0, 2.0, 1.5, 4.0] if kind == "alpha_conductance" else None
        alone = network(SYNAPSE_MODELS[kind](), rng.uniform(5, 30, 4), edge_delay_ms=delays)
        populations.append(replace(alone.populations[1], name=kind, ids=(kind,)))
        projections.append(replace(alone.projections[0], name=f"syn_{kind}", post=kind))
        params |= {kind: alone.params["post"], f"syn_{kind}": alone.params["syn"]}
    net = Network(tuple(populations), tuple(projections), params)
    inputs = {"pre": spikes_at([0, 3, 8, 11], 60)["pre"]}
    target = rng.normal(size=60)

    def loss(values):
        _, out = rollout(net.with_params(values), None, inputs, dt_ms=0.5, record=("v_mV",))
        each = {kind: jnp.sum(out[kind]["v_mV"][:, 0] * target) for kind in kinds}
        return sum(each.values()), each

    with jax.enable_x64(True):
        own = {kind: net.params[f"syn_{kind}"] for kind in kinds}
        at = {f"syn_{k}": {name: jnp.asarray(value) + 0.1 for name, value in own[k].items()} for k in kinds}
        run = jax.jit(jax.value_and_grad(loss, has_aux=True))
        found = run(at)[1]
        for kind in kinds:
            names = at[f"syn_{kind}"]
            assert set(names) == {"log_gain", *SYNAPSE_MODELS[kind].parameters}
            for name, value in names.items():
                step = 1e-5 * max(float(value[0]), 1.0)
                up, down = (run({**at, f"syn_{kind}": {**names, name: value + s}})[0][1][kind] for s in (step, -step))
                numeric = float(up - down) / (2 * step)
                assert abs(numeric) > 1e-6
                assert float(found[f"syn_{kind}"][name][0]) == pytest.approx(numeric, rel=1e-6), (kind, name)


def test_steady_potentials_of_two_membranes_with_a_gap_junction_are_those_of_the_circuit():
    """Conductances of 10 nS (leak), 4 nS (contact): V_1 - V_rest is I over the leak and what flows on in series."""
    cells, own = population("cell", 2, v_threshold_mV=1e6)
    contact = Projection(
        "gap", "cell", "cell", GapJunction(), np.array([0, 1, 2], np.int32), np.array([1, 0], np.int32),
        np.full(2, 4.0), np.zeros(2, np.int32), ("all",),
    )  # fmt: skip
    net = Network((cells,), (contact,), {"cell": own, "gap": {"log_gain": np.zeros(1)}})
    with jax.enable_x64(True):
        given = np.tile([80.0, 0.0], (2000, 1))
        _, out = jax.jit(lambda x: rollout(net, None, {"cell": x}, dt_ms=0.5, record=("v_mV",)))(given)
    first = 80.0 / (10.0 + 1.0 / (1.0 / 4.0 + 1.0 / 10.0))
    expected = REST + np.array([first, first * 4.0 / 14.0])
    np.testing.assert_allclose(np.asarray(out["cell"]["v_mV"])[-1], expected, atol=1e-9)


def test_equal_time_constants_of_rise_and_decay_are_refused():
    with pytest.raises(SettingError, match="alpha synapse"):
        network(DualExponential(), [1.0], tau_rise_ms=5.0, tau_decay_ms=5.0)


def test_negative_conductances_are_refused():
    with pytest.raises(SettingError, match="conductances"):
        network(ExponentialConductance(), [-1.0])


def test_delays_outside_of_their_bounds_or_between_steps_are_refused():
    net = network(Exponential(), [1.0, 1.0], edge_delay_ms=[1.0, 2.0])
    wrong = replace(net.projections[0], edge_delay_ms=np.array([1.0, 3.0]))
    with pytest.raises(SettingError, match="edge 1: 3 ms"):
        check_network(replace(net, projections=(wrong,)))
    between = replace(net.projections[0], edge_delay_ms=np.array([1.0, 1.75]))
    with pytest.raises(SettingError, match=r"edge 1: 1\.75 ms"):
        simulate(replace(net, projections=(between,)), duration_ms=2.0, dt_ms=0.5)


def test_every_synapse_states_its_parameters_with_units():
    for kind, model in SYNAPSE_MODELS.items():
        assert model.kind == kind
        for parameter in model.parameters.values():
            assert parameter.unit
            assert parameter.meaning
