"""The seven claims that protocol 1 registered before any result, as data (section 4)."""

from __future__ import annotations

from dataclasses import dataclass

from featherbench.reports.statistics import Answer

_LOW_DATA, _POSITIONS = "paper-low-data, scale smollm2-135m", "paper-positions, scale smollm2-135m"


@dataclass(frozen=True, kw_only=True)
class Registered:
    """One claim of the list."""

    id: str
    words: str
    unit: str
    test: str
    smallest_effect: float
    """Points of the primary score"""
    plan: str
    """What to run for it"""
    expected: Answer = "supported"
    """The answer that makes it true"""
    statements: tuple[str, ...]
    """For `featherbench claim`: all of them must have that answer"""


REGISTERED = (
    Registered(
        id="C1",
        words="With 50 to 500 examples of E2E, a prefix of 0.1 % scores better than full fine-tuning",
        unit="draw, its four sizes averaged",
        test="t over draws and items; sign-flip as a check",
        smallest_effect=1.0,
        plan=_LOW_DATA,
        statements=("prefix > full_ft on e2e.paper at 0.1% with 50,100,200,500 of smollm2-135m",),
    ),
    Registered(
        id="C2",
        words="With all of the data, a prefix of 0.1 % scores as full fine-tuning does, on E2E and on WebNLG",
        unit="seed",
        test="equivalence (two one-sided tests) on each",
        smallest_effect=1.0,
        plan="paper-e2e and paper-webnlg, scale smollm2-135m, with 8 seeds",
        expected="equivalent",
        statements=(
            "prefix > full_ft on e2e.paper at 0.1% with full of smollm2-135m",
            "prefix > full_ft on webnlg at 0.1% with full of smollm2-135m",
        ),
    ),
    Registered(
        id="C3",
        words="From seen to unseen categories, a prefix of 0.1 % loses less than full fine-tuning does",
        unit="seed, given these categories",
        test="t of the difference of gaps over seeds and items",
        smallest_effect=1.5,
        plan="paper-extrapolation, scale smollm2-135m",
        statements=(
            "prefix > full_ft on webnlg.gap at 0.1% with full of smollm2-135m",
            "prefix > full_ft on places.gap at 0.1% with full of smollm2-135m",
        ),
    ),
    Registered(
        id="C4",
        words="A prefix scores better than tuned embeddings alone, at 10 tokens and at 0.1 %",
        unit="draw",
        test="t over draws and items; the protocol asks for the whole interval above 2: read it from the answer",
        smallest_effect=2.0,
        plan=_POSITIONS,
        statements=(
            "prefix-10 > embedding-10 on e2e.paper with 500 of smollm2-135m",
            "prefix > embedding_only on e2e.paper at 0.1% with 500 of smollm2-135m",
        ),
    ),
    Registered(
        id="C5",
        words="A prefix scores better than an infix, both at 0.1 %",
        unit="draw, 16 of them",
        test="t over draws and items",
        smallest_effect=0.5,
        plan=f"{_POSITIONS}, with 16 draws",
        statements=("prefix > infix on e2e.paper at 0.1% with 500 of smollm2-135m",),
    ),
    Registered(
        id="C6",
        words="Task words help a prefix more than they help full fine-tuning",
        unit="draw",
        test="t on the difference of differences",
        smallest_effect=1.0,
        plan="paper-initialisation, scale smollm2-135m; its other words show whether these words or any do it",
        statements=(
            "(table-to-text: - random) > (full_ft table-to-text: - full_ft without words) on e2e.paper with 100 "
            "of smollm2-135m",
        ),
    ),
    Registered(
        id="C7",
        words="A search of 16 configurations changes the sign of prefix - full fine-tuning",
        unit="draw with a search of its own, 8 of them",
        test="t on the change: contradicted is a change, too, in favour of full fine-tuning; the signs are those of both "
        "differences (`featherbench compare`)",
        smallest_effect=1.0,
        plan="default-or-tuned",
        statements=("(prefix - full_ft) > (prefix, default - full_ft, default) on e2e.paper with 200 of smollm2-135m",),
    ),
)
