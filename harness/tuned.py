"""A backbone with slots: the one module that training, decoding and counting see, for every method.

Slots hold trained tensors. While a `Tuned` is attached, hooks at the method's points route each row of the batch to
its slot: rows stand sorted by slot, the same number for each. One slot is the plain case of the same code.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from featherbench.harness.anatomy import FAMILIES
from featherbench.harness.losses import cross_entropy
from featherbench.harness.partial import keys_values_in_front, keys_values_kept, started_at
from featherbench.harness.unpadded import Layout, chosen_only, layout_of, unpadded
from featherbench.methods.base import Anatomy, Method, Point, Probe, Tensors

ATTENTION = "featherbench"
"""Name of our attention function in transformers; every backbone is loaded with it"""

Prefix = tuple[Tensor, Tensor, Tensor]
"""Keys and values [R, kv_heads, L, head_dim] in front of the text's, and which of them exist [R, L]"""
Keep = Callable[[int, Tensor, Tensor], None]
"""Takes a layer's number and the text's own keys and values"""
Attend = Callable[[int, Tensor, Tensor, Tensor, Prefix | None, float], Tensor]
"""(layer, query, key, value, prefix of each slot, scaling) -> the attention's output [R, T, heads, head_dim]"""


def _full_mask(*args: Any, **kwargs: Any) -> Tensor | None:
    """Return transformers' own boolean mask, always spelled out: prefixes are put in front of it."""
    return sdpa_mask(*args, **{**kwargs, "allow_is_causal_skip": False, "allow_is_bidirectional_skip": False})


def _attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    keep: Keep | None = None,
    attend: Attend | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """SDPA with keys and values in front: of a source that was computed before, of a slot's prefix.

    They come after the cache, so they are never stored in it. A decoder of our own may take the text's keys and
    values (`keep`), or do the attention in place of SDPA (`attend`). Texts that stand end to end (unpadded.py) get rows
    of their own for it.
    """
    layer: Any = module.__dict__.get("layer_idx")
    if attend is not None:
        prefix = module.__dict__.get("featherbench_prefix")
        return attend(layer, query, key, value, prefix and prefix(None), kwargs["scaling"]), None
    if keep is not None:
        keep(layer, key, value)
    layout: Layout | None = module.__dict__.get("featherbench_layout")
    if layout is not None:
        query, key, value = (layout.in_rows(t.transpose(1, 2)).transpose(1, 2) for t in (query, key, value))
    if "featherbench_keep" in module.__dict__:
        module.__dict__["featherbench_keep"](key, value)
    for name in ("featherbench_source", "featherbench_prefix"):
        in_front = module.__dict__.get(name)
        if in_front is None:
            continue
        keys, values, visible = in_front(query.shape[0])
        key, value = torch.cat([keys.to(key.dtype), key], 2), torch.cat([values.to(value.dtype), value], 2)
        seen = visible[:, None, None, :].expand(-1, 1, query.shape[2], -1)
        assert attention_mask is not None
        attention_mask = torch.cat([seen, attention_mask.expand(query.shape[0], -1, -1, -1)], 3)
        if kwargs.get("position_bias") is not None:  # T5: a prefix has no position, so no bias
            kwargs["position_bias"] = nn.functional.pad(kwargs["position_bias"], (keys.shape[2], 0))
    if layout is None or query.device.type != "cpu":
        output, _ = sdpa_attention_forward(module, query, key, value, attention_mask, **kwargs)
    else:  # transformers would copy keys and values for every head that shares them: CUDA's kernels need that
        output = nn.functional.scaled_dot_product_attention(
            query,
            key,
            value,
            attention_mask,
            dropout_p=kwargs.get("dropout", 0.0),
            scale=kwargs["scaling"],
            enable_gqa=key.shape[1] < query.shape[1],
        ).transpose(1, 2)
    return output if layout is None else layout.in_slots(output), None


AttentionInterface.register(ATTENTION, _attention)
AttentionMaskInterface.register(ATTENTION, _full_mask)


class Slot(nn.Module):
    """The trained tensors of one method on one backbone."""

    def __init__(self, method: Method, config: Any, trained: Tensors, unfrozen: Tensors) -> None:
        super().__init__()
        self.method, self.config = method, config

        def own(tensor: Tensor) -> nn.Parameter:
            # contiguous: fused AdamW goes through memory, and checkpoints keep its state so
            return nn.Parameter(tensor.detach().clone(memory_format=torch.contiguous_format))

        self.trained = nn.ParameterDict({k: own(v) for k, v in trained.items()})
        # parameter names must not hold dots
        self.unfrozen = nn.ParameterDict({k.replace(".", "/"): own(v) for k, v in unfrozen.items()})

    @property
    def shape(self) -> tuple[str, Any]:
        """Method and configuration without its size: slots that agree in both can share a pack."""
        field = self.method.size_field
        return self.method.name, dataclasses.replace(self.config, **({field: 0} if field else {}))

    def stored(self) -> dict[str, Tensor]:
        """Return the collapsed tensors that points read; differentiable."""
        return dict(self.method.stored(self.config, dict(self.trained.items())))

    def weights(self) -> dict[str, nn.Parameter]:
        """Return the private copies of backbone weights by their qualified names."""
        return {k.replace("/", "."): v for k, v in self.unfrozen.items()}

    def delta(self) -> dict[str, Tensor]:
        """Return what a user keeps after tuning: stored tensors and private weights, detached, on the CPU."""
        kept = {f"stored.{k}": v for k, v in self.stored().items()} | {
            f"weight.{k}": v for k, v in self.weights().items()
        }
        return {k: v.detach().cpu().contiguous() for k, v in kept.items()}


class CollapsedSlot(Slot):
    """A slot read back from a delta: it holds the stored form only."""

    def __init__(self, method: Method, config: Any, delta: Tensors) -> None:
        split = {
            kind: {k.removeprefix(kind): v for k, v in delta.items() if k.startswith(kind)}
            for kind in ("stored.", "weight.")
        }
        super().__init__(method, config, split["stored."], split["weight."])

    def stored(self) -> dict[str, Tensor]:
        """Return the tensors as they were saved."""
        return dict(self.trained.items())


def new_slot(
    method: Method, config: Any, anatomy: Anatomy, backbone: nn.Module, seed: int, probe: Probe | None = None
) -> Slot:
    """Initialise a slot from its own random stream; the same seed gives the same tensors on every machine."""
    parameters = dict(backbone.named_parameters())
    like = next(iter(parameters.values()))
    trained = method.init(anatomy, config, torch.Generator().manual_seed(seed), probe)
    slot = Slot(method, config, trained, {name: parameters[name] for name in method.unfrozen(anatomy, config)})
    return slot.to(device=like.device, dtype=like.dtype)


@dataclass
class BatchRows:
    """The `Rows` of the contract."""

    sizes: Tensor
    virtual: Tensor


class Tuned(nn.Module):
    """A frozen backbone and S slots of one method whose configurations differ in the size field at most."""

    backbone: Any
    """Shared and never trained, so no submodule of this one"""
    slots: Any
    sizes: Tensor
    """[S] the size field of each slot's configuration"""
    offsets: Tensor
    """[S] by how much each slot shifts the text's positions"""

    def __init__(self, backbone: Any, anatomy: Anatomy, slots: Sequence[Slot]) -> None:
        super().__init__()
        first = slots[0]
        self.method, self.anatomy = first.method, anatomy
        self.slots = nn.ModuleList(slots)
        self.__dict__["backbone"] = backbone.eval().requires_grad_(False)
        self.points = self.method.points(anatomy, first.config)
        if len(slots) > 1 and first.unfrozen:
            raise ValueError(f"{self.method.name} trains private copies of backbone weights; it cannot share a pack")
        field = self.method.size_field
        if any(s.shape != first.shape for s in slots):
            raise ValueError("the configurations of a pack may differ in the size field only")
        sizes = [getattr(s.config, field) if field else 0 for s in slots]
        offsets = [self.method.offset(s.config) for s in slots]
        self.register_buffer("sizes", torch.tensor(sizes, device=backbone.device), persistent=False)
        self.register_buffer("offsets", torch.tensor(offsets, device=backbone.device), persistent=False)

    def _stacked(self) -> dict[str, Tensor]:
        """Return the slots' stored tensors [S, ...], padded with zeros to the largest of the pack.

        Never under autocast: what is trained is what is stored.
        """
        with torch.autocast(self.sizes.device.type, enabled=False):
            each = [slot.stored() for slot in self.slots]
        return {name: _stack([tensors[name] for tensors in each]) for name in each[0]}

    @contextmanager
    def attached(self) -> Iterator[BatchRows]:
        """Make the backbone the tuned model: hooks at the points, private weights in place, positions shifted.

        What is yielded says which virtual tokens the latest pass has. The stored tensors are computed once, on entry. On
        leaving, the backbone is as it was before.
        """
        stored = self._stacked()
        rows = BatchRows(sizes=self.sizes, virtual=torch.empty(0))
        num_slots = len(self.slots)
        modules = dict(self.backbone.named_modules())
        embeds = modules[self.anatomy.at("embeds")[0].module]
        apply, config = self.method.apply, self.slots[0].config

        def by_slot(x: Tensor) -> Tensor:
            return x.unflatten(0, (num_slots, -1))

        def note_virtual_tokens(module: nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            ids = args[0]
            rows.virtual = by_slot((ids - self.anatomy.vocab_size).clamp(min=-1))
            return (ids.clamp(max=self.anatomy.vocab_size - 1), *args[1:])

        def shift_positions(module: nn.Module, args: Any, kwargs: dict[str, Any]) -> Any:
            ids = kwargs["input_ids"] if "input_ids" in kwargs else args[0]  # GPT-2 gives it by place
            positions = kwargs["position_ids"]
            shift = self.offsets.repeat_interleave(ids.shape[0] // num_slots)
            return args, {**kwargs, "position_ids": positions + shift[:, None]}

        def edit(point: Point) -> Any:
            def hook(module: nn.Module, args: tuple[Any, ...], output: Any) -> Any:
                assert apply is not None
                y = output[0] if isinstance(output, tuple) else output
                start, stop = point.columns or (0, y.shape[-1])
                part = by_slot(y[..., start:stop])
                x = by_slot(args[0]) if point.kind == "linear" else part
                new = apply(point, config, stored, rows, x, part)
                if new.shape != part.shape:
                    raise ValueError(
                        f"{self.method.name}: apply at {point.name}, layer {point.layer}, returned {list(new.shape)} for "
                        f"y {list(part.shape)} [slots, rows, positions, width]: it must have the shape of y"
                    )
                new = new.flatten(0, 1).to(y.dtype)
                if point.columns:
                    new = torch.cat([y[..., :start], new, y[..., stop:]], -1)
                return (new, *output[1:]) if isinstance(output, tuple) else new

            return hook

        def prefix_of(point: Point) -> Any:
            assert apply is not None
            empty = torch.empty(0)
            keys, values, visible = apply(point, config, stored, rows, empty, empty)

            def rows_of(num_rows: int | None) -> Prefix:
                """Return the prefix of every row, or of every slot."""
                n = num_rows // num_slots if num_rows else 1
                return tuple(t.repeat_interleave(n, 0) if n > 1 else t for t in (keys, values, visible))

            return rows_of

        with ExitStack() as stack:
            stack.enter_context(weights_in_place(self.backbone, self.slots[0].weights()))
            stack.callback(embeds.register_forward_pre_hook(note_virtual_tokens).remove)
            if not self.anatomy.encoder_layers:
                base = self.backbone.base_model
                stack.callback(base.register_forward_pre_hook(shift_positions, with_kwargs=True).remove)
            for point in self.points:
                module = modules[point.module]
                if point.kind == "attention":
                    module.__dict__["featherbench_prefix"] = prefix_of(point)
                    stack.callback(module.__dict__.pop, "featherbench_prefix")
                else:
                    stack.callback(module.register_forward_hook(edit(point)).remove)
            yield rows

    def forward(self, batch: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Return the summed loss and the number of target tokens of each slot, both [S].

        batch: input_ids [R, T] with virtual tokens as ids from the vocabulary size on, attention_mask, position_ids
        and labels [R, T]; label -100 where there is no loss. Encoder-decoder models: decoder_input_ids and labels
        [R, U] instead of position_ids. Rows sorted by slot.
        A batch may bring work along that need not be done again, see `_given` and text.py.
        """
        labels = batch["labels"]
        if not self.anatomy.encoder_layers:  # a position predicts the token behind it
            labels = nn.functional.pad(labels[:, 1:], (0, 1), value=-100)
        wanted = labels >= 0
        with self.attached() as rows:
            if self.anatomy.encoder_layers:
                hidden = self._decoder_hidden(batch)[wanted]
            else:
                hidden = self._causal_hidden(batch, wanted, rows)
            losses = self._losses(hidden, labels[wanted])
        slots = torch.arange(len(self.slots), device=labels.device).repeat_interleave(len(labels) // len(self.slots))
        slots = slots[:, None].expand_as(labels)[wanted]
        sums = losses.new_zeros(len(self.slots)).index_add(0, slots, losses)
        return sums, torch.bincount(slots, minlength=len(self.slots))

    def _losses(self, hidden: Tensor, targets: Tensor) -> Tensor:
        """Return the loss [M] of each target [M], from the last hidden states [M, d]."""
        with torch.autocast(hidden.device.type, enabled=False):  # losses are compared: no bfloat16 logits
            return cross_entropy(self.head(hidden), targets)

    def _causal_hidden(self, batch: Mapping[str, Tensor], wanted: Tensor, rows: BatchRows) -> Tensor:
        """Return a causal model's last hidden states [M, d] at wanted positions [R, T].

        No padding is computed, and behind the last attention nothing but those positions.
        """
        layout = layout_of(batch["attention_mask"], len(self.slots))
        chosen = layout.chosen(wanted)
        block, output = (
            self.backbone.get_submodule(self.anatomy.at(name)[-1].module) for name in ("block", "attention_output")
        )
        norm = block.get_submodule(str(FAMILIES[self.anatomy.family].block_norm))

        def choose_virtual_tokens() -> None:
            rows.virtual = chosen.in_slots(rows.virtual.movedim(1, -1)).movedim(-1, 1)

        with self._given(batch, layout), chosen_only(block, norm, output, chosen, choose_virtual_tokens):
            hidden = self.backbone.base_model(**layout.inputs(batch), use_cache=False).last_hidden_state
        return chosen.tokens(chosen.in_slots(hidden))

    @contextmanager
    def _given(self, batch: Mapping[str, Tensor], layout: Layout) -> Iterator[None]:
        """Put in place what a causal model's batch says of positions or blocks that its own pass leaves out.

        hidden [R, T, d]: the states that enter block `first_block`; no block below runs.
        source_keys, source_values [layers, R, kv_heads, T', head_dim], source_visible [R, T']: what stands in front of
        each row in every attention.
        source_input_ids, source_attention_mask, source_position_ids [P, T'], source_rows [R]: texts in front of the
        rows, computed here; row i continues text source_rows[i].
        """
        attentions = [self.backbone.get_submodule(p.module) for p in self.anatomy.at("attention")]
        with ExitStack() as stack:
            if "hidden" in batch:
                blocks = [p.module for p in self.anatomy.at("block")]
                hidden = layout.in_slots(batch["hidden"])
                stack.enter_context(started_at(self.backbone, blocks, int(batch["first_block"]), hidden))
            elif "source_keys" in batch:
                layers = list(zip(batch["source_keys"], batch["source_values"], strict=True))
                stack.enter_context(keys_values_in_front(attentions, layers, batch["source_visible"]))
            elif "source_rows" in batch:
                source = {k: batch[f"source_{k}"] for k in ("input_ids", "attention_mask", "position_ids")}
                with keys_values_kept(attentions, then_stop=True) as layers:
                    self.backbone.base_model(**source, use_cache=False)
                visible = source["attention_mask"].bool()
                stack.enter_context(keys_values_in_front(attentions, layers, visible, batch["source_rows"]))
            stack.enter_context(unpadded(attentions, layout))
            yield

    def _decoder_hidden(self, batch: Mapping[str, Tensor]) -> Tensor:
        """Return the decoder's last hidden states [R, U, d] of an encoder-decoder model.

        With `source_rows` [R] in the batch, row i reads the encoder's row source_rows[i].
        """
        source = {k: batch[k] for k in ("input_ids", "attention_mask")}
        encoded, mask = self.backbone.get_encoder()(**source).last_hidden_state, batch["attention_mask"]
        if "source_rows" in batch:
            encoded, mask = (t.index_select(0, batch["source_rows"]) for t in (encoded, mask))
        return self.backbone.get_decoder()(
            input_ids=batch["decoder_input_ids"],
            encoder_hidden_states=encoded,
            encoder_attention_mask=mask,
            use_cache=False,
        ).last_hidden_state

    def head(self, hidden: Tensor) -> Tensor:
        """Return logits of hidden states, as the family's own forward does: T5 may scale them, BART adds a bias."""
        head = self.backbone.get_output_embeddings()
        if getattr(self.backbone.config, "scale_decoder_outputs", False):
            hidden = hidden * self.anatomy.width**-0.5
        logits = head(hidden.to(head.weight.dtype))
        bias = getattr(self.backbone, "final_logits_bias", None)
        return logits if bias is None else logits + bias

    def logits(self, batch: Mapping[str, Tensor]) -> Tensor:
        """Return all logits [R, T, vocabulary] without a cache, by the model's own forward; for tests and probes."""
        inputs = {k: v for k, v in batch.items() if k != "labels"}
        with self.attached():
            return self.backbone(**inputs, use_cache=False).logits


def _stack(tensors: Sequence[Tensor]) -> Tensor:
    """Stack tensors of equal rank [S, ...], zero-padded at the end of each axis."""
    shape = [max(sizes) for sizes in zip(*(t.shape for t in tensors), strict=True)]

    def padded(t: Tensor) -> Tensor:
        pad = [n for have, want in zip(reversed(t.shape), reversed(shape), strict=True) for n in (0, want - have)]
        return nn.functional.pad(t, pad) if any(pad) else t

    return torch.stack([padded(t) for t in tensors])


@contextmanager
def weights_in_place(backbone: nn.Module, private: Mapping[str, nn.Parameter]) -> Iterator[None]:
    """Put private copies where the backbone's own weights stand, tied places included, and take them out again."""
    own = {name: p for name, p in backbone.named_parameters() if name in private}
    private_of = {id(p): private[name] for name, p in own.items()}
    places = [
        (module, key, parameter)
        for module in (backbone.modules() if private else ())
        for key, parameter in module._parameters.items()
        if id(parameter) in private_of
    ]
    try:
        for module, key, parameter in places:
            module._parameters[key] = private_of[id(parameter)]
        yield
    finally:
        for module, key, parameter in places:
            module._parameters[key] = parameter
