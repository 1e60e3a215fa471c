"""Reruns: the same bits on one machine, a stated tolerance elsewhere, and nothing in the store but a look."""

from __future__ import annotations

import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
import torch
import yaml
from typer.testing import CliRunner, Result

from featherbench.harness import tables, worker
from featherbench.harness.cli import ENVIRONMENT, FAILED, USAGE, app
from featherbench.harness.plan import CellPlan, expand, place_of
from featherbench.harness.records import Result as TrialResult
from featherbench.harness.records import Trial
from featherbench.harness.rerun import RerunError, check, circumstances, largest_difference
from featherbench.harness.store import Store
from featherbench.harness.tuned import BatchRows
from featherbench.harness.worker import Engine, run_trial
from featherbench.methods.embedding_only import place_embeddings
from featherbench.reports.site import write_report

torch.set_num_threads(1)


def cells(backbone: str, **changes: Any) -> list[CellPlan]:
    plan = {"protocol": 1, "name": "mine", "backbones": [backbone], "tasks": ["places"], "sizes": [10], "test": 4}
    plan |= {"training": {"steps": 6, "batch_size": 4, "evaluations": 3}, "precision": "float32", "baselines": []}
    plan |= {"decoding": {"max_new_tokens": 8, "beams": 2}, "methods": ["prefix"]}
    return list(expand(yaml.safe_dump({**plan, **changes})).cells)


def keep(kept: Store, cell: CellPlan, trial: Trial, result: TrialResult, number: int = 0) -> None:
    kept.add_plan("plan", "mine", "", [cell.cell])
    kept.add_places([(place_of(cell, "final" if trial.evaluate.split == "test" else "search", number), trial)])
    attempt = kept.begin_attempts([trial.id])[trial.id]
    assert kept.record([(result, attempt)])


def ran(folder: Path, cell: CellPlan, phase: Any = "final", **engine: Any) -> tuple[Store, Trial]:
    """Run a cell's first trial into the store of a folder."""
    kept, trial = Store(f"sqlite:///{folder}/store.sqlite"), cell.trial(phase, 0, {})
    result = run_trial(trial, Engine(artifacts=str(folder), scratch=str(folder), **engine))
    assert result.status == "ok", result.cause
    keep(kept, cell, trial, result)
    return kept, trial


def again(folder: Path, trial: Trial, *arguments: str) -> Result:
    return CliRunner().invoke(app, ["rerun", trial.id[:8], "--out", str(folder), *arguments])


def content(kept: Store) -> dict[str, list[dict[str, Any]]]:
    """Return all that the store holds, but looks."""
    return {t.name: kept.rows(sa.select(t)) for t in tables.metadata.sorted_tables if t.name != "looks"}


def looks(kept: Store) -> list[tuple[str, str, str]]:
    return [
        (r["trial"], r["split"], r["reason"]) for r in kept.rows(sa.select(tables.looks).order_by(tables.looks.c.id))
    ]


@pytest.mark.parametrize("method", ["infix", "prefix", "full_ft", "ft_top2"])
def test_a_rerun_gives_the_same_bits_and_stores_a_look_alone(method: str, tmp_path: Path) -> None:
    """On a real backbone, where the record came from frozen work that an earlier trial kept in part."""
    changes: dict[str, Any] = {"training": {"steps": 12, "batch_size": 8, "evaluations": 3}, "test": 8, "sizes": [20]}
    (smaller,), (cell,) = (cells("feather-3m", methods=[method], **{**changes, "sizes": [n]}) for n in (10, 20))
    first = run_trial(smaller.trial("final", 0, {}), Engine(artifacts=str(tmp_path), scratch=str(tmp_path)))
    assert first.status == "ok"
    kept, trial = ran(tmp_path, cell)
    before = content(kept)
    done = again(tmp_path, trial)
    assert done.exit_code == 0, done.output
    assert "validation loss: largest of 4 differences 0\noutputs: 0 of 8 differ\ndelta: sha256 equal" in done.stdout
    assert done.stdout.endswith("reproduced: the same bits\n") and "not as recorded" not in done.stdout
    bleu = kept.score(trial.id, "bleu")
    assert f"bleu         all          recorded {bleu:>9.4f}  reproduced {bleu:>9.4f}" in done.stdout
    assert content(kept) == before
    assert looks(kept) == [(trial.id, "test8", "final"), (trial.id, "test8", "rerun")]
    worker._unload()
    worker._cache.cache_clear()
    engine = Engine(artifacts=str(tmp_path / "warm"), scratch=str(tmp_path))
    warm = run_trial(trial, engine)  # what the first run left on disk is read
    assert warm.delta_sha256 == kept.trial(trial.id)["delta_sha256"]


def test_as_many_inputs_are_decoded_at_once_as_were_then(
    tiny_llama: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else memory would decide, of which there may be more or less now, and with it how sums are rounded."""
    (cell,) = cells(tiny_llama)
    kept, trial = ran(tmp_path, cell, decode_batch=3)
    cost = kept.trial(trial.id)["cost"]
    assert cost["decode_batch"] == 3
    asked: list[int | None] = []

    def watched(trial: Trial, engine: Engine, on_progress: Any) -> TrialResult:
        asked.append(engine.decode_batch)
        return run_trial(trial, engine, on_progress)

    monkeypatch.setattr("featherbench.harness.rerun.run_trial", watched)
    assert again(tmp_path, trial).exit_code == 0
    assert asked == [3]


@pytest.mark.parametrize("baseline", ["untuned", "untuned+words", "copy"])
def test_a_baseline_is_run_again_like_a_method(baseline: str, tiny_llama: str, tmp_path: Path) -> None:
    (cell,) = (c for c in cells(tiny_llama, baselines=[baseline], words="task") if c.cell.row == baseline)
    _, trial = ran(tmp_path, cell)
    done = again(tmp_path, trial)
    assert done.exit_code == 0, done.output
    assert done.stdout.endswith("reproduced: the same bits\n")


def test_gradients_of_virtual_tokens_have_the_same_bits_with_several_threads() -> None:
    """Eight rows of 80 tokens: enough for torch to share the work between threads."""
    virtual = torch.full((1, 8, 80), -1)
    virtual[:, :, 30:40] = torch.arange(10)
    rows = BatchRows(sizes=torch.tensor([10]), virtual=virtual)
    draw = torch.Generator().manual_seed(0)
    x, weight = torch.randn(1, 8, 80, 128, generator=draw), torch.randn(1, 8, 80, 128, generator=draw)
    found = set()
    try:
        for threads in (1, *[2] * 10):
            torch.set_num_threads(threads)
            embeddings = torch.ones(1, 10, 128, requires_grad=True)
            (place_embeddings(x, embeddings, rows) * weight).sum().backward()
            assert embeddings.grad is not None
            found.add(embeddings.grad.numpy().tobytes())
    finally:
        torch.set_num_threads(1)
    assert len(found) == 1
    torch.testing.assert_close(embeddings.grad[0], weight[0, :, 30:40].sum(0))


def test_what_differs_is_said_for_programs_and_by_exit_code(tiny_llama: str, tmp_path: Path) -> None:
    (cell,) = cells(tiny_llama)
    kept, trial = ran(tmp_path, cell)
    of_curve = (tables.curves.c.trial == trial.id) & (tables.curves.c.name == "validation_loss")
    step = {
        "step": 2,
        "value": kept.rows(sa.select(tables.curves).where(of_curve & (tables.curves.c.step == 2)))[0]["value"],
    }

    def changed(table: sa.Table, where: Any, **values: Any) -> dict[str, Any]:
        with kept.transaction() as db:
            assert db.execute(table.update().where(where).values(**values)).rowcount == 1
        done = again(tmp_path, trial, "--json")
        found = dict(json.loads(done.stdout))
        assert done.exit_code == (0 if found["within"] else FAILED)
        return found

    near = changed(tables.curves, of_curve & (tables.curves.c.step == 2), value=step["value"] + 4e-6)
    assert near["loss_difference"] == pytest.approx(4e-6) and near["within"] and not near["bitwise"]
    strict = json.loads(again(tmp_path, trial, "--json", "--tolerance", "1e-6").stdout)
    assert not strict["within"] and strict["tolerance"] == 1e-6
    far = changed(tables.curves, of_curve & (tables.curves.c.step == 2), value=step["value"] + 3e-5)
    assert far["loss_difference"] == pytest.approx(3e-5) and not far["within"]
    told = again(tmp_path, trial)
    assert told.exit_code == FAILED
    assert "not reproduced within 1e-05 in validation loss and 2% of the outputs; versions, machine" in told.stdout
    changed(tables.curves, of_curve & (tables.curves.c.step == 2), value=step["value"])

    item = (tables.predictions.c.trial == trial.id) & (tables.predictions.c.item == kept_items(kept, trial)[0])
    (was,) = kept.rows(sa.select(tables.predictions.c.text).where(item))
    other = changed(tables.predictions, item, text="another")
    assert (other["outputs"], other["outputs_differing"], other["within"]) == (4, 1, False)
    changed(tables.predictions, item, text=was["text"])

    bleu = (tables.scores.c.metric == "bleu") & (tables.scores.c.subset == "all")
    (had,) = kept.rows(sa.select(tables.scores.c.value).where(bleu))
    scored = changed(tables.scores, bleu, value=had["value"] + 0.5)
    assert not scored["within"] and scored["outputs_differing"] == 0
    assert {(s["metric"], s["subset"]): s for s in scored["scores"]}["bleu", "all"]["recorded"] == had["value"] + 0.5
    assert changed(tables.scores, bleu, value=had["value"])["bitwise"]

    provenance = {**kept.trial(trial.id)["provenance"], "python": "3.1.4"}
    elsewhere = changed(tables.trials, tables.trials.c.id == trial.id, provenance=provenance)
    assert elsewhere["differing"] == {"python": ["3.1.4", provenance_now()["python"]]} and elsewhere["bitwise"]
    assert "not as recorded: python, '3.1.4' then" in again(tmp_path, trial).stdout


def kept_items(kept: Store, trial: Trial) -> list[int]:
    where = tables.predictions.c.trial == trial.id
    return [row["item"] for row in kept.rows(sa.select(tables.predictions.c.item).where(where))]


def provenance_now() -> dict[str, Any]:
    return worker.provenance()


def test_a_trial_of_a_pack_is_reproduced_by_itself(tiny_gpt2: str, tmp_path: Path) -> None:
    (cell,) = cells(tiny_gpt2, final={"seeds": 2}, training={"steps": 20, "batch_size": 4, "evaluations": 4})
    kept = Store(f"sqlite:///{tmp_path}/store.sqlite")
    trials = [cell.trial("final", number, {}) for number in (0, 1)]
    engine = Engine(artifacts=str(tmp_path), scratch=str(tmp_path), slots=2)
    with ThreadPoolExecutor(2) as threads:
        results = list(threads.map(lambda trial: run_trial(trial, engine), trials))
    for number, (trial, result) in enumerate(zip(trials, results, strict=True)):
        keep(kept, cell, trial, result, number)
    packed = next(r for r in results if r.cost and r.cost.pack > 1)
    done = CliRunner().invoke(app, ["rerun", packed.trial_id, "--out", str(tmp_path), "--json"])
    found = json.loads(done.stdout)
    assert done.exit_code == 0 and found["within"], done.output
    assert found["loss_difference"] <= 1e-5 and found["differing"] == {"pack": [packed.cost.pack, 1.0]}  # type: ignore[union-attr]


def test_a_trial_of_the_search_is_no_look(tiny_gpt2: str, tmp_path: Path) -> None:
    (cell,) = cells(tiny_gpt2, search={"configurations": 1})
    kept, trial = ran(tmp_path, cell, "search")
    done = again(tmp_path, trial)
    assert done.exit_code == 0 and "delta: none was kept" in done.stdout, done.output
    assert looks(kept) == []


def test_an_untuned_backbone_is_decoded_again(tiny_gpt2: str, tmp_path: Path) -> None:
    cell = next(c for c in cells(tiny_gpt2, baselines=["untuned"]) if c.cell.method == "untuned")
    _, trial = ran(tmp_path, cell)
    done = again(tmp_path, trial)
    assert done.exit_code == 0 and "reproduced: the same bits" in done.stdout, done.output


# --- from a file, without the store --------------------------------------------------------------------------------------


def published(folder: Path, backbone: str) -> tuple[Trial, Path]:
    """Run a trial, write the report, and return the trial and its file there; the run's own folder is gone."""
    (cell,) = cells(backbone)
    kept, trial = ran(folder / "run", cell)
    write_report(kept, folder / "site")
    shutil.rmtree(folder / "run")
    return trial, folder / "site" / "trials" / f"{trial.id}.json"


def rerun_of(file: Path, *arguments: str) -> Result:
    return CliRunner().invoke(app, ["rerun", str(file), *arguments])


def test_whoever_has_the_site_alone_can_run_a_trial_again(tiny_gpt2: str, tmp_path: Path) -> None:
    trial, file = published(tmp_path, tiny_gpt2)
    done = rerun_of(file)
    assert done.exit_code == 0, done.output
    assert "differences 0\noutputs: the record does not tell them\ndelta: sha256 equal" in done.stdout
    assert done.stdout.endswith("reproduced: the same bits\n")
    page = file.with_suffix(".html").read_text()
    assert f"featherbench rerun trials/{trial.id}.json" in page and f'href="../trials/{trial.id}.json"' in page
    content = json.loads(file.read_text())
    assert "predictions" not in content and content["trial"] == trial.stated()


def test_without_outputs_equal_losses_must_give_equal_scores(tiny_gpt2: str, tmp_path: Path) -> None:
    _, file = published(tmp_path, tiny_gpt2)
    content = json.loads(file.read_text())
    content["scores"][0]["value"] += 0.5
    file.write_text(json.dumps(content))
    assert rerun_of(file).exit_code == FAILED
    content["validation_loss"]["2"] += 4e-6  # another machine's: outputs may flip, and a score with them
    file.write_text(json.dumps(content))
    near = json.loads(rerun_of(file, "--json").stdout)
    assert near["within"] and not near["bitwise"] and near["outputs"] is None
    content["validation_loss"]["2"] += 4e-5
    file.write_text(json.dumps(content))
    assert rerun_of(file).exit_code == FAILED


def test_an_export_is_enough_too_and_tells_the_outputs(tiny_gpt2: str, tmp_path: Path) -> None:
    (cell,) = cells(tiny_gpt2)
    _, trial = ran(tmp_path, cell)
    export = ["export", trial.id, "--out", str(tmp_path), "-o", str(tmp_path / "there")]
    assert CliRunner().invoke(app, export).exit_code == 0
    done = rerun_of(tmp_path / "there" / "trial.json")
    assert done.exit_code == 0 and "outputs: 0 of 4 differ" in done.stdout, done.output


def test_a_file_that_is_no_record_is_one_line(tiny_gpt2: str, tmp_path: Path) -> None:
    _, file = published(tmp_path, tiny_gpt2)
    content = json.loads(file.read_text())

    def refused(text: str) -> str:
        file.write_text(text)
        done = rerun_of(file)
        assert done.exit_code == USAGE and done.stderr.count("\n") == 1, done.output
        return done.stderr

    for text in ("", "[]", "{}", '"x"', json.dumps({**content, "trial": {}}), json.dumps({**content, "scores": 3})):
        assert "is no record of a trial" in refused(text)
    other = {**content["trial"], "seed": content["trial"]["seed"] + 1}
    assert "was changed: its trial is " in refused(json.dumps({**content, "trial": other}))
    own = {**content["trial"], "definition": {"files": {"train": "ab" * 32}}}
    assert "trained on files of its owner" in refused(json.dumps({**content, "trial": own}))
    assert rerun_of(tmp_path / "gone.json").exit_code == ENVIRONMENT


# --- what must be as recorded ----------------------------------------------------------------------------------------


@pytest.fixture
def trial(tiny_llama: str) -> Trial:
    return cells(tiny_llama)[0].trial("final", 0, {})


def test_what_was_planned_here_can_be_rerun_here(trial: Trial) -> None:
    check(trial, {})


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"protocol": 9}, "protocol 9, here is 1"),
        ({"method": "gone"}, "method gone, which is not installed here"),
        ({"method_version": 99}, "method prefix version 99, here is 1"),
        ({"config": {"length": "long"}}, "other method prefix's configuration ("),
        ({"task": "gone"}, "task gone, which is not installed here"),
        ({"task_version": 99}, "task places version 99, here is 1"),
        ({"data_sha256": "00"}, "other data of places (the data of places here are not the planned ones"),
        ({"backbone_sha256": "ab" * 32}, "with sha256 abababababab, here is "),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_other_versions_are_refused_by_name(changes: dict[str, Any], reason: str, trial: Trial) -> None:
    with pytest.raises(RerunError) as refused:
        check(trial.model_copy(update=changes), {})
    assert reason in str(refused.value) and len(str(refused.value).splitlines()) == 1


def test_an_index_list_that_comes_out_otherwise_is_refused(trial: Trial) -> None:
    train = trial.train.model_copy(update={"sha256": "00"})
    with pytest.raises(RerunError, match="other data of places .*the index list here differs from the planned one"):
        check(trial.model_copy(update={"train": train}), {})


def test_all_that_differs_is_told_with_what_to_type(trial: Trial) -> None:
    other = trial.model_copy(update={"method_version": 99, "task_version": 98})
    with pytest.raises(
        RerunError, match="prefix version 99, here is 1; task places version 98, here is 1. "
    ) as refused:
        check(other, {"packages": {"featherbench": "0.0.9"}})
    assert str(refused.value).endswith("To have what was used then: pip install featherbench==0.0.9.")
    with pytest.raises(RerunError, match=r"git checkout 0123456789ab \(featherbench 0.0.9\)\.$"):
        check(other, {"packages": {"featherbench": "0.0.9"}, "git_commit": "0123456789abcdef"})


def test_a_refused_rerun_is_one_line_and_no_look(tiny_gpt2: str, tmp_path: Path) -> None:
    (cell,) = cells(tiny_gpt2)
    kept, trial = Store(f"sqlite:///{tmp_path}/store.sqlite"), cell.trial("final", 0, {})
    failed = TrialResult(trial_id=trial.id, status="failed", cause="no room")
    keep(kept, cell, trial, failed)
    done = again(tmp_path, trial)
    assert done.exit_code == ENVIRONMENT and looks(kept) == []
    assert done.stderr == f"error: trial {trial.id} is failed: it has no result to reproduce.\n"


# --- what is compared ------------------------------------------------------------------------------------------------


def test_the_largest_difference_of_two_curves() -> None:
    nan = float("nan")
    assert largest_difference({0: 1.0, 2: 3.0}, {0: 1.5, 2: 2.75}) == 0.5
    assert largest_difference({0: 1.0, 2: None}, {0: 1.0, 2: nan}) == 0.0, "a store keeps NaN as nothing"
    assert largest_difference({0: 1.0}, {0: nan}) is None
    assert largest_difference({0: 1.0}, {0: 1.0, 2: 1.0}) is None


def test_versions_machine_threads_and_pack_are_compared() -> None:
    here = {
        "python": "3.11",
        "device": "CPU, 2 threads",
        "packages": {"torch": "2", "numpy": "2"},
        "pack": 1.0,
        "cpus": 2,
    }
    then = {**here, "device": "CPU, 1 thread", "packages": {"torch": "1", "numpy": "2"}, "pack": 3.5, "notes": ["x"]}
    assert circumstances(then, here) == {
        "device": ("CPU, 1 thread", "CPU, 2 threads"),
        "pack": (3.5, 1.0),
        "torch": ("1", "2"),
    }
