"""How the command line behaves on a terminal and beside one: examples, completion, colours, foreign warnings."""

from __future__ import annotations

import io
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import typer
import yaml
from rich.console import Console
from typer.testing import CliRunner

from featherbench.harness import progress
from featherbench.harness.cli import USAGE, app
from featherbench.harness.commands import completion
from featherbench.methods import METHODS
from featherbench.tasks import TASKS

GROUP: Any = typer.main.get_command(app)
PROGRAM = Path(sys.executable).with_name("featherbench")


def examples(command: str) -> list[list[str]]:
    found = re.findall(r"^\s*(?:Example:\s+)?featherbench (.*)$", GROUP.commands[command].help, re.MULTILINE)
    return [shlex.split(line) for line in found]


@pytest.mark.parametrize("command", GROUP.commands)
def test_every_command_has_an_example_that_it_understands(command: str) -> None:
    assert examples(command)
    for name, *arguments in examples(command):
        assert name == command
        GROUP.commands[name].make_context(name, arguments)  # parses and checks, runs nothing


def test_a_wrong_example_would_be_noticed() -> None:
    with pytest.raises(Exception, match="No such option"):
        GROUP.commands["run"].make_context("run", ["quickstart", "--gpus"])


def test_a_command_that_is_not_there_names_the_nearest() -> None:
    found = CliRunner().invoke(app, ["statsu"])
    assert found.exit_code == USAGE and "'status'" in found.stderr


# --- completion ----------------------------------------------------------------------------------------------------


def completed(line: str, folder: Path) -> list[str]:
    """Return what bash would offer for the last word of a line, as `--install-completion` sets it up."""
    words = line.split(" ")
    asked = {"_FEATHERBENCH_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1)}
    done = subprocess.run(
        [PROGRAM], capture_output=True, text=True, timeout=100, env={**os.environ, **asked}, cwd=folder
    )
    return done.stdout.split()


def test_the_shell_completes_commands_plans_and_files(tmp_path: Path) -> None:
    (tmp_path / "quick.yaml").write_text("")
    (tmp_path / "quiz").mkdir()
    assert completed("featherbench upg", tmp_path) == ["upgrade"]
    assert completed("featherbench run qui", tmp_path) == ["quickstart", "quick.yaml", "quiz/"]


def test_names_of_tasks_methods_and_backbones_are_completed() -> None:
    assert completion.complete_tasks("pl") == ["places"] and completion.complete_tasks("") == [*TASKS]
    assert completion.complete_methods("prefix,") == [f"prefix,{m}" for m in METHODS if m != "prefix"]
    assert completion.complete_names("feather") == ["feather-3m"] == completion.complete_backbones("f")


def test_the_script_that_completes_is_shown_for_the_shell() -> None:
    done = subprocess.run(
        [PROGRAM, "--show-completion", "bash"],
        capture_output=True,
        text=True,
        timeout=100,
        env={**os.environ, "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"},
    )
    assert done.returncode == 0 and "complete -o default -F _featherbench_completion featherbench" in done.stdout


# --- colours -------------------------------------------------------------------------------------------------------


def shown_by_a_board(monkeypatch: pytest.MonkeyPatch, **console: Any) -> str:
    """Return what the progress of a trial looks like on such a console."""
    file = io.StringIO()
    monkeypatch.setattr(progress, "Console", lambda **_: Console(file=file, **console))
    sweep: Any = SimpleNamespace(done=lambda: {"new": 3}, total=3, labels={"3f2a": "places/full/a-row"})
    with progress.Board(sweep) as board:
        board.show({"3f2a": ("training", 1, 4)})
    return file.getvalue()


def test_progress_moves_on_a_terminal_only_and_not_where_colours_are_unwanted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert "\x1b[" in shown_by_a_board(monkeypatch, force_terminal=True)
    plain = "0/3 trials places/full/a-row training 1/4\n"
    assert shown_by_a_board(monkeypatch) == plain, "piped"
    monkeypatch.setenv("NO_COLOR", "1")
    assert shown_by_a_board(monkeypatch, force_terminal=True) == plain


# --- what libraries say --------------------------------------------------------------------------------------------

LOUD = """
import sys, warnings
from featherbench.harness import cli, spec

class Loud:
    def glob(self, pattern):
        warnings.warn("soon to be removed", FutureWarning)
        return []

spec.PACKAGED_PLANS = Loud()
sys.argv = ["featherbench", *sys.argv[1:]]
cli.main()
"""


@pytest.mark.parametrize(
    ("arguments", "heard"),
    [
        (["list", "plans"], False),
        (["-v", "list", "plans"], True),
        (["list", "plans", "--verbose"], True),
        (["list", "plans", "-v"], True),
    ],
    ids=["without", "before the command", "--verbose behind it", "-v behind it"],
)
def test_warnings_of_libraries_are_heard_with_v_only(arguments: list[str], heard: bool) -> None:
    done = subprocess.run([sys.executable, "-c", LOUD, *arguments], capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    assert ("soon to be removed" in done.stderr) is heard
    assert heard or done.stderr == ""


def test_v_behind_a_lone_dashes_is_text() -> None:
    found = CliRunner().invoke(app, ["list", "--", "-v"])
    assert found.exit_code == USAGE and "nothing called '-v' to list" in found.stderr


def test_a_run_says_nothing_but_its_own_lines_and_no_control_codes(tmp_path: Path, tiny_llama: str) -> None:
    plan = {
        "protocol": 1,
        "name": "calm",
        "backbones": [tiny_llama],
        "tasks": ["places"],
        "sizes": [20],
        "methods": ["prefix"],
        "baselines": [],
        "training": {"steps": 2, "batch_size": 4, "evaluations": 1},
        "decoding": {"beams": 2, "max_new_tokens": 4},
        "test": 4,
    }
    (tmp_path / "calm.yaml").write_text(yaml.safe_dump(plan))
    command = [sys.executable, "-m", "featherbench.harness.cli", "run", "calm.yaml"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    ours = re.compile(r"\d/1 trials.*|[0-9a-f]{12} \S+/places/20/prefix: ok bleu [0-9.]+ \d+ s")
    assert [line for line in done.stderr.splitlines() if not ours.fullmatch(line)] == []
    assert "\x1b" not in done.stdout + done.stderr and "\r" not in done.stdout + done.stderr
