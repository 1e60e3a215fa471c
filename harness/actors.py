"""What runs in Ray's processes: workers, and the scoring of what they decoded."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from typing import Any

from featherbench.harness.deltas import ArtifactsError
from featherbench.harness.gang import Gang
from featherbench.harness.records import Result, Trial


def keep_progress_lock() -> None:
    """Let all threads of this process share tqdm's lock for good.

    `datasets` makes one for the time of a call where it finds none, and deletes it afterwards, also from under the bars
    that other threads have meanwhile: "'tqdm' object has no attribute '_lock'".
    """
    from tqdm import tqdm

    tqdm.get_lock()


def worker_class() -> Any:
    """Return the actor class of the workers."""
    import ray

    class Worker:
        """Runs trials, each in a thread of its own, and answers questions about their progress meanwhile."""

        def __init__(self, engine: Any, threads: int, group: Any = None, options: Any = None) -> None:
            """`group` and `options`: the place of the gang that it leads, and what each of it takes there."""
            import gc
            import logging

            import torch
            import transformers

            import featherbench.harness.worker  # noqa: F401  loaded here, so that what follows leaves it aside
            from featherbench.harness.shared import share_meteor

            gc.freeze()  # a million objects of libraries, which every collection between trials would visit again

            torch.set_num_threads(threads)
            transformers.logging.set_verbosity_error()
            transformers.logging.disable_progress_bar()
            logging.getLogger("DeepSpeed").setLevel(logging.ERROR)
            keep_progress_lock()
            share_meteor()
            self._engine = engine
            self._gang = None
            if group is not None:

                def another(place: Any) -> Any:
                    alike = worker_class().options(**options, scheduling_strategy=place)
                    return alike.remote(engine, threads)

                self._gang = Gang(another, group, engine)
            self._at: dict[str, tuple[str, int, int]] = {}

        def run(self, texts: Sequence[str], scored: bool) -> tuple[list[str], ArtifactsError | None]:
            """Run trials one after the other; return their results, up to one whose delta cannot be written."""
            results: list[str] = []
            for text in texts:
                try:
                    results.append(self._run(text, scored))
                except ArtifactsError as error:
                    return results, error
            return results, None

        def _run(self, text: str, scored: bool) -> str:
            import torch

            from featherbench.harness.trial_log import trial_log
            from featherbench.harness.worker import run_trial

            trial = Trial.model_validate_json(text)

            def note(stage: str, done: int, total: int) -> None:
                self._at[trial.id] = (stage, done, total)
                log.stage(stage, done, total)

            with trial_log(self._engine.scratch, trial.id) as log:
                try:
                    if self._gang:
                        result = self._gang.run(trial, note, scored)
                    else:
                        result = run_trial(trial, self._engine, note, scored)
                except torch.AcceleratorError as error:
                    log.say(f"the device is lost: {error}")
                    os._exit(1)  # after such an error every further call on the device fails
                log.say(f"{result.status} {result.cause or ''}".rstrip())
            self._at.pop(trial.id, None)
            return result.model_copy(update={"log": log.text}).model_dump_json()

        def join(self, *given: Any) -> None:
            from featherbench.harness.deepspeed_engine import join

            join(*given)

        def follow(self, text: str) -> None:
            """Do this worker's part of the trial that its gang trains."""
            import torch

            from featherbench.harness.worker import follow_trial

            try:
                follow_trial(Trial.model_validate_json(text), self._engine)
            except torch.AcceleratorError:
                os._exit(1)

        @ray.method(concurrency_group="questions")
        def forget(self, trial_ids: Sequence[str]) -> None:
            """Remove what interrupted trials would go on from: their results are kept."""
            from featherbench.harness.worker import checkpoint_folder

            for trial_id in trial_ids:
                shutil.rmtree(checkpoint_folder(self._engine, trial_id), ignore_errors=True)

        @ray.method(concurrency_group="questions")
        def progress(self) -> dict[str, tuple[str, int, int]]:
            return dict(self._at)

    actor: Any = ray.remote  # its types do not know all that it takes
    return actor(concurrency_groups={"questions": 1})(Worker)


def score_there(trial: str, result: str) -> str:
    """Score a result's predictions in a process of its own."""
    from featherbench.harness.score import scored
    from featherbench.harness.shared import share_meteor

    share_meteor()
    return scored(Trial.model_validate_json(trial), Result.model_validate_json(result)).model_dump_json()
