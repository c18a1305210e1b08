"""What step 02 asks of a backend: tokens of a text, and their surprisal given what came before."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from lib.errors import StudyError
from lib.params import Transformers, Weights


@dataclass(frozen=True)
class Encoding:
    """A text as n tokens that tile it: token i is `text[starts[i]:ends[i]]`, ends[i] = starts[i+1].

    Where one character is made of several tokens, the first of them has the character and the
    others are empty.
    """

    ids: list[int]
    starts: list[int]
    ends: list[int]


@dataclass(frozen=True)
class Request:
    """Score the tokens `scored` … of `ids` (the first of which is only context).

    `boundaries` are the positions in 1 … len(ids) before which a word may begin: asked for is how
    much probability the scorer gives there to tokens that begin with white space, or end the text.
    """

    ids: Sequence[int]
    scored: int
    boundaries: Sequence[int]


@dataclass(frozen=True)
class Scores:
    """Bits: `surprisal` and `entropy` [len(ids) − scored], `boundary` [len(boundaries)]."""

    surprisal: np.ndarray
    entropy: np.ndarray | None
    boundary: np.ndarray


class ScoringModel(Protocol):
    """A language model that reads."""

    bos: int
    context_length: int
    marks_words: bool  # whether a token that begins a word begins with its white space

    def encode(self, text: str) -> Encoding: ...

    def score(self, requests: Sequence[Request], *, entropy: bool) -> list[Scores]:
        """The scores of each request, in their order; each on its own, whatever else is asked."""
        ...


def open_scoring_model(weights: Weights) -> ScoringModel:
    """The scorer behind `weights`. Raises StudyError if it cannot be opened or cannot score."""
    match weights:
        case Transformers():
            from lib.backends.transformers_scoring import TransformersScoringModel

            return TransformersScoringModel(weights)
        case _:
            raise StudyError(
                f"The backend {weights.backend!r} cannot score; name one with `backend: transformers`."
            )


def tile(text: str, ends: Sequence[int]) -> tuple[list[int], list[int]]:
    """Starts and ends of tokens that tile `text`, from the end that the tokenizer gives each token.

    Tokenizers leave leading white space out of a token's offsets, or give several tokens the same
    character; between one token's end and the next one's there is nothing to lose.
    """
    tiled = list(np.maximum.accumulate(np.asarray(ends, dtype=np.int64))) if len(ends) else []
    if tiled:
        tiled[-1] = len(text)
    closed = [int(end) for end in tiled]
    return [0, *closed[:-1]][: len(closed)], closed
