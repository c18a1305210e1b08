"""Scoring behind an OpenAI-compatible server, where it gives the log-probabilities of a prompt.

llama-cpp-python's server and vLLM do (`echo` with `logprobs`); LM Studio and llama.cpp's own do not.
"""

import math
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np

from lib.backends.openai_client import Asked, EmptyAnswerError, Server, first_choice, part
from lib.backends.scoring import Reading, tile
from lib.errors import StudyError
from lib.params import OpenAI, Scoring

MAX_RETRIES = 5
SAMPLE = "The quick brown fox jumps over the lazy dog."
ROUNDED = 1e-4  # nats above 0 that half precision and rounding make of a certain token
ALL = 1.01  # what probabilities come to together at most, as rounded
NEARLY = 0.1  # nats: how far two answers of one server may be apart for the same token


class ServerScoringModel:
    """Sends prompt and text as one string, of which the server makes tokens of its own."""

    parameters: int | None = None
    why_no_words: str | None = (
        "A server does not say how probable the end of a word is, so words have no surprisal."
    )

    def __init__(self, weights: OpenAI) -> None:
        self.server = Server(weights)
        self.model = weights.model
        self.concurrency = weights.concurrency
        self._check(weights)

    def described(self, scoring: Scoring) -> dict[str, Any]:
        """See `Reader.described`."""
        return {}

    def read(self, texts: Sequence[tuple[str, str]], scoring: Scoring) -> list[Reading | str]:
        """See `Reader.read`."""
        if scoring.entropy or scoring.window or scoring.stride:
            raise StudyError(
                "A scorer behind a server gives no entropy and reads a text in one piece; take `entropy`, "
                "`window` and `stride` out of its `scoring`."
            )
        with ThreadPoolExecutor(self.concurrency) as pool:
            return list(pool.map(lambda pair: self._reading(*pair), texts))

    def _reading(self, prompt: str, text: str) -> Reading | str:
        asked = self._ask(prompt + text, echo=True)
        return asked.error or _aligned(asked.answer, prompt, text)

    def _ask(self, text: str, *, echo: bool, max_retries: int = MAX_RETRIES) -> Asked:
        return self.server.ask(
            lambda client: _logprobs(
                client.completions.create(
                    model=self.model, prompt=text, echo=echo, max_tokens=1, logprobs=1, temperature=0
                )
            ),
            max_retries=max_retries,
        )

    def _check(self, weights: OpenAI) -> None:
        """Ask once what the server says of a prompt, and once for the token that it says comes last.

        Some servers give no log-probabilities of a prompt, others those of the token next to it.
        """
        where = f"The server at {weights.base_url}"
        asked = self._ask(SAMPLE, echo=True, max_retries=1)
        found = asked.answer if asked.error else _aligned(asked.answer, SAMPLE[:4], SAMPLE[4:])
        if asked.error or isinstance(found, str):
            raise StudyError(
                f"{where} gives no log-probabilities of a prompt ({asked.error or found}), so it cannot "
                f"score; name a scorer with `backend: transformers` or `llama_cpp`, or serve it with vLLM."
            )
        before_last = found.ends[-2] + 4
        alone = self._ask(SAMPLE[:before_last], echo=False)
        last = sum(1 for offset in asked.answer.offsets if offset < len(SAMPLE)) - 1
        if alone.error or not _same_top(asked.answer.tops[last], alone.answer.tops[0]):
            raise StudyError(
                f"{where} gives log-probabilities of a prompt that are not those of its tokens (this happens "
                f"to models without BOS), so it cannot score; name a scorer with `backend: transformers` or "
                f"`llama_cpp`."
            )


class _Logprobs(NamedTuple):
    """What an answer says of n tokens, each checked; `tops` are the highest log-probabilities at each."""

    tokens: list[str]
    values: list[float | None]
    offsets: list[int]
    tops: list[list[float]]


def _logprobs(completion: Any) -> _Logprobs:
    found = part(first_choice(completion), "logprobs")
    columns = [part(found, name) for name in ("tokens", "token_logprobs", "text_offset")]
    if not all(isinstance(column, list) and column for column in columns):
        raise EmptyAnswerError("the answer has no log-probabilities")
    tokens, values, offsets = columns
    if not len(tokens) == len(values) == len(offsets):
        raise EmptyAnswerError("the answer has not as many log-probabilities as tokens")
    if not all(value is None or is_logprob(value) for value in values):
        raise EmptyAnswerError("the answer has log-probabilities that are none: above 0, or not finite")
    if not all(isinstance(token, str) for token in tokens) or not all(map(_is_place, offsets)):
        raise EmptyAnswerError("the answer has tokens that are no text, or places that are none in a text")
    if offsets != sorted(offsets):
        raise EmptyAnswerError("the answer has tokens in another order than the text")
    tops = _tops(part(found, "top_logprobs"), len(tokens))
    if any(sum(map(math.exp, top)) > ALL for top in tops):
        raise EmptyAnswerError("the answer has probabilities that are more than 1 together, perhaps logits")
    return _Logprobs(tokens, values, offsets, tops)


def _tops(given: Any, count: int) -> list[list[float]]:
    """The log-probabilities in `given` for each of `count` places; none where it is no such list."""
    places = given if isinstance(given, list) and len(given) == count else [None] * count
    return [
        [value for value in place.values() if is_logprob(value)] if isinstance(place, dict) else []
        for place in places
    ]


def is_logprob(value: Any) -> bool:
    """Whether it is a logarithm of a probability, but for rounding."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and -sys.float_info.max <= value <= ROUNDED


def _is_place(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= sys.maxsize


def _same_top(a: list[float], b: list[float]) -> bool:
    return bool(a and b) and abs(max(a) - max(b)) < NEARLY


def _aligned(logprobs: _Logprobs, prompt: str, text: str) -> Reading | str:
    """The tokens of `text` among those of prompt and text, or why there is no telling them.

    A token that begins in the prompt and ends in the text counts as the text's.
    """
    whole = prompt + text
    tokens, values = logprobs.tokens, logprobs.values
    offsets = np.asarray(logprobs.offsets, dtype=np.int64)
    before = 1  # tokens that the server put before the text: BOS, which it may show or not
    if values[0] is None and len(tokens) > 1 and not whole.startswith(tokens[0]):
        offsets = offsets[1:] - offsets[1]
        tokens, values = tokens[1:], values[1:]
    count = int(np.searchsorted(offsets, len(whole)))  # without the token that it added
    starts, ends = tile(len(whole), np.append(offsets[1:count], len(whole))) if count else (offsets, offsets)
    spelled = all(
        whole[start : start + len(token)] == token
        for start, token in zip(starts, tokens[:count], strict=True)
        if token and "\ufffd" not in token
    )
    if not count or not spelled or whole[starts[-1] :] not in (tokens[count - 1], whole[-1:]):
        return "the server's tokens do not spell the text"
    first = int(np.searchsorted(ends, len(prompt), side="right"))
    scores = values[first:count]
    if not scores or any(value is None for value in scores):
        return "the server gives no log-probability of a first token; set `scoring: {context: prompt}`"
    return Reading(
        starts=np.maximum(starts[first:] - len(prompt), 0),
        ends=ends[first:] - len(prompt),
        surprisal=np.maximum(-np.asarray(scores, dtype=np.float64) / math.log(2), 0.0),
        context=np.arange(first, count) + before,
    )
