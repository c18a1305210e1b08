"""From logits to bits, the same for every backend that sees logits."""

import math
from typing import NamedTuple

import numpy as np
import torch

LOG2_E = math.log2(math.e)
LEAST_PROBABILITY = torch.finfo(torch.float32).tiny  # of a boundary, 126 bits


class Boundary(NamedTuple):
    """Which tokens say that a word ended before them, and which that it goes on; both [vocabulary] 0 or 1.

    In the order of `lib.surprisal.words.BEGINS` and `GOES_ON`, which name the columns made of them.
    """

    begins: torch.Tensor
    goes_on: torch.Tensor

    @classmethod
    def of(cls, ends_word: np.ndarray, device: torch.device | None = None) -> "Boundary":
        """`ends_word` [vocabulary] bool: the tokens before which a word has ended."""
        begins = torch.from_numpy(ends_word.astype(np.float32)).to(device)
        return cls(begins, 1 - begins)


def columns(
    logits: torch.Tensor, targets: torch.Tensor, *, entropy: bool, boundary: Boundary | None
) -> torch.Tensor:
    """Surprisal and rank of each target, entropy if asked for, both boundary terms if there are words.

    logits [n, vocabulary] of any dtype, overwritten; targets [n] → [n, 2 to 5] float32, bits but for the
    rank. Each pass over the vocabulary counts here (benchmarks/README.md), so nothing is normalised that
    need not be.
    """
    target = targets[:, None]
    logits = logits.float()
    # Logits in bits, below the largest of their row; 2^x is several times as fast as e^x here.
    top = logits.amax(dim=1, keepdim=True)
    below_top = torch.add(top.mul_(-LOG2_E), logits, alpha=LOG2_E, out=logits)
    surprisal = -below_top.gather(1, target)
    weights = below_top.exp2_()  # probabilities but for their sum
    if boundary is None:
        total = weights.sum(dim=1, keepdim=True)
    else:
        parts = torch.stack([weights @ which for which in boundary], dim=1)
        total = parts.sum(dim=1, keepdim=True)
    log_total = total.log2()
    more = []
    if entropy:
        more.append(torch.special.entr(weights / total).sum(dim=1, keepdim=True) * LOG2_E)
    if boundary is not None:
        more.append(log_total - parts.clamp_(min=LEAST_PROBABILITY).log2_())
    rank = 1 + weights.gt_(weights.gather(1, target)).sum(dim=1, keepdim=True)
    return torch.cat([surprisal + log_total, rank, *more], dim=1)
