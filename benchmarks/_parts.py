"""Where the time of an engine goes, by parts of the work: calls are timed, each without those within it.

Time is that of the processors: other work on the machine falsifies it less. With OMP_NUM_THREADS=1 that is
the time that a quiet machine takes; with more threads those that wait for each other count, too.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from time import process_time
from typing import Any

import torch

OPENING = "opening the model"


class Profile:
    """Processor seconds by part, of all functions that were given to `time`."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self._open: list[str] = []
        self._since = process_time()

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        if OPENING in self._open:
            name = OPENING  # and all that is done within it
        self._charge()
        self._open.append(name)
        try:
            yield
        finally:
            self._charge()
            self._open.pop()

    def _charge(self) -> None:
        now = process_time()
        if self._open:
            self.seconds[self._open[-1]] += now - self._since
        self._since = now

    def time(self, owner: Any, function: str, part: str | Callable[..., str]) -> None:
        """Count calls of `owner.function` as `part`, or as what `part` makes of their arguments."""
        original = getattr(owner, function)

        @wraps(original)
        def timed(*given: Any, **named: Any) -> Any:
            with self.part(part if isinstance(part, str) else part(*given, **named)):
                return original(*given, **named)

        setattr(owner, function, timed)

    def table(self, *, without: tuple[str, ...] = ()) -> str:
        """A table of parts, the longest first, and the sum; `without` are left out of it."""
        kept = {name: seconds for name, seconds in self.seconds.items() if name not in without}
        total = sum(kept.values())
        lines = ["| part | processor seconds | share |", "|---|---|---|"]
        for name, seconds in sorted(kept.items(), key=lambda item: -item[1]):
            lines.append(f"| {name} | {seconds:.2f} | {seconds / total:.1%} |")
        return "\n".join([*lines, f"| all | {total:.2f} | |"])


def of_products(profile: Profile) -> None:
    """Time the products with matrices, by whichever kernel; only the head's have no text's row and place."""
    from transformers.pytorch_utils import Conv1D

    from lib.backends import kernels

    def of_packed(x: torch.Tensor, *_: Any) -> str:
        return "products of the head" if x.dim() == 2 else "products of the layers"

    def of_own(_: torch.nn.Module, x: torch.Tensor) -> str:
        return of_packed(x)

    profile.time(kernels, "multiplied", of_packed)
    profile.time(torch.nn.Linear, "forward", of_own)
    profile.time(Conv1D, "forward", of_own)


def of_scoring(profile: Profile) -> None:
    """Time the parts of step 02 with transformers."""
    from lib.backends import memory, transformers_scoring
    from lib.backends.windowed import WindowedReader
    from lib.parts import Parts
    from lib.surprisal import rows, scoring

    of_products(profile)
    of_attention(profile)
    profile.time(transformers_scoring, "columns", "softmax, ranks, boundaries of words")
    profile.time(memory, "trim", "memory given back")
    reader = transformers_scoring.TransformersScoringModel
    profile.time(reader, "_score_batch", "rest of the layers: norms, activations, sums, copies")
    profile.time(reader, "encode", "tokens of texts")
    profile.time(WindowedReader, "read", "requests and readings of texts")
    profile.time(scoring, "score_rows", "rows of tokens")
    profile.time(rows, "_words", "words")
    profile.time(scoring, "_texts", "reading texts")
    profile.time(Parts, "write", "writing parts")
    profile.time(Parts, "finish", "joining parts")
    profile.time(scoring, "open_scoring_model", OPENING)
    profile.time(scoring, "_deviation", OPENING)


def of_attention(profile: Profile) -> None:
    from lib.backends import attention

    profile.time(torch.nn.functional, "scaled_dot_product_attention", "attention")
    profile.time(attention, "of_one_query", "attention")
    profile.time(attention, "causal_blocks", "attention")


def of_writing(profile: Profile) -> None:
    """Time the parts of a `Continuation`."""
    from lib.backends import continuing

    of_products(profile)
    of_attention(profile)
    profile.time(continuing, "draw", "drawing")
    profile.time(continuing._Layer, "update", "keys and values put in their places")
    profile.time(continuing.Continuation, "_logits", "rest of the steps: norms, activations, rotation, sums")
    profile.time(continuing.Continuation, "_read", "rest of reading prompts")
    profile.time(continuing.Continuation, "_leave", "slots given on")
