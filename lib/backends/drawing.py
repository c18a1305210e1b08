"""Drawing the next token, the same for every backend that sees logits."""

import math
from collections.abc import Sequence

import torch

NUCLEUS = 256  # entries that are sorted at first; eight times as many where a row's nucleus needs more
BLOCK = 64  # entries of a vocabulary that are summed before anything is added up one by one


def uniforms(seed: int, count: int) -> torch.Tensor:
    """The numbers in [0, 1) that a text's seed stands for, [count] float64: one for each token."""
    return torch.rand(count, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def draw(logits: torch.Tensor, numbers: torch.Tensor, temperature: float, top_p: float) -> torch.Tensor:
    """One id [n] per row of `logits` [n, v], picked by its number of `numbers` [n] float64 in [0, 1).

    Inverse transform sampling from the softmax at `temperature`, cut down to the fewest entries
    whose probabilities reach `top_p` (nucleus sampling, Holtzman et al. 2020). Temperature 0 takes
    the most probable entry.

    `numbers` may lie on the processor. A row's id depends on that row alone. Only as many entries are
    sorted as the nucleus has (benchmarks/README.md), and nothing is normalised: `weights` are
    probabilities but for their sum.
    """
    if temperature == 0:
        return logits.argmax(-1)
    if logits.device.type == "mps":  # has no float64
        return draw(logits.cpu(), numbers, temperature, top_p).to(logits.device)
    logits, numbers = logits.float(), numbers.to(logits.device)
    # 2^x is several times as fast as e^x on processors.
    below_top = (logits - logits.amax(-1, keepdim=True)).mul_(math.log2(math.e) / temperature)
    weights = below_top.exp2_()
    return _of_all(weights, numbers) if top_p == 1 else _of_nucleus(weights, numbers, top_p)


def not_yet(logits: torch.Tensor, ends: Sequence[int], early: Sequence[bool]) -> torch.Tensor:
    """`logits` [n, v] with the end markers `ends` impossible in the rows that are `early` [n]."""
    rows = [row for row, too_early in enumerate(early) if too_early]
    if not rows or not ends:
        return logits
    held = logits.clone()
    held[torch.tensor(rows)[:, None], torch.tensor(list(ends))] = -math.inf
    return held


def _of_all(weights: torch.Tensor, numbers: torch.Tensor) -> torch.Tensor:
    """An id [n] per row of `weights` [n, v], in the order of the vocabulary.

    The block of entries is found first, then the entry in it: adding up a vocabulary one by one is slow.
    """
    blocks = torch.nn.functional.pad(weights, (0, -weights.shape[1] % BLOCK)).unflatten(1, (-1, BLOCK))
    ends = blocks.sum(-1).double().cumsum(-1)  # [n, blocks]
    target = numbers[:, None] * ends[:, -1:]
    last = (ends < ends[:, -1:]).sum(1, keepdim=True)  # that has anything in it
    block = torch.minimum(torch.searchsorted(ends, target, right=True), last)
    inside = blocks.gather(1, block[..., None].expand(-1, 1, BLOCK))[:, 0].double().cumsum(-1)
    before = torch.nn.functional.pad(ends, (1, 0)).gather(1, block)
    place = torch.searchsorted(inside, target - before, right=True)
    # Rounding may leave a block's end a little beyond its entries: then its last one is meant.
    last = (inside < inside[:, -1:]).sum(1, keepdim=True)
    return (block * BLOCK + torch.minimum(place, last))[:, 0]


def _of_nucleus(weights: torch.Tensor, numbers: torch.Tensor, top_p: float) -> torch.Tensor:
    """An id [n] per row of `weights` [n, v], in descending order, the first of equals first."""
    vocabulary = weights.shape[1]
    enough = weights.sum(-1, keepdim=True).double() * top_p
    found = torch.empty(len(weights), dtype=torch.long, device=weights.device)
    rows, count = torch.arange(len(weights), device=weights.device), min(NUCLEUS, vocabulary)
    while len(rows):
        values, ids = weights[rows].topk(count, dim=-1)
        ids, order = ids.sort(dim=-1)  # `topk` leaves open in which order equals come
        values, order = values.gather(1, order).sort(dim=-1, descending=True, stable=True)
        cumulative = values.double().cumsum(-1)
        inside = cumulative - values < enough[rows]
        # Of entries that equal the last one found, others may lie beyond.
        least = values.where(inside, torch.inf).amin(-1)
        whole = (least > values[:, -1]) if count < vocabulary else torch.ones_like(least, dtype=torch.bool)
        total = cumulative.where(inside, 0.0).amax(-1, keepdim=True)
        place = torch.searchsorted(cumulative, numbers[rows, None] * total, right=True)
        place = torch.minimum(place, inside.sum(-1, keepdim=True) - 1)
        found[rows[whole]] = ids.gather(1, order).gather(1, place)[whole, 0]
        rows, count = rows[~whole], min(8 * count, vocabulary)
    return found
