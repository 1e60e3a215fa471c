"""What the workers of a node share: one METEOR process, whose tables take many seconds and a gigabyte to load."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from featherbench.tasks.base import Unavailable
from featherbench.tasks.metrics import meteor

PAUSES = (1.0, 2.0, 4.0, 8.0, 16.0)
"""Seconds between a death of the sharing actor under a call and the next try; after the last one the score is given up"""


class Meteor:
    """The actor: one call at a time; the Java process starts with the first one and ends with the actor."""

    def lines(self, predictions: Sequence[str], references: Sequence[Sequence[str]]) -> tuple[float, list[float]]:
        """Return METEOR of the corpus and of each line."""
        return meteor.meteor_lines(predictions, references)


def share_meteor() -> None:
    """Let this Ray worker score METEOR by an actor that all workers of its node share.

    The actor ends with the worker that made it: the next call of any other worker makes it again.
    """
    import ray
    from ray.exceptions import RayActorError, RayTaskError
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    node = ray.get_runtime_context().get_node_id()
    shared = ray.remote(Meteor).options(
        name=f"featherbench-meteor-{node}",
        get_if_exists=True,
        num_cpus=0,  # it works while a trial's own process waits
        scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False),
    )
    kept: list[Any] = []  # the handle: an actor ends when the first handle of its maker is dropped

    def lines(predictions: Sequence[str], references: Sequence[Sequence[str]]) -> tuple[float, list[float]]:
        for pause in (*PAUSES, 0.0):
            if not kept:
                kept.append(shared.remote())
            try:
                return ray.get(kept[0].lines.remote(predictions, references))
            except RayTaskError as error:
                raise error.cause from None  # the bare reason, without the traceback of another process
            except RayActorError as error:
                kept.clear()
                died = str(error).splitlines()[0]
            time.sleep(pause)  # for a moment the name still leads to the dead actor
        raise Unavailable(f"the METEOR process of this node died {len(PAUSES) + 1} times: {died}")

    meteor.use(lines)
