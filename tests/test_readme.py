"""The README's commands, in order, in an empty folder; and what the quickstart finds makes sense.

The margins hold with room to spare; what the quickstart gave on the machine of docs/results is in the README.
"""

from __future__ import annotations

import json
import os
import re
import sqlite3
import statistics
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from pages import ROOT, Block, blocks_of

from featherbench.harness.spec import find_plan, read_spec

README = ROOT / "README.md"
PLAN = read_spec(find_plan("quickstart").read_text(encoding="utf-8"))
TUNED = [row.method for row in PLAN.methods]
RUN = Path("runs/quickstart")
pytestmark = pytest.mark.timeout(1800)


@dataclass(frozen=True, kw_only=True)
class Ran:
    """Where the README's commands were run, and what each block printed."""

    folder: Path
    printed: dict[str, str]

    @property
    def boards(self) -> dict[int, dict[str, Any]]:
        """The boards of the quickstart's site by size."""
        text = (self.folder / RUN / "report" / "leaderboard.json").read_text(encoding="utf-8")
        return {board["size"]: board for board in json.loads(text)["boards"]}

    def stored(self, size: int) -> dict[str, list[float]]:
        """Return the BLEU of each row's final trials, straight from the store's tables."""
        query = """
            SELECT c.spec, s.value FROM places p JOIN cells c ON c.id = p.cell JOIN scores s ON s.trial = p.trial
            WHERE p.phase = 'final' AND s.metric = 'bleu' AND s.subset = 'all'
        """
        found: dict[str, list[float]] = {}
        with sqlite3.connect(self.folder / RUN / "store.sqlite") as store:
            for spec, value in store.execute(query):
                cell = json.loads(spec)
                if cell["size"] == size:
                    found.setdefault(cell["row"], []).append(value)
        return found


def commands() -> list[Block]:
    return [block for block in blocks_of(README) if block.runs]


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    folder = tmp_path_factory.mktemp("reader")
    for number in range(40):
        pair = {"source": f"name : House {number} | rooms : {number % 7}", "references": [f"House {number} is old."]}
        with (folder / "mine.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(pair) + "\n")
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "RAY_worker_niceness": "0"}
    printed = {}
    for block in commands():
        script = f"set -euo pipefail\n{block.command}"
        done = subprocess.run(["bash", "-c", script], cwd=folder, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, f"{block.command}\n{done.stdout[-3000:]}{done.stderr[-3000:]}"
        printed[block.text] = done.stdout
    return Ran(folder=folder, printed=printed)


def test_the_blocks_of_commands_are_those_that_are_run_here() -> None:
    assert [block.text.split()[0:2] for block in commands()] == [["make", "quickstart"], ["featherbench", "try"]]


def test_the_quickstart_ends_with_what_the_readme_shows(ran: Ran) -> None:
    shown = next(block.text for block in blocks_of(README) if block.language == "text")
    printed = ran.printed[commands()[0].text]
    assert "88 trials ran; of all 88: 88 ok" in shown and "88 trials ran; of all 88: 88 ok" in printed
    row = re.compile(r"^  (\w+) +[\d.]+(?: ± [\d.]+)? +[\d–-]+ +([\d,]+)", re.MULTILINE)
    of_200 = printed[printed.index("200 training pairs") :]
    assert set(row.findall(shown)) == set(row.findall(of_200)), "the same rows store the same"
    assert "Headline comparisons of the plan" in shown and "Headline comparisons of the plan" in printed
    assert f"report: {RUN}/report/index.html" in printed.splitlines() and f"report: {RUN}/report/index.html" in shown
    assert re.search(r"^ *(supported|equivalent|not resolved|contradicted): prefix > full_ft", printed, re.MULTILINE)


@pytest.mark.parametrize("size", PLAN.sizes)
def test_what_the_site_shows_is_what_the_stored_trials_say(size: int, ran: Ran) -> None:
    shown = {row["row"]: row for row in ran.boards[size]["rows"]}
    stored = ran.stored(size)
    assert set(shown) == set(stored) == {"untuned", "copy", *TUNED}
    for row, values in stored.items():
        (score,) = (s for s in shown[row]["scores"] if (s["metric"], s["subset"]) == ("bleu", "all"))
        assert score["mean"] == pytest.approx(statistics.fmean(values), rel=1e-12)
        assert len(values) == (5 if row in TUNED else shown[row]["counts"]["counted"])


@pytest.mark.parametrize("size", PLAN.sizes)
@pytest.mark.parametrize("method", TUNED)
def test_every_method_beats_the_untuned_backbone_by_far(method: str, size: int, ran: Ran) -> None:
    stored = ran.stored(size)
    (untuned,) = set(stored["untuned"])
    assert statistics.fmean(stored[method]) > 2 * untuned + 1


def test_the_plan_that_the_readme_shows_is_one() -> None:
    (block,) = (block for block in blocks_of(README) if block.language == "yaml")
    assert read_spec(block.text).name == "mine"
