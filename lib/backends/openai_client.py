"""Asking an OpenAI-compatible server, again where it makes sense to ask again."""

import math
import os
from collections.abc import Callable
from threading import Event
from typing import Any, NamedTuple, TypeVar

from tenacity import RetryCallState, Retrying, retry_if_exception, stop_after_attempt, wait_random_exponential

from lib.backends import extras
from lib.backends.bounded import within
from lib.errors import StudyError
from lib.params import OpenAI

Answer = TypeVar("Answer")
LONGEST_WAIT = 60  # seconds between two attempts
ASK_AGAIN = {408, 409, 425, 429}  # and every status from 500 on
NO_WAY = {401, 403, 404}  # wrong for every text: the key, the address or the model's name


# What the client itself raises over an answer that is no JSON, or JSON of another shape.
ODD = (ValueError, TypeError, AttributeError, LookupError, RecursionError)


def in_a_line(said: str) -> str:
    """What a server says, such that any file and any terminal takes it: one line, of printable characters."""
    whole = said.encode("utf-8", "backslashreplace").decode()
    return " ".join("".join(each if each.isprintable() else " " for each in whole).split())[:200]


class EmptyAnswerError(Exception):
    """The server answered, but there is nothing of use in the answer."""


def part(of: Any, name: str) -> Any:
    """A field of an answer, an object or a dict as the client took it; None where there is none."""
    return of.get(name) if isinstance(of, dict) else getattr(of, name, None)


def first_choice(answer: Any) -> Any:
    """The first of an answer's choices. Raises EmptyAnswerError, with what the server says instead of one."""
    choices = part(answer, "choices")
    if isinstance(choices, list) and choices:
        return choices[0]
    said = part(answer, "error")
    words = part(said, "message") or said
    raise EmptyAnswerError(f"the server's answer has no choice{f': {words}' if words else ''}")


class Asked(NamedTuple):
    """What came of a question: an answer, or the error that was left after all `retries`."""

    answer: Any
    retries: int
    error: str | None


class Server:
    """The server behind `weights`. Its key is given or in the environment, and goes nowhere else.

    Raises StudyError if the client is not installed.
    """

    def __init__(self, weights: OpenAI, key: str | None = None) -> None:
        self.weights = weights
        self.openai: Any = extras.need("openai", "server", "Models behind a server")
        self.client = self.openai.OpenAI(
            base_url=weights.base_url,
            api_key=key or os.environ.get(weights.api_key_variable) or "none",
            timeout=weights.timeout,
            max_retries=0,  # asking again is done here, where its number is known
        )
        self._away = Event()  # the last question found nobody there: do not wait for every text again

    def ask(self, question: Callable[[Any], Answer], *, max_retries: int) -> Asked:
        """`question(client)`, asked up to `max_retries` times more after what may pass.

        Waits between attempts grow, with chance in them, or are as long as the server's Retry-After
        says. Raises StudyError where no text could be had: a wrong key, address or model.
        """
        attempts = 1 if self._away.is_set() else 1 + max_retries
        asking = Retrying(
            stop=stop_after_attempt(attempts),
            wait=_wait,
            retry=retry_if_exception(self._may_pass),
            reraise=True,
        )
        try:
            answer = asking(lambda: within(self.weights.timeout, lambda: question(self.client)))
        except (self.openai.APIError, EmptyAnswerError, TimeoutError, *ODD) as error:
            if getattr(error, "status_code", None) in NO_WAY:
                raise self._refused(error) from error
            if isinstance(error, self.openai.APIConnectionError) and not self._timed_out(error):
                self._away.set()
            return Asked(None, asking.statistics["attempt_number"] - 1, self._told(error))
        self._away.clear()
        return Asked(answer, asking.statistics["attempt_number"] - 1, None)

    def _may_pass(self, error: BaseException) -> bool:
        status = getattr(error, "status_code", None)
        if isinstance(status, int):
            return status in ASK_AGAIN or status >= 500
        # Without a status: no connection, a timeout, an answer that broke off or has another shape.
        return isinstance(error, (self.openai.APIError, EmptyAnswerError, TimeoutError, *ODD))

    def _told(self, error: BaseException) -> str:
        if self._timed_out(error):
            return f"the server gave no answer within {self.weights.timeout:g} s"
        if isinstance(error, self.openai.APIConnectionError):
            return f"no connection to {self.weights.base_url} ({error.__cause__ or error})"
        if isinstance(error, (*ODD, self.openai.APIResponseValidationError)):
            return "the server's answer is no JSON of a completion"
        return self._without_key(error)

    def _timed_out(self, error: BaseException) -> bool:
        return isinstance(error, (self.openai.APITimeoutError, TimeoutError))

    def _without_key(self, error: BaseException) -> str:
        """What the error says in one line; a server may well quote the key that it refuses."""
        return in_a_line(str(error).replace(self.client.api_key, "…"))

    def _refused(self, error: Any) -> StudyError:
        return StudyError(
            f"The server at {self.weights.base_url} refuses {self.weights.model!r} "
            f"({self._without_key(error)}); correct `model` or `base_url` in the params file, "
            f"or set the key in the environment variable {self.weights.api_key_variable}."
        )


_growing = wait_random_exponential(multiplier=0.5, max=LONGEST_WAIT)


def _wait(state: RetryCallState) -> float:
    error = state.outcome.exception() if state.outcome else None
    headers = getattr(getattr(error, "response", None), "headers", {})
    try:
        seconds = float(headers.get("retry-after", ""))
    except ValueError:  # none, or a date
        return _growing(state)
    return _growing(state) if math.isnan(seconds) else min(max(seconds, 0.0), LONGEST_WAIT)
