"""Conditions of tasks: the part of Google's Common Expression Language that TFX's `Cond` compiles to."""

import ast
import operator
import re
from typing import Any

from blendinator.errors import DataError

_COMPARE = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}


def evaluate(condition: str, names: dict) -> bool:
    """Whether a condition holds.

    Args:
      condition: such as "(inputs.artifacts['blessing'].artifacts[0].metadata['blessed'] == 1.0)", with comparisons, &&,
        ||, ! and parentheses.
      names: what the names in it stand for, as nested dictionaries and lists.

    Raises:
      DataError: it has another syntax, or names something that is not there.
    """
    # Python's syntax, save for three operators. Text in quotes is left alone.
    pieces = re.split(r"('(?:[^'\\]|\\.)*')", condition)
    for i in range(0, len(pieces), 2):
        text = pieces[i].replace("&&", " and ").replace("||", " or ")
        pieces[i] = re.sub(r"!(?!=)", " not ", text).replace("true", "True").replace("false", "False")
    try:
        return bool(_value(ast.parse("".join(pieces).strip(), mode="eval").body, names))
    except (SyntaxError, KeyError, IndexError, TypeError) as error:
        raise DataError(f"condition {condition!r}: this cannot be evaluated ({error!r}). Compile the pipeline again.")


def _value(node: ast.expr, names: Any) -> Any:
    if isinstance(node, ast.Constant):
        return node.value
    if isinstance(node, ast.Name):
        return names[node.id]
    if isinstance(node, ast.Attribute):
        return _value(node.value, names)[node.attr]
    if isinstance(node, ast.Subscript):
        return _value(node.value, names)[_value(node.slice, names)]
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        return not _value(node.operand, names)
    if isinstance(node, ast.BoolOp):
        values = (_value(operand, names) for operand in node.values)
        return all(values) if isinstance(node.op, ast.And) else any(values)
    if isinstance(node, ast.Compare) and len(node.ops) == 1 and type(node.ops[0]) in _COMPARE:
        return _COMPARE[type(node.ops[0])](_value(node.left, names), _value(node.comparators[0], names))
    raise SyntaxError(f"{type(node).__name__} is not part of such conditions")
