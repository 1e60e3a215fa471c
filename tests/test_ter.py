"""TER: the search's laws, and puzzles whose edits the official scorer counted."""

from __future__ import annotations

import random
import time

import pytest

from featherbench.tasks.golden import golden
from featherbench.tasks.metrics.ter import DART_TER, WEBNLG_TER, edits, ter, ter_lines

HARD = golden()["scores"]["ter_hard"]["tercom"]["ter_segments"]
PUZZLES = [(line["hyp"], line["refs"][0]) for line in golden()["sets"]["ter_hard"]]


@pytest.mark.parametrize("number", range(len(PUZZLES)))
def test_word_order_puzzles_cost_what_the_official_scorer_says(number: int) -> None:
    assert edits(*PUZZLES[number]) == HARD[number][0]


@pytest.mark.parametrize(
    ("output", "reference", "expected"),
    [
        ("", "", 0),
        ("", "a b c", 3),
        ("a b", "", 2),
        ("A B c", "a b C", 0),
        ("a b c d e f", "d e f a b c", 1),
        ("a x c", "a b c", 1),
        ("a b b c", "a b c", 1),
        ("  a   b ", "a b", 0),
    ],
)
def test_small_cases(output: str, reference: str, expected: int) -> None:
    assert edits(output, reference) == expected


def test_edits_never_exceed_the_edit_distance_nor_undercut_what_no_order_can_mend() -> None:
    from collections import Counter

    from rapidfuzz.distance import Levenshtein

    rng = random.Random(1)
    for _ in range(200):
        ours = [rng.choice("abcdefgh") for _ in range(rng.randint(0, 14))]
        gold = [rng.choice("abcdefgh") for _ in range(rng.randint(0, 14))]
        found = edits(" ".join(ours), " ".join(gold))
        common = sum((Counter(ours) & Counter(gold)).values())
        assert max(len(ours), len(gold)) - common <= found <= Levenshtein.distance(ours, gold)


def test_the_corpus_divides_by_the_mean_reference_length_of_each_line() -> None:
    outputs, references = ["a b c", "x"], [["a b c d", "a b"], ["x y"]]
    assert ter_lines(outputs, references) == [(1, 3.0), (1, 2.0)]
    assert ter(outputs, references) == pytest.approx(100 * 2 / 5)


def test_only_the_first_three_references_count_and_empty_ones_are_none() -> None:
    assert DART_TER.corpus(["a b c"], [["x", "y", "z", "a b c"]]) == 300
    assert DART_TER.corpus(["a b"], [["", "a b c d"]]) == 50
    assert WEBNLG_TER.corpus(["It costs £20-30."], [["it costs PS20 - 30 ."]]) == 0


def test_references_without_words_are_an_error() -> None:
    with pytest.raises(ValueError, match="at least one word"):
        ter(["a"], [[""]])


def test_many_different_words_do_not_collide() -> None:
    words = [f"w{i}" for i in range(60_000)]
    assert edits(" ".join(words[-3:]), " ".join(words[-3:][::-1])) <= 2
    assert edits(" ".join(words[:2]), " ".join(words[2:4])) == 2


def test_long_lines_stay_fast() -> None:
    rng = random.Random(2)
    gold = [rng.choice("abcdefghijklmnop") for _ in range(120)]
    ours = gold[60:] + gold[:60]
    began = time.process_time()
    assert edits(" ".join(ours), " ".join(gold)) >= 1
    assert time.process_time() - began < 20
