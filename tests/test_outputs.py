"""An output file of any system gets the official scores, or one line that says what is wrong with it."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from featherbench.harness.cli import ENVIRONMENT, USAGE, app
from featherbench.harness.outputs import OutputError, inputs, read_outputs
from featherbench.tasks import TASKS
from featherbench.tasks.base import Score, Unavailable
from featherbench.tasks.load import load
from featherbench.tasks.metrics import meteor
from featherbench.tasks.metrics.bleu import BLEU


def call(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


@pytest.fixture
def outputs(tmp_path: Path) -> Path:
    path = tmp_path / "outputs.txt"
    path.write_text("".join(f"{e.references[0]}\n" for e in load("places", "test")), encoding="utf-8")
    return path


def test_inputs_are_printed_one_a_line_in_file_order() -> None:
    printed = call("inputs", "places", "--split", "validation").stdout
    assert printed.splitlines() == [e.source for e in load("places", "validation")]
    assert len(inputs("places")) == len(load("places", "test"))


def test_a_file_is_scored_over_all_seen_and_unseen_items_as_corpora_of_their_own(outputs: Path) -> None:
    texts = outputs.read_text(encoding="utf-8").splitlines()
    texts[0] = ""
    outputs.write_text("\n".join(texts), encoding="utf-8")  # no line end at the end
    content = json.loads(call("score", "places", str(outputs), "--json").stdout)
    assert (content["task"], content["split"]) == ("places", "test")
    rows = {(row["metric"], row["subset"]): row for row in content["scores"]}
    assert list(rows) == [("bleu", "all"), ("bleu", "seen=seen"), ("bleu", "seen=unseen")]
    examples = list(load("places", "test"))
    for subset in ("seen", "unseen"):
        chosen = [i for i, e in enumerate(examples) if e.tags["seen"] == subset]
        expected = BLEU.corpus([texts[i] for i in chosen], [examples[i].references for i in chosen])
        assert rows["bleu", f"seen={subset}"]["value"] == pytest.approx(expected, rel=1e-12)
        assert f"items:{len(chosen)}" in rows["bleu", f"seen={subset}"]["signature"]
    assert rows["bleu", "all"]["unit"] == "points, 0 to 100"
    shown = call("score", "places", str(outputs)).stdout.splitlines()
    assert len(shown) == 3 and shown[0].startswith("bleu") and "items:" in shown[0]


@pytest.mark.parametrize("change", [lambda b: b.replace(b"\n", b"\r\n"), lambda b: b"\xef\xbb\xbf" + b])
def test_line_ends_and_byte_order_marks_of_other_systems_change_nothing(outputs: Path, change) -> None:  # type: ignore[no-untyped-def]
    plain = call("score", "places", str(outputs), "--json").stdout
    outputs.write_bytes(change(outputs.read_bytes()))
    assert call("score", "places", str(outputs), "--json").stdout == plain


def test_only_line_feeds_end_a_line_and_empty_lines_count(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes("a\u2028b\x0bc\n\n\u00e9\n\n".encode())
    assert read_outputs(path, "") == ["a\u2028b\x0bc", "", "\u00e9", ""]
    path.write_bytes(b"")
    assert read_outputs(path, "") == []


def test_a_wrong_count_of_lines_says_expected_and_found(outputs: Path) -> None:
    size = len(load("places", "test"))
    for text, found in (("a\n", 1), ("a\n" * (size + 1), size + 1), ("", 0)):
        outputs.write_text(text)
        result = call("score", "places", str(outputs))
        assert result.exit_code == USAGE and result.stdout == ""
        (line,) = result.stderr.splitlines()
        assert f"expected {size} lines" in line and f"found {found}." in line


def test_a_file_that_is_not_utf_8_says_where(outputs: Path) -> None:
    outputs.write_bytes(b"good\ncaf\xe9\n")
    with pytest.raises(OutputError, match=r"line 2 is not UTF-8. Expected 7 lines; found 2\."):
        read_outputs(outputs, "7 lines")
    result = call("score", "places", str(outputs))
    assert result.exit_code == USAGE and len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("score", "placed", "x"), "unknown task 'placed'. Did you mean 'places'?"),
        (("score", "places", "x", "--split", "tests"), "unknown split 'tests'. Did you mean 'test'?"),
        (("score", "places"), "which file? Say `featherbench score places FILE`"),
        (("score", "places", "x", "--score", "blue"), "unknown score of places 'blue'. Did you mean 'bleu'?"),
        (("score", "--verify", "--score", "tir"), "unknown golden score 'tir'. Did you mean 'ter'?"),
        (("score", "all", "--score", "bleu"), "--score goes with FILE or --verify"),
        (("inputs", "placed"), "unknown task 'placed'"),
    ],
)
def test_mistakes_are_one_line(arguments: tuple[str, ...], message: str) -> None:
    result = call(*arguments)
    assert result.exit_code == USAGE
    (line,) = result.stderr.splitlines()
    assert message in line


@pytest.fixture
def three_scores(monkeypatch: pytest.MonkeyPatch) -> None:
    """places with BLEU, one score that counts lines and one that cannot be had here."""

    def unavailable(outputs: Any, references: Any) -> float:
        raise Unavailable("java not found; install it")

    def made(name: str, corpus: Any) -> Score:
        return Score(name=name, corpus=corpus, signature=lambda references: name)

    scores = (BLEU, made("lines", lambda outputs, references: len(outputs)), made("absent", unavailable))
    monkeypatch.setitem(TASKS, "places", dataclasses.replace(TASKS["places"], scores=scores))


def test_only_the_scores_that_are_named_are_computed(outputs: Path, three_scores: None) -> None:
    def metrics(*arguments: str) -> list[str]:
        result = call("score", "places", str(outputs), "--json", *arguments)
        assert result.exit_code == 0, result.stderr
        return list(dict.fromkeys(row["metric"] for row in json.loads(result.stdout)["scores"]))

    assert metrics("--score", "lines") == ["lines"]
    assert metrics("--score", "lines", "--score", "bleu") == ["bleu", "lines"]
    assert metrics() == ["bleu", "lines", "absent"]


@pytest.mark.parametrize("as_json", [[], ["--json"]], ids=["text", "json"])
def test_a_score_that_cannot_be_had_is_an_error_only_if_it_was_asked_for_by_name(
    outputs: Path, three_scores: None, as_json: list[str]
) -> None:
    silent = call("score", "places", str(outputs), *as_json)
    assert silent.exit_code == 0 and silent.stderr == "" and "unavailable: java not found" in silent.stdout
    asked = call("score", "places", str(outputs), "--score", "absent", "--score", "lines", *as_json)
    assert asked.exit_code == ENVIRONMENT
    assert asked.stderr == "error: absent: unavailable: java not found; install it\n"
    assert "lines" in asked.stdout, "the other scores are told all the same"


def test_verify_takes_names_as_well(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    result = call("score", "--verify", "--score", "rouge2", "--json")
    assert result.exit_code == 0
    assert {row["score"] for row in json.loads(result.stdout)} == {"xsum rouge2"}
    meteor._stop()
    monkeypatch.setenv("PATH", str(tmp_path))
    without = call("score", "--verify", "--score", "meteor")
    assert without.exit_code == ENVIRONMENT
    assert "error: dart meteor: unavailable: java not found" in without.stderr


def test_a_source_that_counts_twice_may_have_one_line_or_two(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from featherbench.harness import outputs as module

    one, two, *_ = load("places", "test")
    monkeypatch.setattr(module, "load", lambda task, split: [one, two, one])
    path = tmp_path / "x"
    path.write_text("a b c d\nx\n")
    short = module.score_file("places", path)
    path.write_text("a b c d\nx\na b c d\n")
    assert module.score_file("places", path) == short
    assert "items:3" in short[0]["signature"]
    path.write_text("a\n")
    with pytest.raises(OutputError, match=r"expected 2 lines.*\(or 3, one for each item.*found 1"):
        module.score_file("places", path)


def test_e2e_has_all_its_official_scores() -> None:
    assert [s.name for s in TASKS["e2e"].scores] == ["bleu", "nist_py", "nist_mteval", "meteor", "rouge_l", "cider"]
