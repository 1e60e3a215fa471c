"""The text of a plan -> plain values: mappings, lists, texts and numbers. YAML allows more; that is refused by its line."""

from __future__ import annotations

import math
import re
from typing import Any

import yaml

from featherbench.harness.secrets import holds_secret

MOST_CHARACTERS = 200_000
MOST_VALUES = 20_000
"""With every alias counted as what it stands for"""
MOST_DEPTH = 20
LARGEST = 2**31 - 1
"""Seeds are 32-bit numbers in some libraries"""
LONGEST = 10_000
"""Characters of one text"""

LONGEST_NUMBER = 1_000
"""Digits; Python reads no more than some thousands"""

_CORE = "tag:yaml.org,2002:"
_KINDS = {_CORE + kind for kind in ("str", "int", "float", "bool", "null", "map", "seq", "merge")}
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")


class TextError(ValueError):
    """A value of the plan, or a line, is none that a plan may hold."""


class _Loader(yaml.SafeLoader):
    """The safe loader; what looks like a date stays a text."""

    yaml_implicit_resolvers = {
        first: [(tag, pattern) for tag, pattern in pairs if tag != _CORE + "timestamp"]
        for first, pairs in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        """Name the line of a value that is not what its tag says, such as `!!int x`."""
        try:
            return super().construct_object(node, deep)
        except (ValueError, KeyError) as error:
            raise _fault(node, "this is not of the kind that its tag says; leave the tag out") from error


def plain_values(text: str) -> Any:
    """Return the content of a plan's text.

    Raises: yaml.YAMLError or TextError, which name the line or the key.
    """
    if len(text) > MOST_CHARACTERS:
        raise TextError(f"a plan has at most {MOST_CHARACTERS:,} characters; given: {len(text):,}")
    for number, line in enumerate(text.split("\n"), start=1):
        if holds_secret(line):  # comments are stored as well; and no later message may quote the line
            raise TextError(f"line {number}: {_SECRET}")
        if found := re.search("[^\t\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", line):
            raise yaml.YAMLError(f"the character U+{ord(found[0]):04X} in line {number} is not allowed.")
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return None
        _measure(node, set(), {})
        content = loader.construct_document(node)
    except RecursionError:
        where = f"line {loader.get_mark().line + 1}"
        raise TextError(f"{where}: lists and mappings stand in each other more than {MOST_DEPTH} deep") from None
    finally:
        loader.dispose()
    _check_values(content, "")
    return content


_SECRET = (
    "a URL holds a password or token. Plans are stored and shown in reports; take it out and give it by the library's "
    "environment variables, or in fsspec's configuration (~/.config/fsspec)."
)


def _fault(node: yaml.Node, said: str) -> yaml.YAMLError:
    return yaml.MarkedYAMLError(problem=said, problem_mark=node.start_mark)


def _measure(node: yaml.Node, around: set[int], known: dict[int, tuple[int, int]]) -> tuple[int, int]:
    """Return how many values a node stands for, and how deep they go; aliases are the same node again.

    Raises: yaml.YAMLError for what no plan needs, before anything is built.
    """
    if id(node) in around:
        raise _fault(node, "this value holds itself; write it out")
    if id(node) in known:
        return known[id(node)]
    if node.tag not in _KINDS:
        raise _fault(node, f"a plan holds plain values only; leave out the tag {node.tag.replace(_CORE, '!!')}")
    inside: list[yaml.Node] = []
    if isinstance(node, yaml.MappingNode):
        _check_keys(node)
        inside = [value for _, value in node.value]
    elif isinstance(node, yaml.SequenceNode):
        inside = list(node.value)
    elif node.tag == _CORE + "int" and len(node.value) > LONGEST_NUMBER:
        raise _fault(node, f"a whole number is at most {LARGEST}; given: {len(node.value)} digits")
    measures = [_measure(child, around | {id(node)}, known) for child in inside]
    values, depth = 1 + sum(v for v, _ in measures), 1 + max((d for _, d in measures), default=0)
    if values > MOST_VALUES:
        raise _fault(node, f"this stands for more than {MOST_VALUES:,} values, with its aliases written out")
    if depth > MOST_DEPTH:
        raise _fault(node, f"lists and mappings stand in each other more than {MOST_DEPTH} deep; make it flatter")
    known[id(node)] = values, depth
    return values, depth


def _check_keys(node: yaml.MappingNode) -> None:
    lines: dict[str, int] = {}
    for key, _ in node.value:
        if not isinstance(key, yaml.ScalarNode) or key.tag not in (_CORE + "str", _CORE + "merge"):
            what = repr(key.value) if isinstance(key, yaml.ScalarNode) else "which is a list or a mapping"
            raise _fault(key, f"the key {what} is no text; names are meant, such as methods, or quote it")
        if key.value in lines:
            first = lines[key.value]
            raise _fault(key, f"the key {key.value!r} stands there twice, first in line {first}; remove one")
        lines[key.value] = key.start_mark.line + 1


def _check_values(value: Any, key: str) -> None:
    """Refuse what no field can take and some would only stumble over later. `key` is the place, e.g. "methods.0.row"."""
    place = key or "the plan"
    if isinstance(value, dict):
        for name, inner in value.items():
            _check_text(name, place)
            _check_values(inner, f"{key}.{name}".lstrip("."))
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            _check_values(inner, f"{key}.{number}".lstrip("."))
    elif isinstance(value, str):
        _check_text(value, place)
    elif isinstance(value, float) and not math.isfinite(value):
        raise TextError(f"{place}: numbers are finite; given: {value}")
    elif isinstance(value, int) and abs(value) > LARGEST:
        raise TextError(f"{place}: a whole number is at most {LARGEST}; given: one of {value.bit_length()} bits")


def _check_text(text: str, place: str) -> None:
    if len(text) > LONGEST:
        raise TextError(f"{place}: a text has at most {LONGEST:,} characters; given: {len(text):,}")
    if found := _CONTROL.search(text):
        raise TextError(f"{place}: the character U+{ord(found[0]):04X} is not allowed in a text; remove it")
    if holds_secret(text):  # written with escapes, so that its line did not show it
        raise TextError(f"{place}: {_SECRET}")
