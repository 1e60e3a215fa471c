"""Numbers and untrusted text -> text for people."""

from __future__ import annotations

import math
import re

from featherbench.reports.interval import Estimate

MISSING = "–"
_CONTROL = {i: chr(0x2400 + i) for i in range(32) if chr(i) not in "\n\t"} | {127: "␡", 0xFFFE: "�", 0xFFFF: "�"}
_CONTROL |= dict.fromkeys(range(0xD800, 0xE000), "�")  # a lone surrogate is no character
_HTML = _CONTROL | {ord(char): f"&#{ord(char)};" for char in "\"'"} | {38: "&amp;", 60: "&lt;", 62: "&gt;"}
_MARKDOWN = re.compile(r"[&<>\"'|`*\[\]\\~$@#]|(?<![a-z0-9])_|_(?![a-z0-9])|:(?=//)|(?<=www)\.", re.IGNORECASE)

_LATEX = {ord(char): rf"\{char}" for char in "&%$#_{}"}
_LATEX |= {ord("\\"): r"\textbackslash{}", ord("~"): r"\textasciitilde{}", ord("^"): r"\textasciicircum{}"}
_LATEX |= {ord("<"): r"\textless{}", ord(">"): r"\textgreater{}", ord("|"): r"\textbar{}", ord('"'): "''"}
_LATEX |= {
    ord("±"): r"$\pm$",
    ord("−"): r"$-$",
    ord("–"): "--",
    ord("·"): r"$\cdot$",
    ord("⁶"): r"$^6$",
    ord("`"): r"\textasciigrave{}",
}
_LATEX |= {
    ord(c): f"${name}$" for c, name in zip("αθ≤≥√", (r"\alpha", r"\theta", r"\leq", r"\geq", r"\surd"), strict=True)
}
_LATEX |= dict.fromkeys([*range(0x2400, 0x2440), 0xFFFD], "?")  # symbols of control characters, which no font has


def visible(text: str) -> str:
    """Return `text` with control characters shown as symbols, so that they change nothing around them."""
    return text if text.isprintable() else text.replace("\r\n", "\n").translate(_CONTROL)


def safe(text: str) -> str:
    """Return `text` for HTML, between tags or within a quoted attribute, control characters visible."""
    return text.replace("\r\n", "\n").translate(_HTML)


def markdown(text: str) -> str:
    """Return `text` for one cell of a Markdown table: no markup, no HTML, no link, no line break."""
    escaped = _MARKDOWN.sub(lambda match: f"&#{ord(match[0])};", visible(text))
    return " ⏎ ".join(line.strip() for line in escaped.splitlines()).replace("\t", " ") if escaped else ""


def latex(text: str) -> str:
    """Return `text` for one cell of a LaTeX table: no command, no mathematics, no line break.

    pdfLaTeX sets what the reports write and Latin letters; other scripts need LuaLaTeX or XeLaTeX and a font.
    """
    return " ".join(visible(text).translate(_LATEX).split())


def estimate_text(value: Estimate) -> str:
    """Return "68.2 ± 1.3": the half width with two significant digits, the mean with as many decimals."""
    if value.mean is None:
        return MISSING
    if value.half_width is None:
        return score_text(value.mean)
    rounding = 1e-9 * abs(value.mean)
    decimals = _decimals(value.half_width, 2) if value.half_width > rounding else _decimals(value.mean, 4)
    return _minus(f"{value.mean:.{decimals}f} ± {value.half_width:.{decimals}f}")


def half_width_text(value: float) -> str:
    """Return a half width with two significant digits."""
    return f"{value:.{_decimals(value, 2)}f}"


def score_text(value: float) -> str:
    """Return a score with four significant digits."""
    return _minus(f"{value:.{_decimals(value, 4)}f}")


def _minus(number: str) -> str:
    """Return a number with a minus sign; of a zero after rounding there is none."""
    shown = number.replace("-", "−")
    return shown[1:] if shown.startswith("−") and not re.search("[1-9]", shown.split(" ")[0]) else shown


def _decimals(value: float, digits: int) -> int:
    """Return how many decimals show `digits` significant digits of `value`: 0 to 4."""
    magnitude = math.floor(math.log10(abs(value))) if value else 0
    return min(max(digits - 1 - magnitude, 0), 4)


def number_text(value: float, digits: int = 3) -> str:
    """Return e.g. "1,234,567", "12.3" or "0.00123": whole numbers whole, others with `digits` significant digits."""
    if value == int(value):
        return f"{int(value):,}"
    decimals = max(digits - 1 - math.floor(math.log10(abs(value))), 0)
    return f"{value:,.{decimals}f}"


def percent_text(value: float) -> str:
    """Return e.g. "12.3 %"."""
    return f"{number_text(value)} %"


def counted(number: int, noun: str) -> str:
    """Return e.g. "1 trial" or "1,234 trials"."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def bytes_text(value: float) -> str:
    """Return e.g. "1.23 MB" (1 MB = 10^6 bytes)."""
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if value >= size:
            return f"{number_text(round(value / size, 4))} {unit}"
    return f"{number_text(value)} B"


def seconds_text(value: float) -> str:
    """Return e.g. "12.3 s", "4 min 5 s" or "2 h 3 min"."""
    if value < 120:
        return f"{number_text(value)} s"
    minutes, seconds = divmod(round(value), 60)
    if minutes < 120:
        return f"{minutes} min {seconds} s"
    return f"{minutes // 60} h {minutes % 60} min"


def times_text(value: float) -> str:
    """Return e.g. "1.23 ×"."""
    return f"{number_text(value)} ×"


def flops_text(value: float) -> str:
    """Return e.g. "1.23e15"."""
    return "0" if value == 0 else f"{value:.2e}".replace("e+", "e")
