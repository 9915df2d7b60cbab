"""Expressions over table columns, such as ``"cell_class == 'AVA' and x_um > 0"``, compiled to Arrow expressions.

The text is parsed as Python and only a small part of the grammar is let through; nothing is ever evaluated as code.
"""

from __future__ import annotations

import ast
import functools
import operator
from collections.abc import Iterable
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from connectofit.connectome.errors import SettingError, unknown_name

_GRAMMAR = (
    "Allowed are column names, texts in quotes, numbers, True, False, ==, !=, <, <=, >, >=, in (...), not in (...), "
    "is None, is not None, and, or, not, and parentheses."
)
_FLIPPED: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Eq: ast.Eq,
    ast.NotEq: ast.NotEq,
    ast.Lt: ast.Gt,
    ast.LtE: ast.GtE,
    ast.Gt: ast.Lt,
    ast.GtE: ast.LtE,
}
_LARGEST_EXACT_FLOAT = 2.0**53


class _Operand(NamedTuple):
    """One side of a comparison: a column or a literal; `sort` is text, number or truth value."""

    expression: pc.Expression
    sort: str
    column: str = ""
    type: pa.DataType | None = None
    value: Any = None


def compile_expression(text: str, schema: pa.Schema, *, options: Iterable[str] = ()) -> pc.Expression:
    """Compile `text` against the columns of `schema`.

    A missing value equals nothing and is in no list: ``==``, ``<`` and ``in`` are false for it, ``!=`` and ``not in``
    true, so that an expression and its ``not`` always divide the rows in two. A column of truth values may stand alone.
    Names with a dot (``pre.cell_class``) are columns of that name.

    Parameters
    ----------
    text
        The expression.
    schema
        The table's columns and types.
    options
        Further column names to suggest for a misspelt one.

    Raises
    ------
    UnknownNameError
        For a column that the schema does not have; names the nearest.
    SettingError
        For anything outside the grammar, and for comparisons between different sorts, e.g. text with a number.
    """
    return _Compiler(text, schema, tuple(options)).condition(_parse(text))


def column_names(text: str) -> tuple[str, ...]:
    """The names that stand in the expression `text`, each once, in order."""
    names: dict[str, None] = {}

    def visit(node: ast.AST) -> None:
        name = _dotted(node)
        if name is not None:
            names[name] = None
            return
        for child in ast.iter_child_nodes(node):
            visit(child)

    visit(_parse(text))
    return tuple(names)


_LONGEST = 20_000  # of longer ones, Python and Arrow exhaust the stack


def _parse(text: str) -> ast.expr:
    if not isinstance(text, str) or not text.strip():
        raise SettingError(f"An expression must be a text such as \"cell_class == 'AVA'\"; it is {text!r}.")
    if len(text) > _LONGEST:
        raise SettingError(
            f"An expression has at most {_LONGEST:,} characters; this one has {len(text):,} and begins {text[:60]!r}. "
            "Put what it selects by into a column."
        )
    try:
        return ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        hint = " Compare with '==', not '='." if "=" in text and "==" not in text else ""
        raise SettingError(f"The expression {text!r} cannot be parsed: {error}.{hint} {_GRAMMAR}") from error


def _dotted(node: ast.AST) -> str | None:
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        parent = _dotted(node.value)
        return None if parent is None else f"{parent}.{node.attr}"
    return None


class _Compiler:
    def __init__(self, text: str, schema: pa.Schema, options: tuple[str, ...]) -> None:
        self.text, self.schema, self.options = text, schema, options

    def refuse(self, reason: str) -> SettingError:
        return SettingError(f"The expression {self.text!r} is not valid: {reason} {_GRAMMAR}")

    def condition(self, node: ast.expr) -> pc.Expression:
        """An expression that is true or false, never null."""
        if isinstance(node, ast.BoolOp):
            parts = [self.condition(value) for value in node.values]
            result = parts[0]
            for part in parts[1:]:
                result = result & part if isinstance(node.op, ast.And) else result | part
            return result
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            return ~self.condition(node.operand)
        if isinstance(node, ast.Compare):
            return self.comparison(node)
        if isinstance(node, ast.Constant) and isinstance(node.value, bool):
            return pc.scalar(node.value)
        if _dotted(node) is not None:
            operand = self.operand(node)
            if operand.sort != "truth value":
                raise self.refuse(f"{operand.column!r} holds {operand.type}; compare it with something.")
            return pc.coalesce(operand.expression, pc.scalar(False))
        raise self.refuse(f"{ast.unparse(node)!r} is not a condition.")

    def comparison(self, node: ast.Compare) -> pc.Expression:
        lefts = [node.left, *node.comparators[:-1]]
        parts = [self.pair(*sides) for sides in zip(lefts, node.ops, node.comparators, strict=True)]
        return functools.reduce(operator.and_, parts)

    def pair(self, left: ast.expr, relation: ast.cmpop, right: ast.expr) -> pc.Expression:
        if isinstance(relation, ast.Is | ast.IsNot):
            if not (isinstance(right, ast.Constant) and right.value is None):
                raise self.refuse("'is' compares with None only; use '=='.")
            present = self.operand(left).expression.is_valid()
            return present if isinstance(relation, ast.IsNot) else ~present
        if isinstance(relation, ast.In | ast.NotIn):
            found = self.membership(left, right)
            return found if isinstance(relation, ast.In) else ~found
        one, two = self.operand(left), self.operand(right)
        if not one.column and two.column:
            one, two, relation = two, one, _FLIPPED[type(relation)]()
        self.check_sorts(one, two)
        a, b = one.expression, two.expression
        compared = {
            ast.Eq: lambda: a == b,
            ast.NotEq: lambda: a != b,
            ast.Lt: lambda: a < b,
            ast.LtE: lambda: a <= b,
            ast.Gt: lambda: a > b,
            ast.GtE: lambda: a >= b,
        }[type(relation)]()
        return pc.coalesce(compared, pc.scalar(isinstance(relation, ast.NotEq)))

    def membership(self, left: ast.expr, right: ast.expr) -> pc.Expression:
        if not isinstance(right, ast.Tuple | ast.List | ast.Set):
            raise self.refuse(f"'in' needs a list, such as ('a', 'b'), and not {ast.unparse(right)!r}.")
        one = self.operand(left)
        if not one.column:
            raise self.refuse(f"{ast.unparse(left)!r} before 'in' is not a column.")
        result = pc.scalar(False)
        others = [self.operand(item) for item in right.elts]
        for other in others:
            if other.column:
                raise self.refuse(f"the list after 'in' may hold texts and numbers only, and not {other.column!r}.")
            self.check_sorts(one, other)
        if one.sort == "text" and others:
            return one.expression.isin(pa.array([other.value for other in others], pa.string()))
        for other in others:
            result = result | pc.coalesce(one.expression == other.expression, pc.scalar(False))
        return result

    def operand(self, node: ast.expr) -> _Operand:
        name = _dotted(node)
        if name is not None:
            if name not in self.schema.names:
                raise unknown_name("column", name, [*self.schema.names, *self.options], f"the expression {self.text!r}")
            kind = self.schema.field(name).type
            return _Operand(pc.field(name), self.sort_of(name, kind), name, kind)
        sign = 1
        while isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.UAdd):
            sign, node = (-sign if isinstance(node.op, ast.USub) else sign), node.operand
        if isinstance(node, ast.Constant):
            value = node.value
            if isinstance(value, bool):
                return _Operand(pc.scalar(value), "truth value", value=value)
            if isinstance(value, str) and sign == 1:
                return _Operand(pc.scalar(value), "text", value=value)
            if isinstance(value, int) and not -(2**63) <= sign * value < 2**63:
                raise self.refuse(f"{sign * value} does not fit into 64 bits.")
            if isinstance(value, int | float):
                return _Operand(pc.scalar(sign * value), "number", value=sign * value)
            if value is None:
                raise self.refuse("compare with None by 'is None' or 'is not None'.")
        raise self.refuse(f"{ast.unparse(node)!r} is neither a column nor a text or number.")

    def sort_of(self, name: str, kind: pa.DataType) -> str:
        if pa.types.is_string(kind) or pa.types.is_large_string(kind):
            return "text"
        if pa.types.is_integer(kind) or pa.types.is_floating(kind):
            return "number"
        if pa.types.is_boolean(kind):
            return "truth value"
        if pa.types.is_null(kind):
            return "missing"
        raise self.refuse(f"the column {name!r} holds {kind}, which expressions cannot compare.")

    def check_sorts(self, one: _Operand, two: _Operand) -> None:
        if "missing" in (one.sort, two.sort):
            return
        if one.sort != two.sort:
            first = f"{one.column!r} holds {one.sort}" if one.column else f"{one.value!r} is {one.sort}"
            second = f"{two.column!r} holds {two.sort}" if two.column else f"{two.value!r} is {two.sort}"
            raise self.refuse(f"{first}, but {second}; they can never be equal.")
        whole = one.type is not None and pa.types.is_integer(one.type)
        if whole and isinstance(two.value, float) and abs(two.value) >= _LARGEST_EXACT_FLOAT:
            raise self.refuse(f"{two.value!r} is a float above 2^53, which names no exact integer; write its digits.")
