"""Work over many inputs in parts, which become smaller when memory runs out. Names no model."""

from __future__ import annotations

from collections.abc import Callable

import torch


def in_parts(total: int, size: int, work: Callable[[int, int], None]) -> int:
    """Call work(start, stop) until `total` is reached, `size` at a time; after a lack of memory again, with half of it.

    Return the number of halvings. What was done stays done; the smaller size holds for all that follows.
    Raises: torch.OutOfMemoryError if there is no room for one.
    """
    start = halvings = 0
    while start < total:
        try:
            work(start, min(start + size, total))
        except torch.OutOfMemoryError:
            if size == 1:
                raise
        else:
            start += size
            continue
        # after the handler: what the failed part held lives as long as the error does
        torch.cuda.empty_cache()
        size, halvings = size // 2, halvings + 1
    return halvings
