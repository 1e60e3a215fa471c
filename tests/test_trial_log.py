"""A trial's log holds what its own thread says, while it says it."""

from __future__ import annotations

import logging
import threading
import warnings
from pathlib import Path

from featherbench.harness.trial_log import MOST_CHARACTERS, log_file, trial_log


def test_records_and_warnings_of_the_trials_thread_are_kept_and_others_not(tmp_path: Path) -> None:
    with trial_log(str(tmp_path), "one") as log:
        log.stage("training", 0, 60)
        log.stage("training", 30, 60)
        logging.getLogger("some.library").warning("rates are odd: %s", 3)
        warnings.warn("deprecated", stacklevel=1)
        other = threading.Thread(target=lambda: logging.getLogger("some.library").warning("of another trial"))
        other.start()
        other.join()
        assert "rates are odd: 3" in log_file(str(tmp_path), "one").read_text(), "written at once"
    logging.getLogger("some.library").warning("too late")
    lines = [line.split(" ", 1)[1] for line in log.text.splitlines()]
    assert lines[:2] == ["training 0/60", "WARNING some.library: rates are odd: 3"]
    assert "deprecated" in lines[2] and "another trial" not in log.text and "too late" not in log.text


def test_attempts_follow_each_other_in_the_file(tmp_path: Path) -> None:
    for number in range(2):
        with trial_log(str(tmp_path), "one") as log:
            log.say(f"attempt {number}")
        assert f"attempt {number}" in log.text and len(log.text.splitlines()) == 1
    assert len(log_file(str(tmp_path), "one").read_text().splitlines()) == 2


def test_the_middle_of_an_endless_log_is_left_out(tmp_path: Path) -> None:
    with trial_log(str(tmp_path), "one") as log:
        log.say("first")
        for _ in range(30):
            log.say("x" * (MOST_CHARACTERS // 20))
        log.say("last")
    assert len(log.text) < MOST_CHARACTERS + 100
    assert "first" in log.text and "[...]" in log.text and log.text.endswith("last")
