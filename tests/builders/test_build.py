"""From a small connectome made by hand to networks: every number below follows from its table."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from connectofit.builders import ByType, Column, Distance, EdgeRule, ModelSpec, NeuronRule, build
from connectofit.connectome.errors import SettingError, UnknownNameError
from connectofit.sim import GapJunction, Step, Where, simulate

ALL = NeuronRule("cells", "graded_leaky", tie_by="cell_class")
CHEMICAL = EdgeRule("chem", "graded", "kind == 'chemical'", unknown_sign=1)
GAP = EdgeRule("gap", "gap_junction", "kind == 'electrical'")


def spec(*edges: EdgeRule, neurons=(ALL,), **settings) -> ModelSpec:
    return ModelSpec(neurons=tuple(neurons), edges=edges, **settings)


def test_weights_are_sign_times_count_and_ids_are_the_anatomists(tiny, edge_weights):
    net = build(tiny, spec(CHEMICAL, GAP))
    assert net.ids == ("A1", "A2", "B", "C")
    assert edge_weights(net, "chem") == {
        ("A1", "A2"): 4, ("A1", "B"): 1, ("A2", "B"): 3, ("B", "B"): -2, ("B", "C"): -5, ("C", "A1"): 6,
    }  # fmt: skip
    assert edge_weights(net, "gap") == {("A1", "B"): 8, ("B", "A1"): 8, ("A2", "C"): 2, ("C", "A2"): 2}
    assert isinstance(net.projection("gap").synapse, GapJunction)


def test_weights_are_multiplied_by_a_column_of_the_edges(tiny, edge_weights):
    sized = replace(tiny, edge_columns=pa.table({"size": (tiny.pre + 1) / 2}))
    rule = replace(CHEMICAL, weight="size")
    assert edge_weights(build(sized, spec(rule, GAP)), "chem") == {
        ("A1", "A2"): 2, ("A1", "B"): 0.5, ("A2", "B"): 3, ("B", "B"): -3, ("B", "C"): -7.5, ("C", "A1"): 12,
    }  # fmt: skip
    own = build(sized, spec(replace(rule, normalise="post_sum"), GAP))
    assert edge_weights(own, "chem")["B", "B"] == pytest.approx(-3 / 6)  # the counts onto B: 1 + 3 + 2


def test_sizes_that_are_no_numbers_of_0_or_more_are_named(tiny):
    def build_with(sizes, weight="size"):
        build(replace(tiny, edge_columns=pa.table({"size": sizes})), spec(replace(CHEMICAL, weight=weight), GAP))

    wrong = np.array([1.0, 1.0, -2.0, np.nan])[tiny.pre]
    with pytest.raises(SettingError, match=r"edge rule 'chem' has to be 0 or more for every edge; 3 edges .*"
                       r"B -> B \(chemical\): -2, B -> C \(chemical\): -2, C -> A1 \(chemical\): nan\."):  # fmt: skip
        build_with(wrong)
    with pytest.raises(SettingError, match="column of numbers"):
        build_with(["1"] * 10)
    with pytest.raises(UnknownNameError, match="Did you mean 'size'"):
        build_with(np.ones(10), "siez")


def test_normalisation_divides_by_the_counts_onto_the_postsynaptic_neuron(tiny, edge_weights):
    own = build(tiny, spec(replace(CHEMICAL, normalise="post_sum"), GAP))
    assert edge_weights(own, "chem")["A2", "B"] == pytest.approx(3 / 6)  # B: 1 + 3 + 2
    assert edge_weights(own, "chem")["B", "B"] == pytest.approx(-2 / 6)
    total = build(tiny, spec(replace(CHEMICAL, normalise="total_post"), GAP))
    assert edge_weights(total, "chem")["A2", "B"] == pytest.approx(3 / 14)  # and 8 through the gap junction


def test_parameters_come_from_numbers_columns_and_tables_tied_by_class(tiny):
    rule = replace(
        ALL, params={"tau_m_ms": Column("tau"), "v_rest": ByType("cell_class", {"B": 2.0}, 0.5), "noise": 0.25}
    )
    net = build(tiny, spec(CHEMICAL, GAP, neurons=(rule,)))
    population = net.population("cells")
    assert population.types == ("A", "B", "C")
    np.testing.assert_array_equal(population.type_index, [0, 0, 1, 2])
    np.testing.assert_array_equal(net.params["cells"]["tau_m_ms"], [5, 7, 9])
    np.testing.assert_array_equal(net.params["cells"]["v_rest"], [0.5, 2.0, 0.5])
    np.testing.assert_array_equal(net.params["cells"]["noise"], [0.25] * 3)


@pytest.mark.parametrize(
    ("tie_by", "types", "of_edges"),
    [
        (None, ("all",), [0, 0, 0, 0, 0, 0]),
        ("pre.cell_class", ("A", "B", "C"), [0, 0, 0, 1, 1, 2]),
        ("post.cell_class", ("A", "B", "C"), [0, 1, 1, 1, 2, 0]),
        (("pre.cell_class", "post.cell_class"), (("A", "A"), ("A", "B"), ("B", "B"), ("B", "C"), ("C", "A")),
         [0, 1, 1, 2, 3, 4]),
    ],
)  # fmt: skip
def test_gains_are_tied_by_type_before_behind_or_both(tiny, tie_by, types, of_edges):
    net = build(tiny, spec(replace(CHEMICAL, tie_by=tie_by, gain=2.0), GAP))
    projection = net.projection("chem")
    assert projection.types == types
    np.testing.assert_array_equal(projection.type_index, of_edges)
    np.testing.assert_allclose(net.params["chem"]["log_gain"], np.log(2.0) * np.ones(len(types)))


def test_gain_from_a_table_by_presynaptic_class(tiny):
    rule = replace(CHEMICAL, tie_by="pre.cell_class", gain=ByType("pre.cell_class", {"A": 4.0}, 1.0))
    net = build(tiny, spec(rule, GAP))
    np.testing.assert_allclose(net.params["chem"]["log_gain"], [np.log(4.0), 0.0, 0.0])


def test_pairs_of_types_of_gap_junctions_have_no_order(tiny):
    net = build(tiny, spec(CHEMICAL, replace(GAP, tie_by=("pre.cell_class", "post.cell_class"))))
    projection = net.projection("gap")
    assert projection.types == (("A", "B"), ("A", "C"))
    by_edge = dict(
        zip(zip(projection.pre_index, projection.post_index, strict=True), projection.type_index, strict=True)
    )
    assert all(by_edge[i, j] == by_edge[j, i] for i, j in by_edge)


def test_unknown_signs_are_refused_assumed_or_dropped_as_the_rule_says(tiny, edge_weights):
    with pytest.raises(SettingError, match=r"unknown sign: 'C -> A1 \(chemical\)' \(1 in all\)"):
        build(tiny, spec(replace(CHEMICAL, unknown_sign="error"), GAP))
    assert edge_weights(build(tiny, spec(replace(CHEMICAL, unknown_sign=-1), GAP)), "chem")["C", "A1"] == -6
    assert ("C", "A1") not in edge_weights(build(tiny, spec(replace(CHEMICAL, unknown_sign="drop"), GAP)), "chem")


def test_reverse_rule_couples_back_along_the_same_contacts_without_their_sign(tiny, edge_weights):
    back = replace(CHEMICAL, name="back", direction="reverse", normalise="post_sum", tie_by="post.cell_class")
    net = build(tiny, spec(CHEMICAL, GAP, back))
    assert edge_weights(net, "chem") == edge_weights(build(tiny, spec(CHEMICAL, GAP)), "chem")
    # B sends 2 to itself and 5 to C: what comes back to it is divided by 7. A1 sends 4 to A2 and 1 to B.
    assert edge_weights(net, "back") == pytest.approx(
        {("A2", "A1"): 4 / 5, ("B", "A1"): 1 / 5, ("B", "A2"): 1, ("B", "B"): 2 / 7, ("C", "B"): 5 / 7, ("A1", "C"): 1}
    )
    with pytest.raises(SettingError, match="gap junctions go both ways"):
        replace(GAP, direction="reverse")


def test_every_neuron_has_to_be_claimed_exactly_once(tiny):
    part, other = replace(ALL, where="cell_class == 'A'"), replace(ALL, name="more", where="cell_class != 'B'")
    with pytest.raises(SettingError, match=r"claims neurons 'B', 'C' \(2 in all\)"):
        build(tiny, spec(CHEMICAL, GAP, neurons=(part,)))
    with pytest.raises(SettingError, match=r"\(cells, more\) claim neurons 'A1', 'A2' \(2 in all\)"):
        build(tiny, spec(CHEMICAL, GAP, neurons=(part, other, replace(ALL, name="b", where="cell_class == 'B'"))))


def test_edges_are_claimed_once_and_left_out_only_where_the_spec_says_so(tiny):
    with pytest.raises(SettingError, match="No edge rule of 'model' claims edges 'A1 -> B"):
        build(tiny, spec(CHEMICAL))
    assert [p.name for p in build(tiny, spec(CHEMICAL, unclaimed_edges="drop")).projections] == ["chem"]
    with pytest.raises(SettingError, match="'chem' and 'again' both claim"):
        build(tiny, spec(CHEMICAL, GAP, replace(CHEMICAL, name="again", where="pre == 'A1' and kind == 'chemical'")))
    with pytest.raises(SettingError, match="takes chemical edges"):
        build(tiny, spec(replace(CHEMICAL, where=None)))


def test_edge_rules_select_by_count_sign_and_the_classes_at_both_ends(tiny, edge_weights):
    rule = replace(CHEMICAL, where="kind == 'chemical' and count > 2 and sign == 1 and post.cell_class == 'B'")
    assert edge_weights(build(tiny, spec(rule, unclaimed_edges="drop")), "chem") == {("A2", "B"): 3}


def test_two_populations_make_one_projection_for_each_pair_that_is_joined(tiny, edge_weights):
    rules = (replace(ALL, name="a", where="cell_class == 'A'"), replace(ALL, name="rest", where="cell_class != 'A'"))
    net = build(tiny, spec(CHEMICAL, GAP, neurons=rules))
    assert edge_weights(net, "chem:a->a") == {("A1", "A2"): 4}
    assert edge_weights(net, "chem:a->rest") == {("A1", "B"): 1, ("A2", "B"): 3}
    assert edge_weights(net, "chem:rest->rest") == {("B", "B"): -2, ("B", "C"): -5}
    assert edge_weights(net, "chem:rest->a") == {("C", "A1"): 6}
    one = build(tiny, spec(CHEMICAL, GAP))
    settings = {"duration_ms": 30.0, "dt_ms": 1.0, "stimuli": (Step("B", 1.0),)}
    split, whole = simulate(net, **settings), simulate(one, **settings)
    np.testing.assert_allclose(split.trace("v", list(one.ids)), whole.trace("v"), atol=1e-5)


def test_delay_by_distance_is_distance_over_velocity_rounded(tiny):
    delay = Distance(10.0, ("x_um", "y_um"), minimum_ms=0.5, resolution_ms=0.5)
    net = build(tiny, spec(replace(CHEMICAL, delay_ms=delay), GAP))
    found = {}
    chemical, gap = net.projections
    for i, j, delay_ms in zip(chemical.pre_index, chemical.post_index, chemical.edge_delay_ms, strict=True):
        found[net.ids[i], net.ids[j]] = delay_ms
    # Distances: A1-A2 50, A1-B 0, A2-B 50, B-B 0, B-C 100, C-A1 100 µm.
    assert found == {
        ("A1", "A2"): 5.0, ("A1", "B"): 0.5, ("A2", "B"): 5.0, ("B", "B"): 0.5, ("B", "C"): 10.0, ("C", "A1"): 10.0,
    }  # fmt: skip
    assert (chemical.delay_ms, chemical.longest_delay_ms, gap.edge_delay_ms) == (0.5, 10.0, None)


@pytest.mark.parametrize(
    ("params", "tie_by", "error", "message"),
    [
        ({"tau_m_ms": Column("tua")}, "cell_class", UnknownNameError, "Did you mean 'tau'"),
        ({"v_rest": Column("x_um")}, "cell_class", SettingError, "several values within one type: 'A: 0 and 30'"),
        ({"v_rest": Column("cell_class")}, "cell_class", SettingError, "row 0: 'A'"),
        ({"v_rest": ByType("cell_class", {"A": 1.0})}, "cell_class", SettingError, "no value for values 'B', 'C'"),
        ({"v_rest": ByType("cell_class", {"AA": 1.0}, 0.0)}, "cell_class", UnknownNameError, "Did you mean 'A'"),
        ({"tau_m_ms": Column("x_um")}, "id", SettingError, r"above 0 \[ms\]; found 'A1 = 0'"),
        ({}, "cell_clas", UnknownNameError, "Did you mean 'cell_class'"),
    ],
)
def test_values_that_cannot_be_had_are_named(tiny, params, tie_by, error, message):
    with pytest.raises(error, match=message):
        build(tiny, spec(CHEMICAL, GAP, neurons=(replace(ALL, params=params, tie_by=tie_by),)))


def test_missing_values_of_the_tying_column_are_refused(tiny):
    neurons = tiny.neurons.set_column(1, "cell_class", [["A", None, "B", "C"]])
    with pytest.raises(SettingError, match=r"no value in rows 1 \(1 in all\)"):
        build(replace(tiny, neurons=neurons), spec(CHEMICAL, GAP))


def test_network_keeps_the_columns_for_selections(tiny):
    net = build(tiny, spec(CHEMICAL, GAP))
    recording = simulate(net, duration_ms=2.0, dt_ms=1.0, stimuli=(Step(Where("cell_class == 'A'"), 1.0),))
    first = recording.trace("v")[0]
    assert (first[:2] > 0).all()
    assert (first[2:] == 0).all()
