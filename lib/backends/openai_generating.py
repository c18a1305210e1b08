"""Texts written by a model behind an OpenAI-compatible server: LM Studio, vLLM, llama.cpp and others."""

import json
import re
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from queue import SimpleQueue
from time import perf_counter
from typing import Any, NamedTuple

from lib.backends import prompts
from lib.backends.generating import UNWATCHED, Completion, Request, Watch
from lib.backends.openai_client import Asked, EmptyAnswerError, Server, first_choice, in_a_line, part
from lib.backends.openai_stream import streamed
from lib.errors import StudyError
from lib.params import OpenAI, Sampling

# What servers call the end of a text that the model ended itself, and of one that was cut off: of their words
# the letters, for some write eos_token, others eosFound.
ENDS = {
    *("stop", "eos", "eostoken", "eosfound", "eot", "endturn", "endofturn", "endoftext", "endtoken", "end"),
    *("stopsequence", "stopstringfound", "stoptoken", "finishreasonstop", "complete", "completed", "done"),
}
CUT = {
    *("length", "maxtokens", "maxlength", "maxoutputtokens", "maximumtokens", "modellength", "contextlength"),
    *("maxpredictedtokensreached", "contextlengthreached", "finishreasonmaxtokens", "limit", "tokenlimit"),
}
MOST = 2**31 - 1  # tokens that a column holds
PAUSE = 0.2  # seconds between two looks at what was streamed


class _Written(NamedTuple):
    text: str
    tokens: int
    finish_reason: str
    reasoning: str | None = None


class ServerGenerator:
    """Asks for `concurrency` texts at a time. A text that cannot be had is a completion with an error."""

    def __init__(self, weights: OpenAI) -> None:
        self.server = Server(weights)
        self.model = weights.model
        self.concurrency = weights.concurrency
        self.at_once = 4 * weights.concurrency
        self.weights = weights
        self._system_role = True  # until the server refuses one
        self._heard: SimpleQueue[int] = SimpleQueue()  # tokens, of all texts that are streamed

    def generate(
        self, requests: Sequence[Request], sampling: Sampling, watch: Watch = UNWATCHED
    ) -> list[Completion]:
        """A completion per request. Raises StudyError if the server refuses every text."""
        if sampling.min_tokens:
            raise StudyError(
                "A model behind a server cannot be kept from ending a text; take `min_tokens` out of its "
                "`sampling`."
            )
        with ThreadPoolExecutor(self.concurrency) as pool:
            heard = self._heard if self.weights.stream else None
            return completions(
                pool, lambda request: self._completion(request, sampling), requests, watch, heard
            )

    def _completion(self, request: Request, sampling: Sampling) -> Completion:
        began = perf_counter()
        if request.chat:
            sent, asked = self._chat(request, sampling)
        else:
            sent = prompts.raw(request.prompt, request.system_prompt)
            settings = self._settings(request, sampling)
            asked = self.server.ask(
                lambda client: _answer(self._whole(client.completions.create(prompt=sent, **settings))),
                max_retries=sampling.max_retries,
            )
        seconds = perf_counter() - began
        if asked.error:
            return Completion("", sent, 0, None, seconds, asked.retries, asked.error)
        written: _Written = asked.answer
        # A server that does not say why a text ends has not said that it was cut off, either.
        whole = written.tokens < sampling.max_tokens
        reason = "".join(filter(str.isalpha, written.finish_reason.lower())) or (
            "stop" if whole else "length"
        )
        how = (seconds, asked.retries, None, written.reasoning)
        if reason in ENDS:
            return Completion(written.text, sent, written.tokens, "stop", *how)
        if reason in CUT:
            text = written.text.rstrip("\ufffd")  # cut off within a character
            return Completion(text, sent, written.tokens, "length", *how)
        error = f"the server ended the text for another reason: {in_a_line(repr(written.finish_reason))}"
        return Completion("", sent, written.tokens, None, seconds, asked.retries, error)

    def _chat(self, request: Request, sampling: Sampling) -> tuple[str, Asked]:
        """The conversation as JSON (the server puts it into its template), and what came of it.

        A server that refuses a system's message is asked again with the system prompt above the user's.
        """
        settings = self._settings(request, sampling)
        role = self._system_role
        messages = prompts.conversation(request.prompt, request.system_prompt, system_role=role)
        asked = self.server.ask(
            lambda client: _chat_answer(
                self._whole(client.chat.completions.create(messages=messages, **settings))
            ),
            max_retries=sampling.max_retries,
        )
        if role and request.system_prompt and asked.error and _REFUSES_ROLE.search(asked.error):
            self._system_role = False
            return self._chat(request, sampling)
        return json.dumps(messages, ensure_ascii=False), asked

    def _whole(self, answer: Any) -> Any:
        return streamed(answer, self._heard.put) if self.weights.stream else answer

    def _settings(self, request: Request, sampling: Sampling) -> dict[str, Any]:
        limit = "max_completion_tokens" if self.weights.max_completion_tokens else "max_tokens"
        settings = {
            "model": self.model,
            limit: sampling.max_tokens,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
        }
        if self.weights.seed:
            settings["seed"] = request.seed
        if self.weights.stream:
            settings |= {"stream": True, "stream_options": {"include_usage": True}}
        if self.weights.extra_body:
            settings["extra_body"] = self.weights.extra_body
        return settings


def completions(
    pool: ThreadPoolExecutor,
    completion: Callable[[Request], Completion],
    requests: Sequence[Request],
    watch: Watch,
    heard: "SimpleQueue[int] | None" = None,
) -> list[Completion]:
    """What `completion` makes of each request, as many at a time as `pool` has threads.

    `heard` gets the tokens while texts are under way; without it they count when their text is there.
    """
    asked = [pool.submit(completion, request) for request in requests]
    numbers = {one: number for number, one in enumerate(asked)}
    try:
        waiting = set(asked)
        while waiting:
            done, waiting = wait(waiting, PAUSE, FIRST_COMPLETED)
            if heard is not None:
                watch.tokens(sum(heard.get() for _ in range(heard.qsize())))
            for one in done:
                if heard is None:
                    watch.tokens(one.result().tokens)
                watch.text(numbers[one], one.result())
        return [one.result() for one in asked]
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        raise


_REFUSES_ROLE = re.compile(
    r"\bsystem\b.*\b(role|message|prompt)|\brole\b.*\bsystem\b|roles must alternate", re.IGNORECASE
)


def _answer(completion: Any) -> _Written:
    choice = first_choice(completion)
    return _written(part(choice, "text"), choice, completion)


def _chat_answer(completion: Any) -> _Written:
    choice = first_choice(completion)
    message = part(choice, "message")
    found = _written(part(message, "content"), choice, completion)
    thought = part(message, "reasoning_content") or part(message, "reasoning")
    return found._replace(reasoning=_whole(thought) if isinstance(thought, str) else None)


def _written(text: Any, choice: Any, completion: Any) -> _Written:
    if not isinstance(text, str):
        raise EmptyAnswerError("the server's answer has no text")
    reason = part(choice, "finish_reason")
    if not isinstance(reason, str | None):
        raise EmptyAnswerError("the server does not say why the text ends")
    tokens = part(part(completion, "usage"), "completion_tokens")
    known = isinstance(tokens, int) and not isinstance(tokens, bool) and 0 <= tokens <= MOST
    return _Written(_whole(text), tokens if known else 0, reason or "")


def _whole(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise EmptyAnswerError("the server's text has half a surrogate pair, which is no character") from None
    return text
