"""The rules that keep the four folders apart, read from the source."""

from __future__ import annotations

import ast
import importlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from featherbench.methods import BASELINES, METHODS
from featherbench.methods.base import Method
from featherbench.tasks import TASKS

ROOT = Path(__file__).parents[1]
FOLDERS = ("backbones", "harness", "methods", "tasks", "reports")
SOURCES = {
    path.relative_to(ROOT).as_posix(): path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.py"))
}


def tree(name: str) -> ast.Module:
    return ast.parse(SOURCES[name].read_text(encoding="utf-8"), name)


def of(folder: str) -> list[str]:
    return [name for name in SOURCES if name.startswith(f"{folder}/")]


def imports(name: str) -> Iterator[str]:
    """Yield every module that a file imports, anywhere in it; `from a import b` gives both a and a.b."""
    for node in ast.walk(tree(name)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0 and node.module, f"{name}:{node.lineno}: a relative import"
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def belongs(module: str, package: str) -> bool:
    return module == package or module.startswith(f"{package}.")


@pytest.mark.parametrize(
    ("folder", "never"),
    [
        ("methods", ("featherbench.harness", "featherbench.tasks", "featherbench.reports", "featherbench.contracts")),
        ("tasks", ("featherbench.harness", "featherbench.methods", "featherbench.reports", "featherbench.contracts")),
        ("reports", ("torch", "transformers", "ray", "deepspeed", "featherbench.methods", "featherbench.contracts")),
    ],
    ids=["methods", "tasks", "reports"],
)
def test_a_folder_never_imports(folder: str, never: tuple[str, ...]) -> None:
    assert of(folder)
    found = {(n, m) for n in of(folder) for m in imports(n) if any(belongs(m, package) for package in never)}
    assert not found


@pytest.mark.parametrize("name", of("tasks/metrics"))
def test_a_scorer_loads_torch_only_when_it_is_called(name: str) -> None:
    heavy = ("torch", "transformers", "bert_score")
    statements = [node for node in tree(name).body if isinstance(node, ast.Import | ast.ImportFrom)]
    found = {a.name for s in statements if isinstance(s, ast.Import) for a in s.names}
    found |= {s.module for s in statements if isinstance(s, ast.ImportFrom) and s.module}
    assert not [module for module in found if any(belongs(module, package) for package in heavy)]


def test_reports_know_no_more_of_the_harness_than_its_store_its_records_and_its_plans() -> None:
    allowed = tuple(
        f"featherbench.harness.{name}" for name in ("store", "tables", "records", "recorded", "spec", "catalogue")
    )
    found = {(n, m) for n in of("reports") for m in imports(n) if belongs(m, "featherbench.harness")}
    assert {
        (n, m) for n, m in found if m != "featherbench.harness" and not any(belongs(m, a) for a in allowed)
    } == set()


def test_reports_and_scoring_load_no_torch() -> None:
    """Not even by way of another module: a report is written where nothing can be trained."""
    code = (
        "import sys, json, featherbench.reports.site, featherbench.harness.score, featherbench.harness.status;"
        "print(json.dumps(sorted({'torch', 'transformers', 'ray'} & set(sys.modules))))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == []


def literals(name: str) -> Iterator[tuple[str, int]]:
    """Yield the texts of a file that could name something: no docstrings, and no names of database tables."""
    module = tree(name)
    skipped: set[int] = set()
    for node in ast.walk(module):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "Table":
            skipped.add(id(node.args[0]))
    for node in ast.walk(module):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in skipped:
            yield node.value, node.lineno


@pytest.mark.parametrize("name", of("harness"))
def test_the_harness_names_no_method_and_no_task(name: str) -> None:
    assert not [(text, line) for text, line in literals(name) if text in METHODS or text in TASKS]
    records = {
        f"featherbench.{kind}.{key}" for kind, table in (("methods", METHODS), ("tasks", TASKS)) for key in table
    }
    assert not records & set(imports(name)), "the tables are how the harness comes to methods and tasks"


@pytest.mark.parametrize("name", SOURCES)
def test_nothing_runs_foreign_code(name: str) -> None:
    """No pickle, no remote code, no YAML that makes objects, no weights but safetensors."""
    assert not {m for m in imports(name) if m.split(".")[0] in ("pickle", "cloudpickle", "dill", "joblib", "shelve")}
    for node in ast.walk(tree(name)):
        if isinstance(node, ast.keyword) and node.arg in ("trust_remote_code", "weights_only"):
            expected = node.arg == "weights_only"
            assert isinstance(node.value, ast.Constant) and node.value.value is expected, f"{name}:{node.value.lineno}"
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            assert called not in ("yaml.load", "yaml.unsafe_load", "yaml.full_load", "torch.load", "eval", "exec"), (
                f"{name}:{node.lineno}"
            )


def records_of(name: str) -> dict[str, Method]:
    module = importlib.import_module(f"featherbench.{name.removesuffix('.py').replace('/', '.')}")
    return {key: value for key, value in vars(module).items() if isinstance(value, Method)}


def test_every_method_that_is_written_is_in_the_table() -> None:
    files = [name for name in of("methods") if not name.endswith("__init__.py")]
    found = {record.name: record for name in files for record in records_of(name).values()}
    known = {**METHODS, **BASELINES}
    assert found == {key: known[key] for key in found}, "a record is missing in METHODS"
    assert set(BASELINES) <= set(found) and not set(BASELINES) & set(METHODS)
    assert found, "no method at all"


def test_a_method_has_a_file_of_its_own_name() -> None:
    for name in METHODS:
        if f"methods/{name}.py" in SOURCES:
            assert [r.name for r in records_of(f"methods/{name}.py").values()] == [name]
    built_in = {n for n, method in METHODS.items() if method.config.__module__.startswith("featherbench.methods.")}
    assert {f"methods/{name}.py" for name in built_in} <= set(SOURCES)
