"""What a plan will take: arithmetic over what trials took, or over a short probe."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import yaml
from test_store import COST

from featherbench.harness.estimate import PROBE_ITEMS, Rates, estimate, from_history, kind_of, probe
from featherbench.harness.plan import Plan, expand, place_of
from featherbench.harness.records import Result
from featherbench.harness.run import Sweep
from featherbench.harness.store import Store

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def plan(tiny_llama: str) -> Plan:
    content = {
        "protocol": 1,
        "name": "small",
        "backbones": [tiny_llama],
        "tasks": ["places"],
        "sizes": [20],
        "methods": ["prefix", "full_ft"],
        "baselines": [],
        "test": 10,
        "training": {"steps": 100},
        "search": {"configurations": 3},
        "final": {"seeds": 2},
        "decoding": {"beams": 1, "max_new_tokens": 4},
        "precision": "float32",
    }
    return expand(yaml.safe_dump(content))


def test_an_estimate_is_trials_times_what_their_parts_take(plan: Plan) -> None:
    prefix, full_ft = plan.cells
    rates = {kind_of(prefix.base): Rates(step=0.5, item=2.0, rest=10.0, source="a test")}
    found = estimate(plan, {prefix.cell.id: 1}, rates, workers=4)
    each = 10.0 + 100 * 0.5 + 10 * 2.0
    assert found.trials == 4 + 5
    assert found.worker_hours == pytest.approx(4 * each / 3600)
    assert found.wall_hours == pytest.approx(found.worker_hours / 4)
    assert found.disk_bytes > 2 * 4 * full_ft.counts.stored
    assert list(found.sources.values()) == ["a test"] and found.unknown == ["/".join(kind_of(full_ft.base))]


def test_history_of_data_that_have_changed_since_is_left_out(
    plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cell, store = plan.cells[0], Store(f"sqlite:///{tmp_path}/store.sqlite")
    trial = cell.trial("final", 0, {}).model_copy(update={"task": "mine@01234567"})
    Sweep(plan=plan, store=store)
    store.add_places([(place_of(cell, "final", 0), trial)])
    store.record([(Result(trial_id=trial.id, status="ok", cost=COST), store.begin_attempts([trial.id])[trial.id])])
    assert from_history(store) == {}


def test_history_is_what_finished_trials_took(plan: Plan, tmp_path: Path) -> None:
    cell, store = plan.cells[0], Store(f"sqlite:///{tmp_path}/store.sqlite")
    Sweep(plan=plan, store=store)
    for number, seconds in enumerate((3.0, 5.0, 4.0)):
        trial = cell.trial("final", number, {})
        store.add_places([(place_of(cell, "final", number), trial)])
        cost = COST.model_copy(update={"steps": 50, "train_seconds": seconds, "decode_seconds": 1.0, "seconds": 10.0})
        attempt = store.begin_attempts([trial.id])[trial.id]
        assert store.record([(Result(trial_id=trial.id, status="ok", cost=cost), attempt)])
    (rates,) = from_history(store).values()
    assert (rates.step, rates.item, rates.rest) == pytest.approx((4.0 / 50, 1.0 / 10, 5.0))
    assert rates.source == "3 finished trials"


def test_a_probe_runs_a_short_trial_of_the_cell(plan: Plan) -> None:
    for cell in plan.cells:
        rates = probe(cell)
        assert rates.step > 0 and rates.item > 0 and rates.rest > 0 and rates.source == "a probe"
        assert cell.base.evaluate.size != PROBE_ITEMS, "the plan's own trials stay as they are"
