"""Methods learn: each one on the embedded backbone, against the untuned one, in sixty steps.

The margins hold with room to spare over five seeds; the worst values are in backbones/feather_3m/README.md.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from featherbench.harness.plan import expand
from featherbench.harness.records import Result
from featherbench.harness.worker import Engine, run_trial

PLAN = expand("""
protocol: 1
name: learning
backbones: [feather-3m]
tasks: [places]
sizes: [200]
methods:
  - {method: full_ft, config: {learning_rate: 1.0e-3}}
  - {method: ft_top2, config: {learning_rate: 3.0e-3}}
  - {method: adapter, config: {learning_rate: 3.0e-2}}
  - {method: prefix, config: {learning_rate: 3.0e-3}}
  - {method: prefix, row: "prefix, direct", config: {learning_rate: 3.0e-1, parametrisation: direct}}
  - {method: infix, config: {learning_rate: 3.0e-3}}
  - {method: embedding_only, config: {learning_rate: 3.0e-3, length: 40, parametrisation: mlp}}
training: {batch_size: 8, steps: 60, evaluations: 4}
test: 32
decoding: {max_new_tokens: 64}
""")
ROWS = {cell.cell.row: cell for cell in PLAN.cells}


def result_of(row: str, folder: Path) -> Result:
    torch.set_num_threads(1)
    return run_trial(ROWS[row].base, Engine(artifacts=str(folder), scratch=str(folder)))


def loss_of(result: Result) -> float:
    return min(p.value for p in result.curve if p.name == "validation_loss")


def bleu_of(result: Result) -> float:
    return next(s.value for s in result.scores if (s.metric, s.subset) == ("bleu", "all") and s.value is not None)


@pytest.fixture(scope="module")
def untuned(tmp_path_factory: pytest.TempPathFactory) -> Result:
    return result_of("untuned", tmp_path_factory.mktemp("untuned"))


MARGINS = {
    "full_ft": (1.9, 20.0),
    "ft_top2": (1.7, 18.0),
    "adapter": (1.6, 18.0),
    "prefix": (1.05, 11.0),
    "prefix, direct": (1.15, 14.0),
    "infix": (0.9, 7.0),
    "embedding_only": (0.6, 2.5),
}
"""Row -> how far below the untuned validation loss in nats a token, and above its BLEU, it must end"""


def test_every_row_of_the_plan_is_checked() -> None:
    assert {"untuned", "untuned+words", "copy", *MARGINS} == set(ROWS)


@pytest.mark.parametrize("row", MARGINS)
def test_a_tuned_backbone_is_far_better_than_the_bare_one(row: str, untuned: Result, tmp_path: Path) -> None:
    result = result_of(row, tmp_path)
    lower, higher = MARGINS[row]
    assert result.status == "ok"
    assert loss_of(result) < loss_of(untuned) - lower
    assert bleu_of(result) > bleu_of(untuned) + higher
