"""The recipe on all scales: networks of named cells on a graph, what they do alone, and the whole way."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from connectofit.builders import Cell, ModelSpec, build, rheobase_nS, with_inputs
from connectofit.connectome import Connectome
from connectofit.connectome.errors import SettingError, UnknownNameError
from connectofit.connectome.synthetic import erdos_renyi
from connectofit.pipelines import Pipeline, multiscale_stages
from connectofit.pipelines.multiscale import summary
from connectofit.pipelines.multiscale_settings import NetworkSettings
from connectofit.pipelines.multiscale_stages import make_networks, network_of_variant, spontaneous
from connectofit.pipelines.stages import StageContext
from connectofit.sim import NEURON_MODELS

DEFAULTS = {k: p.default for k, p in NEURON_MODELS["gif"].parameters.items()}
CELLS = {
    "E": DEFAULTS | {"r_m_GOhm": 0.3, "v_rest_mV": -66.0, "theta_inf_mV": -46.0, "theta_reset_mV": -46.0},
    "I": DEFAULTS | {"r_m_GOhm": 0.2, "v_rest_mV": -60.0, "theta_inf_mV": -50.0, "theta_reset_mV": -50.0},
}


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """The stage `network` after a graph of 40 neurons and two cells."""
    folder = tmp_path_factory.mktemp("network")
    for name, params in CELLS.items():
        Cell(name, "gif", params).dump(folder / "cells" / "cells")
        Cell(f"{name}_unfitted", "gif", DEFAULTS).dump(folder / "cells" / "cells")
    erdos_renyi(40, seed=2, probability=0.2).write(folder / "wiring" / "connectome")
    inputs = {"cells": folder / "cells", "wiring": folder / "wiring"}
    (folder / "out").mkdir()
    with pytest.MonkeyPatch.context() as patch:  # what they do alone has tests of its own, and compiles for seconds
        patch.setattr(multiscale_stages, "spontaneous", lambda net, s: ([{"population": "E"}], {}))
        make_networks(StageContext(NetworkSettings(), folder / "out", inputs, {}, folder / "work"))
    return folder / "out"


def test_every_variant_is_a_specification_that_names_its_cells(made):
    spec = ModelSpec.load(made / "model" / "model.toml")
    for rule in spec.neurons:
        given = dict(rule.params)
        bias = given.pop("i_bias_pA")
        expected = dict(CELLS[rule.name])
        # 0.7 of the current that holds the cell at its threshold.
        reach = expected["theta_inf_mV"] - expected["v_rest_mV"]
        assert bias == pytest.approx(0.7 * reach / expected["r_m_GOhm"])
        expected.pop("i_bias_pA")
        assert given == expected
    unfitted = ModelSpec.load(made / "unfitted" / "model.toml")
    assert all(rule.params["r_m_GOhm"] == DEFAULTS["r_m_GOhm"] for rule in unfitted.neurons)


def test_rewired_wiring_keeps_degrees_and_signs_and_the_others_keep_the_edges(made):
    graphs = {name: Connectome.read(made / name / "connectome") for name in ("model", "unfitted", "rewired")}
    own, other = graphs["model"], graphs["rewired"]
    np.testing.assert_array_equal(graphs["unfitted"].post, own.post)
    for ends in ("pre", "post"):
        degrees = [np.bincount(getattr(g, ends), minlength=g.n_neurons) for g in (own, other)]
        np.testing.assert_array_equal(*degrees)
    assert set(zip(own.pre, own.post, strict=True)) != set(zip(other.pre, other.post, strict=True))


def test_conductances_are_in_units_of_the_rheobase(made):
    settings = NetworkSettings()
    graph, net = network_of_variant(made, "model")
    n_in = (graph.sign == 1).sum() / graph.n_neurons
    for name in ("E", "I"):
        wire = net.projection(f"excitation_of_{name}:E->{name}")
        weight = np.asarray(wire.base_weight) * np.exp(np.asarray(net.params[wire.name]["log_gain"]))
        unit = rheobase_nS(net.population(name), net.params[name], 0.0)[0]
        np.testing.assert_allclose(weight, settings.drive_e * unit * np.sqrt(2 / np.pi / n_in), rtol=1e-5)
        assert len(wire.types) == weight.size  # every edge has a gain of its own


def test_mean_currents_hold_the_mean_voltage():
    """Without spikes the leak takes up what the synapses bring: g_leak (V - E_L) = excitation + inhibition + bias."""
    params = DEFAULTS | {"r_m_GOhm": 0.3, "v_rest_mV": -66.0, "theta_inf_mV": 500.0, "theta_reset_mV": 500.0}
    rules = [{"name": n, "model": "gif", "where": f"cell_type == '{n}'", "params": params} for n in ("E", "I")]
    net = build(erdos_renyi(20, seed=0, probability=0.0), ModelSpec.from_dict({"name": "m", "neurons": rules}))
    fed = with_inputs(net, ["a"] * 50, seed=1, weight_nS={"E": 0.5, "I": 0.2})
    settings = NetworkSettings(inputs=50, noise_inputs=50, noise_Hz=40.0, spontaneous_ms=20_000.0)
    rows, shown = spontaneous(fed, settings)
    for row in rows:
        leak = (row["voltage_mV"] + 66.0) / 0.3
        # Conductance and voltage vary together, which lowers the current by a few per cent.
        assert row["excitation_pA"] == pytest.approx(leak, rel=0.05)
        assert (row["inhibition_pA"], row["rate_Hz"], row["silent"]) == (0.0, 0.0, 1.0)
    assert shown["E"].shape == (1000, 16)


def test_bad_settings_are_refused(tmp_path):
    with pytest.raises(UnknownNameError, match="cell"):
        Pipeline.load("multiscale", {"cells.excitatory": "B7"}).run(tmp_path / "a", until="cells")
    with pytest.raises(UnknownNameError, match="sweep"):
        Pipeline.load("multiscale", {"cells.hold_out": ["B6/1"]}).run(tmp_path / "b", until="cells")
    with pytest.raises(ValueError, match="noise_inputs are some of"):
        NetworkSettings(inputs=5, noise_inputs=6)
    with pytest.raises(SettingError, match="variants"):
        Pipeline.load("multiscale", {"network.variants": ["shuffled"]})


@pytest.mark.slow
def test_the_whole_way_from_cells_to_choices(tmp_path):
    quick = {
        "cells.simulated_s": 200.0,
        "cells.starts": 1,
        "wiring.neurons": 40,
        "network.variants": ["rewired"],
        "network.spontaneous_ms": 1000.0,
        "evidence.steps": 2,
        "evidence.interval": 1,
        "evidence.test_trials": 32,
        "evidence.validation": 32,
        "evidence.task": {"n_cues": 1, "delay_ms": 10.0},
        "evidence.delays_ms": [],
        "choices.steps": 2,
        "choices.interval": 1,
        "choices.validation": 32,
        "choices.each": 4,
        "choices.past": [],
        "score.resamples": 20,
    }
    run = Pipeline.load("multiscale", quick).run(tmp_path / "run")
    said = summary(run)
    assert "fitted cells, the graph's wiring" in said
    found = json.loads(run.path("export", "reloaded.json").read_text(encoding="utf-8"))
    assert found["same_choices"] == found["trials"]
    alone = pd.read_parquet(run.path("network", "spontaneous.parquet"))
    assert alone[["variant", "population"]].to_numpy().tolist() == [
        [variant, population] for variant in ("model", "rewired") for population in ("E", "I")
    ]
    scores = pd.read_parquet(run.path("score", "scores.parquet")).set_index("model")
    assert {"choices", "rewired", "regression", "regression_history"} <= set(scores.index)
    html = run.path("report", "report.html").read_text(encoding="utf-8")
    assert "wiring rewired" in html
    assert html.count("data:image/png") == 7
    again = Pipeline.load("multiscale", quick).run(tmp_path / "again", until="score")
    pd.testing.assert_frame_equal(
        pd.read_parquet(again.path("score", "scores.parquet")), pd.read_parquet(run.path("score", "scores.parquet"))
    )
