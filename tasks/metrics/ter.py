"""TER (Snover et al. 2006) with the search of tercom 0.7.25 at its defaults. Points: 100 edits per 100 reference words.

Edits are insertions, deletions, substitutions and shifts of a block of words, each at cost 1. Lines are lower-cased and
split at blanks. Corpus TER is the sum over lines of the edits against the best reference, divided by the sum over
lines of the mean reference length.

The greedy search is written from a description of its behaviour. Every word of a pair becomes one character, so that a
block is a substring and rapidfuzz measures most of the edit distances.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from rapidfuzz.distance import Levenshtein

from featherbench.tasks.base import Score
from featherbench.tasks.metrics.additive import Additive
from featherbench.tasks.metrics.dart_text import RAW
from featherbench.tasks.metrics.references import first_three
from featherbench.tasks.metrics.signature import signature as _signature
from featherbench.tasks.metrics.webnlg_text import prepare

BEAM = 20
"""A cell of the alignment is left aside when it costs this much more than the cheapest one of the word before"""
LONGEST_SHIFT = 10
"""Words in a block"""
FARTHEST_SHIFT = 50
"""Words between a block and its target"""

MATCH, INSERT, DELETE = range(3)
_OUTSIDE = float("inf")
_SURROGATES = 0xD800


def _words(text: str) -> list[str]:
    return re.findall(r"[^ \t\n\r\f\v]+", text.lower())


def _coded(words: Sequence[str], codes: dict[str, str]) -> str:
    """Return one character a word; `codes` grows by the words that are new."""
    for word in words:
        if word not in codes:
            number = len(codes)
            codes[word] = chr(number if number < _SURROGATES else number + 0x800)
    return "".join(codes[word] for word in words)


def _table(output: str, reference: str) -> tuple[list[list[float]], list[bytearray]]:
    """Return cost and last move of every cell [output words][reference words].

    The moves into a cell are tried in the order match or substitute, insert, delete; a later one must be cheaper. A
    cell outside the beam makes no move, unless no output word is left: there deletions lead to the reference's end.
    """
    size = len(reference)
    costs: list[list[float]] = [[float(i) for i in range(size + 1)]]
    moves = [bytearray([DELETE]) * (size + 1)]
    before = costs[0]  # infinite where no move may start
    for number, word in enumerate(output, 1):
        limit = min(costs[-1]) + BEAM if number < len(output) else _OUTSIDE
        cost = before[0] + 1
        row, move = [cost], bytearray([INSERT])
        left = cost if cost <= limit else _OUTSIDE
        diagonal = before[0]
        for gold, above in zip(reference, before[1:], strict=True):
            cost, how = (diagonal if word == gold else diagonal + 1), MATCH
            if above + 1 < cost:
                cost, how = above + 1, INSERT
            if left + 1 < cost:
                cost, how = left + 1, DELETE
            row.append(cost)
            move.append(how)
            diagonal, left = above, cost if cost <= limit else _OUTSIDE
        costs.append(row)
        moves.append(move)
        before = row if max(row) <= limit else [cost if cost <= limit else _OUTSIDE for cost in row]
    return costs, moves


def _distance(output: str, reference: str, cutoff: int) -> int:
    """Return the edit distance that the beam finds, or something above `cutoff` if it is above."""
    exact = Levenshtein.distance(output, reference, score_cutoff=max(cutoff, 0))
    if exact > cutoff or exact <= BEAM:  # a path of that cost never leaves the beam
        return exact
    return int(_table(output, reference)[0][-1][-1])


@dataclass(frozen=True)
class _Alignment:
    """The cheapest path of an output to a reference."""

    edits: int
    output_errors: list[bool]
    reference_errors: list[bool]
    positions: list[int]
    """Reference word -> output word beside it; of a missing word: the last output word before it, -1 at the start"""


def _align(output: str, reference: str) -> _Alignment:
    costs, moves = _table(output, reference)
    h, r = len(output), len(reference)
    output_errors, reference_errors, positions = [True] * h, [True] * r, [0] * r
    while h or r:
        how = moves[h][r]
        if how == MATCH:
            h, r = h - 1, r - 1
            positions[r] = h
            output_errors[h] = reference_errors[r] = output[h] != reference[r]
        elif how == INSERT:
            h -= 1
        else:
            r -= 1
            positions[r] = h - 1
    return _Alignment(int(costs[-1][-1]), output_errors, reference_errors, positions)


def _occurrences(block: str, reference: str) -> list[int]:
    found, at = [], reference.find(block)
    while at >= 0:
        found.append(at)
        at = reference.find(block, at + 1)
    return found


def _blocks(output: str, reference: str, path: _Alignment) -> list[list[tuple[int, int]]]:
    """Return for each length the (start in the output, target in the reference) of the blocks worth moving."""
    found: list[list[tuple[int, int]]] = [[] for _ in range(LONGEST_SHIFT + 1)]
    for start in range(len(output)):
        for length in range(1, min(LONGEST_SHIFT, len(output) - start) + 1):
            end = start + length
            targets = _occurrences(output[start:end], reference)
            if not targets:
                break
            if not any(path.output_errors[start:end]):
                continue
            usable = [
                target
                for target in targets
                if any(path.reference_errors[target : target + length])
                and not start <= path.positions[target] < end
                and abs(path.positions[target] - start) <= FARTHEST_SHIFT
            ]
            if not usable:
                break
            found[length] += [(start, target) for target in usable]
    return found


def _moved(output: str, start: int, length: int, after: int) -> str:
    """Return the output with a block put behind the word at `after`, or in front for -1."""
    block, rest = output[start : start + length], output[:start] + output[start + length :]
    if after >= start + length:
        after -= length
    return rest[: after + 1] + block + rest[after + 1 :]


def _shifts(output: str, path: _Alignment, length: int, blocks: list[tuple[int, int]]) -> Iterator[str]:
    """Yield the outputs after every shift of a block of this length, in the order in which they are tried."""
    for start, target in blocks:
        here = path.positions[target]
        for offset in range(-1, length):
            at = target + offset
            after = path.positions[at] if at >= 0 else -1
            if after != start and (offset == 0 or after != here):
                yield _moved(output, start, length, after)


def _best_shift(output: str, reference: str, path: _Alignment) -> str | None:
    """Return the output after the shift of one round, or None if none pays."""
    best, taken = path.edits, None
    blocks = _blocks(output, reference, path)
    for length in range(LONGEST_SHIFT, 0, -1):
        for shifted in _shifts(output, path, length, blocks[length]):
            gained = path.edits - best
            if gained > 2 * length or (gained == 2 * length and taken is not None):
                return taken
            cutoff = best - 1 if taken is None else best - 2
            edits = _distance(shifted, reference, cutoff)
            if edits <= cutoff:
                best, taken = edits + 1, shifted
    return taken


def edits(output: str, reference: str) -> int:
    """Return shifts and word edits that turn an output into a reference."""
    codes: dict[str, str] = {}
    ours, gold = _coded(_words(output), codes), _coded(_words(reference), codes)
    if not ours or not gold:
        return len(ours) + len(gold)
    shifts = 0
    while True:
        path = _align(ours, gold)
        shifted = _best_shift(ours, gold, path) if path.edits else None
        if shifted is None:
            return shifts + path.edits
        ours, shifts = shifted, shifts + 1


def ter_lines(predictions: Sequence[str], references: Sequence[Sequence[str]]) -> list[tuple[int, float]]:
    """Return (edits against the best reference, mean reference length in words) of each line."""
    return [
        (min(edits(output, ref) for ref in refs), sum(len(_words(ref)) for ref in refs) / len(refs))
        for output, refs in zip(predictions, references, strict=True)
    ]


def ter(predictions: Sequence[str], references: Sequence[Sequence[str]]) -> float:
    """Return corpus TER of texts as they are; lower is better.

    Raises: ValueError if no reference has a word.
    """
    lines = ter_lines(predictions, references)
    if not (length := sum(mean for _, mean in lines)):
        raise ValueError("TER needs at least one word in the references")
    return 100 * sum(count for count, _ in lines) / length


Prepare = Callable[[Sequence[str], Sequence[Sequence[str]]], tuple[Sequence[str], Sequence[Sequence[str]]]]
"""Outputs and references -> the texts that are compared"""


def _score(text: str, prepared: Prepare) -> Score:
    options = ("case:lc", f"text:{text}", f"beam:{BEAM}", "like:tercom-0.7.25")
    return Score(
        name="ter",
        corpus=lambda predictions, references: ter(*prepared(predictions, references)),
        signature=lambda refs: _signature("ter", first_three(refs), *options, package="featherbench"),
        higher_is_better=False,
        unit="edits per 100 reference words",
        additive=Additive(
            names=("edits", "reference words"),
            statistics=lambda outputs, refs: np.array(ter_lines(*prepared(outputs, refs)), dtype=np.float64),
            score=lambda sums: 100 * sums[..., 0] / sums[..., 1],
        ),
    )


WEBNLG_TER = _score("webnlg2017", prepare)
DART_TER = _score(RAW, lambda predictions, references: (predictions, first_three(references)))
