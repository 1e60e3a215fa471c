"""What is kept and what `featherbench gc` removes; never anything outside the run's folder and the cache."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from typer.testing import CliRunner

from featherbench.harness import store as tables
from featherbench.harness.cli import ENVIRONMENT, app
from featherbench.harness.doctor import examine
from featherbench.harness.retention import disk_of_run, size_of
from featherbench.harness.store import Store
from featherbench.tasks.files import DAY, note_use

OK, DIVERGED, FAILED, RUNNING, UNKNOWN = (letter * 12 for letter in "abcde")


def put(path: Path, size: int = 10, days_old: float = 0.0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(bytes(size))
    age(path, days_old)
    return path


def age(path: Path, days: float) -> None:
    then = time.time() - days * DAY
    os.utime(path, (then, then))


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder with old and new entries."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("FEATHERBENCH_CACHE", str(folder))
    put(folder / "tokenised" / "new.arrow", days_old=29)
    put(folder / "tokenised" / "old.arrow", 1000, days_old=31)
    put(folder / "tokenised" / "notes.txt", days_old=99)
    put(folder / "tokenised" / "tmpdead" / "half.arrow", 50, days_old=2)
    age(folder / "tokenised" / "tmpdead", 2)
    put(folder / "tokenised" / "tmplive" / "half.arrow")
    put(folder / "backbones" / "smollm2-135m" / "model.safetensors", 4096, days_old=400)
    put(folder / "downloads" / "train.csv", 300, days_old=60)
    put(folder / "hub" / "me--mine" / "train.jsonl", 200, days_old=5)
    return folder


@pytest.fixture
def run_folder(tmp_path: Path) -> Path:
    """A run with trials in every state, and what they and others left."""
    folder = tmp_path / "run"
    kept = Store(f"sqlite:///{folder / 'store.sqlite'}")
    states = {OK: "ok", DIVERGED: "diverged", FAILED: "failed", RUNNING: None}
    with kept.transaction() as db:
        for trial, status in states.items():
            delta = f"deltas/{trial}.safetensors" if trial == OK else None
            db.execute(tables.trials.insert().values(id=trial, spec={}, status=status, delta=delta))
    for trial in (*states, UNKNOWN):
        put(folder / "checkpoints" / trial / "step00000003-0123.safetensors", 100)
        put(folder / "deltas" / f"{trial}.safetensors", 20)
    put(folder / "deltas" / f"{OK}.safetensors.part", 5)
    put(folder / "frozen" / "0f" / "0f12.safetensors", 500)
    put(folder / "frozen" / "used", 3)
    put(folder / "report" / "index.html", 70)
    # what people put there themselves
    put(folder / "checkpoints" / "mine" / "x", 9)
    put(folder / "deltas" / "readme.txt", 9)
    put(folder / "notes.md", 9)
    return folder


def call(*arguments: str) -> Any:
    result = CliRunner().invoke(app, ["gc", *arguments])
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout) if "--json" in arguments else result.stdout


def everything(folder: Path) -> set[str]:
    return {
        str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file() and ".sqlite" not in path.name
    }


def test_it_removes_what_no_trial_needs_and_nothing_else(run_folder: Path, cache: Path) -> None:
    before, before_cache = everything(run_folder), everything(cache)
    printed = call("--out", str(run_folder), "--json")
    gone = before - everything(run_folder)
    assert gone == {
        *(f"checkpoints/{trial}/step00000003-0123.safetensors" for trial in (OK, DIVERGED, UNKNOWN)),
        *(f"deltas/{trial}.safetensors" for trial in (DIVERGED, FAILED, RUNNING, UNKNOWN)),
        f"deltas/{OK}.safetensors.part",
        "frozen/0f/0f12.safetensors",
        "frozen/used",
    }
    assert before_cache - everything(cache) == {"tokenised/old.arrow", "tokenised/tmpdead/half.arrow"}
    assert printed["bytes"] == 3 * 100 + 4 * 20 + 5 + 503 + 1000 + 50
    assert sum(row["bytes"] for row in printed["removed"]) == printed["bytes"] and not printed["dry_run"]
    assert call("--out", str(run_folder), "--json")["removed"] == [], "a second time there is nothing"


def test_a_dry_run_tells_the_same_and_removes_nothing(run_folder: Path, cache: Path) -> None:
    before = everything(run_folder) | everything(cache)
    told = call("--out", str(run_folder), "--dry-run", "--json")
    assert everything(run_folder) | everything(cache) == before
    done = call("--out", str(run_folder), "--json")
    assert told == {**done, "dry_run": True} and done["removed"]


def test_people_see_every_path_its_size_and_why(run_folder: Path, cache: Path) -> None:
    lines = call("--out", str(run_folder), "--dry-run").splitlines()
    assert any("1000 B" in line and "old.arrow" in line and "not used for 30 days" in line for line in lines)
    assert any(f"checkpoints/{UNKNOWN}" in line and "does not know" in line for line in lines)
    assert "would be removed, 1,938 bytes (1.9 KiB)" in lines[-1]


def test_without_a_run_only_the_cache_is_looked_at(run_folder: Path, cache: Path) -> None:
    before = everything(run_folder)
    printed = call("--older-than", "20", "--json")
    names = {Path(row["path"]).name for row in printed["removed"]}
    assert names == {"old.arrow", "new.arrow", "tmpdead"} and everything(run_folder) == before


def test_downloads_go_when_asked_for_and_backbones_never(cache: Path) -> None:
    printed = call("--downloads", "--older-than", "30", "--json")
    assert {Path(row["path"]).name for row in printed["removed"]} == {"old.arrow", "tmpdead", "train.csv"}
    printed = call("--downloads", "--older-than", "0", "--json")
    assert {Path(row["path"]).name for row in printed["removed"]} == {"new.arrow", "train.jsonl"}
    assert (cache / "backbones" / "smollm2-135m" / "model.safetensors").exists()


def test_links_lead_nowhere(run_folder: Path, cache: Path, tmp_path: Path) -> None:
    """Neither a link to a folder elsewhere nor one inside a folder that goes takes anything along."""
    outside = put(tmp_path / "elsewhere" / UNKNOWN / "precious", days_old=99).parents[1]
    (run_folder / "checkpoints" / ("f" * 12)).symlink_to(outside / UNKNOWN)
    (run_folder / "checkpoints" / UNKNOWN / "link").symlink_to(outside)
    put(outside / "old.arrow", days_old=99)
    (cache / "downloads" / "train.csv").unlink()
    (cache / "downloads").rmdir()
    (cache / "downloads").symlink_to(outside)
    (cache / "tokenised" / "link.arrow").symlink_to(outside / "old.arrow")
    call("--out", str(run_folder), "--downloads", "--older-than", "0")
    assert everything(outside) == {f"{UNKNOWN}/precious", "old.arrow"}
    assert not (run_folder / "checkpoints" / UNKNOWN).exists()
    assert size_of(cache / "downloads") == 0


def refused(*arguments: str) -> str:
    result = CliRunner().invoke(app, ["gc", *arguments])
    assert result.exit_code == ENVIRONMENT and result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert line.startswith("error: ")
    return line


def test_it_refuses_while_a_run_works_there(run_folder: Path, cache: Path) -> None:
    before = everything(run_folder) | everything(cache)
    driver = Store(f"sqlite:///{run_folder / 'store.sqlite'}")
    driver.join()
    assert "a run works on" in refused("--out", str(run_folder))
    assert everything(run_folder) | everything(cache) == before
    driver.close()
    assert call("--out", str(run_folder), "--json")["removed"]


def test_the_store_of_another_run_removes_nothing(run_folder: Path, cache: Path, tmp_path: Path) -> None:
    before = everything(run_folder)
    Store(f"sqlite:///{tmp_path / 'other.sqlite'}")
    said = refused("--out", str(run_folder), "--store", f"sqlite:///{tmp_path / 'other.sqlite'}")
    assert "other.sqlite knows none of the 5 trials that lie in" in said and "Give the --store of this run" in said
    assert everything(run_folder) == before


def test_a_folder_without_a_store_is_refused(tmp_path: Path, cache: Path) -> None:
    put(tmp_path / "photos" / "deltas" / f"{OK}.safetensors")
    assert "there is no store at" in refused("--out", str(tmp_path / "photos"))
    assert "Give --out FOLDER of the run beside --store" in refused("--store", "postgresql://me@host/runs")
    assert everything(tmp_path / "photos") == {f"deltas/{OK}.safetensors"}


def test_the_last_use_of_a_file_is_kept_to_the_day(tmp_path: Path) -> None:
    old, today = put(tmp_path / "old", days_old=3), put(tmp_path / "today", days_old=0.5)
    before = today.stat().st_mtime
    for path in (old, today, tmp_path / "absent"):
        note_use(path)
    assert time.time() - old.stat().st_mtime < 60 and today.stat().st_mtime == before


def test_the_doctor_tells_what_the_parts_take(run_folder: Path, cache: Path) -> None:
    found = {finding.what: finding for finding in examine(run_folder)}
    assert found["cache parts"].found == "backbones 4.0 KiB, data 500 B, tokenised 1.1 KiB"
    parts = disk_of_run(run_folder)
    assert parts == {"store": parts["store"], "deltas": 114, "checkpoints": 509, "frozen": 503, "logs": 0, "report": 70}
    assert (
        found["run parts"].ok and "checkpoints 509 B, frozen 503 B, logs 0 B, report 70 B" in found["run parts"].found
    )
    assert not {f.what: f for f in examine(run_folder / "absent")}["run parts"].ok
    assert "run parts" not in {finding.what for finding in examine()}


def test_the_store_is_as_it_was(run_folder: Path, cache: Path) -> None:
    kept = Store(f"sqlite:///{run_folder / 'store.sqlite'}", create=False)
    before = kept.rows(sa.select(tables.trials))
    call("--out", str(run_folder))
    assert kept.rows(sa.select(tables.trials)) == before
