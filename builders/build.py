"""A connectome and a specification make a network: neurons become populations, edges projections in CSR."""

from __future__ import annotations

from typing import Any, get_args

import numpy as np
import pyarrow as pa
from jaxtyping import Bool, Float, Int

from connectofit.builders.spec import GAIN, ByType, Delays, Direction, Distance, EdgeRule, ModelSpec, NeuronRule
from connectofit.builders.values import column_of, tied_values, types_of
from connectofit.connectome import KINDS, Connectome
from connectofit.connectome.errors import SettingError, offenders, unknown_name
from connectofit.sim import Network, Population, Projection, check_network


def build(connectome: Connectome, spec: ModelSpec) -> Network:
    """Build the network that `spec` makes of `connectome`, with the anatomists' ids.

    One population for each neuron rule that claims neurons, one projection for each edge rule and pair of populations
    that it joins. Parameters are float64 on the host; weights float32.

    Raises
    ------
    SettingError: neurons that no rule or several rules claim; edges that several rules claim, or none where
        `spec.unclaimed_edges` is "error"; edges of unknown sign; values that are missing or not allowed.
    UnknownNameError: columns that do not exist.
    """
    owner = _neuron_claims(connectome, spec)
    populations, params, local = [], {}, np.zeros(connectome.n_neurons, np.int64)
    for k, rule in enumerate(spec.neurons):
        members = np.flatnonzero(owner == k)
        if members.size:
            local[members] = np.arange(members.size)
            population, values = _population(connectome, rule, members)
            populations.append(population)
            params[rule.name] = values
    claims = {direction: _edge_claims(connectome, spec, direction) for direction in get_args(Direction)}
    count, forward = connectome.count.astype(np.float64), claims["forward"][0] >= 0
    total = np.bincount(connectome.post[forward], count[forward], minlength=connectome.n_neurons)
    projections = []
    for k, edge_rule in enumerate(spec.edges):
        claimed, sign = claims[edge_rule.direction]
        edges = np.flatnonzero(claimed == k)
        sources, targets = _ends(connectome, edge_rule, edges)
        weight = (
            sign[edges] * _normalised(edge_rule, count[edges], targets, total) * _sizes(connectome, edge_rule, edges)
        )
        delay = _delays(connectome, edge_rule, edges)
        pre_owner, post_owner = owner[sources], owner[targets]
        for pair in np.unique(pre_owner.astype(np.int64) * len(spec.neurons) + post_owner):
            pre, post = divmod(int(pair), len(spec.neurons))
            chosen = (pre_owner == pre) & (post_owner == post)
            ends = (spec.neurons[pre].name, spec.neurons[post].name)
            name = edge_rule.name if len(spec.neurons) == 1 else f"{edge_rule.name}:{ends[0]}->{ends[1]}"
            n_pre = int(np.sum(owner == pre))
            projection, values = _projection(
                connectome, edge_rule, name, ends, edges[chosen], weight[chosen], local, n_pre, delay[chosen]
            )
            projections.append(projection)
            params[name] = values
    net = Network(tuple(populations), tuple(projections), params)
    check_network(net)
    return net


def _neuron_claims(connectome: Connectome, spec: ModelSpec) -> Int[np.ndarray, " neuron"]:
    """Which neuron rule claims each neuron; an error unless it is exactly one."""
    claims = np.zeros((len(spec.neurons), connectome.n_neurons), bool)
    for k, rule in enumerate(spec.neurons):
        claims[k, slice(None) if rule.where is None else connectome.select_neurons(rule.where)] = True
    times = claims.sum(axis=0)
    if np.any(times == 0):
        raise SettingError(
            f"No neuron rule of {spec.name!r} claims neurons {offenders(_ids(connectome, times == 0))}. Every neuron "
            "has to be claimed by exactly one rule: widen a rule's 'where', add a rule, or select a part of the "
            "connectome first."
        )
    if np.any(times > 1):
        rules = [rule.name for rule, row in zip(spec.neurons, claims, strict=True) if np.any(row & (times > 1))]
        raise SettingError(
            f"Several neuron rules of {spec.name!r} ({', '.join(rules)}) claim neurons "
            f"{offenders(_ids(connectome, times > 1))}. Every neuron has to be claimed by exactly one: narrow 'where'."
        )
    return claims.argmax(axis=0)


def _ends(
    connectome: Connectome, rule: EdgeRule, edges: Int[np.ndarray, " edge"]
) -> tuple[Int[np.ndarray, " edge"], Int[np.ndarray, " edge"]]:
    """The neurons that send and receive through these edges, in the rule's direction."""
    ends = connectome.pre[edges], connectome.post[edges]
    return ends if rule.direction == "forward" else (ends[1], ends[0])


def _edge_claims(
    connectome: Connectome, spec: ModelSpec, direction: Direction
) -> tuple[Int[np.ndarray, " edge"], Int[np.ndarray, " edge"]]:
    """(rule of this direction that claims each edge, -1 for none; the sign of its weight)."""
    claimed = np.full(connectome.n_edges, -1)
    sign = connectome.sign.astype(np.int64)
    for k, rule in enumerate(spec.edges):
        if rule.direction != direction:
            continue
        mine = np.zeros(connectome.n_edges, bool)
        mine[slice(None) if rule.where is None else connectome.select_edges(rule.where)] = True
        twice = np.flatnonzero(mine & (claimed >= 0))
        if twice.size:
            raise SettingError(
                f"Edge rules {spec.edges[claimed[twice[0]]].name!r} and {rule.name!r} both claim edges "
                f"{offenders(_edge_names(connectome, twice))}. An edge can have one synapse: narrow their 'where'."
            )
        claimed[mine] = k
        _check_kind(connectome, rule, mine)
        if rule.synapse_model().positive or direction == "reverse":  # conductances have no sign
            sign[mine] = 1
        unknown = np.flatnonzero(mine & (sign == 0))
        if unknown.size and rule.unknown_sign == "error":
            raise SettingError(
                f"Edge rule {rule.name!r} claims edges of unknown sign: "
                f"{offenders(_edge_names(connectome, unknown))}. Give the rule unknown_sign = 1, -1 or 'drop', leave "
                'them out with where = "... and sign != 0", or settle signs when reading the tables.'
            )
        if unknown.size and rule.unknown_sign == "drop":
            claimed[unknown] = -2
        elif unknown.size:
            sign[unknown] = int(rule.unknown_sign)
    nobody = np.flatnonzero(claimed == -1)
    if direction == "forward" and nobody.size and spec.unclaimed_edges == "error":
        raise SettingError(
            f"No edge rule of {spec.name!r} claims edges {offenders(_edge_names(connectome, nobody))}. Widen a "
            "rule's 'where', "
            'add a rule, or set unclaimed_edges = "drop".'
        )
    return claimed, sign


def _check_kind(connectome: Connectome, rule: EdgeRule, mine: Bool[np.ndarray, " edge"]) -> None:
    wanted = "electrical" if rule.synapse_model().electrical else "chemical"
    other = np.flatnonzero(mine & (connectome.kind != KINDS.index(wanted)))
    if other.size:
        raise SettingError(
            f"Edge rule {rule.name!r} has a {rule.synapse} synapse, which takes {wanted} edges, and claims edges of "
            f'the other kind: {offenders(_edge_names(connectome, other))}. Narrow it with where = "kind == '
            f"'{wanted}'\"."
        )


def _population(
    connectome: Connectome, rule: NeuronRule, members: Int[np.ndarray, " member"]
) -> tuple[Population, dict[str, Float[np.ndarray, " type"]]]:
    where = f"neuron rule {rule.name!r}"
    table = connectome.neurons.take(pa.array(members))
    columns = {} if rule.tie_by is None else {rule.tie_by: column_of(table, rule.tie_by, f"tie_by of {where}")}
    type_index, types = types_of(columns, members.size, where)
    model = rule.neuron_model()
    values = {
        name: tied_values(name, rule.params.get(name), described, table, type_index, types, where)
        for name, described in model.parameters.items()
    }
    ids = tuple(table.column("id").to_pylist())
    return Population(rule.name, model, ids, type_index, types, table), values


def _normalised(
    rule: EdgeRule,
    count: Float[np.ndarray, " edge"],
    post: Int[np.ndarray, " edge"],
    total: Float[np.ndarray, " neuron"],
) -> Float[np.ndarray, " edge"]:
    if rule.normalise == "none":
        return count
    sums = total if rule.normalise == "total_post" else np.bincount(post, count, minlength=total.size)
    # A neuron whose counts are all 0 has weights of 0, not 0 / 0.
    return count / np.where(sums > 0, sums, 1.0)[post]


def _sizes(
    connectome: Connectome, rule: EdgeRule, edges: Int[np.ndarray, " edge"]
) -> Float[np.ndarray, " edge"] | float:
    """The size of one synapse of each edge."""
    if rule.weight is None:
        return 1.0
    return _edge_values(connectome, rule.weight, edges, f"the weight of edge rule {rule.name!r}", "0 or more")


def _edge_values(
    connectome: Connectome, column: str, edges: Int[np.ndarray, " edge"], place: str, wanted: str
) -> Float[np.ndarray, " edge"]:
    """Numbers of 0 or more from a column of the edges; an error that names the edges without one."""
    table = connectome.edge_columns
    if column not in table.column_names:
        raise unknown_name("column", column, table.column_names, place)
    found = table.column(column)
    if not (pa.types.is_integer(found.type) or pa.types.is_floating(found.type)):
        raise SettingError(
            f"{place[0].upper()}{place[1:]} comes from column {column!r}, which is of type {found.type}. Name a column "
            "of numbers."
        )
    values = found.cast(pa.float64()).to_numpy()[edges]
    wrong = np.flatnonzero(~(np.isfinite(values) & (values >= 0)))
    if wrong.size:
        names = _edge_names(connectome, edges[wrong[:5]])
        shown = [f"{name}: {values[e]:g}" for name, e in zip(names, wrong[:5], strict=True)]
        raise SettingError(
            f"{place[0].upper()}{place[1:]} has to be {wanted} for every edge; {wrong.size} edges have none or another "
            f"value in column {column!r}: {', '.join(shown)}{', ...' if wrong.size > 5 else ''}. Correct them, or "
            "leave these edges out."
        )
    return values


def _delays(connectome: Connectome, rule: EdgeRule, edges: Int[np.ndarray, " edge"]) -> Float[np.ndarray, " edge"]:
    """The delay of each edge in ms."""
    spec, place = rule.delay_ms, f"the delay of edge rule {rule.name!r}"
    if isinstance(spec, Delays):
        delay = _edge_values(connectome, spec.column, edges, place, "0 ms or more")
        return _rounded(delay, spec.resolution_ms, rule)
    if not isinstance(spec, Distance):
        return np.full(edges.size, float(spec))
    columns = [column_of(connectome.neurons, name, place) for name in spec.columns]
    position = np.array([[np.nan if x is None else x for x in column] for column in columns], np.float64).T
    used = np.zeros(connectome.n_neurons, bool)
    used[connectome.pre[edges]] = used[connectome.post[edges]] = True
    lost = used & ~np.isfinite(position).all(axis=1)
    if lost.any():
        raise SettingError(
            f"{place[0].upper()}{place[1:]} needs positions, which neurons {offenders(_ids(connectome, lost))} lack "
            f"in columns {list(spec.columns)}. Add them, or give the rule a constant delay."
        )
    distance_um = np.linalg.norm(position[connectome.pre[edges]] - position[connectome.post[edges]], axis=1)
    return _rounded(np.maximum(distance_um / spec.velocity_um_per_ms, spec.minimum_ms), spec.resolution_ms, rule)


def _rounded(delay_ms: Float[np.ndarray, " edge"], resolution_ms: float, rule: EdgeRule) -> Float[np.ndarray, " edge"]:
    """To the nearest multiple of the resolution, of spikes at least one."""
    steps = np.round(delay_ms / resolution_ms)
    if rule.synapse_model().spiking:
        steps = np.maximum(steps, 1)
    # Rounded so that 3 * 0.1 and 0.3 are one delay.
    return np.round(steps * resolution_ms, 9)


def _projection(
    connectome: Connectome,
    rule: EdgeRule,
    name: str,
    ends: tuple[str, str],
    edges: Int[np.ndarray, " edge"],
    weight: Float[np.ndarray, " edge"],
    local: Int[np.ndarray, " neuron"],
    n_pre: int,
    delay_ms: Float[np.ndarray, " edge"],
) -> tuple[Projection, dict[str, Float[np.ndarray, " type"]]]:
    where = f"edge rule {rule.name!r}"
    synapse = rule.synapse_model()
    names = dict(zip(("pre", "post"), _ends(connectome, rule, edges), strict=True))
    columns: dict[str, list[Any]] = {}
    for column in rule.tie_columns:
        end, _, attribute = column.partition(".")
        found = column_of(connectome.neurons, attribute, f"tie_by of {where}")
        columns[column] = [found[k] for k in names[end]]
    table = pa.table({column: pa.array(values) for column, values in columns.items()})
    if synapse.electrical and len(columns) == 2:
        # A gap junction is one thing seen from two sides: its pair of types has no order.
        pairs = [sorted(pair) if None not in pair else pair for pair in zip(*columns.values(), strict=True)]
        columns = {column: [pair[k] for pair in pairs] for k, column in enumerate(columns)}
    type_index, types = types_of(columns, edges.size, where)
    if isinstance(rule.gain, ByType):
        gain = tied_values("gain", rule.gain, GAIN, table, type_index, types, where)
    else:
        gain = np.full(len(types), float(rule.gain))
    pre = local[names["pre"]]
    order = np.argsort(pre, kind="stable")
    indptr = np.concatenate([[0], np.cumsum(np.bincount(pre, minlength=n_pre))])
    projection = Projection(
        name=name,
        pre=ends[0],
        post=ends[1],
        synapse=synapse,
        indptr=indptr.astype(np.int32),
        post_index=local[names["post"]][order].astype(np.int32),
        base_weight=weight[order].astype(np.float32),
        type_index=type_index[order],
        types=types,
        delay_ms=float(delay_ms.min()),
        reverse=rule.direction == "reverse",
        plasticity=rule.plasticity_model(),
        edge_delay_ms=delay_ms[order] if np.ptp(delay_ms) else None,
        longest_delay_ms=float(delay_ms.max()) if np.ptp(delay_ms) else None,
    )
    described = projection.parameters
    values = {k: np.full(1, float(rule.params.get(k, described[k].default))) for k in described}
    return projection, {"log_gain": np.log(gain), **values}


def _ids(connectome: Connectome, chosen: Bool[np.ndarray, " neuron"]) -> list[object]:
    return [connectome.ids[k] for k in np.flatnonzero(chosen)]


def _edge_names(connectome: Connectome, edges: Int[np.ndarray, " edge"]) -> list[str]:
    ids, pre, post = connectome.ids, connectome.pre, connectome.post
    return [f"{ids[pre[e]]} -> {ids[post[e]]} ({KINDS[connectome.kind[e]]})" for e in edges]
