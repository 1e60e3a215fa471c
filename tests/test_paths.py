"""What a plan or a store of unknown origin names: nothing outside the artifact root, the cache and the output is touched."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
import yaml
from typer.testing import CliRunner, Result

from featherbench.harness import data
from featherbench.harness import store as tables
from featherbench.harness.cli import ENVIRONMENT, app
from featherbench.harness.deltas import DeltaError, delta_bytes, keep_delta
from featherbench.harness.plan import CellPlan, expand, place_of, read_plan
from featherbench.harness.records import Result as TrialResult
from featherbench.harness.records import Trial
from featherbench.harness.store import Store
from featherbench.reports.site import write_report
from featherbench.tasks.base import File
from featherbench.tasks.files import DataError, read_checked

CONTENT = b"of somebody else"
HOSTILE = [
    "../secret.safetensors",
    "deltas/../../secret.safetensors",
    "deltas/../deltas/../../secret.safetensors",
    "/secret.safetensors",
    "deltas//secret.safetensors",
    "deltas/a/../../../secret.safetensors",
    "..\\secret.safetensors",
    "deltas/..\\..\\secret.safetensors",
    "deltas/x.safetensors\x00",
    "deltas/x.safetensors\n",
    "deltas/*.safetensors",
    "file:///secret.safetensors",
    "deltas/.safetensors",
    "store.sqlite",
    "",
]


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An artifact root with a file of somebody else's above it."""
    (tmp_path / "run" / "deltas").mkdir(parents=True)
    (tmp_path / "secret.safetensors").write_bytes(CONTENT)
    (tmp_path / "run" / "deltas" / "x.safetensors").write_bytes(CONTENT)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "run"


def below(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def call(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


# --- deltas ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", HOSTILE)
def test_a_delta_is_read_below_the_artifact_root_only(path: str, root: Path) -> None:
    with pytest.raises(DeltaError, match="is no delta's path, such as deltas/TRIAL.safetensors; the store is damaged"):
        delta_bytes(str(root), path)


def test_an_absolute_path_is_no_delta(root: Path) -> None:
    with pytest.raises(DeltaError):
        delta_bytes(str(root), str(root.parent / "secret.safetensors"))


def test_what_was_kept_is_read_again(root: Path) -> None:
    name = keep_delta(str(root), "3f2a5b6c7d8e", CONTENT)
    assert delta_bytes(str(root), name, hashlib.sha256(CONTENT).hexdigest()) == CONTENT
    assert below(root) == {"deltas/x.safetensors", "deltas/3f2a5b6c7d8e.safetensors"}


@pytest.fixture
def cell(tiny_llama: str) -> CellPlan:
    plan = {"protocol": 1, "name": "mine", "backbones": [tiny_llama], "tasks": ["places"], "sizes": [4], "test": 2}
    (found,) = expand(yaml.safe_dump(plan | {"methods": ["prefix"], "baselines": []})).cells
    return found


def stored(root: Path, cell: CellPlan, **changes: Any) -> Trial:
    """Put a finished trial into the run's store, then change its row as somebody else might have."""
    kept, trial = Store(f"sqlite:///{root}/store.sqlite"), cell.trial("final", 0, {})
    kept.add_plan("p", "mine", "", [cell.cell])
    kept.add_places([(place_of(cell, "final", 0), trial)])
    done = TrialResult(trial_id=trial.id, status="ok", delta="deltas/x.safetensors", delta_sha256="0")
    assert kept.record([(done, kept.begin_attempts([trial.id])[trial.id])])
    if changes:
        with kept.transaction() as db:
            db.execute(tables.trials.update().values(**changes))
    return trial


@pytest.mark.parametrize("path", ["../secret.safetensors", "{}/secret.safetensors"], ids=["relative", "absolute"])
@pytest.mark.parametrize("command", ["export", "generate"])
def test_a_strange_store_cannot_make_a_command_read_elsewhere(
    command: str, path: str, root: Path, cell: CellPlan
) -> None:
    sha256 = hashlib.sha256(CONTENT).hexdigest()
    trial = stored(root, cell, delta=path.format(root.parent), delta_sha256=sha256)
    rest = ["-o", "there"] if command == "export" else ["name : Aromi"]
    found = call(command, trial.id, *rest, "--out", str(root))
    assert found.exit_code == ENVIRONMENT and "is no delta's path" in found.stderr, found.output
    assert not Path("there/delta.safetensors").exists()


def test_export_writes_where_the_user_says_whatever_a_trial_is_called(root: Path, cell: CellPlan) -> None:
    stored(root, cell)
    kept = Store(f"sqlite:///{root}/store.sqlite")
    with kept.transaction() as db:
        db.execute(sa.text("PRAGMA defer_foreign_keys=ON"))
        db.execute(
            tables.trials.insert().values(id="../../strange", spec=cell.base.model_dump(mode="json"), status="ok")
        )
    before = below(root.parent)
    found = call("export", "../../str", "-o", "there", "--out", str(root))
    assert found.exit_code == 0, found.output
    assert below(root.parent) - before == {"there/trial.json"}


# --- tasks that a plan or a store describes -------------------------------------------------------------------------


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FEATHERBENCH_CACHE", str(tmp_path / "deep" / "cache"))
    (tmp_path / "deep" / "cache").mkdir(parents=True)
    return tmp_path / "deep" / "cache"


@pytest.fixture
def own(tiny_llama: str, tmp_path: Path, cache: Path) -> Trial:
    """A trial on files that its plan describes."""
    rows = [json.dumps({"source": f"name : {i}", "references": f"It is {i}."}) for i in range(20)]
    (tmp_path / "a.jsonl").write_text("\n".join(rows))
    task = {"name": "own", "train": "a.jsonl", "validation": "a.jsonl", "test": "a.jsonl"}
    plan = {"protocol": 1, "name": "mine", "backbones": [tiny_llama], "tasks": [task], "methods": ["prefix"]}
    (tmp_path / "own.yaml").write_text(yaml.safe_dump(plan | {"baselines": []}))
    (cell,) = read_plan(str(tmp_path / "own.yaml")).cells
    return cell.base


@pytest.mark.parametrize("name", ["../../../evil", "/evil", "a/b", "..", "", "x" * 101, "a\x00b", "a\n"])
def test_a_store_cannot_name_a_task_out_of_the_cache(name: str, own: Trial, tmp_path: Path) -> None:
    before = below(tmp_path)
    strange = own.model_copy(update={"definition": {**(own.definition or {}), "name": name}})
    with pytest.raises(DataError, match="is no name of a task; the store or plan that describes it is damaged"):
        data.task_of(strange)
    assert below(tmp_path) == before


@pytest.mark.parametrize(
    ("hub", "split"),
    [("../../evil", "train"), ("..", "train"), ("me/mine", "../../../evil"), ("/etc", "x"), ("a", "..")],
)
def test_a_copy_of_the_hub_lies_in_the_cache(
    hub: str, split: str, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import datasets

    monkeypatch.delenv("FEATHERBENCH_DATA", raising=False)
    monkeypatch.setattr(datasets, "load_dataset", lambda *_, **__: datasets.Dataset.from_list([{"source": "a"}]))
    with pytest.raises(DataError, match="are no data set's id and split"):
        read_checked(File(path="gone.jsonl", sha256=None, hub=f"{hub}:{split}"))
    assert below(tmp_path) == set()


# --- reports ---------------------------------------------------------------------------------------------------------

EVIL = "../../<script>alert(3)</script>\x00"
WRITTEN = (
    r"(index|extrapolation|efficiency|low-data|ablations|paper|search|fairness|provenance|terms)\.html"
    r"|report\.md|(cells|trials)\.csv|(provenance|leaderboard)\.json|site\.(css|js)|(charts|vega)\.js"
    r"|(boards|trials)/[a-z0-9-]+\.html|trials/[a-z0-9]+\.json"
    r"|tables/[a-z0-9-]+\.(csv|md|tex|parquet)|figures/[a-z0-9-]+\.(svg|png)"
)


def test_a_report_has_its_own_file_names_whatever_the_store_holds(root: Path, cell: CellPlan, tmp_path: Path) -> None:
    trial = stored(root, cell)
    kept = Store(f"sqlite:///{root}/store.sqlite")
    spec = trial.model_copy(update={"backbone": EVIL, "task": EVIL, "method": EVIL}).model_dump(mode="json")
    named = cell.cell.model_copy(update={"row": EVIL, "task": EVIL, "backbone": EVIL, "method": EVIL})
    of_trial = {"trial": trial.id, "position": 0, "value": 5.0}
    with kept.transaction() as db:
        db.execute(tables.plans.update().values(name=EVIL, text=EVIL))
        db.execute(tables.cells.update().values(spec=named.model_dump(mode="json")))
        db.execute(tables.trials.update().values(spec=spec, provenance={EVIL: EVIL}))
        db.execute(tables.scores.insert().values(**of_trial, metric=EVIL, subset="all", signature=EVIL))
        db.execute(tables.predictions.insert().values(trial=trial.id, item=0, text=EVIL, truncated=False))
    kept.add_items(
        EVIL,
        trial.task_version,
        trial.evaluate.name,
        [{"item": 0, "source": EVIL, "references": [EVIL], "tags": {"seen": EVIL, EVIL: EVIL}}],
    )
    before = below(tmp_path)
    write_report(kept, tmp_path / "there" / "report")
    new = below(tmp_path) - before
    assert not [name for name in new if not re.fullmatch(rf"there/report/({WRITTEN})", name)]
    assert "there/report/index.html" in new
    pages = [path.read_text() for path in (tmp_path / "there" / "report").rglob("*.html")]
    assert not [page for page in pages if "<script>alert" in page]
    assert [page for page in pages if "&lt;script&gt;alert(3)" in page]
    assert "<script" not in (tmp_path / "there" / "report" / "report.md").read_text()
