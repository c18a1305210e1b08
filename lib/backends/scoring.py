"""What step 02 asks of a backend: tokens of a text, and their surprisal given what came before."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from lib.params import Scoring


@dataclass(frozen=True)
class Encoding:
    """A text as n tokens that tile it: token i is `text[starts[i]:ends[i]]`, ends[i] = starts[i+1].

    Where one character is made of several tokens, the first of them has the character and the
    others are empty. All three are [n] integers.
    """

    ids: np.ndarray
    starts: np.ndarray
    ends: np.ndarray


@dataclass(frozen=True)
class Request:
    """Score the tokens `scored` … of `ids`, given all before them; 1 ≤ scored < len(ids)."""

    ids: np.ndarray
    scored: int


@dataclass(frozen=True)
class Scores:
    """For the n scored tokens of a request: bits, but for the rank.

    `surprisal` [n]; `rank` [n], 1 where no token of the vocabulary was more probable; `entropy` [n] of
    the distribution that each token was drawn from, if asked for; `boundary` [n + 1, 2] as
    `lib.surprisal.words.word_surprisal` takes it, if the model gives word surprisal.
    """

    surprisal: np.ndarray
    rank: np.ndarray
    entropy: np.ndarray | None
    boundary: np.ndarray | None

    @classmethod
    def of(cls, rows: np.ndarray, *, entropy: bool, boundary: bool) -> "Scores":
        """From `lib.backends.softmax.columns` of the n tokens and of what follows them, [n + 1, 2 to 5]."""
        return cls(
            surprisal=rows[:-1, 0],
            rank=rows[:-1, 1].astype(np.int32),
            entropy=rows[:-1, 2] if entropy else None,
            boundary=rows[:, -2:] if boundary else None,
        )


@dataclass(frozen=True)
class Reading:
    """A text as a scorer read it, n tokens; what an engine does not know is None.

    `starts` and `ends` tile the text, `context` is how many tokens came before, `surprisal` and `entropy`
    are bits, `rank` is 1 where no token of the vocabulary was more probable; all [n]. `boundary` [n + 1, 2]
    and `begins_word`, whether the first token has leading white space, are what
    `lib.surprisal.words.word_surprisal` takes.
    """

    starts: np.ndarray
    ends: np.ndarray
    surprisal: np.ndarray
    context: np.ndarray
    ids: np.ndarray | None = None
    rank: np.ndarray | None = None
    entropy: np.ndarray | None = None
    boundary: np.ndarray | None = None
    begins_word: bool = False


class Reader(Protocol):
    """A language model that reads."""

    parameters: int | None  # how many; None where nobody knows
    why_no_words: str | None  # a sentence, where its readings have no `boundary`

    def read(self, texts: Sequence[tuple[str, str]], scoring: Scoring) -> list[Reading | str]:
        """What it made of each (prompt, text), in their order; a reason where it could not read one.

        Raises StudyError if `scoring` does not suit the model.
        """
        ...

    def described(self, scoring: Scoring) -> dict[str, Any]:
        """How it reads, for the record."""
        ...


def tile(length: int, ends: Sequence[int] | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Starts and ends, [n] each, of tokens that tile a text of `length` characters.

    `ends` [n] are the ends that the tokenizer gives. Tokenizers leave white space out of a token's
    offsets or give several tokens the same character; what lies between one token's end and the
    next one's belongs to the next, and the last token takes what is left.
    """
    closed = np.maximum.accumulate(np.asarray(ends, dtype=np.int64))
    if len(closed):
        closed[-1] = length
    return np.concatenate([[0], closed[:-1]])[: len(closed)].astype(np.int64), closed
