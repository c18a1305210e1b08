"""From logits to bits, the same for every backend that sees logits."""

import math

import numpy as np
import torch

from lib.words import BEGINS, GOES_ON

LEAST_PROBABILITY = torch.finfo(torch.float32).tiny  # of a boundary, 126 bits


def boundary_columns(ends_word: np.ndarray) -> torch.Tensor:
    """[vocabulary, 2]: which tokens tell that a word ended before them, and which that it goes on."""
    columns = np.empty((len(ends_word), 2), dtype=np.float32)
    columns[:, BEGINS], columns[:, GOES_ON] = ends_word, ~ends_word
    return torch.from_numpy(columns)


def bits(
    logits: torch.Tensor, targets: torch.Tensor, *, entropy: bool, boundary: torch.Tensor | None
) -> torch.Tensor:
    """Surprisal of each target, entropy if asked for, both boundary terms if there are words.

    logits [n, vocabulary], overwritten; targets [n]; boundary [vocabulary, 2] or None → [n, 1 to 4] bits.
    """
    log_p = logits.log_softmax(dim=-1)
    columns = [-log_p.gather(1, targets[:, None])]
    if entropy:
        columns.append(-(log_p.exp() * log_p).sum(dim=-1, keepdim=True))
    if boundary is not None:
        columns.append(-(log_p.exp_() @ boundary).clamp(min=LEAST_PROBABILITY).log())
    return torch.cat(columns, dim=1) / math.log(2)
