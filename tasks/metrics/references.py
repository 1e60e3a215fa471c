"""The references that the WebNLG 2017 and DART scripts give to their scorers: the first three, empty ones left out."""

from __future__ import annotations

from collections.abc import Sequence

STREAMS = 3
"""Reference files of the official scripts"""


def first_three(references: Sequence[Sequence[str]]) -> list[list[str]]:
    """Return up to three references an item; an item without any text keeps one empty reference."""
    return [[ref for ref in refs[:STREAMS] if ref.strip()] or [""] for refs in references]
