"""Faults, each one caused: no memory, damaged files, full disks, an unusable store, NaN, a hub that does not answer."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

from featherbench.harness import backbones, checkpoint, schedule, store
from featherbench.harness.cli import ENVIRONMENT, app
from featherbench.harness.decode import DecodingEngine, decode_together
from featherbench.harness.deltas import ArtifactsError, DeltaError, delta_bytes, keep_delta
from featherbench.harness.halving import in_parts
from featherbench.harness.plan import expand
from featherbench.harness.records import DecodingSettings, Settings
from featherbench.harness.run import Sweep, run_plan
from featherbench.harness.schedule import Job
from featherbench.harness.store import Store
from featherbench.harness.tables import drivers
from featherbench.harness.text import Encoder
from featherbench.harness.train import Pack, Run
from featherbench.harness.tuned import Tuned, new_slot
from featherbench.harness.worker import Engine, backbone_for, run_trial
from featherbench.methods import METHODS
from featherbench.tasks.load import load

torch.set_num_threads(1)

SMALL = """
protocol: 1
name: small
backbones: [{backbone}]
tasks: [places]
sizes: [20]
methods: [{{method: prefix, config: {{length: 4{rate}}}}}]
baselines: [untuned]
search: {{configurations: {configurations}}}
training: {{steps: 4, batch_size: 4, evaluations: 2}}
test: 6
decoding: {{beams: 2, max_new_tokens: 8}}
final: {{seeds: 2}}
precision: float32
"""


def small(backbone: str, configurations: int = 0, rate: str = "") -> str:
    return SMALL.format(backbone=backbone, configurations=configurations, rate=rate)


@pytest.fixture(scope="module")
def backbone(tiny_llama: str) -> backbones.Backbone:
    return backbones.load(tiny_llama, torch.float64)


def pairs_of(backbone: backbones.Backbone, name: str) -> list[Any]:
    method = METHODS[name]
    encoder = Encoder(backbone=backbone, method=method, config=method.config())
    examples = load("places", "validation")[:24]
    return [(encoder.prompt(e.source[:40]), encoder.target(e.references[0][:30])) for e in examples]


def run_of(backbone: backbones.Backbone, name: str, **changes: Any) -> Run:
    method, pairs = METHODS[name], pairs_of(backbone, name)
    given: dict[str, Any] = dict(
        learning_rate=1e-2,
        weight_decay=0.0,
        steps=6,
        settings=Settings(batch_size=4, evaluations=3),
        seed=0,
        precision="float64",
        pad=backbone.end,
    )
    slot = new_slot(method, method.config(), backbone.anatomy, backbone.model, 0)
    return Run(**{"slot": slot, "pairs": pairs[:20], "validation": pairs[20:], **given, **changes})


def trained(backbone: backbones.Backbone, name: str = "prefix", **changes: Any) -> Run:
    run = run_of(backbone, name, **changes)
    Pack(backbone.model, backbone.anatomy).train(run)
    return run


def numbers(run: Run) -> list[tuple[int, str, float]]:
    return [(point.step, point.name, point.value) for point in run.state.curve]


def assert_same_numbers(found: Run, expected: Run) -> None:
    assert [n[:2] for n in numbers(found)] == [n[:2] for n in numbers(expected)]
    assert [n[2] for n in numbers(found)] == pytest.approx([n[2] for n in numbers(expected)], rel=1e-9, abs=1e-12)


# --- memory -----------------------------------------------------------------------------------------------------------


@contextmanager
def room_for(rows: int, backbone: backbones.Backbone) -> Iterator[list[int]]:
    """A device on which a forward pass of more rows runs out of memory; yields the rows of the passes."""
    seen = []

    def check(module: Any, arguments: tuple[Any, ...], named: dict[str, Any]) -> None:
        number = len(named["attention_mask"])  # the texts' hidden states stand end to end in one row
        seen.append(number)
        if number > rows:
            raise torch.OutOfMemoryError(f"no room for {number} rows")

    block = backbone.model.get_submodule(backbone.anatomy.at("block")[0].module)
    hook = block.register_forward_pre_hook(check, with_kwargs=True)
    try:
        yield seen
    finally:
        hook.remove()


@pytest.mark.parametrize("name", ["prefix", "full_ft"])
@pytest.mark.parametrize(("rows", "halvings"), [(3, 1), (1, 2)])
def test_a_run_alone_halves_its_micro_batch_and_keeps_its_numbers(
    name: str, rows: int, halvings: int, backbone: backbones.Backbone
) -> None:
    """Training and validation loss each find their size; the optimiser sees the same batch."""
    with room_for(rows, backbone) as seen:
        short = trained(backbone, name)
    assert (short.state.halvings, short.state.evaluation_halvings) == (halvings, halvings)
    assert short.at_once(evaluating=False) == 4 >> halvings
    assert sum(n > rows for n in seen) == 2 * halvings, "each size is tried once"
    assert_same_numbers(short, trained(backbone, name))


def test_a_run_fails_for_lack_of_memory_at_a_micro_batch_of_one_only(backbone: backbones.Backbone) -> None:
    run = run_of(backbone, "prefix")
    with room_for(0, backbone) as seen, pytest.raises(torch.OutOfMemoryError, match="no room for 1 rows"):
        Pack(backbone.model, backbone.anatomy).train(run)
    assert seen == [4, 2, 1]


def test_a_given_micro_batch_is_halved_as_well(backbone: backbones.Backbone) -> None:
    with room_for(1, backbone):
        short = trained(backbone, micro_batch=2)
    assert (short.state.halvings, short.state.evaluation_halvings) == (1, 2)
    assert_same_numbers(short, trained(backbone, micro_batch=2))


def test_a_run_goes_on_with_the_micro_batch_that_it_had_found(backbone: backbones.Backbone, tmp_path: Path) -> None:
    with room_for(1, backbone):
        stopped_at(4, backbone, tmp_path)
        resumed = run_of(backbone, "prefix", checkpoint=tmp_path)
    assert (resumed.state.step, resumed.state.halvings, resumed.state.evaluation_halvings) == (3, 2, 2)


def test_runs_of_a_pack_halve_once_they_are_alone(backbone: backbones.Backbone) -> None:
    runs = [run_of(backbone, "prefix", seed=seed) for seed in (0, 1)]
    pack = Pack(backbone.model, backbone.anatomy, slots=2)
    with room_for(2, backbone):
        threads = [threading.Thread(target=pack.train, args=(run,)) for run in runs]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    for seed, run in enumerate(runs):
        assert run.error is None and run.state.halvings == 1
        assert_same_numbers(run, trained(backbone, seed=seed))


@pytest.mark.parametrize("engine", ["own", "generate"])
def test_decoding_halves_its_batch_and_gives_the_same_texts(
    engine: DecodingEngine, backbone: backbones.Backbone
) -> None:
    method = METHODS["prefix"]
    encoder = Encoder(backbone=backbone, method=method, config=method.config())
    tuned = Tuned(backbone.model, backbone.anatomy, [run_of(backbone, "prefix").slot])
    items = [(i, e.source[: 20 + i]) for i, e in enumerate(load("places", "validation")[:7])]
    settings = DecodingSettings(beams=2, max_new_tokens=6, length_penalty=1.0)

    def texts(halved: list[tuple[int, int]]) -> list[str]:
        (found,) = decode_together(
            tuned, [encoder], [items], settings, 8, engine=engine, on_batched=lambda *told: halved.append(told)
        )
        return [p.text for p in found]

    plain: list[tuple[int, int]] = []
    expected = texts(plain)
    short: list[tuple[int, int]] = []
    with room_for(5, backbone):  # two beams: at most two inputs
        assert texts(short) == expected
    assert (plain, short) == ([(8, 0)], [(8, 2)])
    with room_for(1, backbone), pytest.raises(torch.OutOfMemoryError):
        texts([])


def test_parts_that_were_done_are_not_done_again() -> None:
    done: list[tuple[int, int]] = []

    def work(start: int, stop: int) -> None:
        if start >= 4 and stop - start > 1:
            raise torch.OutOfMemoryError
        done.append((start, stop))

    assert in_parts(7, 4, work) == 2
    assert done == [(0, 4), (4, 5), (5, 6), (6, 7)]


def test_what_lack_of_memory_did_to_a_trial_stands_in_its_cost(tiny_llama: str, tmp_path: Path) -> None:
    trial = expand(small(tiny_llama)).cells[1].base
    engine = Engine(artifacts=str(tmp_path), scratch=str(tmp_path), decode_batch=8)
    plain = run_trial(trial, engine)
    with room_for(2, backbone_for(trial, "cpu", engine)[0]):
        short = run_trial(trial, engine)
    assert short.status == "ok" and short.cost and plain.cost
    found = short.cost.model_dump()
    told = {name: n for name, n in found.items() if "halvings" in name or name.endswith("_batch")}
    expected = {"micro_batch": 2, "halvings": 1, "evaluation_halvings": 1, "decode_batch": 8, "decode_halvings": 3}
    assert told == expected
    assert not any("halvings" in name or name == "micro_batch" for name in plain.cost.model_dump())
    assert plain.cost.processor_wait is None or 0 <= plain.cost.processor_wait <= 1
    assert [p.text for p in short.predictions] == [p.text for p in plain.predictions]


# --- checkpoints ------------------------------------------------------------------------------------------------------


class Stop(Exception):
    """What ends a run in the middle."""


def stopped_at(step: int, backbone: backbones.Backbone, folder: Path) -> None:
    """Leave the checkpoints of a run that was ended when it had done `step` steps, before that step's own."""

    def stop(done: int, total: int) -> None:
        if done == step:
            raise Stop

    with pytest.raises(Stop):
        trained(backbone, checkpoint=folder, checkpoint_seconds=0.0, on_progress=stop)


def torn(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flipped(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)


def flipped_in_its_header(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[20] ^= 1
    path.write_bytes(content)


def emptied(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize("both", [False, True], ids=["the last", "both"])
@pytest.mark.parametrize("damage", [torn, flipped, flipped_in_its_header, emptied, Path.unlink])
def test_a_damaged_checkpoint_costs_the_steps_since_the_one_before(
    damage: Callable[[Path], None], both: bool, backbone: backbones.Backbone, tmp_path: Path
) -> None:
    stopped_at(4, backbone, tmp_path)
    kept = sorted(tmp_path.iterdir())
    assert [re.sub("-.*", "", path.name) for path in kept] == ["step00000002", "step00000003"]
    for path in kept if both else kept[1:]:
        damage(path)
    steps: list[int] = []
    resumed = trained(backbone, checkpoint=tmp_path, on_progress=lambda done, total: steps.append(done))
    assert steps == ([1, 2, 3, 4, 5, 6] if both else [3, 4, 5, 6])
    whole = trained(backbone)
    assert numbers(resumed) == numbers(whole)
    assert all(map(torch.equal, resumed.slot.parameters(), whole.slot.parameters()))
    told = resumed.state.notes.get("damaged checkpoints", "")
    assert (kept[1].name in told and f"from step {0 if both else 2}" in told) == (damage is not Path.unlink)


def test_a_full_disk_costs_a_checkpoint_and_not_the_run(
    backbone: backbones.Backbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, written = checkpoint.save_file, []

    def save_file(tensors: Any, path: Path, metadata: Any) -> None:
        written.append(path)
        if len(written) > 3:
            path.write_bytes(b"half")
            raise OSError(errno.ENOSPC, "No space left on device")
        plain(tensors, path, metadata)

    monkeypatch.setattr(checkpoint, "save_file", save_file)
    run = trained(backbone, checkpoint=tmp_path, checkpoint_seconds=0.0)
    assert len(written) == 6 and numbers(run) == numbers(trained(backbone))
    assert [path.name[:12] for path in sorted(tmp_path.iterdir())] == ["step00000002", "step00000003"]
    assert run.state.notes == {"unwritten checkpoint": "of step 6: [Errno 28] No space left on device"}


Disk = Callable[[str], Path]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    """Makes small real file systems: options of mount -> folder."""
    mounted: list[Path] = []

    def mount(options: str) -> Path:
        folder = tmp_path / f"disk{len(mounted)}"
        folder.mkdir()
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], capture_output=True, text=True
        )
        if done.returncode:
            pytest.skip(f"no tmpfs can be mounted here: {done.stderr.strip()}")
        mounted.append(folder)
        return folder

    try:
        yield mount
    finally:
        for folder in mounted:
            subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(folder: Path, left: int = 0) -> Path:
    """Fill a small disk up, but for some bytes."""
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(b"0" * 4096)
        except OSError as error:
            assert error.errno == errno.ENOSPC
        file.truncate(max(0, file.tell() - left))
    return filler


def test_a_really_full_disk_leaves_no_half_checkpoint(backbone: backbones.Backbone, disk: Disk) -> None:
    folder = disk("size=2m")
    stopped_at(3, backbone, folder)
    before = sorted(folder.iterdir())
    fill(folder, left=8192)
    run = trained(backbone, checkpoint=folder, checkpoint_seconds=0.0)
    assert "No space left" in run.state.notes["unwritten checkpoint"] or "os error 28" in str(run.state.notes)
    assert sorted(set(folder.iterdir()) - {folder / "filler"}) == before
    assert numbers(run) == numbers(trained(backbone))


# --- deltas -----------------------------------------------------------------------------------------------------------


def test_a_delta_is_written_whole_or_not_at_all(disk: Disk) -> None:
    folder = disk("size=256k")
    kept = keep_delta(str(folder), "a" * 12, b"whole")
    fill(folder, left=8192)
    with pytest.raises(ArtifactsError, match=r"delta of trial b{12} \(65,536 bytes\).*No space left.*--artifacts"):
        keep_delta(str(folder), "b" * 12, bytes(65536))
    assert [path.name for path in (folder / "deltas").iterdir()] == ["a" * 12 + ".safetensors"]
    assert delta_bytes(str(folder), kept) == b"whole"


@pytest.mark.parametrize("damage", [torn, flipped, emptied, Path.unlink])
def test_a_damaged_delta_is_told(damage: Callable[[Path], None], tmp_path: Path) -> None:
    blob = bytes(range(64))
    kept, told = keep_delta(str(tmp_path), "a" * 12, blob), hashlib.sha256(blob).hexdigest()
    assert delta_bytes(str(tmp_path), kept, told) == blob
    damage(tmp_path / kept)
    said = "there is no" if damage is Path.unlink else f"damaged: expected sha256 {told}"
    with pytest.raises(DeltaError, match=said):
        delta_bytes(str(tmp_path), kept, told)


def command(plan: Path, *options: str) -> list[str]:
    return [sys.executable, "-m", "featherbench.harness.cli", "run", str(plan), "--json", *options]


def test_a_full_disk_for_deltas_ends_the_run_in_a_line_and_the_same_command_goes_on(
    tiny_llama: str, tmp_path: Path, disk: Disk
) -> None:
    """The whole way through Ray. The untuned trial leaves no delta behind, and so is finished before."""
    artifacts, out, plan = disk("size=64k"), tmp_path / "out", tmp_path / "small.yaml"
    plan.write_text(small(tiny_llama))
    filler = fill(artifacts)
    line = command(plan, "--out", str(out), "--artifacts", str(artifacts))
    ended = subprocess.run(line, capture_output=True, text=True, timeout=500)
    assert ended.returncode == ENVIRONMENT and ended.stdout == "", ended.stderr
    last = ended.stderr.splitlines()[-1]
    assert last.startswith("error: the delta of trial") and "the same command goes on" in last
    assert "Traceback" not in ended.stderr
    kept = Store(f"sqlite:///{out / 'store.sqlite'}")
    before = kept.finished()
    assert set(before.values()) <= {"ok"} and len(before) < 3
    filler.unlink()
    done = subprocess.run(line, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["ran"] == 3 - len(before)
    assert len(list((artifacts / "deltas").iterdir())) == 2


# --- the store --------------------------------------------------------------------------------------------------------


class Inline:
    """A pool that runs each trial where it stands, without Ray."""

    run_trial = staticmethod(run_trial)

    def __init__(self, *, engine: Engine, **_: Any) -> None:
        self._engine = engine

    def __enter__(self) -> Inline:
        return self

    def __exit__(self, *_: Any) -> None:
        pass

    def run(self, driver: Sweep, job: Job | None, on_finished: Callable[..., None], on_progress: Any) -> None:
        while job is not None:
            result = self.run_trial(job.trial, self._engine)
            with driver.turn():
                driver.keep([(job, result)])
            on_finished(job.trial, result)
            with driver.turn():
                job = driver.begin_next()

    stopped = ""


@pytest.fixture
def inline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schedule, "Pool", Inline)


def refused(*arguments: str) -> str:
    """Return the one line that a command ends with."""
    result = CliRunner().invoke(app, list(arguments))
    assert isinstance(result.exception, SystemExit), repr(result.exception)
    assert result.exit_code == ENVIRONMENT and result.stdout == ""
    line = result.stderr.splitlines()[-1]
    assert line.startswith("error: ") and "Traceback" not in result.stderr
    return line


@pytest.mark.usefixtures("inline")
def test_a_full_disk_for_the_store_ends_the_run_in_a_line_and_the_same_command_goes_on(
    tiny_llama: str, tmp_path: Path, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, plan = disk("size=4m"), tmp_path / "small.yaml"
    plan.write_text(small(tiny_llama))
    line = ("run", str(plan), "--json", "--out", str(tmp_path / "out"), "--store", f"sqlite:///{folder}/store.sqlite")
    ran: list[str] = []

    def fill_after_the_first(trial: Any, engine: Engine) -> Any:
        ran.append(trial.id)
        if len(ran) == 2:
            fill(folder)
        return run_trial(trial, engine)

    monkeypatch.setattr(Inline, "run_trial", staticmethod(fill_after_the_first))
    said = refused(*line)
    assert "store.sqlite: database or disk is full" in said and "the same command goes on from here" in said
    (folder / "filler").unlink()
    kept = Store(f"sqlite:///{folder}/store.sqlite")
    assert list(kept.finished()) == ran[:1], "what was finished is there"
    with kept.transaction() as db:  # in earnest that driver's process has ended
        db.execute(drivers.delete())
    again = CliRunner().invoke(app, list(line))
    assert again.exit_code == 0, again.output
    assert ran[2:] == ran[1:2] + ran[3:], "the one that was lost runs again, the finished one does not"
    assert len(kept.finished()) == 3


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that waits a tenth of a second for a lock, not half a minute."""
    monkeypatch.setattr(store, "WAIT_SECONDS", 0.1)


@pytest.mark.usefixtures("impatient", "inline")
def test_a_store_that_another_process_holds_is_told_in_a_line(tiny_llama: str, tmp_path: Path) -> None:
    plan, out = tmp_path / "small.yaml", tmp_path / "out"
    plan.write_text(small(tiny_llama))
    Store(f"sqlite:///{out / 'store.sqlite'}")
    holder = sqlite3.connect(out / "store.sqlite", isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    said = refused("run", str(plan), "--out", str(out))
    assert "store.sqlite: database is locked" in said and "Another process holds it: wait until it is done" in said
    holder.execute("ROLLBACK")
    holder.close()


@pytest.mark.usefixtures("impatient", "inline")
def test_a_store_that_is_taken_in_the_middle_is_told_in_a_line(
    tiny_llama: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, out = tmp_path / "small.yaml", tmp_path / "out"
    plan.write_text(small(tiny_llama))
    holders: list[sqlite3.Connection] = []

    def take_it(trial: Any, engine: Engine) -> Any:
        holders.append(sqlite3.connect(out / "store.sqlite", isolation_level=None))
        holders[0].execute("BEGIN IMMEDIATE")
        return run_trial(trial, engine)

    monkeypatch.setattr(Inline, "run_trial", staticmethod(take_it))
    said = refused("run", str(plan), "--out", str(out))
    assert "store.sqlite: database is locked" in said and "the same command goes on" in said
    holders[0].close()


def test_a_store_that_cannot_be_written_is_told_in_a_line(tiny_llama: str, tmp_path: Path, disk: Disk) -> None:
    folder, plan = disk("size=4m"), tmp_path / "small.yaml"
    plan.write_text(small(tiny_llama))
    Store(f"sqlite:///{folder}/store.sqlite")._engine.dispose()
    subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)
    said = refused("run", str(plan), "--out", str(tmp_path / "out"), "--store", f"sqlite:///{folder}/store.sqlite")
    assert "cannot be opened for writing" in said and "a place on a local disk that you may write to" in said


# --- NaN --------------------------------------------------------------------------------------------------------------


def test_nan_ends_a_run_as_diverged_with_its_best_weights(
    backbone: backbones.Backbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = Tuned.forward
    run = run_of(backbone, "prefix")

    def forward(self: Tuned, batch: Any) -> Any:
        sums, counts = plain(self, batch)
        return (sums * torch.nan if run.state.step == 3 else sums), counts

    monkeypatch.setattr(Tuned, "forward", forward)
    Pack(backbone.model, backbone.anatomy).train(run)
    assert run.state.diverged == "loss nan with gradient norm nan at step 4"
    assert run.state.step == 3 and run.state.best_step in (0, 2)
    assert all(torch.isfinite(p).all() for p in run.slot.parameters())


def test_diverged_trials_are_spent_and_the_final_phase_comes(tiny_llama: str, tmp_path: Path) -> None:
    plan = expand(small(tiny_llama, configurations=2, rate=", learning_rate: 1.0e+30"))
    kept = Store(f"sqlite:///{tmp_path / 'store.sqlite'}")
    sweep = Sweep(plan=plan, store=kept)
    engine = Engine(artifacts=str(tmp_path), scratch=str(tmp_path))
    pool: Any = lambda: Inline(engine=engine)  # noqa: E731
    assert run_plan(sweep, pool)[0] == 1 + 2 + 2
    assert sorted(kept.finished().values()) == ["diverged"] * 4 + ["ok"], "the untuned one is ok"
    assert run_plan(Sweep(plan=plan, store=kept), pool)[0] == 0, "no other configuration is drawn in their place"


# --- the hub ----------------------------------------------------------------------------------------------------------


@contextmanager
def silent_hub() -> Iterator[str]:
    """A server that takes every call and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        held: list[socket.socket] = []

        def take() -> None:
            while True:
                try:
                    held.append(server.accept()[0])
                except OSError:
                    return

        threading.Thread(target=take, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.getsockname()[1]}"
        finally:
            server.shutdown(socket.SHUT_RDWR)
            for each in held:
                each.close()


@contextmanager
def absent_hub() -> Iterator[str]:
    """An address at which nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}"


OF_HUB = """
protocol: 1
name: mine
backbones: [{backbone}]
tasks: [{{name: mine, hub: nobody/nothing, source: text, references: summary}}]
sizes: [20]
methods: [prefix]
"""


@pytest.fixture
def online(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Makes an address the hub, which has a second to answer."""
    from huggingface_hub import constants

    def at(address: str) -> None:
        monkeypatch.setattr(constants, "ENDPOINT", address)
        monkeypatch.setattr(constants, "HF_HUB_ETAG_TIMEOUT", 1)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setenv("FEATHERBENCH_CACHE", str(tmp_path / "cache"))
        monkeypatch.delenv("FEATHERBENCH_DATA", raising=False)

    return at


@pytest.mark.parametrize("hub", [silent_hub, absent_hub])
@pytest.mark.parametrize("what", ["backbone", "data"])
def test_a_hub_that_does_not_answer_is_told_with_the_mend(
    what: str, hub: Callable[[], Any], online: Callable[[str], None], tiny_llama: str, tmp_path: Path
) -> None:
    plan = tmp_path / "mine.yaml"
    plan.write_text(OF_HUB.format(backbone=tiny_llama))
    with hub() as address:
        online(address)
        began = time.monotonic()
        said = refused("prepare", "nobody/nothing") if what == "backbone" else refused("plan", str(plan))
        assert time.monotonic() - began < 20
    assert "nobody/nothing" in said and address in said and "featherbench prepare" in said
    assert ("HF_HUB_OFFLINE=1" if what == "backbone" else "FEATHERBENCH_DATA=") in said


def test_a_silent_hub_is_told_by_the_command_itself(tmp_path: Path) -> None:
    """As people meet it: by the environment, in a process of its own."""
    with silent_hub() as address:
        changed = {"HF_ENDPOINT": address, "HF_HUB_OFFLINE": "0", "HF_HUB_ETAG_TIMEOUT": "1", "HF_HOME": str(tmp_path)}
        environment = {k: v for k, v in os.environ.items() if k != "FEATHERBENCH_DATA"} | changed
        done = subprocess.run(
            [sys.executable, "-m", "featherbench.harness.cli", "inputs", "xsum"],
            capture_output=True,
            text=True,
            timeout=300,
            env=environment | {"FEATHERBENCH_CACHE": str(tmp_path / "cache")},
        )
    assert done.returncode == ENVIRONMENT and done.stdout == "" and "Traceback" not in done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: cannot get EdinburghNLP/xsum") and address in line and "FEATHERBENCH_DATA=" in line


@pytest.mark.parametrize("kind", ["model", "dataset"])
def test_the_hub_has_its_seconds_and_no_more(kind: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    from featherbench.tasks.files import ask_hub

    monkeypatch.setattr(constants, "HF_HUB_ETAG_TIMEOUT", 1)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    with silent_hub() as address:
        monkeypatch.setattr(constants, "ENDPOINT", address)
        began = time.monotonic()
        with pytest.raises(Exception, match="time"):
            ask_hub(kind, "nobody/nothing")
    assert 0.9 < time.monotonic() - began < 5


def test_a_backbone_with_pickled_weights_only_is_refused_with_the_mend(tiny_llama: str, tmp_path: Path) -> None:
    folder = tmp_path / "pickled"
    folder.mkdir()
    for path in Path(tiny_llama).iterdir():
        if path.suffix != ".safetensors":
            (folder / path.name).write_bytes(path.read_bytes())
    (folder / "pytorch_model.bin").write_bytes(b"never read")
    plan = tmp_path / "small.yaml"
    plan.write_text(small(str(folder)))
    said = refused("plan", str(plan))
    assert "no *.safetensors but pytorch_model.bin" in said and "save_pretrained" in said


def test_an_exported_delta_is_checked(tiny_llama: str, tmp_path: Path) -> None:
    kept = Store(f"sqlite:///{tmp_path / 'store.sqlite'}")
    plan, engine = expand(small(tiny_llama)), Engine(artifacts=str(tmp_path), scratch=str(tmp_path))
    run_plan(Sweep(plan=plan, store=kept), lambda: Inline(engine=engine))  # type: ignore[arg-type,return-value]
    trial = plan.cells[1].trial("final", 0, {}).id
    flipped(tmp_path / "deltas" / f"{trial}.safetensors")
    said = refused("export", trial, "-o", str(tmp_path / "exported"), "--out", str(tmp_path))
    assert f"{trial}.safetensors is damaged: expected sha256" in said
