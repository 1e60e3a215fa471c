"""Every official figure on the golden cases: of each corpus, and of each line where the official scorer gives one."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from featherbench.harness.cli import app
from featherbench.harness.score import score
from featherbench.tasks.base import Unavailable
from featherbench.tasks.golden import SETS, Check, checks, golden, lines
from featherbench.tasks.metrics import bleu, cider, meteor, nist, ptb, rouge, ter
from featherbench.tasks.metrics.official import DART_SCORES, E2E_SCORES, WEBNLG_SCORES, XSUM_SCORES
from featherbench.tasks.metrics.references import first_three
from featherbench.tasks.metrics.webnlg_text import prepare

needs_java = pytest.mark.skipif(shutil.which("java") is None, reason="no Java here")
JAVA = ("meteor", "rouge_l", "cider")


@pytest.fixture(scope="module")
def found() -> dict[tuple[str, str], Check]:
    return {(check.case, check.score): check for check in checks()}


@pytest.mark.parametrize("case", SETS)
def test_every_corpus_figure_equals_the_official_one(case: str, found: dict[tuple[str, str], Check]) -> None:
    rows = [check for (of, _), check in found.items() if of == case]
    assert len(rows) == 15
    assert [check for check in rows if check.verdict == "differs"] == []
    without = {check.score for check in rows if check.ours is None}
    assert not without or shutil.which("java") is None
    assert all(name.split()[1] in JAVA for name in without)


def figures(case: str, *path: str) -> Any:
    """Return a part of a set's official figures; skips where there are none."""
    part = golden()["scores"][case]
    for key in path:
        if key not in part:
            pytest.skip(f"the official scorer gives no {key} for {case}")
        part = part[key]
    return part


@needs_java
@pytest.mark.parametrize("case", SETS)
def test_every_line_of_the_coco_scorers_equals_the_official_one(case: str) -> None:
    official = figures(case, "e2e", "coco_segments")
    texts = lines(case)
    assert rouge.rouge_l_lines(*texts) == pytest.approx([line["ROUGE_L"] for line in official], abs=1e-12)
    assert cider.cider_lines(*texts)[1] == pytest.approx([line["CIDEr"] for line in official], abs=1e-9)
    per_line = meteor.meteor_lines(*ptb.ptb_corpus(*texts))[1]
    assert per_line == [line["METEOR"] for line in official]


@needs_java
@pytest.mark.parametrize("case", SETS)
def test_ptb_tokens_equal_the_official_ones(case: str) -> None:
    outputs, references = ptb.ptb_corpus(*lines(case))
    assert [[out, *refs] for out, refs in zip(outputs, references, strict=True)] == figures(case, "e2e", "ptb")


@pytest.mark.parametrize("case", SETS)
def test_13a_tokens_equal_the_official_ones(case: str) -> None:
    outputs, references = lines(case)
    ours = [[nist.tokens(text) for text in (out, *refs)] for out, refs in zip(outputs, references, strict=True)]
    assert ours == figures(case, "e2e", "mteval_tokens")


@pytest.mark.parametrize("case", SETS)
def test_prepared_webnlg_text_equals_the_official_one(case: str) -> None:
    outputs, references = prepare(*lines(case))
    ours = [[out, *refs] for out, refs in zip(outputs, references, strict=True)]
    assert ours == [line[:4] for line in figures(case, "webnlg", "prepared")]


@needs_java
@pytest.mark.parametrize("task", ["webnlg", "dart"])
@pytest.mark.parametrize("case", SETS)
def test_meteor_of_every_line_equals_the_official_one(task: str, case: str) -> None:
    official = figures(case, task, "meteor_segments")
    outputs, references = lines(case)
    texts = prepare(outputs, references) if task == "webnlg" else (outputs, first_three(references))
    assert meteor.meteor_lines(*texts)[1] == official


@pytest.mark.parametrize("task", ["webnlg", "dart"])
@pytest.mark.parametrize("case", SETS)
def test_edits_and_reference_length_of_every_line_equal_the_official_ones(task: str, case: str) -> None:
    official = figures(case, task, "ter_segments")
    outputs, references = lines(case)
    texts = prepare(outputs, references) if task == "webnlg" else (outputs, first_three(references))
    for (edits, length), (expected, mean, _) in zip(ter.ter_lines(*texts), official, strict=True):
        assert (edits, length) == (expected, pytest.approx(mean))


@pytest.mark.parametrize("case", SETS)
def test_rouge_of_every_line_equals_the_official_one(case: str) -> None:
    for ours, official in zip(
        rouge.xsum_lines(*lines(case)), figures(case, "rouge", "segments_use_stemmer"), strict=True
    ):
        assert ours == {key: official[key] for key in ours}


@pytest.mark.parametrize("case", ["main", "short"])
def test_bleu_equals_the_prefix_tuning_papers_where_no_output_is_shorter_than_4_tokens(case: str) -> None:
    official = golden()["scores"][case]["e2e"]["pymteval"]["BLEU"]
    assert bleu.bleu(*lines(case)) / 100 == pytest.approx(official, abs=1e-9)


def test_bleu_warns_where_the_papers_scorer_counts_short_outputs_in_another_way() -> None:
    with pytest.warns(UserWarning, match="3 outputs have fewer than 4 tokens"):
        bleu.bleu(*lines("edge"))


def test_the_golden_sets_hold_an_empty_output_non_ascii_text_and_uneven_references() -> None:
    assert "" in lines("with_empty")[0]
    assert any(not text.isascii() for text in lines("edge")[0])
    assert len({len(refs) for refs in lines("main")[1]}) > 1


def test_verify_prints_every_figure_beside_the_official_one_and_fails_if_one_differs(
    monkeypatch: pytest.MonkeyPatch, found: dict[tuple[str, str], Check]
) -> None:
    good = found["main", "webnlg ter"]
    bad = Check(case="main", score="webnlg ter", official=0.5, ours=0.6, verdict="differs")
    none = Check(case="main", score="e2e meteor", official=0.5, ours=None, verdict="unavailable: java not found")
    for rows, code in (([good, none], 0), ([good, bad], 1)):
        monkeypatch.setattr("featherbench.tasks.golden.checks", lambda names, rows=rows: iter(rows))
        result = CliRunner().invoke(app, ["score", "--verify", "--json"])
        assert result.exit_code == code
        assert json.loads(result.stdout) == [row.row for row in rows]
    text = CliRunner().invoke(app, ["score", "--verify"]).stdout
    assert "official 0.500000" in text and "ours 0.600000" in text and "differs" in text


# --- laws ----------------------------------------------------------------------------------------------------------

TEXTS = [f"the {word} is a cheap {kind} near the river" for word, kind in zip("abcdefgh", "klmnopqr", strict=True)]
SUITES = {"e2e": E2E_SCORES, "webnlg": WEBNLG_SCORES, "dart": DART_SCORES[:3], "xsum": XSUM_SCORES}
ALL = [pytest.param(s, id=f"{suite}-{s.name}") for suite, scores in SUITES.items() for s in scores]


@pytest.mark.parametrize("score", ALL)
def test_laws_of_every_score(score: Any) -> None:
    references = [[text, text.replace("cheap", "dear")] for text in TEXTS]
    outputs = [text.replace("near the", "by a") for text in TEXTS]
    try:
        value = score.corpus(outputs, references)
    except Unavailable as error:
        pytest.skip(str(error))
    turned = score.corpus(outputs[3:] + outputs[:3], references[3:] + references[:3])
    assert turned == pytest.approx(value, rel=1e-12), "the order of items does not count"
    perfect, nothing = score.corpus(TEXTS, references), score.corpus([""] * len(TEXTS), references)
    if score.higher_is_better:
        assert nothing <= 1e-9 < value < perfect
    else:
        assert nothing == pytest.approx(100) and 0 == perfect < value
    if score.unit.startswith("points"):
        assert perfect == pytest.approx(100, abs=0.5)
    for part in (f"items:{len(TEXTS)}", "refs:"):
        assert part in score.signature(references)


def test_signatures_count_the_references_that_are_used() -> None:
    references = [["a", "b", "", "c"], ["d"]]
    assert "items:2|refs:5" in E2E_SCORES[0].signature(references)
    assert all("items:2|refs:3" in score.signature(references) for score in WEBNLG_SCORES)
    assert all("items:2|refs:2" in score.signature(references) for score in XSUM_SCORES)


def test_white_space_beyond_ascii_separates_no_words_as_in_perl() -> None:
    exact = [["one two three four five"]]
    assert bleu.dart_bleu(["one two three four five"], exact) == pytest.approx(100)
    assert bleu.dart_bleu(["one two three four\u00a0five"], exact) < 100
    assert ter.edits("one two\u00a0three", "one two three") == 2


@needs_java
def test_line_breaks_of_other_alphabets_do_not_shift_the_ptb_lines() -> None:
    assert ptb.ptb(("a\u2028b", "", "c\rd", "")) == ("a b", "", "c d", "")


@needs_java
def test_real_references_as_outputs_score_as_they_should(real_data: Path) -> None:
    from featherbench.tasks import TASKS

    examples = TASKS["e2e"].read([real_data / "e2e" / "testset_w_refs.csv"], "test")[:60]
    references = [example.references for example in examples]
    found = {s.name: s.corpus([refs[0] for refs in references], references) for s in E2E_SCORES}
    assert found["bleu"] == pytest.approx(100) and found["rouge_l"] == pytest.approx(100)
    assert found["meteor"] == pytest.approx(100, abs=0.5)
    assert found["nist_py"] > found["nist_mteval"] > 8, "only the penalties differ: 1, and that of the pooled length"
    other = {s.name: s.corpus([refs[0] for refs in references[1:] + references[:1]], references) for s in E2E_SCORES}
    assert all(other[name] < found[name] for name in found)


@needs_java
def test_one_meteor_serves_all_calls_threads_and_marks_of_the_protocol() -> None:
    outputs = ["a ||| pub\nnear it", "café ☕", ""]
    references = [["a pub near it"], ["a café ☕"], ["a pub"]]
    expected = meteor.meteor_lines(outputs, references)
    first = meteor._running
    found: list[Any] = []
    threads = [threading.Thread(target=lambda: found.append(meteor.meteor_lines(outputs, references))) for _ in "abc"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [expected] * 3
    assert meteor._running is first
    assert expected[1][0] == 1.0 and expected[1][2] == 0.0


# --- Java: missing, damaged, shared --------------------------------------------------------------------------------


@pytest.fixture
def fresh_meteor() -> Iterator[None]:
    meteor._stop()
    ptb.ptb.cache_clear()
    yield
    meteor._stop()
    ptb.ptb.cache_clear()


@pytest.fixture
def false_java(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fresh_meteor: None) -> Any:
    """Put a program in the place of java."""

    def put(body: str) -> None:
        path = tmp_path / "java"
        path.write_text(f"#!{sys.executable}\nimport sys, time\n{body}\n")
        path.chmod(0o755)
        monkeypatch.setenv("PATH", str(tmp_path))

    return put


def test_without_java_scores_that_need_it_are_absent_with_the_reason_and_the_others_are_there(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, fresh_meteor: None
) -> None:
    import dataclasses

    from featherbench.harness.records import Prediction
    from featherbench.tasks import TASKS
    from featherbench.tasks.base import Example
    from featherbench.tasks.places import PLACES

    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setitem(TASKS, "places", dataclasses.replace(PLACES, scores=E2E_SCORES))
    examples = {0: Example(source="s", references=("a b c d e",))}
    values = score("places", [Prediction(item=0, text="a b c d e", truncated=False)], examples).values
    absent = {s.metric: s.signature for s in values if s.value is None}
    assert set(absent) == set(JAVA)
    assert all(reason.startswith("unavailable: java not found") for reason in absent.values())


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("sys.stderr.write('no memory\\n'); sys.exit(1)", "METEOR ended"),
        ("[print('what?', flush=True) for line in sys.stdin]", "answered 'what\\?', which is no number"),
        ("[print('', flush=True) for line in sys.stdin]", "answered '', which is no number"),
        ("[print('1 2', flush=True) for line in sys.stdin for _ in range(9)]", "several numbers where one was due"),
        ("time.sleep(60)", "did not answer within 0"),
    ],
    ids=["dies", "nonsense", "empty", "too many numbers", "silent"],
)
def test_a_damaged_meteor_is_a_reason_and_is_thrown_away(
    false_java: Any, body: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    false_java(body)
    monkeypatch.setattr(meteor, "START_SECONDS", 0.3 if "sleep" in body else 30.0)
    with pytest.raises(Unavailable, match=reason):
        meteor.meteor_lines(["a"], [["a"]])
    assert meteor._running is None


@pytest.mark.parametrize("body", ["sys.exit(1)", "print('a'); print('b'); print('c')"], ids=["dies", "too many lines"])
def test_a_damaged_ptb_tokenizer_is_a_reason(false_java: Any, body: str) -> None:
    false_java(body)
    with pytest.raises(Unavailable, match="the PTB tokenizer failed"):
        ptb.ptb(("a b",))


def test_meteor_ends_with_the_process_that_started_it(false_java: Any) -> None:
    code = (
        "from featherbench.tasks.metrics import meteor; meteor.meteor_lines(['a'], [['']]);"
        "print(meteor._running._process.pid)"
    )
    body = "[print('1.0', flush=True) for line in sys.stdin for _ in range(1 + line.startswith('EVAL'))]"
    false_java(body)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    assert not Path(f"/proc/{int(done.stdout)}").exists()
