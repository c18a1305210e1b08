"""Attention as plain products, where those are faster on processors than torch's own (docs/notes/writing.md).

In bfloat16, causal attention goes in blocks of queries, each with the keys up to its end: torch's own took as
long as in float32, this a fifth to a half less (benchmarks/README.md). In bfloat16 and float32, one new token
of each text looks at the keys block by block: two thirds of the time or less, and the same bits whatever
stands beside it.
"""

from typing import Any

import torch
from torch import nn
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import repeat_kv, sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from lib.backends.kernels import multiplies

NAME = "products"
QUERIES = 128  # of a block: 64 make too many products, 256 too much of what causality forbids
OTHER = ("position_bias", "softcap", "cache")  # what some families hand their attention besides


def products(
    module: nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    **how: Any,
) -> tuple[torch.Tensor, None]:
    """As transformers calls it: query [texts, heads, n, d], key and value [texts, heads or fewer, n, d].

    Or key and value [texts, heads or fewer, blocks, n, d]: the one query of each text sees those to which
    `attention_mask` [texts, 1, 1, blocks × n] adds 0, and not those to which it adds −∞. What else needs a
    mask, sliding windows say, stays with torch's attention. Gives [texts, n, heads, d].
    """
    other = any(how.get(name) is not None for name in OTHER)
    in_blocks = key.dim() == 5
    if in_blocks and attention_mask is not None and not other:
        query = query * (scaling or query.shape[-1] ** -0.5)
        return of_one_query(query, key, value, attention_mask), None
    if not in_blocks and attention_mask is None and not other and query.dtype == torch.bfloat16:
        query = query * (scaling or query.shape[-1] ** -0.5)
        return causal_blocks(query, key, value), None
    if in_blocks:
        key, value = key.flatten(2, 3), value.flatten(2, 3)
    return sdpa_attention_forward(module, query, key, value, attention_mask, scaling=scaling, **how)


def causal_blocks(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """[texts, n, heads, d], a block of queries at a time. Queries are scaled."""
    groups = query.shape[1] // key.shape[1]
    key, value = repeat_kv(key, groups).contiguous(), repeat_kv(value, groups).contiguous()
    texts, heads, n, _ = query.shape
    ahead = torch.full((QUERIES, QUERIES), -torch.inf, dtype=query.dtype).triu(1)
    found = query.new_empty(texts, n, heads, value.shape[-1])
    for first in range(0, n, QUERIES):
        end = min(first + QUERIES, n)
        likeness = query[:, :, first:end] @ key[:, :, :end].transpose(-1, -2)
        likeness[..., first:] += ahead[: end - first, : end - first]
        found[:, first:end] = (likeness.softmax(-1) @ value[:, :, :end]).transpose(1, 2)
    return found


def of_one_query(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: torch.Tensor
) -> torch.Tensor:
    """[texts, 1, heads, d], a block of keys at a time. Queries are scaled.

    Heads that share keys are the rows of one product. Products are of one block each, so that their sums do
    not depend on how many blocks there are.
    """
    texts, heads, _, width = query.shape
    of_keys = query.reshape(texts, key.shape[1], -1, width)
    likeness = torch.cat([of_keys @ block.transpose(-1, -2) for block in key.unbind(2)], dim=-1)
    shares = likeness.add_(mask).softmax(-1).split(key.shape[3], dim=-1)
    found = query.new_zeros(*of_keys.shape[:3], value.shape[-1], dtype=torch.float32)
    for share, block in zip(shares, value.unbind(2), strict=True):
        found += share @ block
    return found.to(query.dtype).reshape(texts, 1, heads, -1)


def use(model: PreTrainedModel) -> None:
    """Give `model` this attention where it helps; elsewhere do nothing."""
    plain = getattr(model.config, "_attn_implementation", None) == "sdpa"
    if plain and multiplies(model.device, model.dtype):
        AttentionInterface.register(NAME, products)
        AttentionMaskInterface.register(NAME, sdpa_mask)
        model.set_attn_implementation(NAME)


def sees_blocks(model: PreTrainedModel) -> bool:
    """Whether `model` was given this attention."""
    return getattr(model.config, "_attn_implementation", None) == NAME
