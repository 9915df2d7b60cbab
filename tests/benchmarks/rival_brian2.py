"""A network in Brian2's C++ standalone mode: ``python rival_brian2.py CASE.npz THREADS``, by a Python with Brian2 2.9.

Prints a line of JSON: wall seconds of the run without building and compiling, and the number of spikes.
"""

from __future__ import annotations

import json
import sys
import tempfile

import brian2 as b
import numpy as np

LIF = "dv/dt = (v_rest - v + r_m * ({inputs})) / tau_m : volt (unless refractory)"
CURRENT = "dy_{k}/dt = -y_{k} / tau_{k} : amp{flag}"
CONDUCTANCE = "dy_{k}/dt = -y_{k} / tau_{k} : siemens{flag}"


def main(path: str, threads: int) -> None:
    case = np.load(path)
    n, conductances, clears = int(case["n"]), bool(case["conductances"]), bool(case["clears"])
    with tempfile.TemporaryDirectory() as folder:
        b.set_device("cpp_standalone", directory=folder, build_on_run=False)
        b.prefs.core.default_float_dtype = np.float32
        b.prefs.devices.cpp_standalone.openmp_threads = threads if threads > 1 else 0
        b.defaultclock.dt = 0.1 * b.ms
        names = {name: float(case[name]) * b.mV for name in ("v_rest", "v_threshold", "v_reset")}
        names |= {"tau_m": float(case["tau_m"]) * b.ms, "r_m": float(case["r_m"]) * b.Gohm}
        names |= {f"tau_{k}": float(tau) * b.ms for k, tau in enumerate(case["tau"])}
        names |= {f"e_{k}": float(e) * b.mV for k, e in enumerate(case["e_rev"])}
        kinds = range(len(case["tau"]))
        inputs = " + ".join(f"y_{k} * (e_{k} - v)" if conductances else f"y_{k}" for k in kinds)
        course = CONDUCTANCE if conductances else CURRENT
        flag = " (unless refractory)" if clears else ""
        cells = b.NeuronGroup(
            n,
            "\n".join([LIF.format(inputs=inputs), *(course.format(k=k, flag=flag) for k in kinds)]),
            method="exponential_euler" if conductances else "exact",
            threshold="v > v_threshold",
            reset="; ".join(["v = v_reset", *(f"y_{k} = 0 * amp" for k in kinds if clears)]),
            refractory=float(case["t_ref"]) * b.ms,
            namespace=names,
        )
        cells.v = case["v_start"] * b.mV
        unit = b.nS if conductances else b.pA
        for k in kinds:
            setattr(cells, f"y_{k}", case[f"start_{k}"] * unit)
        parts: list[object] = [cells]
        for k in kinds:
            uniform = case[f"weight_{k}"].size == 1
            size = f"{float(case[f'weight_{k}'])!r} * {'nS' if conductances else 'pA'}" if uniform else "w"
            model = "" if uniform else f"w : {'siemens' if conductances else 'amp'}"
            synapses = b.Synapses(cells, cells, model, on_pre=f"y_{k} += {size}", delay=float(case["delay"]) * b.ms)
            synapses.connect(i=case[f"pre_{k}"], j=case[f"post_{k}"])
            if not uniform:
                synapses.w = case[f"weight_{k}"] * unit
            parts.append(synapses)
        if case["event_step"].size:
            source = b.SpikeGeneratorGroup(int(case["n_driven"]), case["event_neuron"], case["event_step"] * 0.1 * b.ms)
            onto = b.Synapses(source, cells, on_pre=f"v_post += {float(case['jump'])!r} * mV")
            onto.connect(i=np.arange(int(case["n_driven"])), j=case["driven"])
            parts += [source, onto]
        monitor = b.SpikeMonitor(cells)
        network = b.Network(*parts, monitor)
        network.run(float(case["duration"]) * b.ms)
        b.device.build(directory=folder, compile=True, run=True, debug=False)
        print(json.dumps({"seconds": b.device._last_run_time, "spikes": int(monitor.num_spikes)}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
