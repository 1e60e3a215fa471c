"""Several drivers on one store, and drivers that are stopped: real processes, a tiny backbone."""

from __future__ import annotations

import json
import signal
import sqlite3
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from test_sweep import attempts, command, contents, finished_in, plan_text

from featherbench.harness import tables
from featherbench.harness.cli import STOPPED
from featherbench.harness.status import overview
from featherbench.harness.store import Store

SECONDS = 300


@pytest.fixture(scope="module")
def calm(tiny_llama: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A plan with a search phase, and the folder of its uninterrupted run."""
    folder = tmp_path_factory.mktemp("calm")
    plan = folder / "small.yaml"
    plan.write_text(plan_text(tiny_llama, steps=40, configurations=2))
    done = subprocess.run(command(plan, folder / "out"), capture_output=True, text=True, timeout=SECONDS)
    assert done.returncode == 0, done.stderr
    return plan, folder / "out"


def store_of(out: Path) -> Store:
    return Store(f"sqlite:///{out / 'store.sqlite'}", create=False)


def start(plan: Path, out: Path, *options: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*command(plan, out), *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace"
    )


def wait_for(what: Any, driver: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + SECONDS
    while not what():
        assert driver.poll() is None and time.monotonic() < deadline, driver.communicate()
        time.sleep(0.05)


def stop(driver: subprocess.Popen[str], database: Path) -> None:
    """Stop a driver that does not hold the database's write lock: SQLite itself cannot take that from it."""
    while True:
        driver.send_signal(signal.SIGSTOP)
        try:
            with sqlite3.connect(database, timeout=0.5, isolation_level=None) as db:
                db.execute("BEGIN IMMEDIATE")
                db.execute("ROLLBACK")
                return
        except sqlite3.OperationalError:
            driver.send_signal(signal.SIGCONT)
            time.sleep(0.01)


def test_a_driver_that_is_stopped_past_its_lease_and_woken_records_nothing_twice(
    calm: tuple[Path, Path], tmp_path: Path
) -> None:
    plan, out = calm
    database = tmp_path / "store.sqlite"
    first = start(plan, tmp_path, "--lease", "2")
    wait_for(lambda: finished_in(database) and store_of(tmp_path).running(), first)
    stop(first, database)
    early = finished_in(database)
    second = start(plan, tmp_path, "--lease", "2")
    printed, errors = second.communicate(timeout=SECONDS)
    assert second.returncode == 0, errors
    assert json.loads(printed)["ran"] == 13 - len(early), "it took over all that was left"
    before = contents(store_of(tmp_path))
    first.send_signal(signal.SIGCONT)
    woken, errors = first.communicate(timeout=SECONDS)
    assert first.returncode == 0, errors
    assert json.loads(woken)["ran"] == len(early), "what came too late does not count"
    assert contents(store_of(tmp_path)) == before == contents(store_of(out))
    tried = attempts(store_of(tmp_path))
    assert all(len([o for o in outcomes if o in ("ok", "diverged")]) == 1 for outcomes in tried.values())
    assert all(len(tried[trial]) == 1 for trial in early), "a finished trial was started again"


def test_two_drivers_share_a_plan_and_each_trial_runs_once(calm: tuple[Path, Path], tmp_path: Path) -> None:
    plan, out = calm
    drivers = [start(plan, tmp_path), start(plan, tmp_path)]
    printed = [driver.communicate(timeout=SECONDS) for driver in drivers]
    assert [driver.returncode for driver in drivers] == [0, 0], printed
    ran = [json.loads(text)["ran"] for text, _ in printed]
    assert sum(ran) == 13
    assert contents(store_of(tmp_path)) == contents(store_of(out))
    assert all(len(outcomes) == 1 for outcomes in attempts(store_of(tmp_path)).values())
    assert store_of(tmp_path).num_drivers() == 0


def test_a_limit_of_time_ends_a_run_with_its_own_code_and_a_report(calm: tuple[Path, Path], tmp_path: Path) -> None:
    plan, out = calm

    def stopped() -> dict[str, Any]:
        driver = start(plan, tmp_path, "--max-hours", "0")
        printed, errors = driver.communicate(timeout=SECONDS)
        assert driver.returncode == STOPPED, errors
        found: dict[str, Any] = json.loads(printed)
        assert found["stopped"] == "stopped by --max-hours 0"
        return found

    assert stopped()["report"] is None, "nothing has finished"
    driver = start(plan, tmp_path)
    wait_for(lambda: finished_in(tmp_path / "store.sqlite"), driver)
    driver.send_signal(signal.SIGINT)
    driver.communicate(timeout=SECONDS)
    page = Path(stopped()["report"]).read_text()
    assert "untuned" in page
    found = overview(store_of(tmp_path))
    assert found.drivers == 0 and sum(c.total for c in found.cells) == 13
    assert 0 < sum(c.ok + c.diverged for c in found.cells) < 13
    done = start(plan, tmp_path)
    _, errors = done.communicate(timeout=SECONDS)
    assert done.returncode == 0, errors
    assert contents(store_of(tmp_path)) == contents(store_of(out))
    rows = store_of(tmp_path).rows(sa.select(tables.attempts.c.outcome))
    assert sum(str(row["outcome"]).startswith("stopped by --max-hours") for row in rows) == 2
