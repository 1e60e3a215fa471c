"""Trials spread over two real processes by DeepSpeed ZeRO inside Ray: the plain loop's curves, weights and texts.

Curves agree with the plain loop's within TOLERANCE, relative, in float32: sums are taken in another order.
"""

from __future__ import annotations

import os
import socket
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import ray
import sqlalchemy as sa
import torch
from safetensors.torch import load_file

from featherbench.contracts.tiny import write_backbone
from featherbench.harness import store as tables
from featherbench.harness.cluster import LOCAL_RAY
from featherbench.harness.cost import FILLED, training_bytes
from featherbench.harness.plan import Plan, expand
from featherbench.harness.records import Result, Trial, Zero
from featherbench.harness.run import Sweep, run_plan
from featherbench.harness.schedule import Pool
from featherbench.harness.spec import PlanError
from featherbench.harness.store import Store
from featherbench.harness.worker import Engine, config_of, method_of, run_trial
from featherbench.harness.zero import refused, smallest, zero_for
from featherbench.methods.base import Anatomy

torch.set_num_threads(1)

TOLERANCE = 1e-5

PLAN = """
protocol: 1
name: spread
backbones: [{backbone}]
tasks: [places]
sizes: [20]
methods: [{{method: full_ft, config: {{learning_rate: 1.0e-3}}}}, prefix]
baselines: [untuned]
training: {{steps: {steps}, batch_size: {batch_size}, evaluations: 3, warmup_steps: 2, clip: 0.05}}
validation: 5
test: 4
decoding: {{beams: 2, max_new_tokens: 8}}
precision: float32
engine: {engine}
"""


def planned(backbone: str, engine: str = "plain", steps: int = 6, batch_size: int = 5) -> Plan:
    return expand(PLAN.format(backbone=backbone, engine=engine, steps=steps, batch_size=batch_size))


def trial_of(backbone: str, row: str, **changes: Any) -> Trial:
    return next(c.base for c in planned(backbone, **changes).cells if c.cell.row == row)


def curve(result: Result, name: str) -> list[float]:
    return [p.value for p in result.curve if p.name == name]


def assert_same(found: Result, expected: Result, folder: Path) -> None:
    """The same curve, choice, weights, counts and texts, up to rounding."""
    assert found.status == expected.status == "ok", found.cause
    assert [(p.name, p.step) for p in found.curve] == [(p.name, p.step) for p in expected.curve]
    for name in ("train_loss", "validation_loss", "gradient_norm", "learning_rate"):
        assert curve(found, name) == pytest.approx(curve(expected, name), rel=TOLERANCE), name
    assert found.best_step == expected.best_step
    assert found.predictions == expected.predictions
    assert found.cost is not None and expected.cost is not None and found.delta and expected.delta
    for field in (
        "trained_parameters",
        "stored_parameters",
        "total_parameters",
        "stored_bytes",
        "steps",
        "train_tokens",
    ):
        assert getattr(found.cost, field) == getattr(expected.cost, field), field
    assert found.cost.train_flops == pytest.approx(expected.cost.train_flops)


# --- through the pool -------------------------------------------------------------------------------------------------


def test_a_gang_whose_member_is_killed_goes_on_from_its_checkpoint(tiny_gpt2: str, tmp_path: Path) -> None:
    """kill -9 of a process that does not lead: one death of the trial, then the curve of the plain loop."""
    plan = planned(tiny_gpt2, "{name: deepspeed, stage: 2, workers: 2}", steps=40)
    engine = Engine(artifacts=str(tmp_path), scratch=str(tmp_path), checkpoint_seconds=0.0, zero=zero_for(plan))
    victim = next(c.base.id for c in plan.cells if c.cell.row == "full_ft")
    killed: list[int] = []
    seen: list[int] = []

    def kill_once(running: dict[str, tuple[str, int, int]]) -> None:
        stage, done, _ = running.get(victim, ("", 0, 0))
        if stage == "training" and killed:
            seen.append(done)
        if stage == "training" and done >= 2 and not killed:
            asked = pool._workers[0].worker.__ray_call__.options(concurrency_group="questions")
            leader = ray.get(asked.remote(lambda worker: os.getpid()))
            for process in psutil.Process().children(recursive=True):
                if process.is_running() and process.name().startswith("ray::Worker") and process.pid != leader:
                    killed.append(done)
                    process.kill()

    kept = Store(f"sqlite:///{tmp_path / 'store.sqlite'}")
    pool = Pool(engine=engine, num_workers=1)
    run_plan(Sweep(plan=plan, store=kept), lambda: pool, on_progress=kill_once)
    assert len(killed) == 1
    tried: dict[str, list[str]] = {}
    for row in kept.rows(sa.select(tables.attempts).order_by(tables.attempts.c.trial, tables.attempts.c.number)):
        tried.setdefault(row["trial"], []).append(row["outcome"])
    assert tried.pop(victim) == ["worker died", "ok"] and set(map(tuple, tried.values())) == {("ok",)}
    for cell in plan.cells:
        row = kept.trial(cell.base.id)
        expected = run_trial(cell.base, Engine(artifacts=str(tmp_path / "plain"), scratch=str(tmp_path / "plain")))
        points = kept.rows(
            sa.select(tables.curves)
            .where(tables.curves.c.trial == cell.base.id)
            .order_by(tables.curves.c.name, tables.curves.c.step)
        )
        for name in ("train_loss", "validation_loss", "gradient_norm"):
            found = [p["value"] for p in points if p["name"] == name]
            assert found == pytest.approx(curve(expected, name), rel=10 * TOLERANCE), (cell.cell.row, name)
        assert row["provenance"]["engine"]["name"] == ("plain" if cell.cell.row == "untuned" else "deepspeed")
    assert row["provenance"]["engine"] == {
        "name": "deepspeed",
        "version": row["provenance"]["engine"]["version"],
        "stage": 2,
        "workers": 2,
        "offload": False,
    }


# --- two processes that stay, any engine ------------------------------------------------------------------------------


def process_class() -> Any:
    """Return the class of a process; made here so that it travels to Ray by value."""

    class Stop(Exception):
        pass

    class Process:
        """One of two processes that train trials together, whatever the engine."""

        def join(self, *given: Any) -> None:
            import torch

            from featherbench.harness.deepspeed_engine import join

            torch.set_num_threads(1)
            join(*given)

        def run(self, text: str, engine: Any, leads: bool, stop_at: int | None) -> str:
            from featherbench.harness import train, worker
            from featherbench.harness.records import Trial

            ordinary = train.Run.step_done

            def stopping(run: Any) -> None:
                if run.state.step == stop_at:
                    raise Stop
                ordinary(run)

            train.Run.step_done = stopping  # type: ignore[method-assign]
            try:
                trial = Trial.model_validate_json(text)
                if leads:
                    return worker.run_trial(trial, engine).model_dump_json()
                worker.follow_trial(trial, engine)
            except Stop:
                pass
            finally:
                train.Run.step_done = ordinary  # type: ignore[method-assign]
            return ""

    return Process


Train = Callable[..., Result]


@pytest.fixture(scope="module")
def spread() -> Iterator[Train]:
    """Trains a trial in two processes."""
    import ray

    for key, value in LOCAL_RAY.items():
        os.environ.setdefault(key, value)
    ray.init(
        num_cpus=2,
        include_dashboard=False,
        log_to_driver=False,
        logging_level="ERROR",
        object_store_memory=150 * 2**20,
        _temp_dir=os.path.join(tempfile.gettempdir(), "featherbench-ray"),
        runtime_env={"env_vars": {"DS_ACCELERATOR": "cpu", "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}},
    )
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    processes = [ray.remote(num_cpus=1)(process_class()).remote() for _ in range(2)]
    ray.get([process.join.remote(rank, 2, address) for rank, process in enumerate(processes)], timeout=120)

    def train(trial: Trial, engine: Engine, stop_at: int | None = None) -> Result:
        text = trial.model_dump_json()
        parts = [p.run.remote(text, engine, rank == 0, stop_at) for rank, p in enumerate(processes)]
        return Result.model_validate_json(ray.get(parts, timeout=400)[0])

    yield train
    ray.shutdown()


def engine_in(folder: Path, **given: Any) -> Engine:
    return Engine(artifacts=str(folder), scratch=str(folder), **given)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Trial], tuple[Result, Path]]:
    """The plain loop's result of a trial and where its delta lies, each trained once."""
    found: dict[str, tuple[Result, Path]] = {}

    def result_of(trial: Trial) -> tuple[Result, Path]:
        if trial.id not in found:
            folder = tmp_path_factory.mktemp("plain")
            found[trial.id] = run_trial(trial, engine_in(folder)), folder
        return found[trial.id]

    return result_of


def share_that_differs(found: Path, expected: Path) -> float:
    """Return the share of a delta's values that differ by more than TOLERANCE."""
    a, b = load_file(found), load_file(expected)
    assert {k: t.shape for k, t in a.items()} == {k: t.shape for k, t in b.items()}
    return torch.cat([((a[k] - b[k]).abs() > TOLERANCE).float().flatten() for k in a]).mean().item()


@pytest.mark.parametrize("stage", [1, 2, 3])
@pytest.mark.parametrize("row", ["full_ft", "prefix"])
def test_a_spread_trial_is_the_plain_one(
    row: str, stage: Any, spread: Train, plain: Any, tiny_gpt2: str, tmp_path: Path
) -> None:
    """Five pairs a step and five validation pairs for two processes: rows without a target fill up."""
    trial = trial_of(tiny_gpt2, row)
    expected, folder = plain(trial)
    losses = curve(expected, "validation_loss")
    assert min(losses) < losses[0] - 100 * TOLERANCE, "there must be something that could differ"
    assert max(curve(expected, "gradient_norm")) > trial.settings.clip, "clipping must have had something to do"
    found = spread(trial, engine_in(tmp_path, zero=Zero(stage=stage)))
    assert_same(found, expected, tmp_path)
    assert found.delta and expected.delta
    # AdamW makes whole steps of rounding where there is no gradient, as at the biases of keys
    assert share_that_differs(tmp_path / found.delta, folder / expected.delta) < 0.01
    assert found.provenance["engine"]["stage"] == stage and expected.provenance["engine"] == {"name": "plain"}


@pytest.mark.parametrize("stage", [1, 2, 3])
def test_offloading_changes_nothing(stage: Any, spread: Train, plain: Any, tiny_gpt2: str, tmp_path: Path) -> None:
    """AdamW's state in main memory, where it is anyway on a machine without a GPU: the way there is DeepSpeed's all the same."""
    trial = trial_of(tiny_gpt2, "full_ft")
    found = spread(trial, engine_in(tmp_path, zero=Zero(stage=stage, offload=True)))
    assert_same(found, plain(trial)[0], tmp_path)
    assert found.provenance["engine"]["offload"]


@pytest.mark.parametrize("stage", [1, 2, 3])
def test_micro_batches_change_nothing(stage: Any, spread: Train, plain: Any, tiny_llama: str, tmp_path: Path) -> None:
    trial = trial_of(tiny_llama, "full_ft")
    found = spread(trial, engine_in(tmp_path, zero=Zero(stage=stage), micro_batch=2))
    assert_same(found, plain(trial)[0], tmp_path)


@pytest.mark.parametrize("family", ["llama", "bart"])
def test_a_process_may_have_no_row_of_a_batch(
    family: str, spread: Train, plain: Any, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    backbone = str(write_backbone(family, tmp_path_factory.mktemp(family)))
    trial = trial_of(backbone, "prefix", batch_size=1)
    assert_same(spread(trial, engine_in(tmp_path, zero=Zero(stage=3))), plain(trial)[0], tmp_path)


@pytest.mark.parametrize(("row", "stage"), [("full_ft", 1), ("full_ft", 3), ("prefix", 2), ("prefix", 3)])
def test_a_resumed_spread_run_is_the_uninterrupted_one(
    row: str, stage: Any, spread: Train, plain: Any, tiny_gpt2: str, tmp_path: Path
) -> None:
    """Stopped in step four, the trial goes on from the checkpoint of step three: spread again, or by the plain loop."""
    trial = trial_of(tiny_gpt2, row)
    expected, _ = plain(trial)
    for again in (Zero(stage=stage), None):
        folder = tmp_path / str(again)
        engine = engine_in(folder, zero=Zero(stage=stage), checkpoint_seconds=0.0)
        stopped = spread(trial, engine, stop_at=4)
        assert stopped.status == "failed" and "Stop" in str(stopped.cause)
        kept = sorted(path.name[:12] for path in (folder / "checkpoints" / trial.id).glob("*.safetensors"))
        assert kept == ["step00000002", "step00000003"]
        engine = engine_in(folder, zero=again, checkpoint_seconds=1e9)
        resumed = spread(trial, engine) if again else run_trial(trial, engine)
        assert_same(resumed, expected, folder)
        assert resumed.cost is not None and resumed.cost.seconds > 0


def test_a_spread_trial_that_diverges_says_so(spread: Train, tiny_gpt2: str, tmp_path: Path) -> None:
    trial = trial_of(tiny_gpt2, "full_ft").model_copy(update={"learning_rate": 1e30})
    found = spread(trial, engine_in(tmp_path, zero=Zero(stage=2)))
    assert found.status == "diverged" and found.best_step == 0 and len(found.predictions) == 4


# --- what a plan may say ----------------------------------------------------------------------------------------------


def test_an_engine_is_no_part_of_a_trial(tiny_gpt2: str) -> None:
    ids = [
        [c.base.id for c in planned(tiny_gpt2, engine).cells]
        for engine in ("plain", "auto", "{name: deepspeed, stage: 1}")
    ]
    assert ids[0] == ids[1] == ids[2]


@pytest.mark.parametrize(
    ("engine", "message"),
    [
        ("fast", "engine.name: Input should be 'plain', 'auto' or 'deepspeed'; given: 'fast'"),
        ("{name: deepspeed, stages: 2}", "unknown key 'engine.stages'. Did you mean 'stage'?"),
        ("{name: deepspeed, stage: 4}", "engine.stage"),
        ("{name: deepspeed, workers: 1}", "engine.workers"),
        ("{name: auto, stage: 2}", "stage can be given with name: deepspeed only"),
        ("3", "an engine is plain, auto or deepspeed"),
    ],
)
def test_a_wrong_engine_is_an_error_that_names_the_key(engine: str, message: str, tiny_gpt2: str) -> None:
    with pytest.raises(PlanError) as error:
        planned(tiny_gpt2, engine)
    assert message in str(error.value)


def test_what_an_engine_means_here(tiny_gpt2: str) -> None:
    assert zero_for(planned(tiny_gpt2)) is None
    assert zero_for(planned(tiny_gpt2, "deepspeed")) == Zero(stage=3, workers=2)
    if not torch.cuda.is_available():
        assert zero_for(planned(tiny_gpt2, "auto")) is None
    assert zero_for(planned(tiny_gpt2, "{name: deepspeed, offload: true}")) == Zero(stage=3, workers=2, offload=True)
    assert "float32" in str(refused(Zero(), "float64"))


def test_auto_takes_the_fewest_gpus_and_the_lowest_stage_that_hold_every_trial(tiny_gpt2: str) -> None:
    """The estimate, by hand: 16 bytes a trained weight alone; ZeRO divides 12, then 4, then 4 more."""
    cells = [c for c in planned(tiny_gpt2, "auto").cells if c.cell.row in ("untuned", "full_ft")]
    trial = trial_of(tiny_gpt2, "full_ft")
    method, config = method_of(trial.method), config_of(trial)
    anatomy: Anatomy = cells[0].anatomy
    n = anatomy.total_parameters
    assert training_bytes(method, config, anatomy) == 16 * n
    assert training_bytes(method, config, anatomy, Zero(stage=1)) == 8 * n + 6 * n
    assert training_bytes(method, config, anatomy, Zero(stage=2)) == 4 * n + 8 * n
    assert training_bytes(method, config, anatomy, Zero(stage=3, workers=4)) == 5 * n
    assert training_bytes(method, config, anatomy, Zero(stage=3, workers=4, offload=True)) == 2 * n

    def gpu(bytes_each: float) -> int:
        return int(bytes_each * n / FILLED) + 2

    assert smallest(cells, 4, gpu(16)) is None
    for each, stage, workers, offload in ((14, 1, 2, False), (12, 2, 2, False), (5, 3, 4, False), (2, 3, 4, True)):
        found = smallest(cells, 4, gpu(each))
        assert found is not None
        assert (found.stage, found.workers, found.offload) == (stage, workers, offload), each
        assert found.above_bytes > 0, "a trial that fits one GPU stays there"
    with pytest.raises(PlanError, match="auto found no way to train"):
        smallest(cells, 4, gpu(1))
