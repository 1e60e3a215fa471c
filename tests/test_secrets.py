"""Passwords in URLs: never printed, never stored."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner, Result

from featherbench.harness import worker
from featherbench.harness.cli import ENVIRONMENT, app
from featherbench.harness.plan import expand, place_of
from featherbench.harness.records import Result as TrialResult
from featherbench.harness.secrets import holds_secret, without_secrets
from featherbench.harness.store import Store
from featherbench.harness.worker import Engine, run_trial
from featherbench.tasks import TASKS
from featherbench.tasks.base import SPLITS, File
from featherbench.tasks.files import DataError, read_checked

SECRET = "Hush-9f3"
DATABASE = f"postgresql://user:{SECRET}@127.0.0.1:1/db"


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Every command runs in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def text_of(backbone: str) -> str:
    plan = {"protocol": 1, "name": "mine", "backbones": [backbone], "tasks": ["places"], "sizes": [4]}
    plan |= {"methods": ["prefix"], "baselines": [], "test": 2, "validation": 2, "precision": "float32"}
    plan |= {"training": {"steps": 1, "batch_size": 2, "evaluations": 1}, "decoding": {"max_new_tokens": 2, "beams": 1}}
    return yaml.safe_dump(plan)


def call(*arguments: str) -> Result:
    """Run a command and look for the secret in all that it printed and wrote."""
    found = CliRunner().invoke(app, list(arguments))
    assert SECRET not in found.output
    assert isinstance(found.exception, SystemExit | None), found.exception
    assert files_with_secret(Path()) == []
    return found


def files_with_secret(folder: Path) -> list[str]:
    return [str(p) for p in folder.rglob("*") if p.is_file() and SECRET.encode() in p.read_bytes()]


# --- what is found ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (DATABASE, "postgresql://user:***@127.0.0.1:1/db"),
        (f"s3://key:{SECRET}/+x@bucket/a", "s3://key:***@bucket/a"),
        (f"https://:{SECRET}@host", "https://:***@host"),
        (f"https://{SECRET}@host/a", "https://***@host/a"),
        (f"at /runs/https:/user:{SECRET}@host/a.jsonl", "at /runs/https:/user:***@host/a.jsonl"),
        (f"https://host/a?x=1&X-Amz-Signature={SECRET}&y=2", "https://host/a?x=1&X-Amz-Signature=***&y=2"),
        (f"az://box?sig={SECRET}", "az://box?sig=***"),
        (f"'{DATABASE}' and 'ftp://a:{SECRET}@b'", "'postgresql://user:***@127.0.0.1:1/db' and 'ftp://a:***@b'"),
    ],
)
def test_a_password_is_hidden_wherever_it_stands_in_a_url(text: str, shown: str) -> None:
    assert without_secrets(text) == shown and holds_secret(text) and without_secrets(shown) == shown


@pytest.mark.parametrize(
    "text",
    [
        "https://host:8080/a@b",
        "sftp://user@host/a",
        "sqlite:///runs/mine/store.sqlite",
        "ray://127.0.0.1:10001",
        "name : Aromi | mail : a@b.org",
        "see https://example.org: mail me@example.org",
        "https://host/a?page=2",
    ],
)
def test_what_is_no_password_stays(text: str) -> None:
    assert not holds_secret(text)


# --- what commands print ---------------------------------------------------------------------------------------------

STORES = [
    DATABASE,
    f"postgresql:/user:{SECRET}@host",
    f"postgresql://user:{SECRET}@host:port/db",
    f"no://u:{SECRET}@h/x",
]
READERS = [
    ("status", "--json"),
    ("score", "all"),
    ("generate", "3f2a", "name : Aromi"),
    ("report",),
    ("export", "3f2a", "-o", "there"),
    ("rerun", "3f2a"),
]


@pytest.mark.parametrize("url", STORES)
@pytest.mark.parametrize("arguments", READERS, ids=[" ".join(arguments) for arguments in READERS])
def test_the_password_of_a_store_is_not_told(arguments: tuple[str, ...], url: str) -> None:
    found = call(*arguments, "--store", url)
    assert found.exit_code == ENVIRONMENT and "***@" in found.stderr


@pytest.mark.parametrize("command", ["plan", "run"])
@pytest.mark.parametrize("url", STORES[:2])
def test_a_plan_beside_a_store_that_does_not_answer_tells_no_password(
    command: str, url: str, elsewhere: Path, tiny_llama: str
) -> None:
    (elsewhere / "mine.yaml").write_text(text_of(tiny_llama))
    assert call(command, "mine.yaml", "--store", url, "--json").exit_code == ENVIRONMENT


def test_addresses_and_places_of_a_run_are_neither_told_nor_stored(elsewhere: Path, tiny_llama: str) -> None:
    (elsewhere / "mine.yaml").write_text(text_of(tiny_llama))
    addresses = ("--address", f"ray://user:{SECRET}@127.0.0.1:1", "--artifacts", f"s3://key:{SECRET}@bucket")
    found = call("run", "mine.yaml", *addresses)
    assert found.exit_code == ENVIRONMENT and "Ray at ray://user:***@127.0.0.1:1" in found.stderr
    assert (elsewhere / "runs" / "mine" / "store.sqlite").exists()


def test_a_plan_given_by_a_url_is_repeated_without_its_password() -> None:
    assert "'https://***@host/plan.yaml'" in call("plan", f"https://{SECRET}@host/plan.yaml").stderr


def test_an_unforeseen_error_is_told_without_passwords() -> None:
    code = "import sys\nfrom featherbench.harness import cli\ndef broken(): raise KeyError(sys.argv[1])\n"
    code += "cli.app = broken\ncli.main()"
    done = subprocess.run([sys.executable, "-c", code, DATABASE], capture_output=True, text=True)
    assert done.returncode == 1 and SECRET not in done.stderr
    assert "Traceback" in done.stderr and "KeyError: 'postgresql://user:***@127.0.0.1:1/db'" in done.stderr


# --- data files ------------------------------------------------------------------------------------------------------


@pytest.fixture
def fenced(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> File:
    """A task whose files lie behind a URL with a password, at a port that nobody answers."""
    monkeypatch.delenv("FEATHERBENCH_DATA", raising=False)
    monkeypatch.setenv("FEATHERBENCH_CACHE", str(tmp_path / "cache"))
    file = File(path="fenced/train.jsonl", sha256="0" * 64, url=f"http://user:{SECRET}@127.0.0.1:1/train.jsonl")
    task = dataclasses.replace(TASKS["places"], name="fenced", files={split: (file,) for split in SPLITS})
    monkeypatch.setitem(TASKS, "fenced", task)
    return file


@pytest.mark.parametrize("arguments", [("info", "fenced"), ("info", "fenced", "--json"), ("inputs", "fenced")])
def test_the_password_of_a_data_file_is_not_told(
    arguments: tuple[str, ...], fenced: File, capfd: pytest.CaptureFixture[str]
) -> None:
    assert "user:***@127.0.0.1:1/train.jsonl" in call(*arguments).output
    assert SECRET not in "".join(capfd.readouterr())


def test_what_libraries_log_while_they_fetch_tells_no_password(fenced: File) -> None:
    code = f"from featherbench.tasks.files import *\nfrom featherbench.tasks.base import File\nfile = {fenced!r}\n"
    code += "try: read_checked(file)\nexcept DataError: print('refused')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "refused\n" and SECRET not in done.stderr
    with pytest.raises(DataError):
        read_checked(fenced)


# --- what is stored --------------------------------------------------------------------------------------------------


def test_the_cause_of_a_failed_trial_holds_no_password(
    tiny_llama: str, elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def keep(artifacts: str, trial: str, blob: bytes) -> str:
        raise OSError(f"cannot write below {artifacts}")

    monkeypatch.setattr(worker, "keep_delta", keep)
    (cell,) = expand(text_of(tiny_llama)).cells
    trial = cell.trial("final", 0, {})
    result = run_trial(trial, Engine(artifacts=f"s3://key:{SECRET}@bucket", scratch=str(elsewhere)))
    assert result.status == "failed" and "cannot write below s3://key:***@bucket" in str(result.cause)
    kept = Store("sqlite:///runs/mine/store.sqlite")
    kept.add_plan("p", "mine", "", [cell.cell])
    kept.add_places([(place_of(cell, "final", 0), trial)])
    kept.record([(result, kept.begin_attempts([trial.id])[trial.id])])
    assert "s3://key:***@bucket" in call("status", "--trials").output
    assert call("report").exit_code == 0 and call("export", trial.id[:6], "-o", "there").exit_code == 0
    assert "***" in json.loads(Path("there/trial.json").read_text())["cause"]


def test_a_result_hides_the_passwords_of_its_cause() -> None:
    assert TrialResult(trial_id="a", status="failed", cause=f"no {DATABASE}").cause == f"no {without_secrets(DATABASE)}"
