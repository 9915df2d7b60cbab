"""A training gradient of a batch of trials with BrainPy's family: ``python rival_training_brainpy.py CASE.npz METHOD``.

METHOD: "bptt" (brainstate's loops and derivatives), "d_rtrl" or "es_d_rtrl" (braintrace's online rules, which run the
steps before the answer without a loss, as braintrace's examples do). A line of JSON: "first" is the seconds of
compilation, "seconds" those of a call (the second, where one is short), "temp_MB" its temporary memory.

The wiring, weights, trials and readout are those of the case (`training.rules`), of brainpy's `AlignPostProj`, `Expon`
and `COBA`, and of braintrace's layers. The neurons are braintrace's for such tasks: V and one adapting current
(connectofit's first current is off there, but is computed), with a reset in the step after the spike. Recurrent weights
are full matrices with a mask: on CPUs these are many times faster than braintrace's sparse layers.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import brainpy
import brainstate
import braintools
import braintrace
import jax
import jax.numpy as jnp
import numpy as np

path, method = sys.argv[1:3]
case = np.load(path)
N, N_IN = case["tau_current"].size, case["inputs"].shape[-1]
ANSWER = int(case["answer_steps"])
TAU_M, TAU_SYN, BIAS, STEP = (float(case[k]) for k in ("tau_m", "tau_syn", "bias", "step"))
REVERSAL = {"E": 3.0, "I": -3.0}
DECAY = 0.99
LONG_S = 20.0

brainstate.environ.set(dt=1.0)


class GIF(brainpy.state.Neuron):
    """V, set to 0 at a spike, and a current that each spike moves by `STEP`; rest is 0 and the threshold 1."""

    def __init__(self) -> None:
        super().__init__(N, spk_fun=braintools.surrogate.ReluGrad(alpha=0.1))

    def init_state(self, batch_size: int | None = None, **_: Any) -> None:
        zero = braintools.init.ZeroInit()
        self.V = brainstate.HiddenState.init(zero, self.varshape, batch_size)
        self.current = brainstate.HiddenState.init(zero, self.varshape, batch_size)

    def get_spike(self) -> jax.Array:
        return self.spk_fun(self.V.value - 1.0)

    def update(self) -> None:
        spikes = self.get_spike()
        current = self.current.value + STEP * spikes
        v = self.V.value * (1.0 - jax.lax.stop_gradient(spikes))
        self.current.value = brainstate.nn.exp_euler_step(lambda i: -i / case["tau_current"], current)
        self.V.value = brainstate.nn.exp_euler_step(
            lambda v, i: (-v + self.sum_current_inputs(BIAS + i, v)) / TAU_M, v, current
        )


class TaskNetwork(brainstate.nn.Module):
    """Inputs, excitatory and inhibitory neurons, and a leaky readout of their spikes."""

    def __init__(self) -> None:
        super().__init__()
        self.neurons = GIF()
        self.sizes = (case["excitatory"].shape[0], case["inhibitory"].shape[0])
        layers = {"input": ("E", braintrace.nn.Linear(N_IN, N, case["input"], b_init=None))}
        for name, sign in (("excitatory", "E"), ("inhibitory", "I")):
            weight = case[name]
            mask = (weight > 0).astype(np.float32)
            layers[name] = sign, braintrace.nn.Linear(weight.shape[0], N, weight, b_init=None, w_mask=mask)
        for name, (sign, comm) in layers.items():
            projection = brainpy.state.AlignPostProj(
                comm=comm,
                syn=brainpy.state.Expon.desc(N, tau=TAU_SYN, g_initializer=braintools.init.ZeroInit()),
                out=brainpy.state.COBA.desc(E=REVERSAL[sign]),
                post=self.neurons,
            )
            setattr(self, f"from_{name}", projection)
        weight = case["readout"].astype(np.float32)
        self.out = braintrace.nn.LeakyRateReadout(N, weight.shape[1], tau=float(case["tau_out"]), w_init=weight)

    def update(self, arriving: jax.Array) -> jax.Array:
        excitatory, inhibitory = jnp.split(self.neurons.get_spike(), [self.sizes[0]], axis=-1)
        self.from_input(arriving)
        self.from_excitatory(excitatory)
        self.from_inhibitory(inhibitory)
        self.neurons()
        return self.out(self.neurons.get_spike())


def main() -> None:
    """Print a line on the case."""
    arriving, answers = jnp.asarray(case["inputs"]), jnp.asarray(case["answers"])
    n_trials = arriving.shape[1]
    net = TaskNetwork()
    brainstate.nn.init_all_states(net, batch_size=n_trials)
    learner = None
    if method != "bptt":
        options = {"decay_or_rank": DECAY} if method == "es_d_rtrl" else {}
        learner = braintrace.compile(net, method, arriving[0], batch_size=n_trials, **options)
    states = {**net.states(), **(brainstate.graph.states(learner) if learner is not None else {})}
    rest = [(s, s.value) for s in states.values() if not isinstance(s, brainstate.ParamState)]

    def cross_entropy(out: jax.Array, answers: jax.Array) -> jax.Array:
        return braintools.metric.softmax_cross_entropy_with_integer_labels(out, answers).mean()

    def gradient(arriving: jax.Array, answers: jax.Array) -> tuple[jax.Array, Any]:
        """The cross-entropy, averaged over the steps of the answer and the trials, and its derivatives."""
        for state, value in rest:
            state.value = value
        before, during = arriving[:-ANSWER], arriving[-ANSWER:]
        if learner is None:

            def loss() -> jax.Array:
                brainstate.transform.for_loop(lambda x: (net(x), None)[1], before)
                return brainstate.transform.for_loop(lambda x: cross_entropy(net(x), answers), during).mean()

            found, value = brainstate.transform.grad(loss, net.states(brainstate.ParamState), return_value=True)()
            return value, found
        learner.etrace_evolve(before)
        found, value = learner.etrace_grad(
            during, step_fn=lambda x: cross_entropy(learner(x), answers), loss_output="scalar", return_value=True
        )
        return value, found

    pure = brainstate.transform.StatefulFunction(gradient)
    pure.make_jaxpr(arriving, answers)
    values = [state.value for state in pure.get_states(arriving, answers)]
    start = time.perf_counter()
    run = jax.jit(pure.jaxpr_call).lower(values, arriving, answers).compile()
    first = time.perf_counter() - start
    for _ in range(2):
        start = time.perf_counter()
        _, (value, found) = jax.block_until_ready(run(values, arriving, answers))
        seconds = time.perf_counter() - start
        if seconds > LONG_S:
            break
    norms = {".".join(map(str, k)): float(norm(v)) for k, v in found.items()}
    memory = run.memory_analysis().temp_size_in_bytes / 1e6
    fields = {"first": first, "seconds": seconds, "temp_MB": memory, "loss": float(value)}
    print(json.dumps(fields | {"norms": norms}))


def norm(tree: Any) -> jax.Array:
    return jnp.sqrt(sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(tree)))


if __name__ == "__main__":
    main()
