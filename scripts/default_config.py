"""Writes configs/default.yaml from the dataclasses of blendinator/config.py: their defaults, limits and comments.

    python scripts/default_config.py

A comment after a field, or before it on lines of its own, is its explanation; a class's docstring that of its section.
"""

import ast
import dataclasses
import re
import textwrap
import tokenize
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from blendinator import config as module
from blendinator.config import Config

SOURCE = Path(module.__file__)
TARGET = Path(__file__).resolve().parent.parent / "configs" / "default.yaml"
HEADER = """\
# Every key with its default, what it means, and in brackets what is allowed.
# A configuration file needs to name only what it changes.
# Made by scripts/default_config.py from blendinator/config.py: change that file, and run the script.
"""
UNBOUNDED = 1e6  # an upper limit from here on guards against slips only, and is not shown
WIDTH = 120


@dataclasses.dataclass(frozen=True)
class Comments:
    """Of one field: on lines before it, and after its value."""

    before: str = ""
    after: str = ""


def read_comments(path: Path = SOURCE) -> dict[tuple[str, str], Comments]:
    """The comments of each field, by the names of class and field."""
    with open(path, "rb") as file:
        tokens = [token for token in tokenize.tokenize(file.readline) if token.type == tokenize.COMMENT]
    own = {token.start[0]: token.string[1:].strip() for token in tokens if not token.line[: token.start[1]].strip()}
    trailing = {token.start[0]: token.string[1:].strip() for token in tokens if token.start[0] not in own}
    found = {}
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        for item in node.body if isinstance(node, ast.ClassDef) else ():
            if not isinstance(item, ast.AnnAssign) or not isinstance(item.target, ast.Name):
                continue
            before, line = [], item.lineno - 1
            while line in own:
                before.insert(0, own[line])
                line -= 1
            after = [trailing[line] for line in range(item.lineno, (item.end_lineno or 0) + 1) if line in trailing]
            found[node.name, item.target.id] = Comments(" ".join(before), " ".join(after))
    return found


def default_yaml() -> str:
    """The text of configs/default.yaml."""
    return HEADER + "\n".join(_section(Config(), "", read_comments())) + "\n"


def _section(config: Any, indent: str, comments: dict[tuple[str, str], Comments]) -> Iterator[str]:
    for field in dataclasses.fields(config):
        value, comment = getattr(config, field.name), comments[type(config).__name__, field.name]
        if dataclasses.is_dataclass(value):
            yield from [""] if not indent else []
            yield from _comment(_explanation(type(value)), indent)
            yield f"{indent}{field.name}:"
            yield from _section(value, indent + "  ", comments)
            continue
        item = _item_type(type(config), field)
        if item is not None:
            yield from _comment(_explanation(item), indent)
            for key in dataclasses.fields(item):
                found = comments[item.__name__, key.name]
                text = _joined((found.before or found.after).removesuffix("."), _allowed(key))
                yield from _comment(f"{key.name}: {text}" if text else key.name, indent, hanging=2)
            yield f"{indent}{field.name}:" + ("" if value else " []")
            yield from (f"{indent}  - {entry}" for entry in _entries(value))
            continue
        yield from _comment(comment.before, indent) if comment.before else []
        text = _joined(comment.after, _allowed(field))
        yield f"{indent}{field.name}: {_flow(value)}" + (f"  # {text}" if text else "")


def _explanation(section: type) -> str:
    """The first paragraph of a class's docstring."""
    return " ".join((section.__doc__ or "").split("\n\n")[0].split())


def _comment(text: str, indent: str, hanging: int = 0) -> list[str]:
    """Comment lines; with `hanging` further indented, those after the first twice."""
    first = f"{indent}# {' ' * hanging}"
    return textwrap.wrap(
        text, WIDTH, initial_indent=first, subsequent_indent=first + " " * hanging, break_on_hyphens=False
    )


def _joined(text: str, allowed: str) -> str:
    return " ".join(part for part in (text, allowed) if part)


def _allowed(field: dataclasses.Field) -> str:
    """The limits of a field, in brackets; nothing where it has none."""
    low, high, choices = (field.metadata.get(name) for name in ("low", "high", "choices"))
    if choices:
        return f"[{' | '.join(choices)}]"
    if low is None:
        return ""
    return f"[at least {low:g}]" if high >= UNBOUNDED else f"[{low:g} to {high:g}]"


def _item_type(section: type, field: dataclasses.Field) -> type | None:
    """The dataclass that a field is a list of; None for other fields."""
    match = re.fullmatch(r"tuple\[.*?(\w+), \.\.\.\]", str(field.type).replace(f"{module.__name__}.", ""))
    item = getattr(module, match[1], None) if match else None
    return item if dataclasses.is_dataclass(item) else None


def _entries(items: tuple) -> Iterator[str]:
    """Each as a mapping in one line, with the keys that differ from their defaults in any of them."""
    fields = [
        field.name
        for field in (dataclasses.fields(items[0]) if items else ())
        if any(getattr(item, field.name) != field.default for item in items)
    ]
    for item in items:
        values = {name: getattr(item, name) for name in fields if getattr(item, name) is not None}
        yield "{" + ", ".join(f"{name}: {_flow(value)}" for name, value in values.items()) + "}"


def _flow(value: Any) -> str:
    """A value in one line, as YAML 1.1 reads it: 1e-05 is text there."""
    if isinstance(value, (tuple, list)):
        return f"[{', '.join(map(_flow, value))}]"
    if isinstance(value, float):
        return re.sub(r"^(-?\d+)e", r"\1.0e", repr(value))
    if isinstance(value, str) and not value:
        return '""'
    return yaml.safe_dump(value, default_flow_style=True).split("\n")[0]


if __name__ == "__main__":
    TARGET.write_text(default_yaml(), encoding="utf-8")
