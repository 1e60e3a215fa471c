"""Java and the jars of the pycocoevalcap package. Nothing is ever written into that package's folder."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path

from featherbench.tasks.base import Unavailable

JAVA_SCORES = ("METEOR", "ROUGE-L of E2E", "CIDEr")
"""The scores that cannot be had without Java: the METEOR jar, and those that tokenize by the PTB jar"""


def java() -> str:
    """Return the path of java.

    Raises: Unavailable if there is none.
    """
    if found := shutil.which("java"):
        return found
    raise Unavailable("java not found; install a Java runtime (17 is known to work) and put `java` on the PATH")


def jar(folder: str, name: str) -> Path:
    """Return the path of a jar in one of pycocoevalcap's folders.

    Raises: Unavailable if package or file are missing.
    """
    spec = importlib.util.find_spec("pycocoevalcap")
    for root in (spec.submodule_search_locations or ()) if spec else ():
        if (path := Path(root) / folder / name).is_file():
            return path
    raise Unavailable(f"{name} not found; `pip install pycocoevalcap==1.2` brings it")
