"""What step 02 asks of a backend: tokens of a text, and their surprisal given what came before."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from lib.params import LlamaCpp, OpenAI, Transformers, Weights


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


class ScoringModel(Protocol):
    """A language model that reads. `word_begins` is None for one that gives no word surprisal."""

    bos: int
    parameters: int
    context_length: int | None  # tokens; None if the model sets no bound
    word_begins: np.ndarray | None  # [vocabulary] bool: tokens with leading white space
    why_no_words: str | None  # a sentence, where `word_begins` is None

    def encode(self, texts: Sequence[str]) -> list[Encoding]:
        """The tokens of each text, special ones that occur in it taken literally, without BOS."""
        ...

    def score(self, requests: Sequence[Request], *, entropy: bool) -> list[Scores | None]:
        """The scores of each request, in their order; None where memory did not suffice for one."""
        ...


@dataclass(frozen=True)
class Reading:
    """A text as a scorer read it that makes the tokens itself; all [n], surprisal in bits.

    `starts` and `ends` tile the text, `context` is how many tokens came before.
    """

    starts: np.ndarray
    ends: np.ndarray
    surprisal: np.ndarray
    context: np.ndarray


@runtime_checkable
class TextScoringModel(Protocol):
    """A language model that takes texts, not tokens: one behind a server."""

    why_no_words: str

    def read(self, texts: Sequence[tuple[str, str]]) -> list[Reading | str]:
        """What it made of each (prompt, text), in their order; a reason where it could not read one."""
        ...


def open_scoring_model(weights: Weights) -> ScoringModel | TextScoringModel:
    """The scorer behind `weights`. Raises StudyError if it cannot be opened or cannot score."""
    match weights:
        case Transformers():
            from lib.backends.transformers_scoring import TransformersScoringModel

            return TransformersScoringModel(weights)
        case LlamaCpp():
            from lib.backends.llama_cpp_scoring import LlamaCppScoringModel

            return LlamaCppScoringModel(weights)
        case OpenAI():
            from lib.backends.openai_scoring import ServerScoringModel

            return ServerScoringModel(weights)


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
