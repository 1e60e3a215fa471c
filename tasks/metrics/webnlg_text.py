"""Text as the WebNLG 2017 scripts prepare it before every scorer: ASCII, split at each character that is no word's.

Outputs and references go different ways, which shows where Unidecode turns one character into several letters or
into capitals: '£20' becomes 'ps20' in an output and 'PS 20' in a reference.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from unidecode import unidecode

from featherbench.tasks.metrics.references import first_three


def split(text: str) -> str:
    """Put blanks around every non-word character; runs of white space become one blank."""
    return " ".join(" ".join(re.split(r"(\W)", text)).split())


def prepare_output(text: str) -> str:
    """Return an output as the scorers get it."""
    return split(unidecode(unidecode(text).lower()))


def prepare_reference(text: str) -> str:
    """Return a reference as the scorers get it."""
    return unidecode(split(text).lower())


def prepare(predictions: Sequence[str], references: Sequence[Sequence[str]]) -> tuple[list[str], list[list[str]]]:
    """Return all outputs and the first three references of each item."""
    outputs = [prepare_output(text) for text in predictions]
    return outputs, [[prepare_reference(ref) for ref in refs] for refs in first_three(references)]
