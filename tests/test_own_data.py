"""Data sets that a plan describes by their files or a hub id; sizes in per cent and in inputs; cut sources."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import pytest
import yaml
from typer.testing import CliRunner

from featherbench.harness import data
from featherbench.harness.cli import app
from featherbench.harness.plan import Plan, expand, read_plan
from featherbench.harness.records import Trial
from featherbench.harness.spec import PlanError
from featherbench.harness.store import Store, StoreError
from featherbench.harness.worker import Engine, run_trial
from featherbench.tasks import TASKS
from featherbench.tasks.base import Example
from featherbench.tasks.files import DataError
from featherbench.tasks.load import DEFINITIONS, load, low_data_pairs
from featherbench.tasks.table import rows

MINE = {"name": "mine", "train": "train.jsonl", "validation": "dev.jsonl", "test": "test.csv"}
COLUMNS = {"source": "text", "references": "summary", "tags": ["topic"]}


def lines(count: int, begin: int = 0) -> str:
    some = [
        {"text": f"café {i // 2}\r\nnews", "summary": [f"£{i}", "x"], "topic": "a"} for i in range(begin, begin + count)
    ]
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in some)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "train.jsonl").write_text(lines(40), encoding="utf-8")
    (tmp_path / "dev.jsonl").write_text(lines(20, 100) + "\n", encoding="utf-8")
    test = 'text,summary,topic\r\n"one, ""two""\r\nthree",Ü,b\r\nfour,x,b\r\nfour,y,c\r\n'
    (tmp_path / "test.csv").write_bytes(b"\xef\xbb\xbf" + test.encode())
    return tmp_path


@pytest.fixture
def plan_of(folder: Path, tiny_llama: str) -> Callable[..., Plan]:
    """Expand a plan in `folder` whose only task is "mine", with changes to the task and to the plan."""

    def of(changes: dict[str, Any] | None = None, **plan: Any) -> Plan:
        content: dict[str, Any] = {
            "protocol": 1,
            "name": "own",
            "backbones": [tiny_llama],
            "tasks": [{**MINE, **COLUMNS, **(changes or {})}],
            "sizes": [4],
            "methods": ["prefix"],
            "baselines": [],
            "training": {"steps": 2, "batch_size": 2, "evaluations": 1},
            "decoding": {"beams": 2, "max_new_tokens": 4},
            "precision": "float32",
        } | plan
        path = folder / "own.yaml"
        path.write_text(yaml.safe_dump(content))
        return read_plan(str(path))

    return of


# --- what is read ---------------------------------------------------------------------------------------------------


def test_files_beside_the_plan_are_a_task_without_code(plan_of: Callable[..., Plan]) -> None:
    (cell,) = plan_of().cells
    name = cell.base.task
    assert name.startswith("mine@") and len(name) == len("mine@") + 8
    assert list(load(name, "test")) == [
        Example(source='one, "two" three', references=("Ü",), tags={"topic": "b"}),
        Example(source="four", references=("x", "y"), tags={"topic": "b"}),
    ]
    assert load(name, "train")[0] == Example(
        source="café 0 news", references=("£0", "x", "£1", "x"), tags={"topic": "a"}
    )
    assert [len(load(name, split)) for split in ("train", "validation", "test")] == [20, 10, 2]
    task = TASKS[name]
    assert (task.words, task.primary, task.decoding.beams, task.max_source_tokens) == ("mine:", "bleu", 5, None)
    assert cell.cell.task == name and name in cell.cell.label


def test_gzip_and_tabs_are_read_as_well(folder: Path, plan_of: Callable[..., Plan]) -> None:
    (folder / "t.jsonl.gz").write_bytes(gzip.compress((folder / "train.jsonl").read_bytes()))
    (folder / "d.tsv").write_text("text\tsummary\ttopic\na\tb\tc\n")
    (cell,) = plan_of({"train": "t.jsonl.gz", "validation": "d.tsv"}, validation=1).cells
    assert len(load(cell.base.task, "train")) == 20 and load(cell.base.task, "validation")[0].source == "a"


def test_a_hub_id_is_read_through_datasets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, plan_of: Callable[..., Plan]
) -> None:
    monkeypatch.setenv("FEATHERBENCH_CACHE", str(tmp_path / "cache"))
    asked = []

    def load_dataset(name: str, *, split: str) -> Any:
        asked.append((name, split))
        return datasets.Dataset.from_list([{"text": f"{split} {i}", "summary": "s", "topic": "t"} for i in range(20)])

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    of_hub = {"train": None, "validation": "dev", "test": None, "hub": "me/mine"}
    (cell,) = plan_of(of_hub).cells
    assert load(cell.base.task, "validation")[0].source == "dev 0"
    assert asked == [("me/mine", split) for split in ("train", "dev", "test")]


# --- identity -------------------------------------------------------------------------------------------------------


def test_changed_data_are_another_task_and_another_trial(folder: Path, plan_of: Callable[..., Plan]) -> None:
    (before,) = plan_of().cells
    assert plan_of().cells[0].base.id == before.base.id
    (folder / "test.csv").write_text("text,summary,topic\nfour,x,b\n")
    (after,) = plan_of().cells
    assert after.base.task != before.base.task and after.base.id != before.base.id
    (other,) = plan_of({"references": "topic"}).cells
    assert other.base.task not in (before.base.task, after.base.task)
    assert len(load(before.base.task, "test")) == 2, "what was read stays what it was"


def test_the_place_of_the_files_is_no_part_of_a_trial(
    folder: Path, tmp_path_factory: pytest.TempPathFactory, plan_of: Callable[..., Plan]
) -> None:
    (here,) = plan_of().cells
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    for name in ("train.jsonl", "dev.jsonl", "test.csv"):
        (folder / name).rename(elsewhere / name)
    (there,) = plan_of({k: str(elsewhere / MINE[k]) for k in ("train", "validation", "test")}).cells
    assert there.base.definition != here.base.definition
    assert there.base.id == here.base.id and there.cell.id == here.cell.id


def test_a_trial_brings_its_task_into_a_process_that_knows_none(
    folder: Path, plan_of: Callable[..., Plan], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a worker gets it: the record only."""
    (cell,) = plan_of().cells
    record = cell.trial("final", 0, {}).model_dump_json()
    code = (
        "import sys; from featherbench.harness import data; from featherbench.harness.records import Trial;"
        "trial = Trial.model_validate_json(sys.stdin.read()); data.check_content(trial);"
        "print(trial.id, len(data.pairs(trial.task, trial.train)), len(data.references(trial.task, trial.evaluate)))"
    )
    done = subprocess.run([sys.executable, "-c", code], input=record, capture_output=True, text=True, timeout=120)
    assert done.stdout.split() == [cell.trial("final", 0, {}).id, "4", "2"], done.stderr


def test_a_trial_on_own_data_is_trained_and_scored(folder: Path, plan_of: Callable[..., Plan], tmp_path: Path) -> None:
    (cell,) = plan_of().cells
    trial = Trial.model_validate_json(cell.trial("final", 0, {}).model_dump_json())
    monkeypatch = pytest.MonkeyPatch()
    monkeypatch.delitem(TASKS, trial.task)
    monkeypatch.delitem(DEFINITIONS, trial.task)
    result = run_trial(trial, Engine(artifacts=str(tmp_path / "a"), scratch=str(tmp_path / "s")))
    monkeypatch.undo()
    assert result.status == "ok", result.cause
    assert [(s.metric, s.subset) for s in result.scores] == [("bleu", "all")] and len(result.predictions) == 2


def test_data_that_changed_after_planning_are_refused(folder: Path, plan_of: Callable[..., Plan]) -> None:
    from featherbench.tasks.load import _loaded

    (cell,) = plan_of().cells
    (folder / "test.csv").write_text("text,summary,topic\nfour,x,b\n")
    _loaded.cache_clear()
    with pytest.raises(DataError, match=r"test\.csv is damaged or of another release: expected sha256 \w+, found"):
        load(cell.base.task, "test")
    (folder / "test.csv").unlink()
    with pytest.raises(DataError, match=r"test\.csv is missing\. Expected sha256"):
        load(cell.base.task, "test")


def test_a_store_never_mixes_two_contents_of_one_name(tmp_path: Path) -> None:
    store = Store(f"sqlite:///{tmp_path}/s.sqlite")
    row = {"item": 0, "source": "a", "references": ["x"], "tags": {}}
    store.add_items("mine", 1, "test", [row])
    store.add_items("mine", 1, "test", [row])
    with pytest.raises(StoreError, match=r"the store holds other data of mine version 1, test \(item 0 differs\)"):
        store.add_items("mine", 1, "test", [row | {"source": "b"}])
    with pytest.raises(StoreError, match="item 0 differs"):
        store.add_items("mine", 1, "test", [row | {"item": 1}])


# --- mistakes -------------------------------------------------------------------------------------------------------

MISTAKES: dict[str, tuple[dict[str, Any], type[Exception], str]] = {
    "missing file": ({"train": "gone.jsonl"}, DataError, r"gone\.jsonl is missing"),
    "no test file": ({"test": None}, PlanError, "mine has no test file"),
    "unknown ending": ({"train": "train.txt"}, PlanError, r"'train\.txt' should end in \.jsonl, \.csv, \.tsv"),
    "missing column": (
        {"references": "sumary"},
        DataError,
        r"mine@\w+, train: .*train\.jsonl, line 1: there is no column 'sumary'. Did you mean 'summary'\? Columns: text",
    ),
    "missing tag": ({"tags": ["topics"]}, DataError, "no column 'topics'. Did you mean 'topic'"),
    "unknown key": (
        {"trian": "x"},
        PlanError,
        r"unknown key 'tasks\.0\.trian'. Did you mean 'train'\? Known: name, train",
    ),
    "known name": ({"name": "places"}, PlanError, "'places' is a task that is known already; give yours another name"),
    "odd name": ({"name": "a@b"}, PlanError, "'a@b' is no name"),
    "unknown score": ({"scores": ["blue"]}, PlanError, "unknown score 'blue'. Did you mean 'bleu'"),
    "primary that is no score": ({"primary": "rouge"}, PlanError, "primary 'rouge' is none of its scores: bleu"),
    "unknown decoding": ({"decoding": {"beam": 2}}, PlanError, r"unknown key 'decoding\.beam'. Did you mean 'beams'"),
    "no beams": ({"decoding": {"beams": 0}}, PlanError, "mine: decoding: beams"),
    "a tag seen of other values": ({"tags": ["seen"]}, DataError, "no column 'seen'"),
}


@pytest.mark.parametrize(("changes", "kind", "said"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_named(
    changes: dict[str, Any], kind: type[Exception], said: str, plan_of: Callable[..., Plan]
) -> None:
    with pytest.raises(kind, match=said):
        plan_of(changes)


def test_two_tasks_of_one_name_and_a_misspelt_one_are_refused(plan_of: Callable[..., Plan]) -> None:
    with pytest.raises(PlanError, match="tasks: 'mine' stands there twice"):
        plan_of(tasks=[{**MINE, **COLUMNS}, {**MINE, **COLUMNS, "references": "topic"}])
    with pytest.raises(PlanError, match="unknown task 'e2'. Did you mean 'e2e'"):
        plan_of(tasks=["e2"])
    with pytest.raises(PlanError, match=r"tasks\.0: a task is a name, or a mapping with the key name; given: 3"):
        plan_of(tasks=[3])


def test_an_empty_split_is_refused(folder: Path, plan_of: Callable[..., Plan]) -> None:
    (folder / "dev.jsonl").write_text("\n")
    with pytest.raises(DataError, match=r"the validation split of task mine@\w+ is empty; see .*dev\.jsonl"):
        plan_of()


def test_unseen_rows_outside_of_the_test_are_refused(folder: Path, plan_of: Callable[..., Plan]) -> None:
    for name in ("train.jsonl", "dev.jsonl"):
        rows_of = [{**json.loads(line), "seen": "seen"} for line in (folder / name).read_text().split("\n") if line]
        rows_of[3]["seen"] = "unseen" if name == "dev.jsonl" else "seen"
        (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows_of))
    (folder / "test.csv").write_text("text,summary,topic,seen\na,b,c,unseen\nd,e,f,seen\n")
    with pytest.raises(DataError, match=r'dev\.jsonl, line 4: only the test may have rows that are "unseen"; mend'):
        plan_of({"tags": ["topic", "seen"]})


DAMAGED = {
    "no JSON": ("a.jsonl", b'{"text": "a"}\n{"text": \n', r"a\.jsonl, line 2: this is no JSON"),
    "no object": ("a.jsonl", b'{"text": "a"}\r\n\r\n[1]\r\n', r"a\.jsonl, line 3: expected a JSON object, found list"),
    "no UTF-8": ("a.jsonl", b'{"text": "a"}\n{"text": "\xe9"}\n', r"a\.jsonl, line 2: this is no UTF-8 text"),
    "too few fields": ("a.csv", b'text,summary\n"a\nb",c\nd\n', r"a\.csv, line 4: expected 2 fields, found 1"),
    "too many fields": ("a.csv", b"text,summary\na,b\na,b,c,d\n", r"a\.csv, line 3: expected 2 fields, found 4"),
    "semicolons": ("a.csv", b"text;summary\na, b;c\n", r"a\.csv, line 1: its columns seem to be separated by ';'"),
    "commas in a .tsv": ("a.tsv", b"text,summary\na,b\n", r"a\.tsv, line 1: its columns seem to be separated by ','"),
    "open quotes": ("a.csv", b'text,summary\na,"b\n', r"a\.csv, line 2: unexpected end of data"),
}


@pytest.mark.parametrize(("name", "content", "said"), DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_line_is_named_with_file_and_number(name: str, content: bytes, said: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=said):
        list(rows(tmp_path / name))


@pytest.mark.parametrize("given", ["", [], ["a", ""], 3, None, [["a"]]], ids=str)
def test_references_that_are_no_texts_are_named(given: Any, folder: Path, plan_of: Callable[..., Plan]) -> None:
    (folder / "train.jsonl").write_text(lines(1) + json.dumps({"text": "t", "summary": given, "topic": "a"}))
    with pytest.raises(DataError, match=r"train\.jsonl, line 2: 'summary' must hold a text, or a list of texts, found"):
        plan_of(sizes=["full"])


# --- sizes ----------------------------------------------------------------------------------------------------------


def test_a_percentage_is_of_the_distinct_inputs(plan_of: Callable[..., Plan]) -> None:
    cells = plan_of(sizes=["10%", "25 %", 4, "80%", "full"]).cells
    assert [c.cell.size for c in cells] == [2, 5, 4, 16, None]
    assert [c.share for c in cells] == ["10%", "25%", "", "80%", ""]
    assert cells[3].spend == {"train_pairs": 16, "train_inputs": 16, "validation_pairs": 5, "validation_inputs": 5}
    assert cells[4].spend == {"train_pairs": 80, "train_inputs": 20, "validation_pairs": 40, "validation_inputs": 10}
    assert cells[3].base.train.draw == "final0+" and cells[3].trial("final", 0, {}).train == cells[3].base.train
    with pytest.raises(PlanError, match=r"sizes: \w+%? of mine@\w+ is 2, which stands there twice"):
        plan_of(sizes=["10%", 2])
    with pytest.raises(PlanError, match=r"sizes\.0: a size is .* given: '0%'"):
        plan_of(sizes=["0%"])


def test_a_draw_beyond_the_half_begins_as_the_draw_within_it() -> None:
    examples = [Example(source=f"s{i}", references=("a", "b", "c")) for i in range(40)]
    whole = low_data_pairs(examples, 40, "final3+")
    assert whole[:20] == low_data_pairs(examples, 20, "final3")
    assert sorted(item for item, _ in whole) == list(range(40))
    assert low_data_pairs(examples, 33, "final3+") == whole[:33]
    with pytest.raises(DataError, match="size 41 is larger than the 40 inputs that final draws may use"):
        low_data_pairs(examples, 41, "final3+")


def test_a_size_in_inputs_keeps_all_their_references_under_a_name_of_its_own(plan_of: Callable[..., Plan]) -> None:
    (pairs,), (inputs,) = plan_of().cells, plan_of(size_unit="item").cells
    assert inputs.spend == {"train_pairs": 16, "train_inputs": 4, "validation_pairs": 4, "validation_inputs": 1}
    assert pairs.spend == {"train_pairs": 4, "train_inputs": 4, "validation_pairs": 1, "validation_inputs": 1}
    assert (inputs.base.train.name, pairs.base.train.name) == ("train4items.final0", "train4.final0")
    assert "/4items/" in inputs.cell.label and "/4/" in pairs.cell.label
    assert inputs.base.id != pairs.base.id and inputs.cell.id != pairs.cell.id
    task = pairs.base.task
    assert data.items(task, inputs.base.train) == data.items(task, pairs.base.train), "the same inputs"
    assert len(data.pairs(task, inputs.trial("final", 0, {}).train)) == 16


# --- cut sources ----------------------------------------------------------------------------------------------------


def test_sources_are_cut_alike_everywhere_and_words_do_not_count(tiny_llama: str) -> None:
    import torch

    from featherbench.harness import backbones
    from featherbench.harness.text import Encoder
    from featherbench.methods import METHODS

    backbone = backbones.load(tiny_llama, torch.float32)
    method = METHODS["full_ft"]

    def prompt(source: str, words: str = "", most: int | None = None) -> list[int]:
        encoder = Encoder(backbone=backbone, method=method, config=method.config(), words=words, max_source_tokens=most)
        return encoder.prompt(source)

    text = "one two three four five six seven eight nine ten"
    whole = prompt(text)
    assert prompt(text, most=5) == [*whole[:5], backbone.end]
    assert prompt(text, most=1000) == whole
    words = len(prompt("", "say this:")) - 1
    assert len(prompt(text, "say this:", 5)) - 1 in range(words + 4, words + 6)
    assert prompt(text, "say this:", 5)[:-1] == prompt(text, "say this:")[: len(prompt(text, "say this:", 5)) - 1]


def test_items_of_one_source_share_one_output(tiny_llama: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    from featherbench.harness import backbones
    from featherbench.harness.decode import decode
    from featherbench.harness.records import DecodingSettings
    from featherbench.harness.text import Encoder
    from featherbench.harness.tuned import Tuned, new_slot
    from featherbench.methods import METHODS

    backbone = backbones.load(tiny_llama, torch.float32)
    method = METHODS["prefix"]
    slot = new_slot(method, method.config(), backbone.anatomy, backbone.model, 0)
    tuned = Tuned(backbone.model, backbone.anatomy, [slot])
    encoder = Encoder(backbone=backbone, method=method, config=method.config())
    settings = DecodingSettings(beams=2, max_new_tokens=4, length_penalty=1.0)
    totals = []
    found = decode(tuned, encoder, [(4, "a"), (7, "b"), (9, "a")], settings, 2, lambda _, total: totals.append(total))
    assert [p.item for p in found] == [4, 7, 9] and found[0].text == found[2].text
    assert set(totals) == {2}, "two sources were decoded"


@pytest.fixture
def leaky(folder: Path) -> None:
    """Two validation inputs and one of the two test inputs also stand in training; one test input stands there twice."""
    seen = '{"text": "four", "summary": "x", "topic": "a"}\n'
    (folder / "train.jsonl").write_text(lines(8) + seen + seen, encoding="utf-8")
    (folder / "dev.jsonl").write_text(lines(4) + lines(4, 100), encoding="utf-8")


def test_inputs_that_stand_in_two_splits_are_kept_and_told_before_anything_trains(
    leaky: None, folder: Path, plan_of: Callable[..., Plan]
) -> None:
    (cell,) = plan_of().cells
    assert [len(load(cell.base.task, split)) for split in ("train", "validation", "test")] == [5, 4, 2]
    result = CliRunner().invoke(app, ["plan", str(folder / "own.yaml"), "--json"])
    first, second = json.loads(result.stdout)["warnings"]
    assert first.startswith(f"{cell.base.task}: 2 inputs of the validation split also stand in the training split.")
    assert second.startswith(f"{cell.base.task}: 1 inputs of the test split also stand in the training split.")
    assert f"warning: {first}" in CliRunner().invoke(app, ["plan", str(folder / "own.yaml")]).stdout.splitlines()


def test_splits_that_share_nothing_give_no_warning(folder: Path, plan_of: Callable[..., Plan]) -> None:
    plan_of()
    result = CliRunner().invoke(app, ["plan", str(folder / "own.yaml"), "--json"])
    assert json.loads(result.stdout)["warnings"] == []


@pytest.mark.parametrize("size", ["full", 1])
def test_a_trial_counts_those_among_the_pairs_that_it_was_trained_on(
    size: Any, leaky: None, plan_of: Callable[..., Plan], tmp_path: Path
) -> None:
    (cell,) = plan_of(sizes=[size]).cells
    result = run_trial(cell.base, Engine(artifacts=str(tmp_path), scratch=str(tmp_path)))
    trained, validated = (
        {s for s, _ in data.pairs(cell.base.task, p)} for p in (cell.base.train, cell.base.validation)
    )
    expected = {"validation": len(trained & validated), "test": int("four" in trained)}
    assert result.provenance["also_trained_on"] == expected
    assert expected == {"validation": 2, "test": 1} or size == 1


def test_the_length_check_knows_that_sources_are_cut(folder: Path, plan_of: Callable[..., Plan]) -> None:
    row = json.dumps({"text": "word " * 2000, "summary": "s", "topic": "t"}) + "\n"
    (folder / "train.jsonl").write_text(lines(40) + row, encoding="utf-8")
    with pytest.raises(PlanError, match="the backbone has 512"):
        plan_of()
    (cell,) = plan_of({"max_source_tokens": 100}).cells
    assert TASKS[cell.base.task].max_source_tokens == 100


def test_expand_reads_files_relative_to_the_given_folder(folder: Path, tiny_llama: str) -> None:
    text = yaml.safe_dump(
        {
            "protocol": 1,
            "name": "own",
            "backbones": [tiny_llama],
            "tasks": [{**MINE, **COLUMNS}],
            "sizes": [4],
            "methods": ["prefix"],
        }
    )
    assert expand(text, "own.yaml", folder).cells
    with pytest.raises(DataError, match="is missing"):
        expand(text)
