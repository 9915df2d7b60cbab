"""Whatever a recipe can use has something to cite, and a report cites what its run used and nothing else."""

from __future__ import annotations

from typing import get_args

import pytest

from connectofit.connectome.errors import UnknownNameError
from connectofit.fit.cells.models import FITTABLE
from connectofit.fit.optimisers.minimise import OPTIMISERS
from connectofit.pipelines.references import REFERENCES, references_table
from connectofit.pipelines.task_settings import TrainSettings
from connectofit.sim import neurons


def test_every_cell_model_optimiser_and_rule_has_a_reference():
    rules = get_args(TrainSettings.model_fields["rule"].annotation)
    assert rules
    assert {*FITTABLE, *OPTIMISERS, *rules} <= set(REFERENCES)


def test_every_neuron_of_a_specification_has_a_reference_but_sources_of_given_spikes():
    kinds = {
        model.kind
        for model in vars(neurons).values()
        if isinstance(model, type) and issubclass(model, neurons.NeuronModel) and hasattr(model, "kind")
    }
    assert len(kinds) > 10
    assert {kind for kind in kinds if kind not in REFERENCES} == {"spike_source", "poisson_source"}


def test_a_name_stands_once_and_one_without_a_reference_is_an_error():
    table = references_table([("neuron", "adex"), ("neuron", "lif"), ("other", "adex")])
    assert [row[1] for row in table.rows] == ["adex", "lif"]
    assert table.rows[0] == ("neuron", "adex", "Brette & Gerstner 2005, J Neurophysiol 94:3637")
    with pytest.raises(UnknownNameError, match="adex"):
        references_table([("neuron", "adx")])
