"""Causal attention in blocks of queries, for bfloat16 on processors.

torch's own attention took as long in bfloat16 as in float32 where this was measured. Plain products of
bfloat16, a block of queries at a time with the keys up to its end, took a fifth to a half less
(benchmarks/README.md).
"""

from typing import Any

import torch
from torch import nn
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import repeat_kv, sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from lib.backends.kernels import multiplies

NAME = "causal_blocks"
QUERIES = 128  # of a block: 64 make too many products, 256 too much of what causality forbids
OTHER = ("position_bias", "softcap", "cache")  # what some families hand their attention besides


def causal_blocks(
    module: nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    **how: Any,
) -> tuple[torch.Tensor, None]:
    """As transformers calls it: query [texts, heads, n, d], key and value [texts, heads or fewer, n, d].

    Gives [texts, n, heads, d]. What needs a mask, sliding windows say, stays with torch's attention.
    """
    if attention_mask is not None or any(how.get(name) is not None for name in OTHER):
        return sdpa_attention_forward(module, query, key, value, attention_mask, scaling=scaling, **how)
    groups = query.shape[1] // key.shape[1]
    key, value = repeat_kv(key, groups).contiguous(), repeat_kv(value, groups).contiguous()
    query = query * (scaling or query.shape[-1] ** -0.5)
    texts, heads, n, _ = query.shape
    ahead = torch.full((QUERIES, QUERIES), -torch.inf, dtype=query.dtype).triu(1)
    found = query.new_empty(texts, n, heads, value.shape[-1])
    for first in range(0, n, QUERIES):
        end = min(first + QUERIES, n)
        likeness = query[:, :, first:end] @ key[:, :, :end].transpose(-1, -2)
        likeness[..., first:] += ahead[: end - first, : end - first]
        found[:, first:end] = (likeness.softmax(-1) @ value[:, :, :end]).transpose(1, 2)
    return found, None


def use(model: PreTrainedModel) -> None:
    """Give `model` this attention where it helps; elsewhere do nothing."""
    plain = getattr(model.config, "_attn_implementation", None) == "sdpa"
    if plain and model.dtype == torch.bfloat16 and multiplies(model.device, model.dtype):
        AttentionInterface.register(NAME, causal_blocks)
        AttentionMaskInterface.register(NAME, sdpa_mask)
        model.set_attn_implementation(NAME)
