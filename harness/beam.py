"""Beam search over all prompts of all slots at once: the results of transformers' `generate`, far less work.

A prompt is read once, not once a beam. Each input has one store of keys and values: its prompt's columns, then one
for every token that any of its beams took. Nothing is ever moved from beam to beam: beams are further query positions
of the same store, and a mask says which columns are a beam's own past. Finished inputs and columns of dead beams are
dropped together, whenever an eighth of the inputs is done or the store is full.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from featherbench.harness.halving import in_parts
from featherbench.harness.records import DecodingSettings
from featherbench.harness.text import decoding_batch
from featherbench.harness.tuned import Prefix, Tuned

COVERED = ("gpt2", "llama")
"""Families that this engine decodes"""
PROMPT_TOKENS = 8192
"""Tokens of one forward pass over prompts; of similar length, so that little is padding"""
ROOM = 16
"""Steps for which a store has free columns when it is made or tidied; a single beam has none that die, and all at once"""


def search(
    tuned: Tuned,
    prompts: Sequence[Sequence[Sequence[int]]],
    settings: DecodingSettings,
    *,
    end: int,
    forbidden: Sequence[int],
    at_once: int,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
    on_halved: Callable[[int], None] = lambda halvings: None,
) -> list[list[list[int]]]:
    """Return the output ids of every prompt [slot][number]; what follows an output's first end mark means nothing.

    prompts: of each slot of `tuned`, any number. At most about `at_once` inputs share a batch, which changes no
    result beyond rounding; half as many when memory runs out. on_progress: (finished, all) inputs; on_halved hears how
    often the batch was halved.
    """
    found: list[list[list[int]]] = [[[] for _ in each] for each in prompts]
    # the longest first: if memory is short, it is so at once
    orders = [sorted(range(len(each)), key=lambda i: -len(each[i])) for each in prompts]
    total, longest, share = sum(map(len, prompts)), max(map(len, prompts)), max(1, at_once // len(prompts))
    before = 0

    def take(start: int, stop: int) -> None:
        nonlocal before
        chosen = [order[start:stop] for order in orders]
        own = [[prompts[slot][i] for i in numbers] for slot, numbers in enumerate(chosen)]
        outputs = _Batch(tuned, own, settings, end, forbidden).run(lambda done: on_progress(before + done, total))
        for slot, numbers in enumerate(chosen):
            for i, output in zip(numbers, outputs[slot].tolist(), strict=False):
                found[slot][i] = output
        before += sum(map(len, chosen))

    with torch.no_grad(), tuned.attached():
        on_halved(in_parts(longest, share, take))
    return found


class _Batch:
    """The inputs that are decoded together: n rows sorted by slot, the same number for each slot, k beams a row."""

    def __init__(
        self,
        tuned: Tuned,
        prompts: Sequence[Sequence[Sequence[int]]],
        settings: DecodingSettings,
        end: int,
        forbidden: Sequence[int],
    ) -> None:
        self.tuned, self.settings, self.end = tuned, settings, end
        device = tuned.sizes.device
        self.num_slots, per_slot = len(prompts), max(map(len, prompts))
        # a slot with fewer inputs is filled up with rows that are finished from the start
        self.prompts = [list(p) for each in prompts for p in [*each, *[[end]] * (per_slot - len(each))]]
        self.open = torch.tensor([i < len(each) for each in prompts for i in range(per_slot)], device=device)
        """[n] whether an input's result may still change"""
        self.lengths = torch.tensor([len(p) for p in self.prompts], device=device)
        self.forbidden = torch.tensor(list(forbidden), dtype=torch.long, device=device)
        n, k = len(self.prompts), settings.beams
        self.rows = torch.arange(n, device=device)
        """[n] which rows of `best` these are; `best` is never compacted"""
        self.best = torch.full((n, settings.max_new_tokens), end, device=device)
        """[all inputs, max_new_tokens] the best output so far"""
        self.tokens = self.best[:, None].repeat(1, k, 1)
        """[n, k, max_new_tokens] the running beams"""
        self.scores = torch.zeros(n, 1, device=device)
        """[n, k] summed log-probabilities of the running beams, in float32 as in `generate`; one beam at the start"""
        self.finished = torch.full((n, k), -torch.inf, device=device)
        """[n, k] the best scores of finished beams, length penalty included"""
        self.memory = Memory(n, k, max(map(len, self.prompts)), self.lengths, settings.max_new_tokens)

    def run(self, on_progress: Callable[[int], None]) -> Tensor:
        """Return the best outputs [slots, inputs, max_new_tokens]; on_progress gets the number of finished inputs."""
        total, steps = int(self.open.sum()), self.settings.max_new_tokens
        hidden = self._read_prompts()
        for step in range(steps):
            logits = self.tuned.head(hidden).float()
            parents = self._take_best(logits, step) if self.settings.beams > 1 else self._take_most_likely(logits, step)
            counts = self.open.view(self.num_slots, -1).sum(1).tolist()
            on_progress(total - sum(counts) if step + 1 < steps else total)
            if not any(counts) or step + 1 == steps:
                break
            if max(counts) <= 7 / 8 * (len(self.rows) // self.num_slots):
                parents = self._compact(max(counts), parents)
            self.memory.open_columns(parents)
            k = self.settings.beams
            hidden = self._hidden(
                self.tokens[:, :, step].reshape(-1, 1),
                (self.lengths + step).repeat_interleave(k)[:, None],
                attend=self.memory.attend,
            )[:, 0]
        return self.best.view(self.num_slots, -1, steps)

    def _hidden(self, ids: Tensor, positions: Tensor, mask: Tensor | None = None, **memory: object) -> Tensor:
        """Return the last hidden states [rows, T, d]."""
        mask = torch.ones_like(ids) if mask is None else mask
        inputs = {"input_ids": ids, "position_ids": positions, "attention_mask": mask}
        return self.tuned.backbone.base_model(**inputs, use_cache=False, **memory).last_hidden_state

    def _read_prompts(self) -> Tensor:
        """Fill the store and return the hidden states [n, d] of the prompts' last tokens."""
        per_slot = len(self.prompts) // self.num_slots
        share = max(1, PROMPT_TOKENS // max(map(len, self.prompts)) // self.num_slots)
        hidden = None
        for part in self.rows.view(self.num_slots, per_slot).split(share, 1):
            rows = part.flatten()
            # padded on the right, where no query of the text sees it
            batch = decoding_batch([self.prompts[i] for i in rows.tolist()], self.end, rows.device, encoder=True)
            ids, mask = batch["input_ids"], batch["attention_mask"]
            positions = torch.arange(ids.shape[1], device=rows.device).expand_as(ids)
            states = self._hidden(ids, positions, mask, keep=self.memory.keeper(rows))
            last = states[torch.arange(len(rows), device=rows.device), mask.sum(1) - 1]
            hidden = last.new_empty(len(self.prompts), last.shape[1]) if hidden is None else hidden
            hidden[rows] = last
        assert hidden is not None
        return hidden

    def _allowed(self, scores: Tensor, step: int) -> Tensor:
        """Rule out forbidden tokens and, before the least number of tokens, the end mark; in place."""
        if step < self.settings.min_new_tokens:
            scores[:, self.end] = -torch.inf
        return scores.index_fill_(1, self.forbidden, -torch.inf)

    def _take_most_likely(self, logits: Tensor, step: int) -> Tensor:
        """Greedy: append the likeliest token; an end mark ends an input."""
        token = self._allowed(logits, step).argmax(1)
        self.tokens[:, 0, step] = token
        self.best[self.rows, step] = torch.where(self.open, token, self.end)
        self.open &= token != self.end
        return torch.zeros_like(token)[:, None]

    def _take_best(self, logits: Tensor, step: int) -> Tensor:
        """Extend the beams by one token; return each new beam's parent [n, k].

        Of the best 2k continuations the first k may end, and the first k that do not end run on: among 2k there are
        always so many, since a beam ends in one way only. An input is finished once it has k outputs and its best
        running beam, were it to end here, would not beat the worst of them.
        """
        k, length = self.settings.beams, step + 1
        steps = self._allowed(logits.log_softmax(1), step)  # as `generate`: what is ruled out keeps its share
        total = steps.view(len(self.rows), -1, logits.shape[1]) + self.scores[:, :, None]
        scores, place = total.flatten(1).topk(2 * k)
        parents, token = place // logits.shape[1], place % logits.shape[1]
        ends = (token == self.end) | (length == self.settings.max_new_tokens)

        final = scores[:, :k] / length**self.settings.length_penalty
        final = final.masked_fill(~(ends[:, :k] & self.open[:, None]), -torch.inf)
        self.finished, which = torch.cat([self.finished, final], 1).topk(k)
        first = which[:, :1] - k  # which of the candidates is the new best output; below 0: none
        winner = self._extended(parents, token, first.clamp(min=0), step)[:, 0]
        self.best[self.rows] = torch.where(first >= 0, winner, self.best[self.rows])

        self.scores, chosen = scores.masked_fill(ends, -torch.inf).topk(k)
        self.tokens = self._extended(parents, token, chosen, step)
        self.open &= self.scores[:, 0] / length**self.settings.length_penalty > self.finished[:, -1]
        return parents.gather(1, chosen)

    def _extended(self, parents: Tensor, token: Tensor, chosen: Tensor, step: int) -> Tensor:
        """Return the tokens [n, m, max_new_tokens] of the chosen [n, m] among the candidates."""
        found = _of_beams(self.tokens, parents.gather(1, chosen))
        found[:, :, step] = token.gather(1, chosen)
        return found

    def _compact(self, per_slot: int, parents: Tensor) -> Tensor:
        """Keep so many rows of each slot, open ones first; return their parents."""
        open_ = self.open.view(self.num_slots, -1)
        first = (~open_).to(torch.uint8).argsort(dim=1, stable=True)[:, :per_slot]
        rows = (first + torch.arange(self.num_slots, device=first.device)[:, None] * open_.shape[1]).flatten()
        for name in ("open", "lengths", "rows", "tokens", "scores", "finished"):
            setattr(self, name, getattr(self, name)[rows])
        self.memory.tidy(rows)
        return parents[rows]


def _of_beams(x: Tensor, beams: Tensor) -> Tensor:
    """Return x[i, beams[i, j]] of x [n, k, ...] and beams [n, m]."""
    return x[torch.arange(len(x), device=x.device)[:, None], beams]


class Memory:
    """Keys and values of n inputs for k beams, per layer [n, kv_heads, columns, head_dim]."""

    def __init__(self, inputs: int, beams: int, longest: int, lengths: Tensor, steps: int) -> None:
        self.keys: list[Tensor] = []
        self.values: list[Tensor] = []
        self.used = longest
        self.room = steps if beams == 1 else ROOM * beams
        columns = torch.arange(longest + self.room, device=lengths.device)
        self.visible = (columns < lengths[:, None])[:, None].repeat(1, beams, 1)
        """[n, k, columns] which columns are a beam's past"""
        self.mask = self.visible
        """[n, k, used] the same, to be added to attention scores"""

    def keeper(self, rows: Tensor) -> Callable[[int, Tensor, Tensor], None]:
        """Return what the attention function calls with a layer's keys and values of these rows' prompts."""

        def keep(layer: int, key: Tensor, value: Tensor) -> None:
            if layer == len(self.keys):
                shape = (len(self.visible), key.shape[1], self.visible.shape[2], key.shape[3])
                self.keys.append(key.new_zeros(shape))
                self.values.append(value.new_zeros(shape))
            self.keys[layer][rows, :, : key.shape[2]] = key
            self.values[layer][rows, :, : key.shape[2]] = value

        return keep

    def open_columns(self, parents: Tensor) -> None:
        """Make room for a token of each beam, which sees it and what its parent [n, k] saw."""
        k = parents.shape[1]
        self.visible = _of_beams(self.visible, parents)
        if self.used + k > self.visible.shape[2]:
            self.tidy(torch.arange(len(parents), device=parents.device))
        self.visible[:, :, self.used : self.used + k] = torch.eye(k, dtype=torch.bool, device=parents.device)
        self.used += k
        self.mask = torch.zeros_like(self.visible[:, :, : self.used], dtype=self.keys[0].dtype)
        self.mask.masked_fill_(~self.visible[:, :, : self.used], -torch.inf)

    def tidy(self, rows: Tensor) -> None:
        """Keep these rows, of each the columns that some beam still sees, and have room for further steps."""
        self.visible = self.visible[rows]
        seen = self.visible.any(1)
        self.used = int(seen.sum(1).max())
        order = (~seen).to(torch.uint8).argsort(dim=1, stable=True)[:, : self.used]
        index = order[:, None].expand(-1, self.visible.shape[1], -1)
        self.visible = nn.functional.pad(self.visible.gather(2, index), (0, self.room))
        for kept in (self.keys, self.values):
            for layer, old in enumerate(kept):
                new = old.new_zeros(len(rows), old.shape[1], self.used + self.room, old.shape[3])
                new[:, :, : self.used] = old[rows[:, None], :, order].transpose(1, 2)
                kept[layer] = new

    def attend(
        self, layer: int, query: Tensor, key: Tensor, value: Tensor, prefix: Prefix | None, scaling: float
    ) -> Tensor:
        """Store the beams' newest keys and values and return their attention [n * k, 1, heads, head_dim].

        query [n * k, heads, 1, head_dim]; key, value [n * k, kv_heads, 1, head_dim]. A prefix [slots, kv_heads, L,
        head_dim] is shared by all rows of its slot.
        """
        (n, k, used), (_, kv_heads, _, width) = self.mask.shape, key.shape
        for kept, new in ((self.keys, key), (self.values, value)):
            kept[layer][:, :, used - k : used] = new.reshape(n, k, kv_heads, width).transpose(1, 2)
        keys, values = (kept[layer][:, :, :used] for kept in (self.keys, self.values))
        # the heads of a group and the beams of an input all ask the same keys: [n, kv_heads, k * group, head_dim]
        query = (query * scaling).reshape(n, k, kv_heads, -1, width).transpose(1, 2).flatten(2, 3)
        scores = (query @ keys.mT).view(n, kv_heads, k, -1, used) + self.mask[:, None, :, None]
        scores = scores.flatten(2, 3)
        if prefix is None:
            found = scores.softmax(-1) @ values
        else:
            front, front_values, exists = prefix
            slots, length = exists.shape

            def by_slot(x: Tensor) -> Tensor:  # [n, kv_heads, m, ...] -> [slots, kv_heads, n / slots * m, ...]
                return x.unflatten(0, (slots, -1)).transpose(1, 2).flatten(2, 3)

            def by_input(x: Tensor) -> Tensor:
                return x.unflatten(2, (n // slots, -1)).transpose(1, 2).flatten(0, 1)

            shared = by_slot(query) @ front.to(query.dtype).mT
            shared = by_input(shared.masked_fill(~exists[:, None, None], -torch.inf))
            weights = torch.cat([shared, scores], -1).softmax(-1)
            found = weights[..., length:] @ values
            found = found + by_input(by_slot(weights[..., :length]) @ front_values.to(query.dtype))
        return found.unflatten(2, (k, -1)).transpose(1, 2).reshape(n * k, 1, -1, width)
