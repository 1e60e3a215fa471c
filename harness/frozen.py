"""Frozen work done once: what no step of a trial changes is computed once and shared by every epoch and trial.

What is constant is derived from what a method touches; a method never declares it. The work is kept for each distinct
text, in memory and on disk, under a hash of everything it depends on. Its bits depend on that text alone and not on
which texts were computed with it, so a trial finds the same numbers whichever trial came first.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import zlib
from array import array
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from filelock import FileLock
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from featherbench.harness.partial import KeysValues, hidden_kept, keys_values_in_front, keys_values_kept
from featherbench.harness.records import Precision
from featherbench.harness.text import EncodedPair, shared_source_batch, text_batch, training_batch
from featherbench.harness.tuned import BatchRows, Tuned
from featherbench.harness.unpadded import Layout, layout_of, unpadded
from featherbench.methods.base import Point

FORMAT = 3
"""Raise it when entries of an earlier version must not be read"""

PASS_TOKENS = {"cpu": 256, "cuda": 2048}
"""Tokens of a pass that computes entries, for each kind of device; of longer texts each has a pass of its own.

A matrix product rounds a row by the shape of the whole, so each text is computed in a shape that its length alone
decides, whatever stands beside it. As few tokens as a product needs to run at full speed: those that fill up cost.
With 3, 5, 6 or 7 threads torch divides a few functions at places of which these shapes know nothing: there a text's
last bits may depend on where it stands.
"""
WIDTH, FRONT = 64, 64
"""What the widths of the texts of such a pass, and of the positions in front of them, are multiples of in attention"""
BUILD_TOKENS = 4096
"""About as many tokens' keys and values are held while entries are computed"""


# --- what is constant -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Constant:
    """What no step of a trial changes; one of the two."""

    blocks: int = 0
    """At every position, the states that enter this block; the blocks below need not run again"""
    source: bool = False
    """In every block, keys and values of the positions before the first virtual token"""

    def __str__(self) -> str:
        return "keys and values of the source" if self.source else f"hidden states below block {self.blocks}"


@dataclass(frozen=True, kw_only=True)
class Varying:
    """Nothing worth keeping is constant."""

    reason: str

    def __str__(self) -> str:
        return f"nothing: {self.reason}"


def constant_work(tuned: Tuned) -> Constant | Varying:
    """Derive from a method's points, unfrozen weights and layout what of a causal backbone's work is constant."""
    anatomy = tuned.anatomy
    if anatomy.encoder_layers:
        return Varying(reason="encoder-decoder models are not covered")
    if _drops_out(tuned.backbone):
        return Varying(reason="dropout is on")
    changes = list(_changes(tuned))
    at_virtual = [point for point in tuned.points if _touches_virtual_tokens_only(tuned, point)]
    changes += [
        (point.layer, f"every position {_TOUCHED[point.kind]} block {max(point.layer, 0)} on")
        for point in tuned.points
        if point not in at_virtual
    ]
    if changes:
        lowest, reason = min(changes)
        if lowest > 0 and at_virtual:
            return Varying(reason="virtual tokens stand below what else is trained")
        if lowest > 0 and tuned.offsets.any():
            return Varying(reason="the text's positions are shifted")
        return Constant(blocks=lowest) if lowest > 0 else Varying(reason=reason)
    if not at_virtual:
        return Varying(reason="nothing is trained")
    if tuned.offsets.any():
        return Varying(reason="the text's positions are shifted")
    layout = tuned.method.layout(tuned.slots[0].config, [0], lambda length: [anatomy.vocab_size] * length)
    if anatomy.vocab_size not in layout or layout.index(anatomy.vocab_size) == 0:
        return Varying(reason="no position stands before the first virtual token")
    return Constant(source=True)


_TOUCHED = {
    "attention": "sees trained keys and values from",
    "embeds": "has a trained input from",
    "residual": "is edited from",
    "linear": "is edited from",
}


def _drops_out(backbone: nn.Module) -> bool:
    """Say whether a module in training mode drops anything: a Dropout, or an attention that is given a rate."""
    rates = ("p", "attention_dropout", "dropout")
    return any(
        module.training and any(isinstance(rate := getattr(module, name, 0), float) and rate > 0 for name in rates)
        for module in backbone.modules()
    )


def _changes(tuned: Tuned) -> Iterator[tuple[int, str]]:
    """Yield (block, reason) for every weight that is trained, in a private copy or in the backbone itself.

    The final norm counts as in the last block, which no pass leaves out; whatever else is outside the blocks as below
    the first.
    """
    anatomy = tuned.anatomy
    trained = set(tuned.slots[0].weights())
    trained |= {name for name, parameter in tuned.backbone.named_parameters() if parameter.requires_grad}
    block_of = {name: i for i, names in enumerate(anatomy.blocks) for name in names}
    block_of |= dict.fromkeys(anatomy.final_norm, anatomy.num_layers - 1)
    for name in sorted(trained):
        if name in anatomy.token_table:
            yield -2, "the token table is trained"
        else:
            layer = block_of.get(name, -1)
            yield layer, f"{name} is trained" if layer < 0 else f"weights of block {layer} are trained"


def _touches_virtual_tokens_only(tuned: Tuned, point: Point) -> bool:
    """Say whether an edit leaves every position before the first virtual token as it is.

    Tried on random numbers in place of the stored tensors, since trained ones may start as an edit that does nothing.
    """
    if point.kind == "attention":
        return False
    slot, generator = tuned.slots[0], torch.Generator().manual_seed(0)

    def noise(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator).to(tuned.sizes.device)

    with torch.no_grad():
        stored = {name: noise(1, *tensor.shape) for name, tensor in slot.stored().items()}
        rows = BatchRows(sizes=tuned.sizes[:1], virtual=torch.tensor([[[-1, -1, -1, 0]]], device=tuned.sizes.device))
        y = noise(1, 1, 4, point.shape[-1])
        x = noise(1, 1, 4, point.shape[0]) if point.kind == "linear" else y
        assert tuned.method.apply is not None
        found = tuned.method.apply(point, slot.config, stored, rows, x, y)
    return torch.equal(found[:, :, :3], y[:, :, :3])


# --- the cache --------------------------------------------------------------------------------------------------------


@dataclass(kw_only=True)
class Cache:
    """Tensors by the hash of what they were computed from: the latest in memory, more of them in a folder.

    Neither holds more than its bound, in bytes; what was not used for longest goes first. The folder may be shared by
    the processes of a machine. A file that is damaged or gone counts as never written.
    """

    backbone_sha256: str
    memory_bytes: int
    folder: Path | None = None
    disk_bytes: int = 0
    computed: int = 0
    """Entries that were not found and had to be computed"""
    held: int = 0
    """Bytes in memory"""
    _memory: OrderedDict[str, Tensor] = field(default_factory=OrderedDict)
    _scope: str = ""

    @property
    def capacity(self) -> int:
        """Bytes that fit into the larger of the two places."""
        return max(self.memory_bytes, self.disk_bytes if self.folder else 0)

    def enter(self, scope: str) -> None:
        """Give up what is in memory of another scope, so that a trial's memory holds its own work only."""
        if scope != self._scope:
            self._memory.clear()
            self.held, self._scope = 0, scope

    def get(self, key: str) -> Tensor | None:
        """Return an entry, on the CPU, or None."""
        if key in self._memory:
            self._memory.move_to_end(key)
            return self._memory[key]
        found = self._read(key)
        if found is not None:
            self._remember(key, found)
        return found

    def put(self, entries: Mapping[str, Tensor], write: bool) -> None:
        """Keep freshly computed entries as far as the bounds allow; `write` keeps them in the folder, too."""
        self.computed += len(entries)
        for key, tensor in entries.items():
            self._remember(key, tensor)
        if write and self.folder and self.disk_bytes:
            self._write(self.folder, entries)

    def _remember(self, key: str, tensor: Tensor) -> None:
        if tensor.nbytes > self.memory_bytes or key in self._memory:
            return
        self._memory[key] = tensor
        self.held += tensor.nbytes
        while self.held > self.memory_bytes:
            self.held -= self._memory.popitem(last=False)[1].nbytes

    def _file(self, folder: Path, key: str) -> Path:
        return folder / key[:2] / f"{key}.safetensors"

    def _read(self, key: str) -> Tensor | None:
        if not (self.folder and self.disk_bytes):
            return None
        path = self._file(self.folder, key)
        try:
            with safe_open(path, "pt") as file:
                tensor, told = file.get_tensor("work"), file.metadata()["crc32"]
            if told != _checksum(tensor):
                return None
            os.utime(path)  # the files used last are those that stay
        except (OSError, SafetensorError, KeyError, TypeError):
            return None
        return tensor.clone()  # what was read is a mapped file, and a process may hold so many of those

    def _write(self, folder: Path, entries: Mapping[str, Tensor]) -> None:
        """Write files under a lock, so that processes together keep the bound. A full disk is no error."""
        with contextlib.suppress(OSError, SafetensorError):
            folder.mkdir(parents=True, exist_ok=True)
            with FileLock(folder / "lock"):
                for key, tensor in entries.items():
                    about = tensor.nbytes + HEADER_BYTES
                    if about > self.disk_bytes:
                        continue
                    self._make_room(folder, about)
                    path = self._file(folder, key)
                    path.parent.mkdir(exist_ok=True)
                    scratch = folder / "writing.tmp"
                    save_file({"work": tensor}, scratch, {"crc32": _checksum(tensor)})
                    os.replace(scratch, path)

    def _make_room(self, folder: Path, wanted: int) -> None:
        """Count `wanted` bytes as used, after removing the oldest files down to nine tenths of the bound if need be.

        `used` holds the count of all processes; it is taken anew from the files themselves whenever it is too large.
        """
        count = folder / "used"
        try:
            used = int(count.read_text())
        except (OSError, ValueError):
            used = self.disk_bytes  # unknown: look at the files
        if used + wanted > self.disk_bytes:
            files = sorted((s.st_mtime, s.st_size, p) for p in folder.glob("*/*.safetensors") if (s := p.stat()))
            used = sum(size for _, size, _ in files)
            most = self.disk_bytes if used + wanted <= self.disk_bytes else self.disk_bytes * 9 // 10
            for _, size, path in files:
                if used + wanted <= max(most, wanted):
                    break
                path.unlink(missing_ok=True)
                used -= size
        count.write_text(str(used + wanted))


HEADER_BYTES = 256
"""At most what a file holds beside its tensor"""


def _checksum(tensor: Tensor) -> str:
    return str(zlib.crc32(tensor.contiguous().view(-1).view(torch.uint8).numpy().tobytes()))


# --- batches ----------------------------------------------------------------------------------------------------------


class Batches:
    """Makes the batches that a `Tuned` takes out of (prompt, target) pairs, constant work in place where there is any.

    Rows stand sorted by slot, the same number for each, as the pairs do. Without a cache nothing is kept. Where
    processes have to take the same way through the backbone (`in_step`), every pass is a whole one, too.
    """

    constant: Constant | Varying

    def __init__(
        self, tuned: Tuned, pad: int, precision: Precision, cache: Cache | None = None, in_step: bool = False
    ) -> None:
        self._tuned, self._pad, self._precision, self._cache = tuned, pad, precision, cache
        self.device, self._in_step = next(tuned.backbone.parameters()).device, in_step
        self.constant = Varying(reason="the work is spread over processes") if in_step else constant_work(tuned)
        if isinstance(self.constant, Varying):
            return
        if cache is None or cache.capacity == 0:
            self.constant = Varying(reason="no cache is allowed")
        else:
            self._left = cache.capacity
            about = [FORMAT, cache.backbone_sha256, precision, str(tuned.backbone.dtype), str(self.constant)]
            self._scope = hashlib.sha256(json.dumps(about).encode()).hexdigest()
            cache.enter(self._scope)

    def __call__(self, pairs: Sequence[EncodedPair], share_sources: bool = False) -> dict[str, Tensor]:
        """Return the batch of pairs, in their order; with `share_sources`, references share what is not kept as well."""
        tuned, constant = self._tuned, self.constant
        if isinstance(constant, Varying):
            start = tuned.anatomy.decoder_start
            if share_sources and not self._in_step:
                return shared_source_batch(pairs, self._pad, self.device, start, len(tuned.slots))
            return training_batch(pairs, self._pad, self.device, start)
        entries = self._entries(pairs)
        if constant.source:
            return self._behind_sources(pairs, entries)
        batch = training_batch(pairs, self._pad, self.device)
        rows = [torch.cat([entries[key] for key in self._keys(pair)]) for pair in pairs]
        hidden = nn.utils.rnn.pad_sequence(rows, batch_first=True).to(self.device)
        return batch | {"hidden": hidden, "first_block": torch.tensor(constant.blocks)}

    def prepare(self, pairs: Sequence[EncodedPair]) -> None:
        """Compute the constant work of pairs ahead: in full passes, and as much of it as can be kept.

        The rest is computed batch by batch and only remembered; to write it would turn the folder over all the time.
        """
        if isinstance(self.constant, Varying):
            return
        wanted: list[EncodedPair] = []
        for prompt, group in _by_prompt(pairs).items():
            self._left -= self._bytes(prompt, group)
            if self._left < 0:
                break
            wanted += group
        for part in self._parts(wanted):
            self._entries(part, write=True)

    def _behind_sources(self, pairs: Sequence[EncodedPair], entries: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the batch that starts at the first virtual token of each row, with the sources' keys and values."""
        before = [self._num_before(prompt) for prompt, _ in pairs]
        rest = [(prompt[n:], target) for (prompt, target), n in zip(pairs, before, strict=True)]
        batch = training_batch(rest, self._pad, self.device, before=before)
        sources = [entries[key] for pair in pairs for key in self._keys(pair)]
        keys, values, visible = (part.to(self.device) for part in _side_by_side(sources, max(before)))
        return batch | {"source_keys": keys, "source_values": values, "source_visible": visible}

    def _num_before(self, prompt: Sequence[int]) -> int:
        """Return how many tokens stand before the first virtual one."""
        return next(i for i, token in enumerate(prompt) if token >= self._tuned.anatomy.vocab_size)

    def _keys(self, pair: EncodedPair) -> tuple[str, ...]:
        """Return the keys of a pair's entries: of its source; or of its prompt, which references share, and the rest."""
        prompt, target = pair
        if self.constant == Constant(source=True):
            return (self._key("source", prompt[: self._num_before(prompt)]),)
        return self._key("prompt", prompt), self._key("target", prompt, target)

    def _key(self, kind: str, *texts: Sequence[int]) -> str:
        total = hashlib.sha256(f"{self._scope} {kind}".encode())
        for ids in texts:
            total.update(array("q", [len(ids), *ids]).tobytes())
        return total.hexdigest()

    def _bytes(self, prompt: Sequence[int], pairs: Sequence[EncodedPair]) -> int:
        """Return about how many bytes the entries of a prompt and its targets take, those in files included."""
        anatomy, each = self._tuned.anatomy, self._tuned.backbone.dtype.itemsize
        if self.constant == Constant(source=True):
            each = 2 if self._precision == "bfloat16" else each
            tokens, width = self._num_before(prompt), 2 * anatomy.num_layers * anatomy.kv_heads * anatomy.head_dim
            return tokens * width * each + HEADER_BYTES
        tokens = len(prompt) + sum(len(target) for _, target in pairs)
        return tokens * anatomy.width * each + HEADER_BYTES * (1 + len(pairs))

    def _entries(self, pairs: Sequence[EncodedPair], write: bool = False) -> dict[str, Tensor]:
        """Return the entries of pairs by key; those that the cache has not are computed and offered to it."""
        assert self._cache is not None
        looked_up = {key: self._cache.get(key) for pair in pairs for key in self._keys(pair)}
        found = {key: tensor for key, tensor in looked_up.items() if tensor is not None}
        missing = [pair for pair in pairs if any(key not in found for key in self._keys(pair))]
        fresh: dict[str, Tensor] = {}
        for part in self._parts(missing):
            fresh |= self._compute(part)
        fresh = {key: tensor for key, tensor in fresh.items() if key not in found}
        self._cache.put(fresh, write)
        return found | fresh

    @torch.no_grad()
    def _compute(self, pairs: Sequence[EncodedPair]) -> dict[str, Tensor]:
        """Return the entries of pairs, computed by the bare backbone in the trial's precision.

        source: [layers, 2, kv_heads, T, head_dim]; prompt, target: [T, d]. References share the pass over their prompt.
        """
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self._precision == "bfloat16"):
            return self._sources(pairs) if self.constant == Constant(source=True) else self._hidden(pairs)

    def _sources(self, pairs: Sequence[EncodedPair]) -> dict[str, Tensor]:
        texts = {self._keys(pair)[0]: pair[0][: self._num_before(pair[0])] for pair in pairs}
        found: dict[str, Tensor] = {}
        for keys, batch, layout in self._shaped(texts):
            with keys_values_kept(self._modules("attention"), then_stop=True) as layers:
                self._run(batch, layout)
            # under autocast the attention rounds keys and values to bfloat16 in any case
            dtype = torch.bfloat16 if self._precision == "bfloat16" else layers[0][0].dtype
            kept = _stacked(layers).to("cpu", dtype)
            found |= {
                key: kept[:, :, i, :, : len(texts[key])].clone(memory_format=torch.contiguous_format)
                for i, key in enumerate(keys)
            }
        return found

    def _hidden(self, pairs: Sequence[EncodedPair]) -> dict[str, Tensor]:
        assert isinstance(self.constant, Constant)
        first = self.constant.blocks
        lower, block = self._modules("attention")[:first], self._modules("block")[first]
        prompts = {self._keys(pair)[0]: pair[0] for pair in pairs}
        found: dict[str, Tensor] = {}
        in_front: dict[str, Tensor] = {}
        for keys, batch, layout in self._shaped(prompts):
            with hidden_kept(block) as states, keys_values_kept(lower) as layers:
                self._run(batch, layout)
            kept, on_cpu = _stacked(layers), layout.in_rows(states[0]).cpu()
            for i, key in enumerate(keys):
                in_front[key] = kept[:, :, i, :, : len(prompts[key])]
                found[key] = on_cpu[i, : len(prompts[key])].clone()
        behind: dict[int, dict[str, EncodedPair]] = defaultdict(dict)
        for pair in pairs:
            behind[_rounded_up(len(pair[0]), FRONT)][self._keys(pair)[1]] = pair
        for width, group in behind.items():
            targets = {key: target for key, (_, target) in group.items()}
            before = {key: len(prompt) for key, (prompt, _) in group.items()}
            for keys, batch, layout in self._shaped(targets, before):
                *both, visible = _side_by_side([in_front[self._keys(group[key])[0]] for key in keys], width)
                layers = list(zip(*both, strict=True))
                with hidden_kept(block) as states, keys_values_in_front(lower, layers, visible):
                    self._run(batch, layout)
                on_cpu = layout.in_rows(states[0]).cpu()
                found |= {key: on_cpu[i, : len(targets[key])].clone() for i, key in enumerate(keys)}
        return found

    def _shaped(
        self, texts: Mapping[str, Sequence[int]], before: Mapping[str, int] | None = None
    ) -> Iterator[tuple[list[str], dict[str, Tensor], Layout]]:
        """Yield texts by their keys in passes whose shape follows from the length of each: the keys, the batch, the layout.

        `before`: where the positions of each begin.
        """
        of_width: dict[int, list[str]] = defaultdict(list)
        for key, ids in texts.items():
            of_width[_rounded_up(len(ids), WIDTH)].append(key)
        for width, keys in of_width.items():
            tokens = width * max(PASS_TOKENS[self.device.type] // width, 1)
            for chosen in _fitted(keys, tokens, lambda key: len(texts[key])):
                begins = None if before is None else [before[key] for key in chosen]
                batch = text_batch([texts[key] for key in chosen], self._pad, self.device, begins, width)
                yield chosen, batch, layout_of(batch["attention_mask"], tokens=tokens)

    def _parts(self, pairs: Iterable[EncodedPair]) -> Iterator[list[EncodedPair]]:
        """Yield distinct pairs in parts of at most BUILD_TOKENS tokens, like lengths together; one a source if that is all."""
        part: list[EncodedPair] = []
        tokens = 0
        for prompt, group in sorted(_by_prompt(pairs).items(), key=lambda item: len(item[0])):
            for pair in group[:1] if self.constant == Constant(source=True) else group:
                size = len(prompt) + len(pair[1])
                if part and tokens + size > BUILD_TOKENS:
                    yield part
                    part, tokens = [], 0
                part.append(pair)
                tokens += size
        if part:
            yield part

    def _modules(self, name: str) -> list[nn.Module]:
        return [self._tuned.backbone.get_submodule(point.module) for point in self._tuned.anatomy.at(name)]

    def _run(self, batch: Mapping[str, Tensor], layout: Layout) -> None:
        with unpadded(self._modules("attention"), layout):
            self._tuned.backbone.base_model(**layout.inputs(batch), use_cache=False)


def _stacked(layers: Sequence[KeysValues]) -> Tensor:
    """Return the keys and values of all layers as [layers, 2, R, kv_heads, T, head_dim]."""
    return torch.stack([torch.stack(layer) for layer in layers])


def _side_by_side(sources: Sequence[Tensor], width: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return keys and values [layers, R, kv_heads, width, head_dim] and which positions exist [R, width].

    sources: [layers, 2, kv_heads, T, head_dim] each, none longer than `width`.
    """
    layers, _, heads, _, each = sources[0].shape
    kept = sources[0].new_zeros(2, layers, len(sources), heads, width, each)
    for i, source in enumerate(sources):
        kept[:, :, i, :, : source.shape[3]] = source.transpose(0, 1)
    lengths = torch.tensor([source.shape[3] for source in sources], device=kept.device)
    return kept[0], kept[1], torch.arange(width, device=kept.device) < lengths[:, None]


def _fitted(keys: Sequence[str], most: int, size: Callable[[str], int]) -> list[list[str]]:
    """Put texts, the longest first, each where there is still room for it among `most` tokens."""
    parts: list[list[str]] = []
    for key in sorted(keys, key=size, reverse=True):
        fits = (part for part in parts if sum(map(size, part)) + size(key) <= most)
        if (part := next(fits, None)) is None:
            parts.append(part := [])
        part.append(key)
    return parts


def _rounded_up(number: int, multiple: int) -> int:
    """Return the next multiple, at least one: also an empty text takes a place."""
    return max(-(-number // multiple), 1) * multiple


def _by_prompt(pairs: Iterable[EncodedPair]) -> dict[tuple[int, ...], list[EncodedPair]]:
    """Group pairs of one prompt, each once, in order of first appearance."""
    groups: dict[tuple[int, ...], dict[tuple[int, ...], EncodedPair]] = {}
    for prompt, target in pairs:
        groups.setdefault(tuple(prompt), {})[tuple(target)] = (prompt, target)
    return {prompt: list(group.values()) for prompt, group in groups.items()}
