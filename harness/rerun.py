"""One finished trial again, by itself: is its number what anybody gets with this code, these data and this machine?"""

from __future__ import annotations

import math
import re
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch

from featherbench.harness import backbones, data
from featherbench.harness.recorded import Recorded
from featherbench.harness.records import PROTOCOL, Precision, Result, Trial
from featherbench.harness.worker import Engine, Progress, config_of, method_of, run_trial
from featherbench.methods import BASELINES, METHODS
from featherbench.tasks import TASKS
from featherbench.tasks.files import DataError

TOLERANCE: Mapping[Precision, float] = {"float64": 1e-10, "float32": 1e-5, "bfloat16": 1e-2}
"""Most that a validation loss may differ where nothing says that it must be the same bits: float32's is what a trial
in a pack is held to, float64's some thousand roundings, bfloat16's about two"""
FLIPS: Mapping[Precision, float] = {"float64": 0.0, "float32": 0.02, "bfloat16": 0.1}
"""Most of the outputs that may differ then: a beam search flips where two candidates are equal to rounding"""


class RerunError(RuntimeError):
    """What the trial was made of is not here, so that another number would prove nothing."""


@dataclass(frozen=True, kw_only=True)
class Pair:
    """A score as it is recorded and as it came out now."""

    metric: str
    subset: str
    recorded: float | None
    reproduced: float | None

    @property
    def same(self) -> bool:
        """True if both are the same to the rounding of a sum, or both have no value."""
        if self.recorded is None or self.reproduced is None:
            return self.recorded is self.reproduced
        return math.isclose(self.recorded, self.reproduced, rel_tol=1e-9, abs_tol=1e-9)


@dataclass(frozen=True, kw_only=True)
class Reproduction:
    """What a rerun found beside the record."""

    trial: str
    status: tuple[str, str]
    """Recorded, reproduced"""
    scores: tuple[Pair, ...]
    losses: int
    """Validation losses of the recorded curve"""
    loss_difference: float | None
    """Largest; None if the curves have other steps, or only one of them a number there"""
    outputs: int | None
    """None if the record does not tell them"""
    outputs_differing: int
    delta_equal: bool | None
    """None if the trial kept no delta"""
    differing: Mapping[str, tuple[Any, Any]]
    """What of versions, machine, threads and pack is not as recorded: recorded, here"""
    tolerance: float
    """Most that a validation loss may differ"""
    flips: float
    """Most of the outputs that may differ, as a share"""

    @property
    def bitwise(self) -> bool:
        """True if every loss, output, score and bit of the delta is the recorded one, as far as the record tells."""
        scores = all(pair.same for pair in self.scores)
        same = self.status[0] == self.status[1] and self.loss_difference == 0.0 and self.outputs_differing == 0
        return same and scores and self.delta_equal is not False

    @property
    def within(self) -> bool:
        """True if losses and outputs agree within what is allowed, and scores where all outputs do.

        Where the record does not tell the outputs, the same losses must give the same scores.
        """
        losses = self.loss_difference is not None and self.loss_difference <= self.tolerance
        outputs = self.outputs_differing <= self.flips * (self.outputs or 0)
        may_flip = self.outputs_differing > 0 if self.outputs is not None else self.loss_difference != 0.0
        scores = may_flip or all(pair.same for pair in self.scores)
        return self.status[0] == self.status[1] and losses and outputs and scores

    def as_json(self) -> dict[str, Any]:
        """Return all of it for programs."""
        return {**asdict(self), "bitwise": self.bitwise, "within": self.within}

    def lines(self) -> list[str]:
        """Return what there is to say beside the scores, the verdict last."""
        delta = {None: "none was kept", True: "sha256 equal", False: "another sha256"}[self.delta_equal]
        found = [
            *([] if self.status[0] == self.status[1] else [f"status: recorded {self.status[0]}, now {self.status[1]}"]),
            f"validation loss: largest of {self.losses} differences {_shown(self.loss_difference)}",
            "outputs: the record does not tell them"
            if self.outputs is None
            else f"outputs: {self.outputs_differing} of {self.outputs} differ",
            f"delta: {delta}",
        ]
        found += [f"not as recorded: {name}, {was!r} then, {now!r} now" for name, (was, now) in self.differing.items()]
        if self.bitwise:
            return [*found, "reproduced: the same bits"]
        allowed = f"{self.tolerance:g} in validation loss"
        if self.outputs is not None:
            allowed += f" and {self.flips:.0%} of the outputs"
        reason = (
            "" if self.differing else "; versions, machine, threads and pack are as recorded, so the same bits were due"
        )
        return [*found, f"{'reproduced within' if self.within else 'not reproduced within'} {allowed}{reason}"]


def _shown(difference: float | None) -> str:
    return "unknown, the curves have other steps" if difference is None else f"{difference:.2g}"


def rerun(
    was: Recorded,
    tolerance: float | None = None,
    threads: int | None = None,
    on_progress: Progress = lambda stage, done, total: None,
    on_start: Callable[[], None] = lambda: None,
) -> Reproduction:
    """Run a finished trial again in a scratch folder and compare; nothing is stored.

    It runs by itself, with the recorded number of threads on a CPU unless `threads` says another. `on_start` is called
    once nothing stands against it.
    Raises: RerunError if the trial did not finish or what it was made of is not here.
    """
    trial, cost = was.trial, was.cost
    if was.status not in ("ok", "diverged"):
        raise RerunError(f"trial {was.id} is {was.status or 'unfinished'}: it has no result to reproduce.")
    check(trial, was.provenance)
    recorded_threads = re.fullmatch(r"CPU, (\d+) threads?", cost.device if cost else "")
    if threads or recorded_threads:
        torch.set_num_threads(threads or int(recorded_threads[1]))  # type: ignore[index]
    on_start()
    with tempfile.TemporaryDirectory(prefix="featherbench-rerun-") as scratch:
        engine = Engine(
            artifacts=scratch,
            scratch=scratch,
            slots=1,
            micro_batch=cost.micro_batch if cost else None,
            decode_batch=cost.decode_batch if cost else None,
            cache_disk_bytes=0,
        )
        result = run_trial(trial, engine, on_progress)
    if result.status == "failed":
        raise RerunError(f"trial {trial.id} failed now: {str(result.cause).splitlines()[0]}")
    return compared(was, result, tolerance)


def check(trial: Trial, provenance: Mapping[str, Any]) -> None:
    """Raise RerunError unless backbone, data, method and task here are those of the trial; it names all that are not."""
    wrong = []
    if trial.protocol != PROTOCOL:
        wrong.append(f"protocol {trial.protocol}, here is {PROTOCOL}")
    if trial.method not in (*BASELINES, *METHODS):
        wrong.append(f"method {trial.method}, which is not installed here")
    elif (found := method_of(trial.method).version) != trial.method_version:
        wrong.append(f"method {trial.method} version {trial.method_version}, here is {found}")
    else:
        wrong += _refused(lambda: config_of(trial), f"method {trial.method}'s configuration")
    if trial.definition is None and trial.task not in TASKS:
        wrong.append(f"task {trial.task}, which is not installed here")
    elif (version := data.task_of(trial).version) != trial.task_version:
        wrong.append(f"task {trial.task} version {trial.task_version}, here is {version}")
    else:
        wrong += _refused(lambda: _check_data(trial), f"data of {trial.task}")
    if (sha256 := backbones.fingerprint(trial.backbone)) != trial.backbone_sha256:
        wrong.append(f"backbone {trial.backbone} with sha256 {trial.backbone_sha256[:12]}, here is {sha256[:12]}")
    if wrong:
        was, commit = provenance.get("packages", {}).get("featherbench"), provenance.get("git_commit")
        mend = f"pip install featherbench=={was}" if not commit else f"git checkout {commit[:12]} (featherbench {was})"
        raise RerunError(f"trial {trial.id} was made with {'; '.join(wrong)}. To have what was used then: {mend}.")


def _check_data(trial: Trial) -> None:
    data.check_content(trial)
    for subset in (trial.train, trial.validation, trial.evaluate):
        data.checked_indices(trial.task, subset)


def _refused(ask: Callable[[], Any], what: str) -> list[str]:
    try:
        ask()
    except (DataError, ValueError) as error:
        return [f"other {what} ({' '.join(str(error).split()).rstrip('.')})"]
    return []


def compared(was: Recorded, now: Result, tolerance: float | None = None) -> Reproduction:
    """Return a result beside the recorded one."""
    scores_now = {(s.metric, s.subset): s.value for s in now.scores}
    scores_then = {(s.metric, s.subset): s.value for s in was.scores}
    losses_now = {point.step: point.value for point in now.curve if point.name == "validation_loss"}
    outputs = None if was.predictions is None else {p.item: (p.text, p.truncated) for p in was.predictions}
    decoded = {p.item: (p.text, p.truncated) for p in now.predictions}
    return Reproduction(
        trial=was.id,
        status=(str(was.status), now.status),
        scores=tuple(
            Pair(metric=m, subset=s, recorded=scores_then.get((m, s)), reproduced=scores_now.get((m, s)))
            for m, s in {**scores_then, **scores_now}
        ),
        losses=len(was.validation_loss),
        loss_difference=largest_difference(was.validation_loss, losses_now),
        outputs=None if outputs is None else len(outputs),
        outputs_differing=sum(outputs.get(item) != decoded.get(item) for item in {**outputs, **decoded})
        if outputs is not None
        else 0,
        delta_equal=None if was.delta_sha256 is None else was.delta_sha256 == now.delta_sha256,
        differing=circumstances(
            {**was.provenance, "pack": was.cost.pack if was.cost else None},
            {**now.provenance, "pack": now.cost.pack if now.cost else None},
        ),
        tolerance=TOLERANCE[was.trial.precision] if tolerance is None else tolerance,
        flips=FLIPS[was.trial.precision],
    )


def largest_difference(recorded: Mapping[int, float | None], now: Mapping[int, float | None]) -> float | None:
    """Return the largest difference of two curves; where both have no number, 0. None if they cannot be compared."""
    if set(recorded) != set(now):
        return None
    largest = 0.0
    for step, value in recorded.items():
        pair = [v is not None and math.isfinite(v) for v in (value, now[step])]
        if pair == [True, True]:
            largest = max(largest, abs(float(value or 0) - float(now[step] or 0)))
        elif any(pair):
            return None
    return largest


def circumstances(recorded: Mapping[str, Any], here: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Return what of versions, commit, machine, threads, engine and pack differs: recorded, here."""
    names = ("python", "git_commit", "git_dirty", "platform", "cpus", "device", "cuda", "engine", "pack")
    found = {name: (recorded.get(name), here.get(name)) for name in names}
    then, now = (of.get("packages") or {} for of in (recorded, here))
    found |= {name: (then.get(name), now.get(name)) for name in {**then, **now}}
    return {name: pair for name, pair in found.items() if pair[0] != pair[1]}
