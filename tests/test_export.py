"""Exports: whoever loads the folder gets the trial's logits and texts, or the reason why it cannot be written."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM, GenerationConfig
from typer.testing import CliRunner, Result

from featherbench.contracts.tiny import write_backbone
from featherbench.harness import backbones, worker
from featherbench.harness.cli import ENVIRONMENT, USAGE, app
from featherbench.harness.decode import generate
from featherbench.harness.export import FORMATS
from featherbench.harness.norms import replace_norms
from featherbench.harness.plan import expand, place_of
from featherbench.harness.records import Trial
from featherbench.harness.store import Store
from featherbench.harness.text import Encoder, training_batch
from featherbench.harness.tuned import CollapsedSlot, Tuned
from featherbench.harness.worker import Engine, run_trial
from featherbench.tasks.load import load

torch.set_num_threads(1)

ROWS: dict[str, dict[str, Any]] = {
    "embedding_only": {"method": "embedding_only", "config": {"length": 3}},
    "prefix": {"method": "prefix", "config": {"length": 4, "hidden": 16}},
    "prefix from 0": {
        "method": "prefix",
        "config": {"length": 4, "parametrisation": "direct", "shift_positions": False},
    },
    "infix": {"method": "infix", "config": {"length": 2, "hidden": 16}},
    "adapter": {"method": "adapter", "config": {"bottleneck": 4}},
    "ft_top2": {"method": "ft_top2", "config": {"learning_rate": 0.001}},
    "full_ft": {"method": "full_ft", "config": {"learning_rate": 0.001}},
}
AS_PEFT = ("embedding_only", "prefix")
AS_MODEL = ("ft_top2", "full_ft")


def run(folder: Path, backbone: str, rows: list[str], **changes: Any) -> dict[str, Trial]:
    """Run a trial of each row into the store of a folder."""
    plan = {"protocol": 1, "name": "mine", "backbones": [backbone], "tasks": ["places"], "sizes": [10], "test": 4}
    plan |= {"training": {"steps": 4, "batch_size": 4, "evaluations": 1}, "precision": "float32", "baselines": []}
    plan |= {"words": "task", "decoding": {"max_new_tokens": 12, "beams": 2}}
    methods = [{**ROWS[row], "row": row, "config": {"learning_rate": 0.05, **ROWS[row]["config"]}} for row in rows]
    cells = expand(yaml.safe_dump({**plan, "methods": methods, **changes})).cells
    kept, trials = Store(f"sqlite:///{folder}/store.sqlite"), {}
    kept.add_plan("plan", "mine", "", [cell.cell for cell in cells])
    for cell in cells:
        trial = cell.trial("final", 0, {})
        kept.add_places([(place_of(cell, "final", 0), trial)])
        attempt = kept.begin_attempts([trial.id])[trial.id]
        result = run_trial(trial, Engine(artifacts=str(folder), scratch=str(folder)))
        assert result.status == "ok" and result.best_step, result.cause
        assert kept.record([(result, attempt)])
        trials[cell.cell.row] = trial
    return trials


@pytest.fixture(scope="module", params=["gpt2", "llama"])
def causal(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Trial]]:
    """Folder of a run on a causal backbone, and its trials by row."""
    folder = tmp_path_factory.mktemp(request.param)
    backbone = write_backbone(request.param, folder / "backbone")
    return folder, run(folder, str(backbone), list(ROWS))


@pytest.fixture(scope="module", params=["bart", "t5"])
def seq2seq(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Trial]]:
    """The same of an encoder-decoder backbone."""
    folder = tmp_path_factory.mktemp(request.param)
    backbone = write_backbone(request.param, folder / "backbone")
    return folder, run(folder, str(backbone), ["embedding_only", "prefix", "full_ft"])


def call(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


def exported(folder: Path, trial: Trial, to: Path, kind: str) -> Path:
    done = call("export", trial.id, "--format", kind, "-o", str(to), "--out", str(folder))
    assert done.exit_code == 0, done.output
    assert set(done.stdout.splitlines()) == {str(path) for path in to.iterdir()}
    return to


def refusal(folder: Path, trial: Trial, to: Path, kind: str) -> str:
    done = call("export", trial.id, "--format", kind, "-o", str(to), "--out", str(folder))
    (line,) = done.stderr.splitlines()
    assert done.exit_code == USAGE and not to.exists()
    return line


def ours(folder: Path, trial: Trial) -> tuple[Tuned, Encoder]:
    """Return the tuned model in float64 and its linearisation."""
    from safetensors.torch import load_file

    backbone = backbones.load(trial.backbone, torch.float64)
    delta = load_file(folder / "deltas" / f"{trial.id}.safetensors")
    slot = CollapsedSlot(worker.method_of(trial.method), worker.config_of(trial), delta).double()
    return Tuned(backbone.model, backbone.anatomy, [slot]), worker.encoder_for(trial, backbone)


def in_full(model: Any) -> Any:
    """Let a plain model's RMS norms compute in float64, as ours do: transformers rounds them to float32 on the way."""
    replace_norms(model)
    return model.eval()


def plain(trial: Trial, folder: Path | str | None = None) -> Any:
    auto = AutoModelForSeq2SeqLM if backbones.anatomy(trial.backbone).encoder_layers else AutoModelForCausalLM
    return in_full(auto.from_pretrained(folder or trial.backbone, dtype=torch.float64))


def as_peft(trial: Trial, folder: Path) -> Any:
    peft = pytest.importorskip("peft", reason="pip install 'featherbench[peft]'")
    return peft.PeftModel.from_pretrained(plain(trial), folder).eval()


def texts() -> list[tuple[str, str]]:
    return [(e.source, e.references[0]) for e in load("places", "test")[:3]]


def without_virtual(prompt: list[int], encoder: Encoder) -> list[int]:
    return [i for i in prompt if i < encoder.backbone.anatomy.vocab_size]


@torch.no_grad()
def assert_same_logits(tuned: Tuned, encoder: Encoder, model: Any) -> None:
    """Compare the logits of real inputs of different lengths in one batch; those of virtual tokens are nobody's."""
    backbone = encoder.backbone
    pairs = [(encoder.prompt(source), encoder.target(target)) for source, target in texts()]
    bare = [(without_virtual(prompt, encoder), target) for prompt, target in pairs]
    batch, given = (training_batch(each, backbone.end, start=backbone.start) for each in (pairs, bare))
    expected = tuned.logits(batch)
    found = model(**{k: v for k, v in given.items() if k not in ("labels", "position_ids")}).logits
    assert expected.abs().max() > 0.1
    for row, (prompt, target) in enumerate(pairs):
        if backbone.start is not None:
            here = there = slice(0, len(target))
        else:
            first = len(prompt) - len(bare[row][0])  # virtual tokens stand in front
            here = slice(first, len(prompt) + len(target))
            skipped = found.shape[1] - given["input_ids"].shape[1]  # peft gives the logits of soft prompts as well
            there = slice(skipped, skipped + len(bare[row][0]) + len(target))
        torch.testing.assert_close(found[row, there], expected[row, here], rtol=0, atol=1e-10)


@torch.no_grad()
def assert_same_outputs(tuned: Tuned, encoder: Encoder, model: Any, trial: Trial, folder: Path) -> None:
    """Compare what both generate with a cache, and the logits that led to it with those of whole passes."""
    prompts = [encoder.prompt(source) for source, _ in texts()]
    expected = generate(tuned, encoder, prompts, trial.decoding, 1)
    settings = GenerationConfig.from_pretrained(folder)
    differ = set()
    for prompt, ids in zip(prompts, expected, strict=True):
        given = torch.tensor([without_virtual(prompt, encoder)])
        mask = torch.ones_like(given)
        output = model.generate(input_ids=given, attention_mask=mask, generation_config=settings)[0].tolist()
        begun = 1 if encoder.backbone.start is not None else given.shape[1]
        assert encoder.text(output[begun:]) == encoder.text(ids)
        differ.add(tuple(output[begun:]))
        if encoder.backbone.start is None:
            steps: list[torch.Tensor] = []  # from the head, since `generate` gives logits in float32
            head = model.get_output_embeddings()
            hook = head.register_forward_hook(lambda *given, steps=steps: steps.append(given[2][0, -1]))
            greedy: dict[str, Any] = {"max_new_tokens": 6, "min_new_tokens": 6, "num_beams": 1, "pad_token_id": 0}
            said = model.generate(input_ids=given, attention_mask=mask, **greedy)[0, begun:].tolist()
            hook.remove()
            whole = tuned.logits(training_batch([(prompt, said)], encoder.backbone.end))[0, len(prompt) - 1 : -1]
            assert len(steps) == len(whole) == 6
            torch.testing.assert_close(torch.stack(steps), whole, rtol=0, atol=1e-10)
    assert encoder.backbone.start is not None or len(differ) > 1, "outputs that say nothing of their inputs"


# --- peft ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("row", AS_PEFT)
def test_peft_loads_the_folder_to_the_same_logits_and_outputs(
    row: str, causal: tuple[Path, dict[str, Trial]], tmp_path: Path
) -> None:
    folder, trials = causal
    to = exported(folder, trials[row], tmp_path / "there", "peft")
    (tuned, encoder), model = ours(folder, trials[row]), as_peft(trials[row], to)
    assert_same_logits(tuned, encoder, model)
    assert_same_outputs(tuned, encoder, model, trials[row], to)


def test_peft_loads_soft_prompts_of_an_encoder_to_the_same_logits_and_outputs(
    seq2seq: tuple[Path, dict[str, Trial]], tmp_path: Path
) -> None:
    folder, trials = seq2seq
    to = exported(folder, trials["embedding_only"], tmp_path / "there", "peft")
    (tuned, encoder), model = ours(folder, trials["embedding_only"]), as_peft(trials["embedding_only"], to)
    assert_same_logits(tuned, encoder, model)
    assert_same_outputs(tuned, encoder, model, trials["embedding_only"], to)


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("prefix from 0", "peft lets the text's positions start at the prefix's length, 4, and here it is 0. Use --format "
         "safetensors."),
        ("infix", "none of peft's types computes the same at the places that this method edits: embeds, key, value. Use"),
        ("adapter", "none of peft's types computes the same at the places that this method edits: block. Use --format"),
        ("ft_top2", "this method trains the backbone's own weights. Use --format transformers."),
        ("full_ft", "this method trains the backbone's own weights. Use --format transformers."),
    ],
)  # fmt: skip
def test_what_peft_cannot_hold_is_refused_with_the_reason(
    row: str, reason: str, causal: tuple[Path, dict[str, Trial]], tmp_path: Path
) -> None:
    folder, trials = causal
    line = refusal(folder, trials[row], tmp_path / "there", "peft")
    assert line.startswith(f"error: trial {trials[row].id} ({trials[row].method}) cannot be a peft folder, since ")
    assert reason in line


def test_a_prefix_of_three_stacks_is_refused(seq2seq: tuple[Path, dict[str, Trial]], tmp_path: Path) -> None:
    folder, trials = seq2seq
    assert "this one also in other attentions" in refusal(folder, trials["prefix"], tmp_path / "there", "peft")


def test_prompts_of_a_float64_trial_are_loaded_whole_where_that_is_the_default_type(
    tiny_gpt2: str, tmp_path: Path
) -> None:
    trial = run(tmp_path, tiny_gpt2, ["prefix"], precision="float64")["prefix"]
    to = exported(tmp_path, trial, tmp_path / "there", "peft")
    assert "torch.set_default_dtype(torch.float64)" in (to / "README.md").read_text()
    torch.set_default_dtype(torch.float64)
    try:
        model = as_peft(trial, to)
    finally:
        torch.set_default_dtype(torch.float32)
    assert_same_logits(*ours(tmp_path, trial), model)


# --- transformers ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("row", AS_MODEL)
def test_transformers_loads_the_folder_to_the_same_logits_and_outputs(
    row: str, causal: tuple[Path, dict[str, Trial]], tmp_path: Path
) -> None:
    folder, trials = causal
    to = exported(folder, trials[row], tmp_path / "there", "transformers")
    (tuned, encoder), model = ours(folder, trials[row]), plain(trials[row], to)
    assert_same_logits(tuned, encoder, model)
    assert_same_outputs(tuned, encoder, model, trials[row], to)
    assert "featherbench" not in (to / "config.json").read_text(), "it needs nothing of ours"
    assert backbones.fingerprint(str(to)) != trials[row].backbone_sha256, "a backbone of its own"


def test_an_encoder_decoder_model_is_a_folder_of_transformers_too(
    seq2seq: tuple[Path, dict[str, Trial]], tmp_path: Path
) -> None:
    folder, trials = seq2seq
    to = exported(folder, trials["full_ft"], tmp_path / "there", "transformers")
    (tuned, encoder), model = ours(folder, trials["full_ft"]), plain(trials["full_ft"], to)
    assert_same_logits(tuned, encoder, model)
    assert_same_outputs(tuned, encoder, model, trials["full_ft"], to)


@pytest.mark.parametrize("row", [row for row in ROWS if row not in AS_MODEL])
def test_what_a_model_folder_cannot_hold_is_refused(
    row: str, causal: tuple[Path, dict[str, Trial]], tmp_path: Path
) -> None:
    folder, trials = causal
    assert "cannot be a model folder of transformers" in refusal(folder, trials[row], tmp_path / "x", "transformers")


# --- safetensors -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("row", ROWS)
def test_generate_decodes_with_the_folder_alone(
    row: str, causal: tuple[Path, dict[str, Trial]], tmp_path: Path
) -> None:
    folder, trials = causal
    to = exported(folder, trials[row], tmp_path / "there", "safetensors")
    assert {path.name for path in to.iterdir()} == {"delta.safetensors", "featherbench.json", "trial.json", "README.md"}
    prediction = json.loads((to / "trial.json").read_text())["predictions"][0]
    source = load("places", "test")[prediction["item"]].source
    done = call("generate", str(to), source)
    assert done.exit_code == 0 and done.stdout == prediction["text"] + "\n", done.output


def test_the_folder_says_what_it_is(causal: tuple[Path, dict[str, Trial]], tmp_path: Path) -> None:
    folder, trials = causal
    trial = trials["infix"]
    to = exported(folder, trial, tmp_path / "there", "safetensors")
    about = json.loads((to / "featherbench.json").read_text())
    assert about["format"] == "safetensors" and about["id"] == trial.id
    assert Trial.model_validate(about["trial"]) == trial
    kept = Store(f"sqlite:///{folder}/store.sqlite")
    assert {s["metric"]: s["value"] for s in about["scores"] if s["subset"] == "all"} == {
        "bleu": kept.score(trial.id, "bleu")
    }
    assert about["input"] == 'the pieces of " " + input, then 2 virtual tokens, then the end mark <|end|>'
    assert about["licences"] == {"backbone": "see where the backbone comes from", "data": "CC0-1.0"}
    text = (to / "README.md").read_text()
    assert (
        trial.backbone_sha256 in text and "`featherbench rerun trial.json`, typed in this folder, reproduces it" in text
    )
    assert about["input"] in text


def test_a_damaged_folder_is_refused(causal: tuple[Path, dict[str, Trial]], tmp_path: Path) -> None:
    folder, trials = causal
    to = exported(folder, trials["prefix"], tmp_path / "there", "safetensors")
    delta = to / "delta.safetensors"
    whole = delta.read_bytes()
    delta.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    damaged = call("generate", str(to), "name : Aromi")
    assert damaged.exit_code == ENVIRONMENT and "delta.safetensors is damaged: expected sha256" in damaged.stderr
    delta.unlink()
    assert call("generate", str(to), "name : Aromi").exit_code == ENVIRONMENT
    (to / "featherbench.json").write_text("{}")
    broken = call("generate", str(to), "name : Aromi")
    assert broken.exit_code == USAGE and "holds no featherbench.json of an export" in broken.stderr


def test_generate_refuses_the_folders_of_others(causal: tuple[Path, dict[str, Trial]], tmp_path: Path) -> None:
    folder, trials = causal
    to = exported(folder, trials["full_ft"], tmp_path / "there", "transformers")
    done = call("generate", str(to), "name : Aromi")
    assert done.exit_code == USAGE and "is an export for transformers; its README.md says how to use it" in done.stderr


def test_mistakes_are_one_line_and_write_nothing(causal: tuple[Path, dict[str, Trial]], tmp_path: Path) -> None:
    folder, trials = causal
    line = refusal(folder, trials["prefix"], tmp_path / "there", "peff")
    assert f"unknown format 'peff'. Did you mean 'peft'? Known: {', '.join(sorted(FORMATS))}." in line
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("mine")
    done = call("export", trials["prefix"].id, "-o", str(tmp_path / "full"), "--out", str(folder))
    assert done.exit_code == USAGE and "holds something already. Give another folder with -o" in done.stderr
    assert [path.name for path in (tmp_path / "full").iterdir()] == ["mine.txt"]


def test_without_a_folder_it_is_named_after_trial_and_format(
    causal: tuple[Path, dict[str, Trial]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, trials = causal
    monkeypatch.chdir(tmp_path)
    done = call("export", trials["prefix"].id[:8], "--out", str(folder))
    assert done.exit_code == 0 and (tmp_path / f"{trials['prefix'].id}-safetensors" / "README.md").is_file()


# --- the lines of the README.md --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def feather(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Trial]]:
    folder = tmp_path_factory.mktemp("feather")
    return folder, run(folder, "feather-3m", ["prefix", "embedding_only", "ft_top2"])


@pytest.mark.parametrize(
    ("row", "kind"),
    [("prefix", "safetensors"), ("prefix", "peft"), ("embedding_only", "peft"), ("ft_top2", "transformers")],
)
def test_the_lines_of_the_readme_give_the_outputs_of_the_trial(
    row: str, kind: str, feather: tuple[Path, dict[str, Trial]], tmp_path: Path
) -> None:
    if kind == "peft":
        pytest.importorskip("peft", reason="pip install 'featherbench[peft]'")
    folder, trials = feather
    to = exported(folder, trials[row], tmp_path / "there", kind)
    record = Store(f"sqlite:///{folder}/store.sqlite")
    from featherbench.harness.recorded import kept_predictions

    predictions = kept_predictions(record, trials[row].id)
    examples = load("places", "test")
    sources = [examples[p.item].source for p in predictions]
    (code,) = re.findall(r"```(?:python|sh)\n(.*?)```", (to / "README.md").read_text(), re.DOTALL)
    if kind == "safetensors":
        shown, typed = code.splitlines()
        first = call(*shlex.split(shown.partition("|")[0])[1:]).stdout.splitlines()[0]
        assert first == examples[0].source
        words = [sources[0] if word == "THAT LINE" else word for word in shlex.split(typed)[1:]]
        command, given, expected = [sys.executable, "-m", "featherbench.harness.cli", *words], "", predictions[:1]
    else:
        command, given, expected = [sys.executable, "-c", code], "\n".join(sources), predictions
    done = subprocess.run(command, cwd=to, input=given, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [p.text for p in expected]
