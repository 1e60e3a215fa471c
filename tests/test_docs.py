"""What the documentation says is done: each page's files are written and its commands run, in order, in a clone."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from pages import ROOT, Block, blocks_of

DOCS = ROOT / "docs"
FOLDERS = {name: ROOT / name for name in ("backbones", "harness", "methods", "tasks", "reports")}
CLUSTER = "how-to/cluster.md"


def blocks(page: str) -> list[Block]:
    return blocks_of(DOCS / page)


PAGES = sorted(
    path.relative_to(DOCS).as_posix() for part in ("tutorial", "how-to") for path in (DOCS / part).glob("*.md")
)


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A copy of the sources that wins over the installed ones, as PYTHONPATH of a command."""
    package = tmp_path / ".package" / "featherbench"
    package.mkdir(parents=True)
    for name, folder in FOLDERS.items():
        if name in ("methods", "tasks"):  # pages change these
            shutil.copytree(folder, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
        (package / name).symlink_to(tmp_path / name if name in ("methods", "tasks") else folder)
    (package / "contracts").symlink_to(ROOT / "tests" / "contracts")
    return tmp_path


def write(block: Block, folder: Path) -> None:
    """Write a file block, or change a file by a diff block whose lines stand in it once."""
    path = folder / block.title
    if block.language != "diff":
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(block.text, encoding="utf-8")
        return
    before, after = (
        "".join(f"{line[1:]}\n" for line in block.text.splitlines() if line[0] in kept) for kept in (" -", " +")
    )
    text = path.read_text(encoding="utf-8")
    assert text.count(before) == 1, f"{block.title}: these lines do not stand there once:\n{before}"
    path.write_text(text.replace(before, after), encoding="utf-8")


@pytest.mark.parametrize("page", [page for page in PAGES if any(block.runs for block in blocks(page))])
def test_the_commands_of_a_page_work_as_written(page: str, clone: Path, tiny_llama: str) -> None:
    found = blocks(page)
    for block in found:
        if block.title:
            write(block, clone)
    script = "set -euo pipefail\n" + "".join(block.command for block in found if block.runs)
    programs = Path(sys.executable).parent
    environment = {
        **os.environ,
        "PYTHONPATH": str(clone / ".package"),
        "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
        "TINY": tiny_llama,
        "FEATHERBENCH_CACHE": str(clone / ".cache"),
    }
    environment.pop("FEATHERBENCH_DATA", None)
    done = subprocess.run(
        ["bash", "-x", "-c", script], capture_output=True, text=True, cwd=clone, env=environment, timeout=580
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]


def test_no_command_is_left_out_without_a_reason() -> None:
    assert set(PAGES) >= {"tutorial/own-method.md", "tutorial/own-task.md", CLUSTER}
    for page in PAGES:
        for block in blocks(page):
            known = block.note.startswith(("not run: ", "tested with: ")) or not block.note
            assert known, f"{page}: a comment that says neither what is run nor why not: {block.note}"
            assert block.language not in ("bash", "shell", "console"), f"{page}: commands are ```sh"
            if block.note.startswith("not run: "):
                assert len(block.note.split()) > 5, f"{page}: no reason: {block.note}"


def test_every_page_is_in_the_navigation_and_every_link_leads_somewhere() -> None:
    listed = set(re.findall(r"[\w/-]+\.md", (ROOT / "mkdocs.yml").read_text(encoding="utf-8")))
    made = {"reference/plan.md", "reference/commands.md"}
    there = {path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md") if path.name != "report.md"} | made
    assert listed - {"docs/DECISIONS.md"} == there
    for page in there - made:
        text = (DOCS / page).read_text(encoding="utf-8")
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", re.sub(r"```.*?```", "", text, flags=re.DOTALL)):
            link = os.path.normpath(os.path.join(os.path.dirname(page), target))
            assert link in made or (DOCS / link).exists(), f"{page}: {target}"


def test_the_reference_has_every_key_and_every_command(tmp_path: Path) -> None:
    from featherbench.harness.cli import COMMANDS
    from featherbench.harness.spec import SECTIONS, PlanSpec

    subprocess.run([sys.executable, DOCS / "reference_pages.py", tmp_path], check=True, timeout=100)
    for page in ("plan.md", "commands.md"):
        kept, made = ((folder / page).read_text(encoding="utf-8") for folder in (DOCS / "reference", tmp_path))
        assert kept == made, f"docs/reference/{page} is of other sources; write it anew: make docs"
    plan = (tmp_path / "plan.md").read_text(encoding="utf-8")
    for model in (PlanSpec, *SECTIONS.values()):
        for key in model.model_fields:
            assert f"| `{key}` |" in plan
    assert "| `budget` | number, more than 0, at most 1 |  | Stored parameters as a share of the backbone" in plan
    assert "named test&lt;N>; default: all" in plan, "what looks like HTML is text"
    commands = (tmp_path / "commands.md").read_text(encoding="utf-8")
    for command in COMMANDS:
        assert f"## {command.__name__.rstrip('_')}\n" in commands


def test_a_plan_that_a_page_shows_is_one(tmp_path: Path) -> None:
    from featherbench.harness.spec import read_spec

    shown = [block for page in PAGES for block in blocks(page) if block.language == "yaml" and "protocol" in block.text]
    assert shown
    for block in shown:
        assert read_spec(block.text).name == yaml.safe_load(block.text)["name"]
