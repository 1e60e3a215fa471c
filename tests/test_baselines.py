"""The rows of every board, run: a copy of the source costs nothing and goes the way of all trials into store and report."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from featherbench.harness import backbones, data
from featherbench.harness.cli import app
from featherbench.harness.plan import CellPlan, expand
from featherbench.harness.records import Trial
from featherbench.harness.score import score
from featherbench.harness.status import overview
from featherbench.harness.store import Store
from featherbench.harness.worker import Engine, run_trial
from featherbench.reports.read import read

torch.set_num_threads(1)

PLAN = """
protocol: 1
name: board
backbones: [{backbone}]
tasks: [places]
sizes: [20]
methods: [prefix]
search: {{configurations: 2}}
training: {{steps: 4, batch_size: 4, evaluations: 2}}
test: 6
decoding: {{beams: 2, max_new_tokens: 8}}
final: {{seeds: 2}}
precision: float32
"""
ROWS = {
    "untuned": 1,
    "untuned+words": 1,
    "copy": 1,
    "prefix": 4,
    "prefix, default": 2,
    "prefix, direct": 4,
    "prefix, direct, default": 2,
}
"""Row -> its trials"""


@pytest.fixture
def cells(tiny_gpt2: str) -> dict[str, CellPlan]:
    return {c.cell.row: c for c in expand(PLAN.format(backbone=tiny_gpt2)).cells}


def test_a_copy_of_the_source_is_scored_and_costs_nothing(
    cells: dict[str, CellPlan], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial = cells["copy"].base
    monkeypatch.setattr(backbones, "load", lambda *args: pytest.fail("a model was loaded"))
    result = run_trial(trial, Engine(artifacts=str(tmp_path), scratch=str(tmp_path)))
    items = data.references(trial.task, trial.evaluate)
    assert (result.status, result.cause, result.delta, result.curve) == ("ok", None, None, ())
    assert {p.item: p.text for p in result.predictions} == {item: e.source for item, e in items.items()}
    assert result.scores == tuple(score(trial.task, result.predictions, items).values)
    assert next(s.value for s in result.scores if s.metric == "bleu"), "places shares words with its sources"
    cost = result.cost
    assert cost is not None and cost.total_parameters == cells["untuned"].counts.total
    assert not any((cost.trained_parameters, cost.stored_parameters, cost.steps, cost.seconds, cost.decode_flops))
    assert list(tmp_path.iterdir()) == []


def test_the_words_change_what_the_bare_backbone_writes(cells: dict[str, CellPlan], tmp_path: Path) -> None:
    engine = Engine(artifacts=str(tmp_path), scratch=str(tmp_path))

    def texts(trial: Trial) -> list[str]:
        return [p.text for p in run_trial(trial, engine, with_scores=False).predictions]

    assert texts(cells["untuned"].base) != texts(cells["untuned+words"].base)


def test_one_command_runs_them_all_and_shows_them(tiny_gpt2: str, tmp_path: Path) -> None:
    (tmp_path / "board.yaml").write_text(PLAN.format(backbone=tiny_gpt2) + "scales: {small: {test: 4}}\n")
    out = tmp_path / "out"
    found = CliRunner().invoke(
        app, ["run", str(tmp_path / "board.yaml"), "--scale", "small", "--out", str(out), "--json"]
    )
    assert found.exit_code == 0, found.output
    printed = json.loads(found.stdout)
    assert printed["plan"] == "board.small" and printed["ok"] == sum(ROWS.values())
    kept = Store(f"sqlite:///{out / 'store.sqlite'}", create=False)
    assert {c.cell.split("/")[-1]: (c.total, c.ok) for c in overview(kept).cells} == {
        row: (number, number) for row, number in ROWS.items()
    }
    page = (out / "report" / "index.html").read_text()
    assert [row for row in ROWS if row not in page] == []
    (copied,) = [run for run in read(kept).runs if run.cell.row == "copy"]
    refused = CliRunner().invoke(app, ["generate", copied.trial.id, "a text", "--out", str(out)])
    assert refused.exit_code and "has no model: its outputs are the source text as it stands" in refused.stderr
