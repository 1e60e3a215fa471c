"""Encoder-decoder models through the worker: every method trains, decodes, scores, and its delta is the tuned model."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from featherbench.contracts.tiny import write_backbone
from featherbench.harness import backbones, worker
from featherbench.harness.decode import decode
from featherbench.harness.plan import expand
from featherbench.harness.records import Trial
from featherbench.harness.spec import PlanError
from featherbench.harness.worker import Engine, run_trial
from featherbench.methods import METHODS

torch.set_num_threads(1)

PLAN = """
protocol: 1
name: small
backbones: [{backbone}]
tasks: [places]
sizes: [20]
methods: [{{method: {method}, config: {{learning_rate: 0.001}}}}]
baselines: []
words: task
training: {{steps: 8, batch_size: 4, evaluations: 2}}
test: 4
decoding: {{beams: 2, max_new_tokens: 8}}
precision: float32
"""
REFUSED = {"infix"}
"""Methods that no encoder-decoder model can take"""


@pytest.fixture(scope="module", params=["bart", "t5"])
def backbone(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write_backbone(request.param, tmp_path_factory.mktemp(request.param)))


def trial_of(backbone: str, method: str) -> Trial:
    (cell,) = expand(PLAN.format(backbone=backbone, method=method)).cells
    return cell.base


@pytest.mark.parametrize("method", sorted(set(METHODS) - REFUSED))
def test_an_encoder_decoder_model_is_trained_decoded_and_scored_and_its_delta_says_the_same(
    backbone: str, method: str, tmp_path: Path
) -> None:
    trial, engine = trial_of(backbone, method), Engine(artifacts=str(tmp_path), scratch=str(tmp_path))
    result = run_trial(trial, engine)
    assert result.status == "ok", result.cause
    losses = {point.step: point.value for point in result.curve if point.name == "validation_loss"}
    assert list(losses) == [0, 4, 8] and min(losses[4], losses[8]) < losses[0]
    assert result.best_step and result.cost and result.cost.steps == 8 and result.cost.stored_parameters > 0
    assert len(result.predictions) == 4 and any(p.text for p in result.predictions)
    assert all(s.value is not None for s in result.scores)
    tuned, encoder = worker.tuned_from_delta(trial, str(tmp_path), result.delta, result.delta_sha256)
    again = decode(tuned, encoder, worker.sources_of(trial), trial.decoding)
    assert tuple(again) == result.predictions


@pytest.mark.parametrize("method", sorted(REFUSED))
def test_what_such_a_model_cannot_take_is_refused_by_the_plan_and_by_the_worker(
    backbone: str, method: str, tmp_path: Path
) -> None:
    reason = METHODS[method].refuses(backbones.anatomy(backbone), METHODS[method].config())
    assert reason
    with pytest.raises(PlanError) as refused:
        trial_of(backbone, method)
    assert reason in str(refused.value)
    planned = trial_of(backbone, "prefix")
    trial = planned.model_copy(update={"method": method, "config": {}, "words": "", "words_as": "none"})
    result = run_trial(trial, Engine(artifacts=str(tmp_path), scratch=str(tmp_path)))
    assert result.status == "failed" and result.scores == ()
    assert str(result.cause).startswith(f"ValueError: {method} refuses: {reason}")
