"""Fixtures of the contract tests."""

from __future__ import annotations

import dataclasses
import os
import typing
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from featherbench.contracts.tiny import write_backbone
from featherbench.harness import backbones
from featherbench.methods import METHODS
from featherbench.methods.base import Method
from featherbench.tasks import TASKS


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run over all methods and tasks, or over the one that `featherbench test` names."""
    only = os.environ.get("FEATHERBENCH_CONTRACT")
    for fixture, table in (("method", METHODS), ("task", TASKS)):
        if fixture in metafunc.fixturenames:
            chosen = {k: v for k, v in table.items() if only in (None, k)}
            if "backbone" in metafunc.fixturenames:
                chosen |= {name: one for method in chosen.values() for name, one in other_choices(method)}
            metafunc.parametrize(fixture, chosen.values(), ids=chosen)


def other_choices(method: Method) -> Iterator[tuple[str, Method]]:
    """Yield the method once for every choice that its defaults leave untried: another value of a Literal, the other bool.

    The choice becomes the default of a configuration derived from the method's own; one choice at a time.
    """
    hints = typing.get_type_hints(method.config)
    for field in dataclasses.fields(method.config):
        kind = hints[field.name]
        values = (
            (True, False)
            if kind is bool
            else typing.get_args(kind)
            if typing.get_origin(kind) is typing.Literal
            else ()
        )
        for value in values:
            if value != field.default:
                more = [(field.name, kind, dataclasses.field(default=value, metadata=field.metadata))]
                config = dataclasses.make_dataclass(
                    method.config.__name__, more, bases=(method.config,), frozen=True, kw_only=True
                )
                yield f"{method.name}-{field.name}={value}", dataclasses.replace(method, config=config)


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
