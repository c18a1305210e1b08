"""Drawing the next token, the same for every backend that sees logits."""

import torch


def uniforms(seed: int, count: int) -> torch.Tensor:
    """The numbers in [0, 1) that a text's seed stands for, [count] float64: one for each token."""
    return torch.rand(count, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def draw(logits: torch.Tensor, numbers: torch.Tensor, temperature: float, top_p: float) -> torch.Tensor:
    """One id [n] per row of `logits` [n, v], picked by its number of `numbers` [n] in [0, 1).

    Inverse transform sampling from the softmax at `temperature`, cut down to the fewest entries
    whose probabilities reach `top_p` (nucleus sampling, Holtzman et al. 2020). Temperature 0 takes
    the most probable entry.
    """
    if temperature == 0:
        return logits.argmax(-1)
    p = torch.softmax(logits.double() / temperature, dim=-1)
    entries = None
    if top_p < 1:
        p, entries = p.sort(dim=-1, descending=True, stable=True)
        p = p.masked_fill(p.cumsum(-1) - p >= top_p, 0.0)
    cumulative = p.cumsum(-1)
    place = torch.searchsorted(cumulative, numbers[:, None] * cumulative[:, -1:], right=True)
    place = place.clamp(max=logits.shape[-1] - 1)
    return (place if entries is None else entries.gather(-1, place))[:, 0]
