"""The paper's plans: every scale is read and expands, on backbones of the true shapes, and the smoke scales run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import save_file
from transformers import BartConfig, GPT2Config, LlamaConfig

from featherbench.harness.catalogue import BACKBONES
from featherbench.harness.counts import Counts
from featherbench.harness.plan import Plan, expand, read_plan
from featherbench.harness.spec import PACKAGED_PLANS, find_plan, read_spec, read_text
from featherbench.harness.worker import Engine, run_trial

torch.set_num_threads(1)

NAMES = [path.stem for path in sorted(PACKAGED_PLANS.glob("paper-*.yaml"))]
SCALES = [(name, scale) for name in NAMES for scale in (None, *read_spec(read_text(find_plan(name))).scales)]
PUBLISHED = {"openai-community/gpt2-medium", "openai-community/gpt2-large", "facebook/bart-large"}
SHAPES: dict[str, Any] = {
    "openai-community/gpt2-medium": GPT2Config(n_layer=24, n_embd=1024, n_head=16),
    "openai-community/gpt2-large": GPT2Config(n_layer=36, n_embd=1280, n_head=20),
    "facebook/bart-large": BartConfig(),  # its defaults are this model's
    "smollm2-135m": LlamaConfig(
        vocab_size=49152,
        hidden_size=576,
        intermediate_size=1536,
        num_hidden_layers=30,
        num_attention_heads=9,
        num_key_value_heads=3,
        max_position_embeddings=8192,
        tie_word_embeddings=True,
    ),
}
AT_HAND = {
    "dart": "dart.webnlg_part",
    "xsum": "xsum.sample",
    "xsum.news_to_sports": "xsum.sample",
    "xsum.within_news": "xsum.sample",
}
"""Data that only a network has -> a part of it, or a sample"""


@pytest.fixture(scope="module")
def shaped(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Folders with the configurations of the true backbones, the tokenizer of another one, and no weights to speak of."""
    embedded: Any = BACKBONES["feather-3m"]
    found = {}
    for name, config in SHAPES.items():
        folder = tmp_path_factory.mktemp(name.replace("/", "-"))
        config.save_pretrained(folder)
        for part in ("tokenizer.json", "tokenizer_config.json"):
            (folder / part).write_bytes((embedded.folder / part).read_bytes())
        save_file({"nothing": torch.zeros(1)}, folder / "model.safetensors")
        found[name] = str(folder)
    return found


def in_place(plan: dict[str, Any], shaped: dict[str, str]) -> dict[str, Any]:
    """Return keys of a plan with what is at hand in place of what the hub has."""
    found = dict(plan)
    if "backbones" in plan:
        found["backbones"] = [shaped.get(name, name) for name in plan["backbones"]]
    if "tasks" in plan:
        found["tasks"] = [AT_HAND.get(name, name) for name in plan["tasks"]]
    return found


def expanded(name: str, scale: str | None, shaped: dict[str, str]) -> Plan:
    content = in_place(yaml.safe_load(read_text(find_plan(name))), shaped)
    content["scales"] = {key: in_place(changes, shaped) for key, changes in content["scales"].items()}
    used = {**content, **(content["scales"][scale] if scale else {})}
    if "xsum.sample" in used["tasks"]:  # 900 articles, of which a search has the half
        small = {"sizes": [50, 100] if len(used.get("sizes", [])) > 1 else [100], "validation": 30}
        content["scales"] = {key: {**changes, **small} for key, changes in content["scales"].items()}
        content |= small
    return expand(yaml.safe_dump(content), name, scale=scale)


def counts_of(plan: Plan) -> dict[str, Counts]:
    return {c.cell.row: c.counts for c in plan.cells}


def test_every_study_of_the_paper_has_a_plan_with_a_smoke_scale_and_one_for_a_gpu() -> None:
    studies = ["e2e", "webnlg", "dart", "xsum", "low-data", "extrapolation"]
    studies += ["prefix-length", "initialisation", "positions"]
    assert sorted(f"paper-{study}" for study in studies) == NAMES
    for name in NAMES:
        spec = read_spec(read_text(find_plan(name)))
        assert spec.name == name and {"smoke", "smollm2-135m"} <= set(spec.scales)
        assert set(spec.backbones) <= PUBLISHED, "as published, where no scale is given"
        assert spec.scales["smoke"]["backbones"] == ["feather-3m"]
        assert spec.scales["smollm2-135m"]["backbones"] == ["smollm2-135m"]
    used = {b for n, s in SCALES for b in read_spec(read_text(find_plan(n)), n, s).backbones}
    assert used == {*PUBLISHED, "feather-3m", "smollm2-135m"}


@pytest.mark.parametrize("name", NAMES)
def test_a_smoke_scale_expands_without_a_network(name: str, real_data: Path) -> None:
    plan = read_plan(name, "smoke")
    assert plan.name == f"{name}.smoke"
    assert {"untuned", "untuned+words", "copy"} < set(counts_of(plan))
    assert sum(c.num_search + c.num_final for c in plan.cells) <= 50
    assert all(c.base.steps <= 4 for c in plan.cells)


@pytest.mark.parametrize(("name", "scale"), [pair for pair in SCALES if pair[1] != "smoke"])
def test_every_other_scale_expands_on_backbones_of_its_shape(
    name: str, scale: str | None, shaped: dict[str, str], real_data: Path
) -> None:
    plan = expanded(name, scale, shaped)
    assert plan.name == (f"{name}.{scale}" if scale else name)
    assert plan.cells and {c.cell.backbone for c in plan.cells} <= set(shaped.values())
    cap = read_spec(read_text(find_plan(name)), name, scale).training.steps
    assert max(c.base.steps for c in plan.cells) == cap, "no row is trained as long as the plan allows"


@pytest.fixture(scope="module")
def main_tables(shaped: dict[str, str], real_data: Path) -> Iterator[dict[str, Plan]]:
    yield {name: expanded(f"paper-{name}", None, shaped) for name in ("e2e", "webnlg", "dart")}


def test_sizes_are_the_published_ones(main_tables: dict[str, Plan], shaped: dict[str, str]) -> None:
    """Li & Liang 2021, ACL, footnote 7: 250 K and 500 K; Hu et al. 2022, table 3: 25.19 M, 11.09 M, 0.37 M."""
    for name, prefix in (("e2e", 245_760), ("webnlg", 245_760), ("dart", 491_520)):
        counts = counts_of(main_tables[name])
        assert {row: counts[row].stored for row in counts if counts[row].stored} == {
            "full_ft": 354_823_168,
            "ft_top2": 25_194_496,
            "adapter-3%": 11_089_152,
            "adapter-0.1%": 368_784,
            "prefix": prefix,
        }
    bart = counts_of(expanded("paper-xsum", None, shaped))
    assert (bart["prefix-2%"].stored, bart["prefix-0.1%"].stored) == (7_372_800, 368_640)


EPOCHS = {
    "e2e": {"full_ft": 5, "ft_top2": 5, "adapter-3%": 5, "adapter-0.1%": 10, "prefix": 5},
    "webnlg": {"full_ft": 10, "ft_top2": 10, "adapter-3%": 5, "adapter-0.1%": 10, "prefix": 5},
    "dart": {"full_ft": 10, "ft_top2": 5, "adapter-3%": 5, "adapter-0.1%": 5, "prefix": 10},
}
"""Li & Liang 2021, ACL, table 6"""
RATES = {
    "e2e": {"full_ft": 5e-5, "ft_top2": 5e-5, "adapter-3%": 5e-5, "adapter-0.1%": 8e-5, "prefix": 8e-5},
    "webnlg": {"full_ft": 1e-5, "ft_top2": 5e-5, "adapter-3%": 5e-5, "adapter-0.1%": 5e-5, "prefix": 5e-5},
    "dart": {"full_ft": 1e-5, "ft_top2": 5e-5, "adapter-3%": 5e-5, "adapter-0.1%": 8e-5, "prefix": 5e-5},
}
DART_PAIRS = 62_659
"""Nan et al. 2021; the part at hand has 18,102"""


@pytest.mark.parametrize("name", EPOCHS)
def test_learning_rates_and_epochs_are_the_published_ones(name: str, main_tables: dict[str, Plan]) -> None:
    tuned = {c.cell.row: c for c in main_tables[name].cells if c.base.steps}
    assert {row: c.base.learning_rate for row, c in tuned.items()} == RATES[name]
    for row, cell in tuned.items():
        pairs = DART_PAIRS if name == "dart" else cell.spend["train_pairs"]
        assert cell.base.steps == pytest.approx(EPOCHS[name][row] * pairs / cell.base.settings.batch_size, abs=1)


RUN = [
    ("paper-e2e", "prefix, direct"),
    ("paper-low-data", "copy"),
    ("paper-xsum", "prefix"),
    ("paper-webnlg", "ft_top2"),
]


@pytest.mark.parametrize(("name", "row"), RUN)
def test_a_smoke_trial_runs(name: str, row: str, real_data: Path, tmp_path: Path) -> None:
    cell = next(c for c in read_plan(name, "smoke").cells if c.cell.row == row)
    result = run_trial(cell.base, Engine(artifacts=str(tmp_path), scratch=str(tmp_path)), with_scores=False)
    assert result.status == "ok", result.cause
    assert len(result.predictions) == cell.base.evaluate.size and result.cost and result.cost.steps == cell.base.steps
