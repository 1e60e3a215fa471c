"""Fixtures of the contract tests."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from featherbench.contracts.tiny import write_backbone
from featherbench.harness import backbones
from featherbench.methods import METHODS
from featherbench.tasks import TASKS


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run over all methods and tasks, or over the one that `featherbench test` names."""
    only = os.environ.get("FEATHERBENCH_CONTRACT")
    for fixture, table in (("method", METHODS), ("task", TASKS)):
        if fixture in metafunc.fixturenames:
            chosen = {k: v for k, v in table.items() if only in (None, k)}
            metafunc.parametrize(fixture, chosen.values(), ids=chosen)


@pytest.fixture(scope="session", params=["gpt2", "llama", "bart", "t5"])
def backbone(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> backbones.Backbone:
    """A tiny backbone of each family, in float64."""
    folder: Path = write_backbone(request.param, tmp_path_factory.mktemp(request.param))
    return backbones.load(str(folder), torch.float64)


@pytest.fixture(autouse=True)
def applicable(request: pytest.FixtureRequest) -> None:
    """Skip what a method refuses, with its reason: infix has no place in an encoder-decoder model."""
    if {"method", "backbone"} <= set(request.fixturenames):
        method = request.getfixturevalue("method")
        if reason := method.refuses(request.getfixturevalue("backbone").anatomy, method.config()):
            pytest.skip(f"{method.name}: {reason}")


torch.set_num_threads(1)  # tiny tensors: more threads only wait for each other
