"""What methods, tasks and their options are, in the words of their own files: read as text, since reports load no torch."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).parents[1]


def about(folder: str, name: str) -> str:
    """Return the first paragraph on a method or a task; empty for one that is no file of this package, as plug-ins are."""
    text = ast.get_docstring(tree) if (tree := _tree(folder, name)) else None
    return " ".join((text or "").split("\n\n")[0].split())


def options(method: str) -> dict[str, str]:
    """Return option -> what it is, of a method of this package."""
    tree = _tree("methods", method)
    classes = [node for node in tree.body if isinstance(node, ast.ClassDef)] if tree else []
    return {name: text for one in classes for name, text in field_texts(one).items()}


def field_texts(node: ast.ClassDef) -> dict[str, str]:
    """Return field -> the docstring that stands below it, of one class."""
    found = {}
    for field, text in zip(node.body, node.body[1:], strict=False):
        if isinstance(field, ast.AnnAssign) and isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant):
            found[ast.unparse(field.target)] = " ".join(str(text.value.value).split())
    return found


@cache
def _tree(folder: str, name: str) -> ast.Module | None:
    """Return the file of a method or task; the name is a store's, so no text that could lead elsewhere is looked for."""
    path = PACKAGE / folder / f"{name.split('.')[0]}.py"
    if not re.fullmatch(r"[a-z][a-z0-9_]*(\.[a-z0-9_]+)?", name) or not path.is_file():
        return None
    return ast.parse(path.read_text(encoding="utf-8"))
