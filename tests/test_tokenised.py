"""Kept token ids: what is read back is what a trial would have tokenised itself, and nothing else is ever read."""

from __future__ import annotations

import dataclasses
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from featherbench.contracts.tiny import write_backbone
from featherbench.harness import backbones, tokenised
from featherbench.harness.plan import expand
from featherbench.harness.text import EncodedPair, Encoder
from featherbench.harness.tokenised import Lazily, content_of
from featherbench.harness.worker import Engine, run_trial
from featherbench.methods import METHODS
from featherbench.tasks.load import load

torch.set_num_threads(1)

TEXTS = [(e.source, reference) for e in load("places", "validation")[:30] for reference in e.references]
TEXTS += [("", "an empty source"), ("a target that is empty", ""), ("<|end|> é £\n日本", " two  blanks <|end|> ")]


@pytest.fixture(scope="module", params=["gpt2", "llama", "bart", "t5"])
def backbone(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> backbones.Backbone:
    return backbones.load(str(write_backbone(request.param, tmp_path_factory.mktemp(request.param))))


@pytest.fixture(scope="module")
def llama(tiny_llama: str) -> backbones.Backbone:
    return backbones.load(tiny_llama)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """The number of texts of each call of a tokenizer by an encoder."""
    found: list[int] = []
    for name in ("_source_ids", "_target_ids"):
        plain = getattr(Encoder, name)

        def counted(self: Encoder, texts: list[str], plain: Any = plain) -> list[list[int]]:
            found.append(len(texts))
            return plain(self, texts)

        monkeypatch.setattr(Encoder, name, counted)
    yield found


def encoder_of(backbone: backbones.Backbone, folder: Path | None, method: str = "full_ft", **given: Any) -> Encoder:
    chosen = METHODS[method]
    return Encoder(backbone=backbone, method=chosen, config=chosen.config(), folder=folder, **given)


def one_by_one(encoder: Encoder, texts: list[tuple[str, str]] = TEXTS) -> list[EncodedPair]:
    """The same without any batch and any file, straight from the tokenizer."""
    tok, backbone, found = encoder.backbone.tokenizer, encoder.backbone, []

    def plain(text: str) -> list[int]:
        return tok(text, add_special_tokens=False)["input_ids"]

    def virtual(length: int) -> list[int]:
        return [backbone.anatomy.vocab_size + i for i in range(length)]

    most = encoder.max_source_tokens
    if most is not None and encoder.words:
        most += len(plain(f" {encoder.words}"))
    for source, target in texts:
        text = f"{encoder.words} {source}" if encoder.words else source
        if backbone.start is None:
            prompt = [*encoder.method.layout(encoder.config, plain(f" {text}")[:most], virtual), backbone.end]
            found.append((prompt, [*plain(target), backbone.end]))
        else:
            ids = tok(text, truncation=most is not None, max_length=most)["input_ids"]
            prompt = encoder.method.layout(encoder.config, ids, virtual)
            found.append((prompt, tok(text_target=target)["input_ids"]))
    return found


def files(folder: Path) -> dict[str, tuple[int, int]]:
    return {path.name: (path.stat().st_ino, path.stat().st_mtime_ns) for path in folder.iterdir()}


# --- equal ids --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("most", [None, 12], ids=["whole", "cut"])
@pytest.mark.parametrize("words", ["", "describe this place :"], ids=["no words", "words"])
@pytest.mark.parametrize("method", METHODS)
def test_kept_ids_are_those_of_texts_one_by_one(
    method: str, words: str, most: int | None, backbone: backbones.Backbone, tmp_path: Path
) -> None:
    if METHODS[method].refuses(backbone.anatomy, METHODS[method].config()):
        pytest.skip("refused on this family")
    encoder = encoder_of(backbone, tmp_path, method, words=words, max_source_tokens=most)
    expected = one_by_one(encoder)
    assert [(encoder.prompt(source), encoder.target(target)) for source, target in TEXTS] == expected
    for when in ("written", "read", "without a folder"):
        if when == "without a folder":
            encoder = dataclasses.replace(encoder, folder=None)
        assert list(encoder.pairs(TEXTS)) == expected, when
        assert list(encoder.prompts([source for source, _ in TEXTS])) == [prompt for prompt, _ in expected], when


def test_many_calls_of_the_tokenizer_are_as_one(
    llama: backbones.Backbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tokenised, "AT_ONCE", 7)
    encoder = encoder_of(llama, tmp_path)
    assert list(encoder.pairs(TEXTS)) == one_by_one(encoder)


def test_no_text_is_no_work(llama: backbones.Backbone, tmp_path: Path, calls: list[int]) -> None:
    for folder in (tmp_path, tmp_path, None):
        assert list(encoder_of(llama, folder).prompts([])) == []
    assert calls == []


def test_threads_with_other_cuts_do_not_disturb_each_other(backbone: backbones.Backbone) -> None:
    """A worker's threads share a tokenizer, whose calls set how it truncates."""
    encoders = [encoder_of(backbone, None, max_source_tokens=most) for most in (None, 5, 9)]
    expected, wrong = [one_by_one(encoder) for encoder in encoders], []

    def work(number: int) -> None:
        for _ in range(10):
            if list(encoders[number].pairs(TEXTS)) != expected[number]:
                wrong.append(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


# --- what is shared ---------------------------------------------------------------------------------------------------


def test_the_second_use_reads_the_file(backbone: backbones.Backbone, tmp_path: Path, calls: list[int]) -> None:
    first = list(encoder_of(backbone, tmp_path).pairs(TEXTS))
    before = files(tmp_path)
    assert calls == [len(set(sources)) for sources in zip(*TEXTS, strict=True)], "each distinct text once"
    calls.clear()
    assert list(encoder_of(backbone, tmp_path).pairs(TEXTS)) == first
    assert calls == [] and files(tmp_path) == before and len(before) == 2


def test_methods_and_their_configurations_share_what_a_method_never_changes(
    llama: backbones.Backbone, tmp_path: Path, calls: list[int]
) -> None:
    for name in METHODS:
        list(encoder_of(llama, tmp_path, name).pairs(TEXTS))
    longer = dataclasses.replace(encoder_of(llama, tmp_path, "infix"), config=METHODS["infix"].config(length=3))
    list(longer.pairs(TEXTS))
    assert len(files(tmp_path)) == len(calls) == 2


def test_decoding_and_training_share_their_sources(llama: backbones.Backbone, tmp_path: Path, calls: list[int]) -> None:
    encoder = encoder_of(llama, tmp_path)
    encoder.pairs(TEXTS)
    calls.clear()
    encoder.prompts(list(dict.fromkeys(source for source, _ in TEXTS)))
    assert calls == []


@pytest.mark.parametrize(
    "other", [{"words": "other words"}, {"max_source_tokens": 5}, {"max_source_tokens": 6}], ids=str
)
def test_other_words_or_another_cut_share_targets_only(
    other: dict[str, Any], llama: backbones.Backbone, tmp_path: Path
) -> None:
    for given in ({}, other):
        encoder = encoder_of(llama, tmp_path, **given)
        assert list(encoder.pairs(TEXTS)) == one_by_one(encoder)
    assert len(files(tmp_path)) == 3


def test_other_texts_or_another_order_share_nothing(llama: backbones.Backbone, tmp_path: Path) -> None:
    encoder = encoder_of(llama, tmp_path)
    for texts in (TEXTS, TEXTS[:-1], TEXTS[::-1]):
        assert list(encoder.pairs(texts)) == one_by_one(encoder, texts)
    assert len(files(tmp_path)) == 6


def test_another_tokenizer_or_library_shares_nothing(
    llama: backbones.Backbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder_of(llama, tmp_path).pairs(TEXTS)
    other = type(llama.tokenizer)(tokenizer_object=llama.tokenizer.backend_tokenizer, eos_token="<|end|>")
    other.add_tokens(["name :"])
    encoder = encoder_of(dataclasses.replace(llama, tokenizer=other), tmp_path)
    assert list(encoder.pairs(TEXTS)) == one_by_one(encoder)
    assert len(files(tmp_path)) == 4
    monkeypatch.setattr(tokenised, "_versions", lambda: ["another"])
    encoder_of(llama, tmp_path).pairs(TEXTS)
    assert len(files(tmp_path)) == 6


def test_what_a_tokenizer_was_last_asked_is_no_part_of_it(llama: backbones.Backbone) -> None:
    found = []
    for options in ({}, {"truncation": True, "max_length": 3}):
        llama.tokenizer("some text", **options)
        content_of.cache_clear()
        found.append(content_of(llama.tokenizer))
    assert found[0] == found[1] is not None


# --- damage and refusal -----------------------------------------------------------------------------------------------


def damaged(content: bytes) -> Iterator[tuple[str, bytes]]:
    yield "empty", b""
    yield "other content", b"not Arrow at all" * 100
    for part in (0.3, 0.6, 0.9, 0.999):
        yield f"cut at {part}", content[: int(len(content) * part)]
    for place in range(8, len(content), max(1, len(content) // 60)):
        yield f"byte {place}", content[:place] + bytes([content[place] ^ 0x11]) + content[place + 1 :]


def test_a_damaged_file_gives_no_wrong_id_and_is_written_anew(llama: backbones.Backbone, tmp_path: Path) -> None:
    """Padding between an Arrow file's parts may change without harm; then it is read."""
    encoder, few = encoder_of(llama, tmp_path), TEXTS[:6]
    expected = one_by_one(encoder, few)
    encoder.pairs(few)
    for path in sorted(tmp_path.iterdir()):
        whole, rewritten = path.read_bytes(), 0
        for what, content in damaged(whole):
            other = path.with_suffix(".new")  # never in place: the file may be mapped
            other.write_bytes(content)
            os.replace(other, path)
            assert list(encoder.pairs(few)) == expected, what
            rewritten += path.read_bytes() == whole
        assert rewritten > 30


def test_a_file_of_other_length_is_not_read(llama: backbones.Backbone, tmp_path: Path) -> None:
    encoder = encoder_of(llama, tmp_path)
    encoder.pairs(TEXTS[:6])
    short = next(tmp_path.iterdir()).read_bytes()
    encoder.pairs(TEXTS)
    for path in list(tmp_path.iterdir()):
        path.unlink()
        path.write_bytes(short)
    assert list(encoder.pairs(TEXTS)) == one_by_one(encoder)


@pytest.mark.parametrize("reason", ["no folder can be made", "nothing can be written"])
def test_where_nothing_can_be_written_ids_stay_in_memory(
    reason: str, llama: backbones.Backbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "tokenised"
    if reason == "no folder can be made":
        folder.write_text("a file stands there")
    else:

        def refuse(*given: Any) -> None:
            raise PermissionError("read-only")

        monkeypatch.setattr(os, "replace", refuse)
    encoder = encoder_of(llama, folder)
    for _ in range(2):
        assert list(encoder.pairs(TEXTS)) == one_by_one(encoder)
    if folder.is_dir():
        assert list(folder.iterdir()) == [], "nothing half written stays"


def test_a_tokenizer_that_is_not_plain_data_is_never_kept(llama: backbones.Backbone, tmp_path: Path) -> None:
    class Slow:
        is_fast = False

        def __call__(self, *given: Any, **options: Any) -> Any:
            return llama.tokenizer(*given, **options)

    encoder = encoder_of(dataclasses.replace(llama, tokenizer=Slow()), tmp_path)
    assert list(encoder.pairs(TEXTS)) == one_by_one(encoder)
    assert list(tmp_path.iterdir()) == []


# --- rows -------------------------------------------------------------------------------------------------------------


def test_rows_are_made_when_they_are_asked_for() -> None:
    made: list[int] = []

    def make(i: int) -> int:
        made.append(i)
        return 10 * i

    rows = Lazily(4, make)
    assert len(rows) == 4 and made == []
    assert rows[1] == 10 and made == [1]
    assert rows[-1] == 30 and rows[1:3] == [10, 20] and list(rows) == [0, 10, 20, 30]
    with pytest.raises(IndexError):
        rows[4]


# --- through the worker -----------------------------------------------------------------------------------------------

PLAN = """
protocol: 1
name: small
backbones: [{backbone}]
tasks: [places]
sizes: [20]
methods: [{{method: infix, config: {{learning_rate: 0.001}}}}]
baselines: []
words: none
training: {{steps: 3, batch_size: 4, evaluations: 1}}
test: 4
decoding: {{beams: 2, max_new_tokens: 8}}
precision: float32
"""


def test_the_second_trial_of_the_same_data_tokenises_nothing_and_says_the_same(
    tiny_llama: str, tmp_path: Path, calls: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FEATHERBENCH_CACHE", str(tmp_path / "cache"))
    (cell,) = expand(PLAN.format(backbone=tiny_llama)).cells
    engine = Engine(artifacts=str(tmp_path), scratch=str(tmp_path))
    first = run_trial(cell.base, engine)
    assert first.status == "ok", first.cause
    kept = files(tmp_path / "cache" / "tokenised")
    assert len(kept) == 5, "sources and targets of training and validation, sources that are decoded"
    calls.clear()
    again = run_trial(cell.base, engine)
    assert calls == [] and files(tmp_path / "cache" / "tokenised") == kept
    assert (again.predictions, again.scores) == (first.predictions, first.scores)
    assert [p.value for p in again.curve] == pytest.approx([p.value for p in first.curve], rel=1e-5)
    assert first.cost and again.cost
    same = ("train_tokens", "train_flops", "decode_flops")
    assert [getattr(again.cost, name) for name in same] == [getattr(first.cost, name) for name in same]
