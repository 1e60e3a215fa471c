"""Writes the reference pages that are made from the code: plan keys and commands. `make docs` runs it before the build.

python docs/reference_pages.py FOLDER
"""

from __future__ import annotations

import ast
import inspect
import sys
import types
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

import typer
import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from featherbench.harness import records, spec
from featherbench.harness.cli import app
from featherbench.reports.described import field_texts

SECTIONS: dict[str, type[BaseModel]] = {"A plan": spec.PlanSpec} | spec.SECTIONS


def described(model: type[BaseModel]) -> dict[str, str]:
    """Return field -> the docstring that stands below it in the source, of a model and those it inherits from."""
    found: dict[str, str] = {}
    for part in reversed(model.__mro__):
        if part.__module__ not in (spec.__name__, records.__name__):
            continue
        found |= field_texts(ast.parse(inspect.getsource(part)).body[0])  # type: ignore[arg-type]
    return found


def kind(annotation: Any) -> str:
    """Return a type in the words of a plan's reader."""
    if get_origin(annotation) is Literal:
        return " or ".join(f"`{value}`" for value in get_args(annotation))
    if get_origin(annotation) in (Union, types.UnionType):
        return " or ".join(kind(part) for part in get_args(annotation) if part is not type(None))
    if get_origin(annotation) is list:
        return f"list of {kind(get_args(annotation)[0])}"
    if get_origin(annotation) is dict:
        return "mapping"
    if hasattr(annotation, "__metadata__"):
        return kind(annotation.__origin__)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        part = next(name for name, model in SECTIONS.items() if model is annotation)
        return f"[{part}](#{part})"
    return {str: "text", int: "whole number", float: "number", bool: "true or false"}[annotation]


def default(field: FieldInfo) -> str:
    """Return a field's default as a plan would say it."""
    if field.is_required():
        return "must be given"
    value = field.get_default(call_default_factory=True)
    if value is None or value is PydanticUndefined or isinstance(value, BaseModel):
        return ""
    return f"`{yaml.safe_dump(value, default_flow_style=True).removesuffix('...' + chr(10)).strip()}`"


def limits(field: FieldInfo) -> str:
    """Return the limits of a number in words."""
    words = {"ge": "at least", "gt": "more than", "le": "at most"}
    found = [
        f"{words[key]} {getattr(limit, key):,}" for limit in field.metadata for key in words if hasattr(limit, key)
    ]
    return f", {', '.join(found)}" if found else ""


def plan_page() -> str:
    """Return the page of a plan's keys."""
    lines = ["# Keys of a plan", "", "Made from `harness/spec.py`. An unknown key is an error that names the nearest."]
    for name, model in SECTIONS.items():
        about = described(model)
        lines += ["", f"## {name}", "", " ".join((model.__doc__ or "").split()), "", "| key | value | default | |"]
        lines += ["| --- | --- | --- | --- |"]
        for key, field in model.model_fields.items():
            cells = (f"`{key}`", kind(field.annotation) + limits(field), default(field), about.get(key, ""))
            lines.append("| " + " | ".join(cell.replace("|", "\\|").replace("<", "&lt;") for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def commands_page() -> str:
    """Return the page of all commands, each with its help."""
    group: Any = typer.main.get_command(app)
    lines = ["# Commands", "", "What `featherbench COMMAND --help` prints.", "", "```text"]
    with typer.Context(group, info_name="featherbench") as context:
        lines += [group.get_help(context), "```"]
        for name, command in group.commands.items():
            with typer.Context(command, info_name=name, parent=context) as inner:
                lines += ["", f"## {name}", "", "```text", command.get_help(inner), "```"]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    (folder / "plan.md").write_text(plan_page(), encoding="utf-8")
    (folder / "commands.md").write_text(commands_page(), encoding="utf-8")
