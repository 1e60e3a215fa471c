"""`featherbench doctor`: each thing that can be missing is caused here, and found with its mend."""

from __future__ import annotations

import shutil
from collections import namedtuple
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner, Result

from featherbench.harness import doctor
from featherbench.harness.catalogue import BACKBONES
from featherbench.harness.cli import ENVIRONMENT, app
from featherbench.harness.doctor import Finding
from featherbench.tasks.base import Unavailable
from featherbench.tasks.metrics import official

GIB = 2**30
Disk = namedtuple("Disk", "total used free")


@pytest.fixture(autouse=True)
def a_machine_with_everything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No GPU, and enough of all else; a test takes one thing away."""
    monkeypatch.setenv("FEATHERBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("FEATHERBENCH_DATA", raising=False)
    monkeypatch.setattr(doctor, "NVIDIA", (tmp_path / "nvidia",))
    monkeypatch.setattr(doctor, "CGROUP", tmp_path / "cgroup")
    monkeypatch.setattr(doctor, "free_memory", lambda: 64 * GIB)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(shutil, "which", lambda name: f"/bin/{name}" if name == "java" else None)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Disk(100 * GIB, 0, 100 * GIB))
    return tmp_path


def findings() -> dict[str, Finding]:
    return {found.what: found for found in doctor.examine()}


def call() -> Result:
    return CliRunner().invoke(app, ["doctor"])


def test_a_machine_with_everything_needs_no_mend() -> None:
    assert all(found.ok for found in findings().values())
    done = call()
    assert done.exit_code == 0 and "MEND" not in done.stdout and "note" not in done.stdout


def test_without_java_the_scores_that_lack_it_are_named_and_the_rest_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    found = findings()["java"]
    assert not found.ok and found.found.endswith("METEOR, ROUGE-L of E2E, CIDEr") and "apt-get install" in found.mend
    done = call()
    assert done.exit_code == 0 and "note java" in done.stdout and "-> install a Java runtime" in done.stdout
    absent = []
    for score in official.E2E_SCORES:
        try:
            score.corpus(["a text of five words"], [["a text of five words"]])
        except Unavailable as why:
            assert "java not found" in str(why)
            absent.append(score.name)
    assert absent == ["meteor", "rouge_l", "cider"]


def test_a_cpu_build_beside_a_gpu_is_found_by_its_driver(
    a_machine_with_everything: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (a_machine_with_everything / "nvidia").write_text("")
    monkeypatch.setattr(torch.version, "cuda", None)
    found = findings()["accelerator"]
    assert not found.ok and "it is a CPU build" in found.found and "install the CUDA build" in found.mend
    done = call()
    assert done.exit_code == ENVIRONMENT and "MEND accelerator" in done.stdout


def test_a_gpu_that_a_cuda_build_cannot_use_is_the_drivers_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: f"/bin/{name}")
    monkeypatch.setattr(torch.version, "cuda", "12.8")
    found = findings()["accelerator"]
    assert not found.ok and "built for CUDA 12.8" in found.found and "driver" in found.mend
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert findings()["accelerator"].found == "CUDA 12.8"


@pytest.mark.parametrize(
    ("free", "lacking", "code"),
    [(64 * GIB, (), 0), (3 * GIB, ("smollm2-135m",), 0), (GIB, ("feather-3m", "smollm2-135m"), ENVIRONMENT)],
    ids=["enough", "for the small one", "for none"],
)
def test_too_little_memory_names_the_backbones(
    free: int, lacking: tuple[str, ...], code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "free_memory", lambda: free)
    found = findings()["memory"]
    assert found.ok is (not lacking)
    assert [name for name in BACKBONES if name in found.found] == list(lacking)
    assert call().exit_code == code


def test_a_containers_limit_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    monkeypatch.setattr(doctor, "CGROUP", tmp_path)
    whole = doctor.free_memory()
    (tmp_path / "memory.max").write_text("max\n")
    (tmp_path / "memory.current").write_text("500\n")
    assert doctor.free_memory() == pytest.approx(whole, rel=0.5), "no limit"
    (tmp_path / "memory.max").write_text("2500\n")
    assert doctor.free_memory() == 2000


def test_an_unwritable_cache_says_what_to_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("FEATHERBENCH_CACHE", str(tmp_path / "file" / "cache"))
    found = findings()["cache"]
    assert not found.ok and "Not a directory" in found.found and "set FEATHERBENCH_CACHE" in found.mend
    assert call().exit_code == ENVIRONMENT


def test_a_read_only_cache_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Path, *_: Any, **__: Any) -> int:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "write_text", refuse)
    found = findings()["cache"]
    assert not found.ok and "Permission denied" in found.found


def test_a_full_disk_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Disk(100 * GIB, 99 * GIB, GIB))
    found = findings()["disk"]
    assert not found.ok and found.found.startswith("1 GiB free at ") and "featherbench gc" in found.mend
    assert call().exit_code == ENVIRONMENT
