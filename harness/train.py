"""The one training loop: AdamW, linear schedule, clipping, target-token loss, evaluation grid, checkpoints.

A `Run` is one trial's training; a `Pack` takes the runs of one backbone forward side by side, a step at a time. Runs
join and leave at any step, and none depends on its companions: its data order, schedule, clipping, optimiser,
evaluations and end are its own. Everything random is a pure function of the seed and the step, so a resumed run is the
run that was not interrupted.
"""

from __future__ import annotations

import math
import random
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import InitVar, dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError

from featherbench.harness.checkpoint import Training
from featherbench.harness.cost import peak_bytes
from featherbench.harness.frozen import Batches, Cache
from featherbench.harness.records import CurvePoint, Precision, Settings
from featherbench.harness.schedule import MOST_SLOTS
from featherbench.harness.text import EncodedPair
from featherbench.harness.tokenised import Lazily
from featherbench.harness.tuned import Slot, Tuned
from featherbench.harness.turns import Turns
from featherbench.harness.weights import Forward, Weights, Whole
from featherbench.methods.base import Anatomy


@lru_cache(maxsize=64)
def _epoch_order(seed: int, epoch: int, num_pairs: int) -> list[int]:
    order = list(range(num_pairs))
    random.Random(f"featherbench order {seed} {epoch}").shuffle(order)
    return order


def batch_indices(step: int, batch_size: int, num_pairs: int, seed: int) -> list[int]:
    """Return the pairs of optimiser step `step` (from 0): a fresh seeded order every epoch, no pair twice within one."""
    wanted = range(step * batch_size, (step + 1) * batch_size)
    return [_epoch_order(seed, i // num_pairs, num_pairs)[i % num_pairs] for i in wanted]


def learning_rate_at(step: int, steps: int, peak: float, warmup: int) -> float:
    """Return the rate of optimiser step `step` (from 0): linear warm-up, then linear decay to 0 at `steps`."""
    if step < warmup:
        return peak * (step + 1) / warmup
    return peak * (steps - step) / max(1, steps - warmup)


def evaluation_steps(steps: int, evaluations: int) -> set[int]:
    """Return the steps after which the validation loss is taken: step 0, then `evaluations` evenly spread to the end."""
    return {0} | {math.ceil(steps * i / evaluations) for i in range(1, evaluations + 1)}


@dataclass(kw_only=True, eq=False)
class Run:
    """One trial's training: what it was given and how far it is.

    With `checkpoint` (a folder) it goes on from what lies there.
    """

    slot: Slot
    pairs: Sequence[EncodedPair]
    validation: Sequence[EncodedPair]
    learning_rate: float
    weight_decay: float
    steps: int
    settings: Settings
    seed: int
    precision: Precision
    pad: int
    micro_batch: int | None = None
    """Pairs a forward pass; None: the whole batch. However a batch is split, its loss is the sum over target tokens
    divided by their number in the whole batch."""
    checkpoint: Path | None = None
    checkpoint_seconds: float = 60.0
    on_progress: Callable[[int, int], None] = lambda done, total: None
    held: InitVar[Weights | None] = None
    """How the slot's weights are held; None: whole, by this process"""
    weights: Weights = field(init=False)
    state: Training = field(init=False)
    error: BaseException | None = field(default=None, init=False)
    """What ended the run early"""

    def __post_init__(self, held: Weights | None) -> None:
        parameters = dict(self.slot.named_parameters())
        self.weights = held or Whole(parameters, self.learning_rate, self.weight_decay)
        self._began = self._saved = time.monotonic()
        self._grid = evaluation_steps(self.steps, self.settings.evaluations)
        self._finished = False
        self.state = self.weights.begin(self.checkpoint)
        if self.state.step:
            self._end_if_done()

    @property
    def over(self) -> bool:
        """True once nothing is left to do and the best weights are in place, or after an error."""
        return self._finished or self.error is not None

    @property
    def must_evaluate(self) -> bool:
        """True at a step of the grid whose validation loss is still to be taken."""
        taken = next((p.step for p in reversed(self.state.curve) if p.name == "validation_loss"), None)
        return self.state.step in self._grid and taken != self.state.step and not self.state.diverged

    def ahead(self) -> Sequence[EncodedPair]:
        """Return the pairs of all steps to come, each once."""
        size, number = self.settings.batch_size, len(self.pairs)
        steps = range(self.state.step, self.steps)
        wanted = sorted({i for step in steps for i in batch_indices(step, size, number, self.seed)})
        return Lazily(len(wanted), lambda i: self.pairs[wanted[i]])

    def joins(self, other: Run) -> bool:
        """Say whether both can share forward passes: one method and configuration up to its size, nothing unfrozen."""
        alone = self.slot.unfrozen or self.weights.own
        return self._shape() == other._shape() and not alone

    def _shape(self) -> tuple[Any, ...]:
        return (self.slot.shape, self.precision, self.pad, self.settings.batch_size, self.micro_batch)

    def batch(self) -> list[EncodedPair]:
        """Return the pairs of the next optimiser step."""
        chosen = batch_indices(self.state.step, self.settings.batch_size, len(self.pairs), self.seed)
        return [self.pairs[i] for i in chosen]

    def evaluated(self, loss: float) -> None:
        """Note a validation loss, and keep the weights if it is the lowest so far."""
        self.state.curve.append(CurvePoint(step=self.state.step, name="validation_loss", value=loss))
        if loss < self.state.best_loss:
            self.state.best_loss, self.state.best_step = loss, self.state.step
            self.state.best = self.weights.copy()
        self._end_if_done()

    @property
    def rate(self) -> float:
        """The learning rate of the next step."""
        return learning_rate_at(self.state.step, self.steps, self.learning_rate, self.settings.warmup_steps)

    def update(self, batch: Sequence[EncodedPair], loss: float, norm: float) -> None:
        """Take the optimiser step: the gradients are in place and clipped, `norm` is what they had before."""
        state, rate = self.state, self.rate
        if not (math.isfinite(loss) and math.isfinite(norm)):
            state.diverged = f"loss {loss} with gradient norm {norm} at step {state.step + 1}"
            self._end_if_done()
            return
        self.weights.step()
        state.step += 1
        state.tokens += sum(len(prompt) + len(target) for prompt, target in batch)
        state.curve += [
            CurvePoint(step=state.step, name="train_loss", value=loss),
            CurvePoint(step=state.step, name="gradient_norm", value=norm),
            CurvePoint(step=state.step, name="learning_rate", value=rate),
        ]

    def step_done(self) -> None:
        """Tell of the step and keep a checkpoint when it is time; after a validation loss that belongs to the step."""
        self.on_progress(self.state.step, self.steps)
        if not (self.checkpoint and self.weights.trains):
            return
        if self.weights.agreed(time.monotonic() - self._saved >= self.checkpoint_seconds):
            seconds = self.state.earlier_seconds + time.monotonic() - self._began
            try:
                self.weights.save(self.checkpoint, self.state, seconds)
            except (OSError, SafetensorError) as error:  # a full disk: the run goes on without this one
                self.state.notes["unwritten checkpoint"] = f"of step {self.state.step}: {error}"
            self._saved = time.monotonic()

    def at_once(self, evaluating: bool) -> int | None:
        """Return how many pairs a forward pass takes now; None: the whole batch."""
        whole = self.settings.batch_size
        size, halvings = (
            (whole, self.state.evaluation_halvings) if evaluating else (self.micro_batch, self.state.halvings)
        )
        return max(1, min(size or whole, whole) >> halvings) if halvings else size

    def halve(self, evaluating: bool) -> bool:
        """Memory ran out: take half as many pairs a pass from now on. False if it was one already.

        Also where weights are spread over processes: they would have to agree on it.
        """
        if (self.at_once(evaluating) or self.settings.batch_size) == 1 or self.weights.own is not None:
            return False
        if evaluating:
            self.state.evaluation_halvings += 1
        else:
            self.state.halvings += 1
        return True

    def _end_if_done(self) -> None:
        if not (
            not self.weights.trains or self.state.step >= self.steps or self.state.diverged or self._out_of_patience()
        ):
            return
        self.weights.end(self.state.best)
        self.state.best = {}  # decoding must not pay for them
        self._finished = True

    def _out_of_patience(self) -> bool:
        """Say whether the last `patience` evaluations brought no better validation loss."""
        if self.settings.patience is None:
            return False
        later = [p for p in self.state.curve if p.name == "validation_loss" and p.step > self.state.best_step]
        return len(later) >= self.settings.patience


class Pack:
    """The runs of one backbone, taken forward together.

    Each thread that calls `train` takes turns in doing a step for every run of the pack, until its own run is over;
    so a pack needs no thread of its own, and a run that comes later joins at the next step. Whoever else uses the
    backbone (decoding, a probe) does so inside `with pack.turns`.
    """

    def __init__(self, backbone: Any, anatomy: Anatomy, slots: int | None = 1, cache: Cache | None = None) -> None:
        """`slots`: most runs that share a step; None: as many as pay (`Growth`).

        With `cache`, work that no step changes is done once; what a run computes of it for its own steps counts in
        its seconds.
        """
        self.turns = Turns()
        self._backbone, self._anatomy, self._cache = backbone, anatomy, cache
        memory = torch.cuda.mem_get_info()[1] if backbone.device.type == "cuda" else None
        self._growth = Growth(most=slots or MOST_SLOTS, limit=slots or 1, memory=memory)
        self._arriving = threading.Lock()
        self._waiting: list[Run] = []
        self._active: list[Run] = []
        self._together_now: tuple[list[Run], Forward, Batches] | None = None

    def train(self, run: Run) -> Training:
        """Train a run to its end, side by side with whatever else is in the pack.

        Raises: what went wrong in this run; its companions go on.
        """
        with self._arriving:
            self._waiting.append(run)
        try:
            while not run.over:
                with self.turns:
                    if not run.over:
                        self._turn()
        finally:
            with self.turns, self._arriving:  # also when this thread is interrupted
                for runs in (self._waiting, self._active):
                    if run in runs:
                        runs.remove(run)
                self._together_now = None
        if run.error is not None:
            raise run.error
        return run.state

    def _turn(self) -> None:
        """Take every active run one optimiser step forward, with the evaluations that are due."""
        with self._arriving:
            joining = []
            for run in list(self._waiting):
                if not self._active or (len(self._active) < self._growth.limit and run.joins(self._active[0])):
                    self._waiting.remove(run)
                    self._active.append(run)
                    joining.append(run)
        for run in joining:
            _guarded(run, self._prepare, run)
        self._evaluate_due()
        runs = [run for run in self._active if not run.over]
        self._together(self._step, runs)
        self._evaluate_due()
        for run in runs:
            if not (run.error or run.state.diverged):
                _guarded(run, run.step_done)
        self._active = [run for run in self._active if not run.over]

    def _evaluate_due(self) -> None:
        self._together(self._evaluate, [run for run in self._active if not run.over and run.must_evaluate])

    def _together(self, work: Callable[[list[Run]], None], runs: list[Run]) -> None:
        """Do work for several runs at once; if that fails, with fewer at a time, so that only a culprit ends.

        Out of memory: half of the runs go on at first, the others later; a run that is alone goes on with half of its
        micro-batch. No run's batch changes, and so no number beyond rounding.
        """
        if not runs:
            return
        try:
            work(runs)
        except torch.AcceleratorError as error:  # the device is lost to this process
            for run in runs:
                run.error = error
            return
        except Exception as error:
            for run in runs:
                run.weights.forget_gradients()
            no_room = isinstance(error, torch.OutOfMemoryError)
            if len(runs) == 1 and not (no_room and runs[0].halve(work == self._evaluate)):
                runs[0].error = error
                return
        else:
            return
        # after the handler: what the failed pass held lives as long as the error does
        half = len(runs) // 2
        if no_room:
            torch.cuda.empty_cache()
            self._growth.shrink(half)
        for part in (runs[:half], runs[half:]):
            self._together(work, part)

    def _prepare(self, run: Run) -> None:
        """Do the work that no step of a run changes."""
        _, batches = self._of([run])
        run.state.frozen_work = str(batches.constant)
        started = time.monotonic()
        try:
            batches.prepare(run.validation)
            started = time.monotonic()
            batches.prepare(run.ahead())
        except torch.OutOfMemoryError as error:  # what is not there is computed batch by batch
            run.state.notes["frozen work"] = f"not computed ahead, out of memory: {error}"
        run.state.seconds += time.monotonic() - started

    def _of(self, runs: list[Run]) -> tuple[Forward, Batches]:
        """Return the backbone with the runs' slots and what makes its batches, kept while the same runs go on."""
        if runs[0].weights.own is not None:
            return runs[0].weights.own
        if self._together_now is None or self._together_now[0] != runs:
            tuned = Tuned(self._backbone, self._anatomy, [run.slot for run in runs]).to(self._backbone.device)
            self._together_now = (runs, tuned, Batches(tuned, runs[0].pad, runs[0].precision, self._cache))
        return self._together_now[1:]

    def _evaluate(self, runs: list[Run]) -> None:
        forward, batches = self._of(runs)
        size = min(run.at_once(evaluating=True) or run.settings.batch_size for run in runs)
        shares = [run.weights.share(run.validation) for run in runs]
        sums = validation_sums(forward, shares, batches, runs[0].precision, size)
        for run, found in zip(runs, sums, strict=True):
            total, count = run.weights.total(*found)
            run.evaluated(total / count)

    def _step(self, runs: list[Run]) -> None:
        started = time.monotonic()
        (forward, make_batch), device = self._of(runs), self._backbone.device
        batches = [run.batch() for run in runs]
        targets = [sum(len(target) for _, target in batch) for batch in batches]
        divisors = torch.tensor(targets, device=device)
        losses = [0.0] * len(runs)
        for run in runs:
            run.weights.set_rate(run.rate)
        shares = [run.weights.share(batch) for run, batch in zip(runs, batches, strict=True)]
        sizes = [size for run in runs if (size := run.at_once(evaluating=False))]
        micro_batch = min(sizes, default=None)
        for parts in zip(*(parts_of(share, micro_batch) for share in shares), strict=True):
            with computing_in(runs[0].precision, device.type):
                sums, _ = forward(make_batch(_rows(parts)))
            runs[0].weights.backward((sums / divisors).sum())  # of all runs at once: none shares a weight
            losses = [loss + part / n for loss, part, n in zip(losses, sums.tolist(), targets, strict=True)]
        norms = torch.stack([run.weights.clip(run.settings.clip) for run in runs]).tolist()
        for run, batch, loss, norm in zip(runs, batches, losses, norms, strict=True):
            _guarded(run, run.update, batch, run.weights.total(loss)[0], norm)
        seconds = time.monotonic() - started
        for run in runs:
            run.state.seconds += seconds / len(runs)
            run.state.shared += len(runs)
        if self._waiting:
            self._growth.note(len(runs), seconds, lambda: peak_bytes(device.type))


TRIED_STEPS = 5
"""Steps by which a number of slots is judged"""
GAIN = 1.1
"""How much faster twice the slots must be, a run, to be kept"""


@dataclass
class Growth:
    """How many runs share a step: twice as many as long as that pays and memory allows, fewer once it ran out."""

    most: int
    limit: int
    memory: int | None = None
    """Bytes that may be used"""
    _seconds: list[float] = field(default_factory=list)
    _last: float = math.inf
    """Seconds a run and step, with half of the slots"""

    def shrink(self, limit: int) -> None:
        """Memory ran out: from now on `limit` runs at most."""
        self.limit = self.most = max(1, limit)

    def note(self, runs: int, seconds: float, peak: Callable[[], int]) -> None:
        """Hear of a step while more runs wait: how many shared it, its seconds, and the peak of memory in bytes."""
        if self.limit >= self.most or runs < self.limit:
            return
        self._seconds.append(seconds / runs)
        if len(self._seconds) < TRIED_STEPS:
            return
        each = sorted(self._seconds)[TRIED_STEPS // 2]
        fits = self.memory is None or 2 * peak() < self.memory
        if fits and each * GAIN < self._last:
            self.limit, self._last = min(self.most, 2 * self.limit), each
        else:
            self.most = self.limit
        self._seconds.clear()


def _guarded(run: Run, work: Callable[..., None], *given: Any) -> None:
    """Do work for one run; what goes wrong ends that run only."""
    try:
        work(*given)
    except Exception as error:
        run.error = error


def train(
    tuned: Tuned,
    pairs: Sequence[EncodedPair],
    validation: Sequence[EncodedPair],
    cache: Cache | None = None,
    **given: Any,
) -> Training:
    """Train the one slot of `tuned` by itself and leave it with the weights of the lowest validation loss.

    given: the other fields of `Run`.
    """
    run = Run(slot=tuned.slots[0], pairs=pairs, validation=validation, **given)
    return Pack(tuned.backbone, tuned.anatomy, cache=cache).train(run)


def computing_in(precision: Precision, device: str) -> torch.autocast:
    """Return the context of a precision: bfloat16 means float32 weights under autocast, for every method. Decoding is float32."""
    return torch.autocast(device, torch.bfloat16, enabled=precision == "bfloat16")


def parts_of(batch: Sequence[EncodedPair], micro_batch: int | None) -> list[Sequence[EncodedPair]]:
    """Split a batch into micro-batches of like lengths, so that attention pads little; its loss is a sum, whatever the order."""
    if micro_batch is None:
        return [batch]
    ordered = sorted(batch, key=lambda pair: len(pair[0]) + len(pair[1]))
    return [ordered[start : start + micro_batch] for start in range(0, len(ordered), micro_batch)]


def _rows(parts: Sequence[Sequence[EncodedPair]]) -> list[EncodedPair]:
    """Return the rows of several slots, equally many a slot: where one has fewer, rows without a target fill up."""
    most = max(map(len, parts))
    return [pair for part in parts for pair in (*part, *[(part[0][0], [])] * (most - len(part)))]


@torch.no_grad()
def validation_sums(
    forward: Forward, pairs: Sequence[Sequence[EncodedPair]], batches: Batches, precision: Precision, batch_size: int
) -> list[tuple[float, int]]:
    """Return for each slot the summed loss over its pairs, in nats, and their target tokens.

    References share their source's work. Slots with fewer pairs than others are filled up with rows without a target.
    """
    ordered = [_by_length(each) for each in pairs]
    totals, counts = [0.0] * len(ordered), [0] * len(ordered)
    for start in range(0, max(map(len, ordered)), batch_size):
        parts = [each[start : start + batch_size] for each in ordered]
        # a slot that has no pairs left still needs rows
        filled = [part or [(each[0][0], [])] for part, each in zip(parts, ordered, strict=True)]
        batch = batches(_rows(filled), share_sources=True)
        with computing_in(precision, batches.device.type):
            found = forward(batch)
        sums, numbers = (t.tolist() for t in found)
        totals = [total + part for total, part in zip(totals, sums, strict=True)]
        counts = [count + part for count, part in zip(counts, numbers, strict=True)]
    return list(zip(totals, counts, strict=True))


def _by_length(pairs: Sequence[EncodedPair]) -> list[EncodedPair]:
    """Sort pairs so that attention pads little, and references of one prompt beside each other if there are any."""
    if len(pairs) > len({tuple(prompt) for prompt, _ in pairs}):
        return sorted(pairs, key=lambda pair: (len(pair[0]), pair[0], len(pair[1])))
    return sorted(pairs, key=lambda pair: len(pair[0]) + len(pair[1]))


def validation_loss(
    tuned: Tuned, pairs: Sequence[EncodedPair], pad: int, precision: Precision, batch_size: int
) -> float:
    """Return the mean loss per target token of the one slot of `tuned`, in nats."""
    ((total, count),) = validation_sums(tuned, [pairs], Batches(tuned, pad, precision), precision, batch_size)
    return total / count
