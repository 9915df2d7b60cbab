"""NeuroML files are valid against NeuroML's schema, read back they hold the network's values, and jNeuroML runs them.

The runs need Java; CONNECTOFIT_JNEUROML names jNeuroML's jar (in pyneuroml's folder lib).
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest

from connectofit.connectome.errors import SettingError
from connectofit.pipelines.export import export
from connectofit.sim import SpikeTrains, Step

pytest.importorskip("neuroml", reason="libneuroml is not installed")
from neuroml import loaders
from neuroml.utils import validate_neuroml2

NAMES = ("exponential", "alpha", "exponential_conductance", "alpha_conductance")
FACTOR = {"exponential": 1e-3}  # expCurrSynapse has weights in nA


def value(text: str) -> float:
    return float(text.split()[0])


def places(network):
    """{"../population[index]": id} of all neurons."""
    found = {}
    for population in network.populations:
        ids = json.loads(population.notes)["ids"]
        assert len(ids) == population.size
        found |= {f"../{population.id}[{k}]": i for k, i in enumerate(ids)}
    return found


@pytest.mark.parametrize("name", NAMES)
def test_files_are_valid_and_hold_cells_weights_and_delays(network, tmp_path, name):
    model, stimuli = network(name)
    path = export(model, tmp_path / "net.nml", format="neuroml", duration_ms=200.0, stimuli=stimuli[-1:])
    validate_neuroml2(str(path))
    document = loaders.NeuroMLLoader.load(str(path))
    (net,) = document.networks
    where = places(net)
    assert sorted(where.values()) == sorted(model.network.ids)
    rows = model.tables()[1].to_pylist()
    expected = {(r["pre"], r["post"]): r for r in rows if r["model.weight"] is not None}
    found = {(where[c.pre_cell_id], where[c.post_cell_id]): c for p in net.projections for c in p.connection_wds}
    assert set(found) == set(expected)
    for pair, row in expected.items():
        assert found[pair].weight == pytest.approx(row["model.weight"] * FACTOR.get(name, 1.0))
        assert value(found[pair].delay) == pytest.approx(row["delay_ms"] if row["sign"] == 1 else 1.5)
    cells = {cell.id: cell for cell in document.iaf_ref_cells}
    of = {p.id: cells[p.component] for p in net.populations if p.component in cells}
    assert {(value(c.C), value(c.refract)) for c in of.values()} == {(180.0, 2.0), (100.0, 2.0), (200.0, 1.3)}
    biased = {
        i.populations: value(next(g for g in document.pulse_generators if g.id == i.component).amplitude)
        for i in net.input_lists
    }
    assert sorted(biased.values()) == [20.0, 20.0]
    trains = sorted(len(train.spikes) for train in document.spike_arrays)
    assert trains == sorted(len(np.unique(np.floor(np.asarray(t) / 0.1))) for t in stimuli[-1].times_ms)


LEMS = """<Lems><Target component="run"/>
{includes}
<Simulation id="run" length="{duration_ms}ms" step="{step_ms}ms" target="network" seed="1">
<EventOutputFile id="events" fileName="spikes.txt" format="ID_TIME">
{selections}
</EventOutputFile></Simulation></Lems>"""
INCLUDED = ("Cells.xml", "Networks.xml", "Simulation.xml", "PyNN.xml", "Inputs.xml", "Synapses.xml", "net.nml")


RUN = {
    "exponential": (60.0, {"tau_syn_ms": 3.0}),
    "alpha": (40.0, {"tau_syn_ms": 2.0}),
    "exponential_conductance": (0.8, {"tau_syn_ms": 3.0, "e_rev_mV": 0.0}),
    "alpha_conductance": (0.6, {"tau_syn_ms": 2.0, "e_rev_mV": 0.0}),
    "dual_exponential_conductance": (0.6, {"tau_rise_ms": 1.0, "tau_decay_ms": 4.0, "e_rev_mV": 0.0}),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", RUN)
def test_jneuroml_runs_the_file_with_our_spikes(spiking, our_spikes, tmp_path, kind):
    if not os.environ.get("CONNECTOFIT_JNEUROML"):
        pytest.skip("CONNECTOFIT_JNEUROML does not name jNeuroML's jar")
    gain, params = RUN[kind]
    free = {"tau_m_ms": {"by": "half", "table": {"h0": 18.0, "h1": 10.0}}, "i_bias_pA": 120.0, "v_reset_mV": -65.0}
    cells = {"name": "cells", "model": "lif", "where": "kind_of == 'e'", "tie_by": "half", "params": free}
    pulses = {"name": "given", "model": "spike_source", "where": "kind_of == 's'"}
    edge = {"name": "excites", "synapse": kind, "where": "pre.kind_of == 's'", "gain": gain, "params": params}
    edge["delay_ms"] = {"column": "delay_ms", "resolution_ms": 0.1}
    model = spiking([cells, pulses], [edge], {"e": 6, "s": 4}, probability=0.5, onto=("e",))
    rng = np.random.default_rng(4)
    sources = [i for i in model.network.ids if i.startswith("s")]
    given = SpikeTrains(sources, [np.sort(rng.uniform(0.0, 60.0, 20)) for _ in sources])
    path = export(model, tmp_path / "net.nml", format="neuroml", dt_ms=0.02, duration_ms=60.0, stimuli=[given])
    (net,) = loaders.NeuroMLLoader.load(str(path)).networks
    where = [(place, i) for place, i in places(net).items() if i.startswith("e")]
    events = [f'<EventSelection id="{k}" select="{w[3:]}" eventPort="spike"/>' for k, (w, _) in enumerate(where)]
    includes = "".join(f'<Include file="{file}"/>' for file in INCLUDED)
    text = LEMS.format(includes=includes, duration_ms=60.0, step_ms=0.02, selections="".join(events))
    (tmp_path / "LEMS_run.xml").write_text(text)
    jar = str(Path(os.environ["CONNECTOFIT_JNEUROML"]).resolve())
    command = ["java", "-Xmx2g", "-jar", jar, "LEMS_run.xml", "-nogui"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    rows = np.loadtxt(tmp_path / "spikes.txt").reshape(-1, 2)
    ours = our_spikes(model, [given], duration_ms=60.0, dt_ms=0.02)
    assert sum(len(ours[i]) for _, i in where) > 15
    # Its method is of first order in its step of 0.02 ms: each interval may be off by two and a half steps.
    for k, (_, i) in enumerate(where):
        theirs = np.sort(rows[rows[:, 0] == k, 1]) * 1e3
        assert len(theirs) == len(ours[i]), (i, theirs, ours[i] * 0.02)
        assert (np.abs(theirs - ours[i] * 0.02) <= 0.05 * np.arange(1, len(theirs) + 1)).all(), (
            i,
            theirs,
            ours[i] * 0.02,
        )


def test_given_spikes_have_the_times_at_which_they_are_sent(spiking, tmp_path):
    model = spiking([{"name": "given", "model": "spike_source"}], [], {"s": 1}, probability=1.0)
    stimuli = [SpikeTrains("s0", [[0.0, 1.0, 7.25]])]
    path = export(model, tmp_path / "net.nml", format="neuroml", duration_ms=10.0, stimuli=stimuli)
    (train,) = loaders.NeuroMLLoader.load(str(path)).spike_arrays
    assert [value(spike.time) for spike in train.spikes] == [0.1, 1.1, 7.3]


def test_poisson_sources_and_dual_exponentials_are_valid(spiking, tmp_path):
    cells = {"name": "cells", "model": "lif", "where": "kind_of == 'e'"}
    noise = {"name": "noise", "model": "poisson_source", "where": "kind_of == 'p'", "params": {"rate_Hz": 40.0}}
    edges = [{"name": "excites", "synapse": "dual_exponential_conductance", "delay_ms": 1.0}]
    model = spiking([cells, noise], edges, {"e": 4, "p": 4}, onto=("e",), probability=0.6)
    path = export(model, tmp_path / "net.nml", format="neuroml")
    validate_neuroml2(str(path))
    document = loaders.NeuroMLLoader.load(str(path))
    assert [value(p.average_rate) for p in document.spike_generator_poissons] == [40.0]
    assert len(document.exp_two_synapses) == len(model.network.projections) == 2
    synapse = document.exp_two_synapses[0]
    own = model.network.params[model.network.projections[0].name]
    assert value(synapse.tau_decay) == pytest.approx(own["tau_decay_ms"][0])
    assert value(synapse.tau_rise) == pytest.approx(own["tau_rise_ms"][0])


def test_names_are_escaped(spiking, tmp_path):
    evil = "<x>&\"' ]]>"
    edges = [{"name": "excites", "synapse": "exponential", "delay_ms": 1.0}]
    model = spiking([{"name": evil, "model": "lif"}], edges, {"e": 3}, probability=0.7)
    path = export(model, tmp_path / "net.nml", format="neuroml")
    validate_neuroml2(str(path))
    assert "<x>" not in path.read_text()
    (net,) = loaders.NeuroMLLoader.load(str(path)).networks
    assert json.loads(net.populations[0].notes)["population"] == evil


LIF = {"name": "cells", "model": "lif"}
EDGE = {"name": "excites", "synapse": "exponential", "delay_ms": 1.0}
REFUSED = {
    "delta synapses": (LIF, {**EDGE, "synapse": "delta"}, [], "NeuroML takes exponential"),
    "other neurons": ({"name": "cells", "model": "glif1"}, EDGE, [], "NeuroML takes lif"),
    "currents": (LIF, EDGE, [Step(None, 5.0)], "stimuli are currents"),
    "control characters": ({**LIF, "name": "a\x00b"}, EDGE, [], "XML cannot hold"),
    "cleared synapses": ({**LIF, "settings": {"clears_synapses": True}}, EDGE, [], "set its synapses to 0"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_neuroml_does_not_have_is_refused_with_the_reason(spiking, tmp_path, case):
    cells, edge, stimuli, reason = REFUSED[case]
    model = spiking([cells], [edge], {"e": 6}, probability=0.5)
    with pytest.raises(SettingError, match=re.escape(reason)):
        export(model, tmp_path / "net.nml", format="neuroml", stimuli=stimuli)
    assert not list(tmp_path.iterdir())
