"""Mirrors show what the store holds; read back by TensorBoard's and MLflow's own readers."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import pytest
from test_store import result, trial

from featherbench.harness.mirrors import MirrorError, mirrors
from featherbench.harness.records import CurvePoint

CURVE = tuple(CurvePoint(step=s, name="train_loss", value=1.0 / (s + 1)) for s in range(3))


def test_tensorboard_reads_curves_and_scores(tmp_path: Path) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    (mirror,) = mirrors(["tensorboard"], tmp_path, "mine")
    mirror.add(trial(), "bone/places/20/prefix", result(trial(), curve=CURVE))
    found = accumulator.EventAccumulator(str(tmp_path / "tensorboard" / "bone_places_20_prefix" / trial().id)).Reload()
    assert [(e.step, e.value) for e in found.Scalars("train_loss")] == [(p.step, pytest.approx(p.value)) for p in CURVE]
    assert [e.value for e in found.Scalars("scores/bleu")] == [12.5]


def test_mlflow_reads_curves_scores_and_what_was_given(tmp_path: Path) -> None:
    mlflow = pytest.importorskip("mlflow")
    for seed in range(2):  # the second opens the experiment again
        (mirror,) = mirrors(["mlflow"], tmp_path, "mine")
        mirror.add(trial(seed), "bone/places/20/prefix", result(trial(seed), curve=CURVE))
    client = mlflow.MlflowClient(tracking_uri=(tmp_path / "mlflow").as_uri())
    runs = client.search_runs([client.get_experiment_by_name("mine").experiment_id])
    assert {run.info.run_name for run in runs} == {trial(0).id, trial(1).id}
    for run in runs:
        history = client.get_metric_history(run.info.run_id, "train_loss")
        assert sorted((m.step, m.value) for m in history) == [(p.step, p.value) for p in CURVE]
        assert run.data.metrics["bleu"] == 12.5 and run.data.params["config.length"] == "10"
        assert run.data.tags["cell"] == "bone/places/20/prefix" and run.info.status == "FINISHED"


def test_a_value_that_is_no_number_harms_no_mirror(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    pytest.importorskip("mlflow")
    broken = result(trial(), status="diverged", curve=(CurvePoint(step=1, name="train_loss", value=math.inf),))
    for mirror in mirrors(["tensorboard", "mlflow"], tmp_path, "mine"):
        mirror.add(trial(), "cell", broken)


@pytest.mark.parametrize(("kind", "module"), [("tensorboard", "torch.utils.tensorboard"), ("mlflow", "mlflow")])
def test_a_mirror_that_is_not_installed_says_how_to_get_it(
    kind: str, module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MirrorError, match=r"pip install 'featherbench\[mirrors\]'"):
        mirrors([kind], tmp_path, "mine")
