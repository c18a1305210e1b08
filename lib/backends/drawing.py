"""Drawing the next token, the same for every backend that sees logits."""

import math
from collections.abc import Sequence

import torch

NUCLEUS = 256  # entries that are sorted at first; where a row's nucleus has more, it is found by sums of bins
BINS, ONE = 4096, 0x3F80  # bins down to 2^-32, smaller entries in the last; the upper half of the bits of 1.0
ROWS = 8  # whose sums are found at once: what that takes stays near the processor
DRAWN_AT_ONCE = 16  # rows, for the same reason
BLOCK = 64  # entries of a vocabulary that are summed before anything is added up one by one


def uniforms(seed: int, count: int) -> torch.Tensor:
    """The numbers in [0, 1) that a text's seed stands for, [count] float64: one for each token."""
    return torch.rand(count, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def draw(logits: torch.Tensor, numbers: torch.Tensor, temperature: float, top_p: float) -> torch.Tensor:
    """One id [n] per row of `logits` [n, v], picked by its number of `numbers` [n] float64 in [0, 1).

    Inverse transform sampling from the softmax at `temperature`, cut down to the fewest entries
    whose probabilities reach `top_p` (nucleus sampling, Holtzman et al. 2020). Temperature 0 takes
    the most probable entry.

    `numbers` may lie on the processor. A row's id depends on that row alone. Few entries are
    sorted, however many the nucleus has (docs/notes/writing.md), and nothing is normalised: `weights` are
    probabilities but for their sum.
    """
    if temperature == 0:
        return logits.argmax(-1)
    if logits.device.type == "mps":  # has no float64
        return draw(logits.cpu(), numbers, temperature, top_p).to(logits.device)
    if logits.device.type == "cpu" and len(logits) > DRAWN_AT_ONCE:
        pieces = zip(logits.split(DRAWN_AT_ONCE), numbers.split(DRAWN_AT_ONCE), strict=True)
        return torch.cat([draw(*piece, temperature, top_p) for piece in pieces])
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
    vocabulary, numbers = weights.shape[1], numbers[:, None]
    enough = weights.sum(-1, keepdim=True).double() * top_p
    values, ids = weights.topk(min(NUCLEUS, vocabulary), dim=-1)
    ids, order = ids.sort(dim=-1)  # `topk` leaves open in which order equals come
    values, ids = _descending(values.gather(1, order), ids)
    total, least = _within(values, enough)
    found = _placed(values, ids, numbers * total, enough)
    # Of entries that equal the last one found, others may lie beyond.
    beyond = (least <= values[:, -1:])[:, 0].nonzero()[:, 0]
    for first in range(0, len(beyond) if vocabulary > NUCLEUS else 0, ROWS):
        rows = beyond[first : first + ROWS]
        found[rows] = _of_large_nucleus(weights[rows], numbers[rows], enough[rows])
    return found


def _of_large_nucleus(weights: torch.Tensor, numbers: torch.Tensor, enough: torch.Tensor) -> torch.Tensor:
    """As `_of_nucleus`, for `numbers` and `enough` [n, 1], sorting no more than two bins of each row.

    Entries of like size are added up in bins, of which a power of two has 128. The nucleus ends in the bin
    where the sum reaches `enough`; the entry that is drawn is in that one or an earlier one.
    """
    # The upper half of a float's bits, counted down from those of 1, the largest weight.
    bins = weights.view(torch.int32).bitwise_right_shift(16).neg_().add_(ONE).clamp_(0, BINS - 1)
    ends = weights.new_zeros(len(weights), BINS, dtype=torch.float64)
    ends = ends.scatter_add_(1, bins.long(), weights.double()).cumsum(-1)
    before = torch.nn.functional.pad(ends, (1, 0))
    last = (ends < enough).sum(-1, keepdim=True).clamp_(max=BINS - 1)
    room = enough - before.gather(1, last)
    total = before.gather(1, last) + _within(_members(weights, bins, last)[0], room)[0]
    target = numbers * total
    drawn = torch.minimum((ends <= target).sum(-1, keepdim=True), last)
    values, ids = _members(weights, bins, drawn)
    room = torch.where(drawn == last, room, torch.inf)
    return _placed(values, ids, target - before.gather(1, drawn), room)


def _members(weights: torch.Tensor, bins: torch.Tensor, which: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Values and ids [n, m] of a row's entries in its bin `which` [n, 1], descending; then zeros."""
    row, id_ = (bins == which.to(bins.dtype)).nonzero(as_tuple=True)
    counts = torch.bincount(row, minlength=len(weights))
    place = torch.arange(len(row), device=row.device) - (counts.cumsum(0) - counts)[row]
    values = weights.new_zeros(len(weights), max(1, int(counts.max())))
    ids = torch.zeros_like(values, dtype=torch.long)
    values[row, place], ids[row, place] = weights[row, id_], id_
    return _descending(values, ids)


def _descending(values: torch.Tensor, ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    values, order = values.sort(dim=-1, descending=True, stable=True)
    return values, ids.gather(1, order)


def _within(values: torch.Tensor, enough: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Of `values` [n, m], descending, the fewest that reach `enough`: their sum and the least, all [n, 1]."""
    cumulative = values.double().cumsum(-1)
    inside = cumulative - values < enough
    total = cumulative.where(inside, 0.0).amax(-1, keepdim=True)
    return total, values.where(inside, torch.inf).amin(-1, keepdim=True)


def _placed(
    values: torch.Tensor, ids: torch.Tensor, target: torch.Tensor, enough: torch.Tensor
) -> torch.Tensor:
    """The id [n] where the sum of `values` [n, m] passes `target` [n, 1], among those that reach `enough`."""
    cumulative = values.double().cumsum(-1)
    count = ((cumulative - values < enough) & (values > 0)).sum(-1, keepdim=True)
    place = torch.searchsorted(cumulative, target, right=True)
    return ids.gather(1, torch.minimum(place, count - 1).clamp_(min=0))[:, 0]
