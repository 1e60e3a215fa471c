"""Text in the form of DART's official reference files: lower case, split at each character that is no word's.

The release's XML and JSON files have plain sentences; the three reference files that the official script hands to its
scorers (Yale-LILY/dart, evaluation/dart_reference) and the outputs published beside them are in this form, without
Unidecode. The script prepares nothing itself, and no program that made the files is published.
"""

from __future__ import annotations

from collections.abc import Sequence

from featherbench.tasks.metrics.references import first_three
from featherbench.tasks.metrics.webnlg_text import split

RAW = "raw(official:lower,split)"
"""What the signatures of scores on plain text say, so that nobody sets them beside published figures"""


def lower_split(text: str) -> str:
    """Return "Joe's, 1.5" as "joe ' s , 1 . 5"."""
    return split(text).lower()


def prepare(predictions: Sequence[str], references: Sequence[Sequence[str]]) -> tuple[list[str], list[list[str]]]:
    """Return all outputs and the first three references of each item."""
    golds = [[lower_split(ref) for ref in refs] for refs in first_three(references)]
    return [lower_split(text) for text in predictions], golds
