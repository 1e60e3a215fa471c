"""Packs: every run of a pack gets the result that it gets alone, whatever its companions do."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch

from featherbench.contracts.tiny import write_backbone
from featherbench.harness import backbones
from featherbench.harness.records import Settings
from featherbench.harness.text import Encoder
from featherbench.harness.train import TRIED_STEPS, Growth, Pack, Run
from featherbench.harness.tuned import Tuned, new_slot
from featherbench.harness.turns import Turns
from featherbench.methods import METHODS
from featherbench.tasks.load import load

torch.set_num_threads(1)

PACKING = ["prefix", "infix", "embedding_only", "adapter"]
SIZES = (3, 7, 1, 5, 2, 4)


@pytest.fixture(scope="module", params=["gpt2", "llama"])
def backbone(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> backbones.Backbone:
    return backbones.load(str(write_backbone(request.param, tmp_path_factory.mktemp(request.param))), torch.float64)


def run_of(backbone: backbones.Backbone, name: str, number: int, **changes: Any) -> Run:
    """A run whose size, data, order, seed, rate and length are its own."""
    method = METHODS[name]
    config = method.config(**{str(method.size_field): SIZES[number % len(SIZES)]}) if method.size_field else None
    encoder = Encoder(backbone=backbone, method=method, config=config or method.config())
    examples = load("places", "validation")[number * 8 : number * 8 + 8 + number]
    pairs = [(encoder.prompt(e.source[: 20 + 7 * number]), encoder.target(e.references[0][:25])) for e in examples]
    given: dict[str, Any] = dict(
        learning_rate=1e-3 * (1 + number),
        weight_decay=0.01 * number,
        steps=6 + number,
        settings=Settings(batch_size=4, evaluations=2 + number % 2, warmup_steps=number % 3),
        seed=number,
        precision="float64",
        pad=backbone.end,
    )
    slot = new_slot(method, encoder.config, backbone.anatomy, backbone.model, number)
    return Run(**{"slot": slot, "pairs": pairs[3:], "validation": pairs[:3], **given, **changes})


def train_all(pack: Pack, runs: Sequence[Run]) -> list[BaseException | None]:
    """Train runs side by side, one thread a run; return what each raised."""

    def outcome(run: Run) -> BaseException | None:
        try:
            pack.train(run)
        except Exception as error:
            return error
        return None

    with ThreadPoolExecutor(len(runs)) as threads:
        return list(threads.map(outcome, runs))


def assert_same(together: Run, alone: Run) -> None:
    found, expected = together.state, alone.state
    assert [(p.step, p.name) for p in found.curve] == [(p.step, p.name) for p in expected.curve]
    # gradient norms of a tiny float64 model agree to rounding as well; relative, since their sizes differ
    assert [p.value for p in found.curve] == pytest.approx(
        [p.value for p in expected.curve], rel=1e-9, abs=1e-12, nan_ok=True
    )
    losses = [(a.value, b.value) for a, b in zip(found.curve, expected.curve, strict=True) if "loss" in a.name]
    assert all(abs(a - b) <= 1e-12 * abs(b) for a, b in losses if not math.isnan(b)), "a diverged run may end so"
    assert (found.step, found.best_step, found.tokens) == (expected.step, expected.best_step, expected.tokens)


@pytest.mark.parametrize("name", PACKING)
def test_packed_equals_alone_with_companions_that_join_stop_diverge_and_fail(
    name: str, backbone: backbones.Backbone
) -> None:
    """Six runs over three slots: others wait and join at the next step; one diverges, one fails, one stops early."""

    def fail(done: int, total: int) -> None:
        if done == 3:
            raise OSError("its own trouble")

    special: dict[int, dict[str, Any]] = {
        1: {"learning_rate": 1e150},
        2: {"on_progress": fail},
        # what it is judged by has nothing to do with what it learns
        3: {
            "settings": Settings(batch_size=4, evaluations=9, patience=1),
            "validation": [([5], [7, 250, 31, 99, 160])],
            "learning_rate": 2e-2,
        },
    }
    pack = Pack(backbone.model, backbone.anatomy, slots=3)
    together = [run_of(backbone, name, i, **special.get(i, {})) for i in range(6)]
    raised = train_all(pack, together)
    assert [type(e) for e in raised] == [type(None), type(None), OSError, type(None), type(None), type(None)]
    assert together[1].state.diverged and together[3].state.step < together[3].steps
    for i in (0, 1, 3, 4, 5):
        alone = run_of(backbone, name, i, **special.get(i, {}))
        Pack(backbone.model, backbone.anatomy).train(alone)
        assert_same(together[i], alone)
    assert together[0].state.shared > together[0].state.step, "nothing was shared"


@pytest.mark.parametrize("name", ["full_ft", "ft_top2"])
def test_methods_that_unfreeze_weights_take_turns(name: str, backbone: backbones.Backbone) -> None:
    pack = Pack(backbone.model, backbone.anatomy, slots=4)
    together = [run_of(backbone, name, i, steps=3) for i in range(2)]
    assert train_all(pack, together) == [None, None]
    for i, run in enumerate(together):
        alone = run_of(backbone, name, i, steps=3)
        Pack(backbone.model, backbone.anatomy).train(alone)
        assert_same(run, alone)
        assert run.state.shared == run.state.step


def test_runs_of_other_methods_wait_until_the_pack_is_empty(backbone: backbones.Backbone) -> None:
    pack = Pack(backbone.model, backbone.anatomy, slots=4)
    mixed = [run_of(backbone, name, i) for i, name in enumerate(["prefix", "adapter", "prefix", "full_ft"])]
    assert train_all(pack, mixed) == [None] * 4


def test_out_of_memory_goes_on_with_fewer_slots(backbone: backbones.Backbone, monkeypatch: pytest.MonkeyPatch) -> None:
    """A device that holds two slots: six runs finish, each with its own batch and the result that it has alone."""
    plain, seen = Tuned.forward, []

    def forward(self: Tuned, batch: Any) -> Any:
        seen.append(len(self.slots))
        if len(self.slots) > 2:
            raise torch.OutOfMemoryError("no room")
        return plain(self, batch)

    monkeypatch.setattr(Tuned, "forward", forward)
    together = [run_of(backbone, "prefix", i) for i in range(6)]
    pack = Pack(backbone.model, backbone.anatomy, slots=6)
    assert train_all(pack, together) == [None] * 6
    for i, run in enumerate(together):
        alone = run_of(backbone, "prefix", i)
        Pack(backbone.model, backbone.anatomy).train(alone)
        assert_same(run, alone)
    assert max(seen) > 2 and max(seen[-20:]) <= 2


def test_a_run_without_room_of_its_own_fails_alone(
    backbone: backbones.Backbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = Tuned.forward
    runs = [run_of(backbone, "prefix", i) for i in range(3)]

    def forward(self: Tuned, batch: Any) -> Any:
        if any(slot is runs[1].slot for slot in self.slots):
            raise torch.OutOfMemoryError("no room")
        return plain(self, batch)

    monkeypatch.setattr(Tuned, "forward", forward)
    raised = train_all(Pack(backbone.model, backbone.anatomy, slots=3), runs)
    assert [type(e) for e in raised] == [type(None), torch.OutOfMemoryError, type(None)]


def grown(seconds_of: dict[int, float], memory_of: int = 0, most: int = 32, memory: int | None = None) -> int:
    """The number of slots that is settled on, where a step of n slots takes seconds_of[n]."""
    growth = Growth(most=most, limit=1, memory=memory)
    for _ in range(10 * TRIED_STEPS):
        growth.note(growth.limit, seconds_of[growth.limit], lambda: memory_of * growth.limit)
    return growth.limit


def test_slots_grow_while_that_pays() -> None:
    free = {n: 1.0 for n in (1, 2, 4, 8, 16, 32)}
    assert grown(free) == 32
    assert grown({1: 1.0, 2: 1.1, 4: 1.3, 8: 2.5, 16: 5.0, 32: 10.0}) in (8, 16), "no gain beyond eight"
    assert grown({n: float(n) for n in free}) <= 2, "a machine that gains nothing from sharing"
    assert grown(free, memory_of=10, memory=100) == 8, "eight take 80 bytes, sixteen would not fit"


def test_turns_are_taken_in_the_order_of_asking() -> None:
    turns, order = Turns(), []

    def take(number: int) -> None:
        with turns:
            order.append(number)

    with turns:
        threads = []
        for number in range(5):
            threads.append(threading.Thread(target=take, args=(number,)))
            threads[-1].start()
            while len(turns._queue) < number + 2:
                time.sleep(0.001)
    for thread in threads:
        thread.join()
    assert order == list(range(5))
