"""What only a CUDA device can show. `make gpu` runs these; elsewhere they skip."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from featherbench.harness import backbones
from featherbench.harness.frozen import Batches, Cache
from featherbench.harness.plan import expand
from featherbench.harness.records import Precision
from featherbench.harness.text import Encoder, training_batch
from featherbench.harness.tuned import Tuned, new_slot
from featherbench.harness.worker import Engine, run_trial
from featherbench.methods import METHODS
from featherbench.tasks.load import load

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")]


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_trial_runs_from_start_to_score(name: str, precision: str, tiny_llama: str, tmp_path: Path) -> None:
    plan = f"""
protocol: 1
name: gpu
backbones: [{tiny_llama}]
tasks: [places]
sizes: [20]
methods: [{name}]
baselines: []
training: {{steps: 4, batch_size: 4, evaluations: 2}}
test: 4
decoding: {{beams: 2, max_new_tokens: 8}}
precision: {precision}
"""
    result = run_trial(expand(plan).cells[0].base, Engine(artifacts=str(tmp_path), scratch=str(tmp_path)))
    assert result.status == "ok", result.cause
    assert result.cost is not None and result.cost.train_peak_bytes > 0 and "CPU" not in result.cost.device


@pytest.mark.parametrize("name", ["prefix", "infix", "embedding_only", "adapter"])
def test_slots_together_equal_slots_alone(name: str, tiny_llama: str) -> None:
    backbone = backbones.load(tiny_llama, torch.float64, "cuda")
    method = METHODS[name]
    configs = [method.config(**{str(method.size_field): size}) for size in (3, 5)]
    slots = [new_slot(method, c, backbone.anatomy, backbone.model, seed) for seed, c in enumerate(configs)]

    def batch(number: int) -> list[tuple[list[int], list[int]]]:
        first = backbone.anatomy.vocab_size
        layout = method.layout(configs[number], list(range(5, 12)), lambda n: list(range(first, first + n)))
        return [(layout, [7, 9, 0])]

    def losses(members: list[int]) -> torch.Tensor:
        tuned = Tuned(backbone.model, backbone.anatomy, [slots[i] for i in members]).to("cuda")
        sums, counts = tuned(training_batch([p for i in members for p in batch(i)], backbone.end, "cuda"))
        return sums / counts

    alone = torch.cat([losses([0]), losses([1])])
    assert torch.allclose(losses([0, 1]), alone, rtol=0, atol=1e-12)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", ["ft_top2", "infix"])
def test_kept_work_has_the_same_bits_whatever_was_computed_with_it(name: str, precision: Precision) -> None:
    backbone = backbones.load("feather-3m", torch.float32, "cuda")
    method = METHODS[name]
    encoder = Encoder(backbone=backbone, method=method, config=method.config())
    examples = load("places", "validation")[:40]
    pairs = [(encoder.prompt(e.source), encoder.target(reference)) for e in examples for reference in e.references]
    slot = new_slot(method, method.config(), backbone.anatomy, backbone.model, 0)
    tuned = Tuned(backbone.model, backbone.anatomy, [slot]).to("cuda")

    def entries(at_once: int) -> dict[str, torch.Tensor]:
        cache = Cache(backbone_sha256="one", memory_bytes=1 << 30)
        batches = Batches(tuned, backbone.end, precision, cache)
        for start in range(0, len(pairs), at_once):
            batches.prepare(pairs[start : start + at_once])
        return {key: cache.get(key) for pair in pairs for key in batches._keys(pair)}  # type: ignore[misc]

    together = entries(len(pairs))
    for at_once in (1, 7):
        found = entries(at_once)
        assert all(torch.equal(found[key], together[key]) for key in together)
