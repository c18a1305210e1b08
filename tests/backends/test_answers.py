"""What servers answer: their words for an end, their odd shapes, their refusals, their dripping."""

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from lib.backends.engines import deciding, open_generator
from lib.backends.generating import Completion, Request, Watch
from lib.backends.openai_client import EmptyAnswerError
from lib.backends.openai_scoring import _logprobs
from lib.params import OpenAI, Sampling

pytest.importorskip("openai", reason="the openai client is not installed (`make extras`)")


class Server(ThreadingHTTPServer):
    """Answers every question with `answer(body)`, a dict or the bytes of a body; keeps what was asked."""

    daemon_threads = True
    request_queue_size = 128  # more than ask at once

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[dict[str, Any]] = []
        self.answer: Any = lambda body: chat("A text.")
        self.status = 200
        self.pause = 0.0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.asked.append(body)
        found = self.server.answer(body)
        status, found = found if isinstance(found, tuple) else (200, found)
        raw = found if isinstance(found, bytes) else json.dumps(found).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        step = 1 if self.server.pause else max(len(raw), 1)
        for begin in range(0, len(raw), step):
            self.wfile.write(raw[begin : begin + step])
            time.sleep(self.server.pause)

    def log_message(self, *_: Any) -> None:
        pass


def chat(text: Any, reason: Any = "stop", **message: Any) -> dict[str, Any]:
    return {
        "choices": [{"message": {"content": text, **message}, "finish_reason": reason}],
        "usage": {"completion_tokens": 3},
    }


@pytest.fixture
def server() -> Iterator[Server]:
    found = Server()
    threading.Thread(target=found.serve_forever, daemon=True).start()
    yield found
    found.shutdown()
    found.server_close()


def asked(server: Server, system: str | None = None, **how: Any) -> Completion:
    weights = OpenAI(backend="openai", model="m", base_url=server.url, **{"timeout": 5, **how})
    request = Request("Sort a list.", 7, chat=True, system_prompt=system)
    return open_generator(weights).generate([request], Sampling(max_retries=0, max_tokens=9))[0]


ENDS = ["stop", "eos", "eos_token", "eosFound", "end_turn", "STOP", "stop_sequence", "COMPLETE", None, ""]


@pytest.mark.parametrize("reason", ENDS)
def test_every_servers_word_for_the_end_is_an_end(server, reason):
    server.answer = lambda body: chat("A text.", reason)
    found = asked(server)
    assert (found.text, found.finish_reason, found.error) == ("A text.", "stop", None)


@pytest.mark.parametrize("reason", ["eos", "eos_token", "end_turn"])
def test_so_it_is_of_a_raw_prompt(server, reason):
    server.answer = lambda body: {
        "choices": [{"text": " A text.", "finish_reason": reason, "logprobs": None}]
    }
    weights = OpenAI(backend="openai", model="m", base_url=server.url, timeout=5)
    (found,) = open_generator(weights).generate([Request("Sort a list.", 7)], Sampling(max_retries=0))
    assert (found.text, found.finish_reason, found.error) == (" A text.", "stop", None)


def test_a_text_that_was_cut_or_stopped_by_a_filter_is_told_apart(server):
    for reason in ("length", "max_tokens", "MAX_TOKENS", "maxPredictedTokensReached", "model_length"):
        server.answer = lambda body, reason=reason: chat("A text\ufffd", reason)
        assert (asked(server).finish_reason, asked(server).text) == ("length", "A text")
    server.answer = lambda body: chat("A text", "content_filter")
    assert "content_filter" in (asked(server).error or "")


def test_a_text_as_long_as_it_may_be_was_cut_where_the_server_does_not_say(server):
    server.answer = lambda body: {**chat("A text", None), "usage": {"completion_tokens": 9}}
    assert asked(server).finish_reason == "length"


ODD = [
    {"choices": {"0": "x"}},
    {"choices": "text"},
    {"choices": []},
    {"choices": ["text"]},
    {"choices": [None]},
    {"choices": [{"message": "text", "finish_reason": "stop"}]},
    {"choices": [{"message": {"content": ["a"]}, "finish_reason": "stop"}]},
    {"choices": [{"message": {"content": "a"}, "finish_reason": {"type": "stop"}}]},
    {"choices": [{"message": {"content": "half \ud800"}, "finish_reason": "stop"}]},
    [1, 2],
    "text",
    None,
    7,
    b"<html>busy</html>",
    b'{"choices": ' + b"1" * 5000 + b"}",
    b"[" * 100_000,
    b"\xff\xfe",
    b"",
]


@pytest.mark.parametrize("odd", ODD, ids=range(len(ODD)))
def test_an_odd_answer_is_a_row_with_an_error_and_no_lost_run(server, odd):
    server.answer = lambda body: odd
    found = asked(server)
    assert found.error
    assert found.text == ""


@pytest.mark.parametrize("tokens", ["many", 10**30, -1, None, {"n": 1}, 1.5, True])
def test_an_odd_count_of_tokens_does_not_spoil_a_text(server, tokens):
    server.answer = lambda body: {**chat("A text."), "usage": {"completion_tokens": tokens}}
    assert (asked(server).text, asked(server).tokens) == ("A text.", 0)


def test_what_the_server_says_is_shown(server):
    server.answer = lambda body: {"error": {"message": "the model is being loaded"}}
    assert "the model is being loaded" in (asked(server).error or "")
    server.answer = lambda body: (400, {"error": {"message": "top_p is out of range"}})
    assert "top_p is out of range" in (asked(server).error or "")


def test_reasoning_is_a_column_of_its_own(server):
    server.answer = lambda body: chat("A text.", reasoning_content="Hm.")
    assert (asked(server).text, asked(server).reasoning) == ("A text.", "Hm.")


def test_a_refused_system_role_goes_above_the_users_message(server):
    def strict(body: dict[str, Any]) -> Any:
        if body["messages"][0]["role"] == "system":
            return 400, {"error": {"message": "System role not supported"}}
        return chat("A text.")

    server.answer = strict
    found = asked(server, system="Rule.")
    assert found.text == "A text."
    assert json.loads(found.sent) == [{"role": "user", "content": "Rule.\n\nSort a list."}]


def test_the_params_file_says_what_is_asked(server):
    asked(
        server,
        seed=False,
        max_completion_tokens=True,
        extra_body={"chat_template_kwargs": {"thinking": False}},
    )
    assert "seed" not in server.asked[0]
    assert "max_tokens" not in server.asked[0]
    assert server.asked[0]["max_completion_tokens"] == 9
    assert server.asked[0]["chat_template_kwargs"] == {"thinking": False}
    asked(server)
    assert (server.asked[1]["seed"], server.asked[1]["max_tokens"]) == (7, 9)


def test_an_answer_that_drips_is_bounded_as_a_whole(server):
    server.pause = 0.05  # a byte at a time, which no pause of the connection shows
    found = asked(server, timeout=0.5)
    assert "no answer within 0.5 s" in (found.error or "")


def scored(**columns: Any) -> dict[str, Any]:
    plain = {"tokens": ["a", "b"], "token_logprobs": [None, -1.0], "text_offset": [0, 1]}
    return {"choices": [{"logprobs": {**plain, **columns}}]}


@pytest.mark.parametrize(
    "columns",
    [
        {"token_logprobs": [None, 0.5]},
        {"token_logprobs": [None, float("nan")]},
        {"token_logprobs": [None, float("-inf")]},
        {"token_logprobs": [None, True]},
        {"token_logprobs": [None]},
        {"tokens": ["a", 7]},
        {"text_offset": [0, "1"]},
        {"tokens": "ab"},
    ],
)
def test_log_probabilities_that_are_none_are_no_answer(columns):
    with pytest.raises(EmptyAnswerError):
        _logprobs(scored(**columns))
    _logprobs(scored())


def events(*chunks: Any) -> bytes:
    lines = [f"data: {chunk if isinstance(chunk, str) else json.dumps(chunk)}\n\n" for chunk in chunks]
    return "".join(lines).encode()


def delta(reason: Any = None, **said: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": said, "finish_reason": reason}]}


def test_an_answer_that_is_streamed_is_the_one_that_is_not_and_heard_of_as_it_comes(server):
    usage = {"choices": [], "usage": {"completion_tokens": 4}}
    server.answer = lambda body: events(
        delta(role="assistant"),
        delta(reasoning_content="Hm."),
        delta(content="A"),
        delta(content=" text."),
        delta("eos"),
        usage,
        "[DONE]",
    )
    weights = OpenAI(backend="openai", model="m", base_url=server.url, timeout=5, stream=True)
    told: list[int] = []
    request = Request("Sort a list.", 7, chat=True)
    (found,) = open_generator(weights).generate([request], Sampling(max_retries=0), Watch(told.append))
    assert (found.text, found.reasoning, found.finish_reason) == ("A text.", "Hm.", "stop")
    assert found.tokens == 4
    assert sum(told) == 3
    assert server.asked[0]["stream"] is True


def test_a_raw_text_is_streamed_too_and_counted_where_the_server_does_not(server):
    server.answer = lambda body: events(
        {"choices": [{"index": 0, "text": " A", "finish_reason": None}]},
        {"choices": [{"index": 0, "text": " text.", "finish_reason": "length"}]},
        "[DONE]",
    )
    weights = OpenAI(backend="openai", model="m", base_url=server.url, timeout=5, stream=True)
    (found,) = open_generator(weights).generate([Request("A", 7)], Sampling(max_retries=0))
    assert (found.text, found.finish_reason, found.tokens) == (" A text.", "length", 2)


def test_texts_that_are_not_streamed_count_as_they_arrive(server):
    """Each with its tokens, while others are under way."""
    held = threading.Event()

    def answered(body: dict[str, Any]) -> Any:
        if body["seed"] == 2:
            assert held.wait(5)
        return chat("A text.")

    server.answer = answered
    weights = OpenAI(backend="openai", model="m", base_url=server.url, timeout=9, concurrency=2)
    told: list[int] = []
    heard: list[int] = []

    def hear(number: int, _: Completion) -> None:
        heard.append(number)
        if len(heard) == 3:  # all but the one that waits for this
            assert sum(told) == 3 * 3
            held.set()

    requests = [Request("Sort a list.", seed, chat=True) for seed in range(4)]
    open_generator(weights).generate(requests, Sampling(max_retries=0), Watch(told.append, hear))
    assert sorted(heard) == [0, 1, 2, 3]
    assert heard[-1] == 2
    assert sum(told) == 4 * 3


@pytest.mark.parametrize(
    "odd", [events(delta(content="A text")), b"", events("[DONE]"), events({"error": {"message": "busy"}})]
)
def test_a_stream_that_breaks_off_is_a_row_with_an_error(server, odd):
    server.answer = lambda body: odd
    found = asked(server, stream=True)
    assert found.error
    assert found.text == ""


@pytest.mark.parametrize("odd", ODD, ids=range(len(ODD)))
def test_so_is_an_odd_answer_in_place_of_a_stream(server, odd):
    server.answer = lambda body: odd
    assert asked(server, stream=True).error


def test_how_a_server_is_asked_makes_no_text_anew():
    plain = OpenAI(backend="openai", model="m")
    assert deciding(plain) == deciding(plain.model_copy(update={"stream": True, "concurrency": 9}))
