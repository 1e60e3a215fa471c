"""Passwords and tokens inside URLs: refused where a text is stored, hidden where one is printed. Imports no torch."""

from __future__ import annotations

import re

HIDDEN = "***"
_QUERY = r"(?:[\w-]*(?:password|passwd|secret|token|signature|credential|api[_-]?key|access[_-]?key)[\w-]*|pwd|sig)"
_PASSWORD = re.compile(r"(:/{1,2}[^\s:@/?#'\"]*:)(?!\d+[/?#])([^\s@'\"]+)(?=@)")
"""user:password@ behind a scheme; a port is none. One slash only is what is left of a URL that was taken for a path"""
_TOKEN = re.compile(r"(https?:/{1,2})([^\s:@/?#'\"]+)(?=@)", re.IGNORECASE)
_PARAMETER = re.compile(rf"([?&;]{_QUERY}=)([^\s&;#'\"]+)", re.IGNORECASE)


def holds_secret(text: str) -> bool:
    """Say whether a URL in `text` holds a password or a token."""
    return without_secrets(text) != text


def without_secrets(text: str) -> str:
    """Return `text` with the passwords and tokens of its URLs hidden."""
    for pattern in (_PASSWORD, _TOKEN, _PARAMETER):
        text = pattern.sub(rf"\g<1>{HIDDEN}", text)
    return text
