"""The command line: quick to answer, one line for a mistake, JSON for programs, exit codes for scripts."""

from __future__ import annotations

import hashlib
import json
import os
import resource
import sqlite3
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner, Result

from featherbench.harness.cli import ENVIRONMENT, FAILED, INTERRUPTED, USAGE, app
from featherbench.harness.doctor import Finding
from featherbench.methods import METHODS
from featherbench.tasks import TASKS

COMMANDS = [
    "list",
    "info",
    "doctor",
    "prepare",
    "try",
    "plan",
    "run",
    "status",
    "log",
    "retry",
    "upgrade",
    "merge",
    "inputs",
    "score",
    "generate",
    "report",
    "compare",
    "claim",
    "export",
    "rerun",
    "gc",
    "cp",
    "test",
]


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Every command runs in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def call(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


def refused(result: Result, code: int) -> str:
    """Return the one line that a refused command writes to stderr."""
    assert isinstance(result.exception, SystemExit), result.exception
    assert result.exit_code == code
    assert result.stdout == ""
    lines = result.stderr.splitlines()
    assert len(lines) == 1 and lines[0].startswith("error: "), result.stderr
    return lines[0]


def answer(result: Result) -> Any:
    """Return the JSON document that a command printed."""
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def written(folder: Path, backbone: str, **changes: Any) -> str:
    plan = {
        "protocol": 1,
        "name": "mine",
        "backbones": [backbone],
        "tasks": ["places"],
        "sizes": [20],
        "methods": ["prefix"],
        "baselines": [],
        "test": 8,
        "final": {"seeds": 2},
    }
    path = folder / "mine.yaml"
    path.write_text(yaml.safe_dump(plan | changes))
    return str(path)


# --- help ----------------------------------------------------------------------------------------------------------


def cpu_seconds_of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def test_help_answers_within_a_second_of_cpu_time() -> None:
    spent = []
    for _ in range(3):
        before = cpu_seconds_of_children()
        command = [sys.executable, "-m", "featherbench.harness.cli", "--help"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        spent.append(cpu_seconds_of_children() - before)
        assert done.returncode == 0 and "featherbench run quickstart" in done.stdout
    assert min(spent) < 1, spent


def test_the_command_line_loads_nothing_heavy_before_a_command_asks_for_it() -> None:
    heavy = {"torch", "transformers", "ray", "datasets", "optuna", "sqlalchemy", "scipy", "numpy", "altair", "polars"}
    names = ", ".join(f"featherbench.harness.{name}" for name in ("cli", "spec", "catalogue"))
    code = f"import sys, json, {names}; print(json.dumps(list(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert not heavy & set(json.loads(done.stdout))


def test_the_version_is_told() -> None:
    assert call("--version").output == f"featherbench {version('featherbench')}\n"


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command: str) -> None:
    found = call(command, "--help")
    assert found.exit_code == 0 and "Usage" in found.stdout
    assert "Example" in found.stdout


def test_all_commands_are_known_to_this_file() -> None:
    names = [c.name or c.callback.__name__ for c in app.registered_commands if c.callback]
    assert sorted(names) == sorted(COMMANDS)


def test_without_a_command_help_is_shown() -> None:
    found = call()
    assert found.exit_code == USAGE and "featherbench run quickstart" in found.output


def test_the_exit_codes_are_those_of_the_documentation() -> None:
    assert (FAILED, USAGE, ENVIRONMENT, INTERRUPTED) == (1, 2, 3, 130)


# --- list and info -------------------------------------------------------------------------------------------------


def test_list_names_everything_there_is() -> None:
    found = answer(call("list", "--json"))
    assert list(found) == ["methods", "tasks", "backbones", "plans"]
    assert list(found["methods"]) == list(METHODS) and list(found["tasks"]) == list(TASKS)
    assert "smollm2-135m" in found["backbones"] and {"quickstart", "e2e-first"} <= set(found["plans"])
    assert answer(call("list", "methods", "--json")) == {"methods": found["methods"]}
    assert all(name in call("list").stdout for name in (*METHODS, *TASKS))


def test_list_of_something_unknown_is_refused() -> None:
    assert "nothing called 'metods' to list. Known: methods, tasks" in refused(call("list", "metods"), USAGE)


def test_info_shows_a_method() -> None:
    found = answer(call("info", "prefix", "--json"))
    method = METHODS["prefix"]
    assert (found["method"], found["version"], found["source"]) == ("prefix", method.version, method.source)
    assert found["config"] == {"length": 10, "parametrisation": "mlp", "hidden": 512, "shift_positions": True}
    assert found["sized by budget"] == "length" and found["task words"] == "as initialisation"


@pytest.mark.parametrize("name", [*METHODS, *TASKS, "smollm2-135m"])
def test_info_knows_every_name(name: str) -> None:
    assert name in answer(call("info", name, "--json")).values()
    assert call("info", name).stdout.split("\n")[0].endswith(f" {name}")


def test_info_on_a_typing_error_names_the_nearest() -> None:
    message = refused(call("info", "prefx"), USAGE)
    assert "unknown name 'prefx'. Did you mean 'prefix'?" in message and "Known: " in message


# --- plan ----------------------------------------------------------------------------------------------------------


def test_plan_shows_cells_trials_counts_and_origins(elsewhere: Path, tiny_llama: str) -> None:
    path = written(elsewhere, tiny_llama)
    found = answer(call("plan", path, "--json"))
    (cell,) = found["cells"]
    assert found["plan"] == "mine" and cell["cell"] == f"{tiny_llama}/places/20/prefix"
    assert (cell["search_trials"], cell["final_trials"], cell["finished"]) == (0, 2, 0)
    assert (cell["train"], cell["validation"], cell["test"]) == ("train20.final0", "validation6.final0", "test8")
    tested = cell["test_items"]
    assert tested["inputs"] == 8 == tested["seen"] + tested["unseen"]
    assert cell["stored"] == 10 * 2 * 3 * 2 * 8 and cell["trained"] > cell["stored"]
    assert cell["values"]["length"] == {"value": 10, "from": "method default"}
    assert "2 final trials: 0 finished, 2 new" in call("plan", path).stdout
    assert not (elsewhere / "runs").exists(), "planning writes nothing"


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"metods": []}, "mine.yaml: unknown key 'metods'. Did you mean 'methods'?"),
        ({"methods": ["prefx"]}, "unknown method 'prefx'. Did you mean 'prefix'?"),
        ({"methods": [{"method": "prefix", "budget": "0.001%"}]}, "the nearest is length=1"),
        ({"protocol": 99}, "says protocol: 99"),
        ({"backbones": ["smollm-135m"]}, "Did you mean 'smollm2-135m'?"),
    ],
    ids=["key", "method", "budget", "protocol", "backbone"],
)
@pytest.mark.parametrize("command", ["plan", "run"])
def test_a_mistake_in_a_plan_is_one_line_and_exit_code_2(
    command: str, changes: dict[str, Any], part: str, elsewhere: Path, tiny_llama: str
) -> None:
    assert part in refused(call(command, written(elsewhere, tiny_llama, **changes)), USAGE)
    assert not (elsewhere / "runs").exists()


def test_a_plan_that_is_not_there_names_the_nearest_packaged_one() -> None:
    assert "Did you mean 'quickstart'?" in refused(call("plan", "quikstart"), USAGE)


def test_a_backbone_that_is_not_there_is_exit_code_3(elsewhere: Path) -> None:
    assert "there is no folder './gone'" in refused(call("plan", written(elsewhere, "./gone")), ENVIRONMENT)


def test_a_size_beyond_the_data_is_a_mistake_of_the_plan(elsewhere: Path, tiny_llama: str) -> None:
    refused(call("plan", written(elsewhere, tiny_llama, sizes=[100_000])), USAGE)


def test_a_plan_that_is_no_text_is_refused(elsewhere: Path) -> None:
    (elsewhere / "mine.yaml").write_bytes(b"\xff\xfe\x00name")
    refused(call("plan", "mine.yaml"), USAGE)


# --- cp ------------------------------------------------------------------------------------------------------------


def test_cp_writes_a_packaged_plan_and_overwrites_nothing(elsewhere: Path) -> None:
    first = call("cp", "quickstart")
    assert first.exit_code == 0 and first.stdout == "quickstart.yaml\n"
    assert "name: quickstart" in (elsewhere / "quickstart.yaml").read_text()
    (elsewhere / "quickstart.yaml").write_text("mine")
    assert "quickstart.yaml exists already; give another name" in refused(call("cp", "quickstart"), USAGE)
    assert (elsewhere / "quickstart.yaml").read_text() == "mine"
    assert call("cp", "quickstart", "other.yaml").exit_code == 0


def test_cp_of_an_unknown_plan_names_the_packaged_ones() -> None:
    assert "Packaged plans: default-or-tuned, e2e-first, low-data" in refused(call("cp", "nothing"), USAGE)


def test_cp_into_a_folder_that_is_not_there_is_refused() -> None:
    refused(call("cp", "quickstart", "gone/mine.yaml"), USAGE)


# --- stores --------------------------------------------------------------------------------------------------------

READERS = {
    "status": ("status",),
    "log": ("log", "3f2a"),
    "score": ("score", "all"),
    "generate": ("generate", "3f2a", "name : Aromi"),
    "report": ("report",),
    "export": ("export", "3f2a", "-o", "there"),
    "rerun": ("rerun", "3f2a"),
}


@pytest.mark.parametrize("arguments", READERS.values(), ids=READERS)
def test_a_store_that_is_not_there_is_exit_code_3_and_is_not_created(
    arguments: tuple[str, ...], elsewhere: Path
) -> None:
    message = refused(call(*arguments, "--out", "runs/gone"), ENVIRONMENT)
    assert "there is no store at runs/gone/store.sqlite" in message
    assert list(elsewhere.iterdir()) == []


def test_without_out_the_only_run_is_read_and_of_several_one_must_be_named(elsewhere: Path) -> None:
    from featherbench.harness.store import Store

    assert "which run? Give --out FOLDER or --store URL. Runs here: none" in refused(call("status"), ENVIRONMENT)
    Store("sqlite:///runs/one/store.sqlite")
    nothing = {"cells": [], "drivers": 0, "seconds_left": None, "spend": 0}
    assert answer(call("status", "--json")) == nothing
    Store("sqlite:///runs/two/store.sqlite")
    assert "Runs here: runs/one, runs/two" in refused(call("status"), ENVIRONMENT)
    assert answer(call("status", "--out", "runs/two", "--json")) == nothing
    assert answer(call("status", "--out", "runs/two", "--trials", "--json")) == []


def test_a_store_that_is_no_url_is_exit_code_3() -> None:
    assert "'nothing' is no database URL" in refused(call("status", "--store", "nothing"), ENVIRONMENT)


def test_a_trial_that_is_not_there_is_exit_code_3(elsewhere: Path) -> None:
    from featherbench.harness.store import Store

    Store("sqlite:///runs/one/store.sqlite")
    for arguments in (READERS["generate"], READERS["export"], ("score", "3f2a")):
        assert "0 trials of sqlite:///runs/one/store.sqlite begin with '3f2a'" in refused(call(*arguments), ENVIRONMENT)


@pytest.fixture
def run_without_files(elsewhere: Path, tiny_llama: str) -> dict[str, str]:
    """A run whose artifacts are gone: trial ids by "kept" (the store names a delta) and "none" (it names no delta)."""
    from featherbench.harness.plan import expand, place_of
    from featherbench.harness.records import Result as TrialResult
    from featherbench.harness.store import Store

    (cell,) = expand(Path(written(elsewhere, tiny_llama)).read_text()).cells
    store = Store("sqlite:///runs/one/store.sqlite")
    store.add_plan("plan", "mine", "", [cell.cell])
    ids = {}
    for number, (name, delta) in enumerate({"kept": "deltas/x.safetensors", "none": None}.items()):
        trial = cell.trial("final", number, {})
        store.add_places([(place_of(cell, "final", number), trial)])
        attempt = store.begin_attempts([trial.id])[trial.id]
        store.record([(TrialResult(trial_id=trial.id, status="ok", delta=delta, delta_sha256=delta and "00"), attempt)])
        ids[name] = trial.id
    return ids


def test_export_of_a_trial_without_a_delta_writes_its_record(run_without_files: dict[str, str]) -> None:
    trial = run_without_files["none"]
    found = call("export", trial, "-o", "there")
    assert found.exit_code == 0 and found.stdout.splitlines() == ["there/trial.json"]
    content = json.loads(Path("there/trial.json").read_text())
    assert content["id"] == trial and content["status"] == "ok" and content["predictions"] == []


@pytest.mark.parametrize(
    ("command", "trial"),
    [("export", "kept"), ("generate", "kept"), ("generate", "none")],
    ids=["export, the file is gone", "generate, the file is gone", "generate, no delta was kept"],
)
def test_a_delta_that_is_not_there_is_one_line(command: str, trial: str, run_without_files: dict[str, str]) -> None:
    rest = ["-o", "there"] if command == "export" else ["name : Aromi"]
    refused(call(command, run_without_files[trial], *rest), ENVIRONMENT)


def test_status_counts_by_cell_and_lists_by_trial(run_without_files: dict[str, str]) -> None:
    (cell,) = answer(call("status", "--json"))["cells"]
    assert {k: cell[k] for k in ("total", "ok", "failed", "diverged", "running")} == {
        "total": 2,
        "ok": 2,
        "failed": 0,
        "diverged": 0,
        "running": 0,
    }
    assert "0 drivers at work" in call("status", "--follow").stdout, "nobody is left to follow"
    assert {row["trial"] for row in answer(call("status", "--trials", "--json"))} == set(run_without_files.values())


def test_upgrade_wants_to_know_which_store() -> None:
    assert "Give --out FOLDER or --store URL" in refused(call("upgrade"), ENVIRONMENT)
    assert "there is no store at runs/gone/store.sqlite" in refused(call("upgrade", "--out", "runs/gone"), ENVIRONMENT)


def test_merge_takes_results_and_deltas_over(run_without_files: dict[str, str]) -> None:
    blob = b"a delta"
    trial = run_without_files["kept"]
    Path("runs/one/deltas").mkdir()
    Path("runs/one/deltas/x.safetensors").write_bytes(blob)
    with sqlite3.connect("runs/one/store.sqlite") as db:
        db.execute("UPDATE trials SET delta_sha256 = ? WHERE id = ?", (hashlib.sha256(blob).hexdigest(), trial))
    (done,) = answer(call("merge", "runs/all", "runs/one", "--json"))
    assert (done["added"], done["deltas"], done["both"]) == (2, 1, 0)
    assert Path(f"runs/all/deltas/{trial}.safetensors").read_bytes() == blob
    assert "0 results added with 0 deltas; 2 were there already" in call("merge", "runs/all", "runs/one").stdout
    assert "there is no store" in refused(call("merge", "runs/all", "runs/gone"), ENVIRONMENT)


# --- doctor and test -----------------------------------------------------------------------------------------------


def test_doctor_answers_in_json_and_its_exit_code_says_whether_all_is_well() -> None:
    found = call("doctor", "--json")
    findings = [Finding(**entry) for entry in json.loads(found.stdout)]
    assert {f.what for f in findings} >= {"python", "torch", "accelerator", "memory", "cache", "disk", "data"}
    assert all(f.found for f in findings)
    assert found.exit_code == (0 if all(f.ok or not f.needed for f in findings) else ENVIRONMENT)


def test_doctor_says_how_to_mend(elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (elsewhere / "file").write_text("")
    monkeypatch.setenv("FEATHERBENCH_CACHE", str(elsewhere / "file" / "cache"))
    monkeypatch.setenv("FEATHERBENCH_DATA", str(elsewhere / "gone"))
    found = call("doctor")
    assert found.exit_code == ENVIRONMENT
    for part in ("MEND cache", "set FEATHERBENCH_CACHE to a folder you may write to", "MEND data", "or unset it"):
        assert part in found.stdout


def test_the_contract_command_knows_methods_and_tasks_only() -> None:
    assert "'reports' has no contract" in refused(call("test", "reports", "prefix"), USAGE)
    assert "unknown method 'prefx'. Did you mean 'prefix'?" in refused(call("test", "method", "prefx"), USAGE)
    assert "FEATHERBENCH_CONTRACT" not in os.environ
