"""Blocks of Markdown pages, for the tests that do what the pages say.

A block ```lang title="path" is a file; ```diff title="path" changes one; ```sh is run. The comment above a block may
say `not run: reason`, or `tested with: as written => as run; ...` where a real size would take long.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
_BLOCK = re.compile(r"^(?:<!-- (?P<note>.*?) -->\n)?```(?P<head>\w+.*)\n(?P<text>(?s:.*?))^```$", re.MULTILINE)


@dataclass(frozen=True, kw_only=True)
class Block:
    """A fenced block of a page."""

    language: str
    title: str
    note: str
    text: str

    @property
    def runs(self) -> bool:
        """Whether it is a command that is executed."""
        return self.language == "sh" and not self.note.startswith("not run: ")

    @property
    def command(self) -> str:
        """Return the command as it is tested."""
        text = self.text
        if self.note.startswith("tested with: "):
            for change in self.note.removeprefix("tested with: ").split("; "):
                written, run = change.split(" => ")
                assert written in text, f"{written!r} is not in the block that should be tested with {run!r}"
                text = text.replace(written, run)
        return text


def blocks_of(path: Path) -> list[Block]:
    """Return the fenced blocks of a page, in order."""
    found = []
    for match in _BLOCK.finditer(path.read_text(encoding="utf-8")):
        title = re.search(r'title="([^"]+)"', match["head"])
        language = match["head"].split()[0]
        found.append(
            Block(language=language, title=title[1] if title else "", note=match["note"] or "", text=match["text"])
        )
    return found
