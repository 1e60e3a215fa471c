"""`featherbench try`: a data file is divided so that nothing leaks, mistakes are one line, the plan is run and kept."""

from __future__ import annotations

import gzip
import json
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner, Result

from featherbench.harness import backbones
from featherbench.harness.cli import ENVIRONMENT, USAGE, app
from featherbench.harness.plan import expand
from featherbench.harness.spec import PlanError, read_spec
from featherbench.harness.try_out import LEAST_INPUTS, Question, budget_notes, plan_of, read_data
from featherbench.tasks.base import SPLITS, Example


def pairs(count: int, references: int = 1) -> list[dict[str, str]]:
    return [
        {"text": f"name : Café {i} | colour : red", "summary": f"Café {i}, {way}, is red."}
        for i in range(count)
        for way in range(references)
    ]


def as_lines(rows: list[dict[str, str]]) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Every test runs in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def mine() -> Path:
    """40 pairs with columns of other names."""
    path = Path("mine.jsonl")
    path.write_text(as_lines(pairs(40)), encoding="utf-8")
    return path


COLUMNS = ("--source", "text", "--references", "summary")


def call(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["try", *arguments])


def refused(result: Result, code: int = USAGE) -> str:
    """Return the one line that a refused command writes to stderr; nothing is written to disk."""
    assert result.exit_code == code, result.output
    lines = result.stderr.splitlines()
    assert result.stdout == "" and len(lines) == 1 and lines[0].startswith("error: "), result.stderr
    assert not Path("runs").exists()
    return lines[0]


# --- the data file -------------------------------------------------------------------------------------------------


def test_no_input_is_in_two_splits_and_every_reference_is_kept(mine: Path) -> None:
    rows = pairs(101, references=3)
    random.Random(0).shuffle(rows)
    mine.write_text(as_lines(rows), encoding="utf-8")
    found = read_data(mine, "text", "summary")
    sources = {split: {e.source for e in found.splits[split]} for split in SPLITS}
    assert [len(sources[split]) for split in SPLITS] == [61, 20, 20] and len(set.union(*sources.values())) == 101
    assert {(e.source, r) for split in SPLITS for e in found.splits[split] for r in e.references} == {
        (row["text"], row["summary"]) for row in rows
    }
    assert found.told == (
        "mine: 303 rows with 101 distinct inputs: 61 for train, 20 for validation, 20 for test; none is in two splits."
    )


def test_the_split_follows_from_the_inputs_alone_not_from_their_order(mine: Path) -> None:
    before = read_data(mine, "text", "summary").splits
    rows = pairs(40)
    random.Random(1).shuffle(rows)
    mine.write_text(as_lines(rows), encoding="utf-8")
    after = read_data(mine, "text", "summary").splits
    for split in SPLITS:
        assert {e.source for e in before[split]} == {e.source for e in after[split]}
    assert after["train"] == [e for e in map(example_of, rows) if e in after["train"]], "in the order of the file"


def example_of(row: dict[str, str]) -> Example:
    return Example(source=row["text"], references=(row["summary"],))


def test_inputs_that_differ_only_in_line_breaks_are_one_input(mine: Path) -> None:
    twice = [
        {"text": row["text"].replace(" | ", how), "summary": row["summary"]} for row in pairs(40) for how in "\n\r"
    ]
    mine.write_text(as_lines(twice), encoding="utf-8")
    found = read_data(mine, "text", "summary")
    assert found.rows == 80 and sum(len(found.splits[split]) for split in SPLITS) == 40


def test_a_long_file_leaves_no_more_than_a_quick_comparison_needs_for_validation_and_test(mine: Path) -> None:
    mine.write_text(as_lines(pairs(2000)), encoding="utf-8")
    splits = read_data(mine, "text", "summary").splits
    assert [len(splits[split]) for split in SPLITS] == [2000 - 64 - 128, 64, 128]


@pytest.mark.parametrize("ending", [".jsonl", ".csv", ".tsv", ".csv.gz", ".jsonl.gz"])
def test_every_kind_of_file_gives_the_same_splits(ending: str, mine: Path) -> None:
    expected = read_data(mine, "text", "summary").splits
    mark = "\t" if "tsv" in ending else ","
    text = f"text{mark}summary\n" + "".join(f'"{row["text"]}"{mark}"{row["summary"]}"\n' for row in pairs(40))
    content = (mine.read_text(encoding="utf-8") if "jsonl" in ending else text).encode()
    other = Path(f"other{ending}")
    other.write_bytes(gzip.compress(content) if ending.endswith(".gz") else content)
    assert read_data(other, "text", "summary").splits == expected


def test_a_file_of_too_few_inputs_says_how_many_are_needed(mine: Path) -> None:
    mine.write_text(as_lines(pairs(LEAST_INPUTS - 1, references=2)))
    with pytest.raises(PlanError, match=r"38 rows with 19 distinct inputs; at least 20 are needed"):
        read_data(mine, "text", "summary")
    mine.write_text(as_lines(pairs(LEAST_INPUTS)))
    assert [len(read_data(mine, "text", "summary").splits[split]) for split in SPLITS] == [12, 4, 4]
    mine.write_text("")
    with pytest.raises(PlanError, match="0 rows with 0 distinct inputs"):
        read_data(mine, "text", "summary")


# --- the plan ------------------------------------------------------------------------------------------------------


def question(model: str, **changes: Any) -> Question:
    return Question(**{"model": model, "methods": ("prefix", "full_ft"), "task": "places", **changes})


def test_the_plan_is_fair_and_names_what_is_compared_before_anything_runs(tiny_llama: str) -> None:
    text = plan_of(question(tiny_llama, budget="5%", size=20, search=2, seeds=6), "try-places")
    cells = {cell.cell.row: cell for cell in expand(text).cells}
    assert set(cells) == {"untuned", "copy", "prefix", "full_ft"}
    for row in ("prefix", "full_ft"):
        assert (cells[row].num_search, cells[row].num_final) == (2, 6)
    assert len({cells[r].trial("final", 0, {}).train.sha256 for r in ("prefix", "full_ft")}) == 1
    assert len({cells["prefix"].trial("final", k, {}).train.sha256 for k in range(6)}) == 6, "a draw each"
    assert cells["prefix"].counts.stored / cells["prefix"].counts.total == pytest.approx(0.05, rel=0.1)
    assert cells["full_ft"].cell.budget is None
    headline = read_spec(text).headline
    assert headline is not None and (headline.reference, headline.rows) == ("full_ft", ["prefix"])


def test_the_reference_is_the_first_in_the_table_and_one_method_alone_has_none(tiny_llama: str) -> None:
    headline = read_spec(plan_of(question(tiny_llama, methods=("prefix", "adapter")), "x")).headline
    assert headline is not None and headline.reference == "adapter"
    assert read_spec(plan_of(question(tiny_llama, methods=("adapter",)), "x")).headline is None


def test_a_budget_that_a_method_cannot_have_names_the_least_and_what_it_names_can_be_had(tiny_llama: str) -> None:
    anatomy = backbones.anatomy(tiny_llama)
    asked = question(tiny_llama, methods=("prefix", "adapter", "full_ft"), budget="0.01%")
    with pytest.raises(PlanError) as refusal:
        budget_notes(asked, anatomy)
    message = str(refusal.value)
    assert "too small for prefix (at least" in message and "adapter (at least" in message
    least = message.split("Give --budget ")[1].split(" ")[0]
    only = question(tiny_llama, methods=("adapter", "full_ft"), budget=least)
    assert budget_notes(only, anatomy) == [
        "full_ft has no size, so --budget does not apply to it: it stores 100% of the backbone and is kept as a reference."
    ]
    assert all(cell.cell.budget or cell.cell.row != "adapter" for cell in expand(plan_of(only, "x")).cells)


# --- mistakes ------------------------------------------------------------------------------------------------------

MISTAKES = {
    "an unknown method": (("--methods", "prefx"), "Did you mean 'prefix'?"),
    "no method": (("--methods", ", "), "names none. Known: full_ft"),
    "a method twice": (("--methods", "prefix,prefix"), "'prefix' stands there twice"),
    "data and task": (("--task", "places"), "give either --data FILE"),
    "a file that is not there": (
        ("--data", "gone.jsonl"),
        "there is no file 'gone.jsonl'; give --data a file in .jsonl",
    ),
    "a file of another kind": (("--data", "notes.txt"), "'notes.txt' should end in .jsonl, .csv, .tsv"),
    "a damaged row": (("--data", "damaged.jsonl"), "damaged.jsonl, line 2: this is no JSON"),
    "a damaged gzip": (("--data", "damaged.csv.gz"), "damaged.csv.gz"),
    "no such column": (("--source", "txt"), "has no column 'txt'. Did you mean 'text'? Say by --source which"),
    "no share": (("--budget", "much"), "--budget 'much' is no share of the backbone; give one such as 0.1% or 0.001"),
    "nothing to size": (("--methods", "full_ft", "--budget", "1%"), "none of full_ft has a size; leave --budget out"),
    "a size beyond the data": (("--size", "500"), "sizes: mine@"),
    "no size": (("--size", "many"), "a size is a whole number of training pairs"),
    "an unknown score": (("--score", "blue"), "unknown score 'blue'. Did you mean 'bleu'?"),
    "an unknown backbone": (("--model", "feather-3"), "unknown backbone 'feather-3'. Did you mean 'feather-3m'?"),
}


@pytest.mark.parametrize(("arguments", "part"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_one_line_with_the_mend(
    arguments: tuple[str, ...], part: str, mine: Path, tiny_llama: str
) -> None:
    Path("notes.txt").write_text("")
    Path("damaged.jsonl").write_text('{"text": "a", "summary": "b"}\n{"text"\n')
    Path("damaged.csv.gz").write_bytes(b"\x1f\x8b no")
    given = ["--model", tiny_llama, "--methods", "prefix", "--data", str(mine), *COLUMNS]
    code = ENVIRONMENT if "gz" in part else USAGE
    assert part in refused(call(*given, *arguments), code)


def test_a_task_that_is_not_there_and_a_folder_that_is_not_there(tiny_llama: str) -> None:
    assert "unknown task 'place'" in refused(call("--model", tiny_llama, "--methods", "prefix", "--task", "place"))
    refused(call("--model", "./gone", "--methods", "prefix", "--task", "places"), ENVIRONMENT)


# --- the whole way -------------------------------------------------------------------------------------------------


def test_plan_only_writes_the_plan_and_its_data_and_runs_nothing(mine: Path, tiny_llama: str) -> None:
    given = ("--model", tiny_llama, "--data", str(mine), *COLUMNS, "--methods", "prefix,full_ft", "--plan-only")
    found = call(*given, "--budget", "5%")
    assert found.exit_code == 0, found.output
    text = Path("runs/try-mine/plan.yaml").read_text(encoding="utf-8")
    assert text.rstrip() in found.stdout and "featherbench run runs/try-mine/plan.yaml" in found.stdout
    assert "full_ft has no size" in found.stdout and "20 trials" in found.stdout
    assert not Path("runs/try-mine/store.sqlite").exists()
    assert call(*given, "--budget", "10%").exit_code == 0, "nothing has run, so the options may change"
    assert yaml.safe_load(Path("runs/try-mine/plan.yaml").read_text())["methods"][0]["budget"] == "10%"
    told = call(*given, "--json")
    assert json.loads(told.stdout)["go_on"] == "featherbench run runs/try-mine/plan.yaml"


def test_a_known_task_is_cut_to_what_is_quick_only_where_its_splits_are_long(tiny_llama: str) -> None:
    for size, validation in (("full", 64), ("20", None)):
        given = ("--task", "places", "--methods", "adapter", "--size", size, "--plan-only")
        assert call("--model", tiny_llama, *given).exit_code == 0
        plan = yaml.safe_load(Path("runs/try-places/plan.yaml").read_text())
        assert plan["test"] == 128 and plan.get("validation") == validation


def command(*arguments: str) -> dict[str, Any]:
    """Run featherbench in a process of its own and return the JSON that it printed."""
    whole = [sys.executable, "-m", "featherbench.harness.cli", *arguments, "--json"]
    done = subprocess.run(whole, capture_output=True, text=True, timeout=400)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_one_line_trains_scores_and_reports_and_run_goes_on_with_its_plan(mine: Path, tiny_llama: str) -> None:
    options = ("--model", tiny_llama, "--data", str(mine), *COLUMNS, "--methods", "prefix,full_ft", "--budget", "5%")
    asked = ("try", *options, "--seeds", "2", "--search", "2", "--steps", "2", "-o", "here")
    found = command(*asked)
    assert found["ran"] == found["ok"] == 2 + 2 * (2 + 2) and set(found) >= {"report"}
    page = Path(str(found["report"])).read_text(encoding="utf-8")
    assert "prefix" in page and "full_ft" in page and page.count("mine@") > 0
    again = command("run", "here/plan.yaml", "--out", "here")
    assert (again["plan"], again["ran"], again["ok"]) == (found["plan"], 0, found["ok"])
    changed = call(*options, "--seeds", "3", "-o", "here")
    assert "here holds results of other options or data (plan.yaml differs)" in refused(changed)
    mine.write_text(as_lines(pairs(41)), encoding="utf-8")
    assert "data/train.jsonl differs" in refused(call(*asked[1:]))
