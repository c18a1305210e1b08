"""Window arithmetic: which tokens a scorer sees when a text is longer than its context.

No model here, only integers. A sequence of n tokens is 0 … n−1, with BOS at 0, which is never scored.
"""

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Window:
    """The scorer reads tokens `start` … `end`−1; those from `scored` on get their surprisal here."""

    start: int
    end: int
    scored: int


def windows(length: int, first: int, window: int, stride: int) -> Iterator[Window]:
    """Windows that score each of the tokens `first` … `length`−1 once, in order.

    Every window has at most `window` tokens. The first one begins at BOS; each further one ends
    `stride` tokens later, so that every token in it has at least `window − stride` tokens of context.

    Raises ValueError unless 1 ≤ first and 1 ≤ stride < window.
    """
    if first < 1:
        raise ValueError(f"the token {first} has nothing before it")
    if not 1 <= stride < window:
        raise ValueError(f"the stride {stride} is not between 1 and the window {window} less 1")
    end = min(window, length)
    scored = 1
    while True:
        if end > first:
            yield Window(max(0, end - window), end, max(scored, first))
        if end >= length:
            return
        scored, end = end, min(end + stride, length)
