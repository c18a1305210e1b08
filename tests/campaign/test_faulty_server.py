"""A server that answers wrongly: no text is lost, no wrong number passes, and each fault is one sentence.

Short as it stands. The long form meets five hundred faults while it writes and as many while it scores:

    CAMPAIGN=500 python -m pytest -s tests/campaign/test_faulty_server.py
"""

import json
import math
import os
import random
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("openai", reason="the openai client is not installed (`make extras`)")

from lib import paths, store
from lib.backends.engines import open_scoring_model
from lib.backends.openai_scoring import ServerScoringModel
from lib.generate import texts as generate
from lib.params import OpenAI, Scoring
from lib.params.run import resolve
from lib.surprisal import again, scoring
from tests.backends.test_answers import Handler, Server
from tests.campaign.changing import changed

COUNT = int(os.environ.get("CAMPAIGN", "60"))
PARAMS = """\
kind: model
class: instruct
family: served
study: faults
chat: true
weights: {{backend: openai, model: m, base_url: "{url}", concurrency: 16, timeout: 4}}
sampling: {{generate: 9999, max_tokens: 9, min_characters: 1, max_retries: 0}}
"""
STUDY = """\
title: Faults
sources: [human, served]
datasets: [many]
scorers: [judge]
comparisons: {}
"""


class FaultyHandler(Handler):
    """As `Handler`; an answer may also be a way of answering, called with the handler."""

    def do_POST(self) -> None:  # noqa: N802 (the standard library's name)
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        found = self.server.answer(body)
        if callable(found):
            found(self)
        else:
            send(self, json.dumps(found).encode())


def send(
    handler: Handler, raw: bytes, status: int = 200, promised: int | None = None, **headers: str
) -> None:
    handler.send_response(status)
    for name, value in headers.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.send_header("Content-Type", "application/json")
    handler.send_header("Content-Length", str(len(raw) if promised is None else promised))
    handler.end_headers()
    handler.wfile.write(raw)


def drip(handler: Handler, raw: bytes) -> None:
    send(handler, raw[:1], promised=len(raw))
    for place in range(1, len(raw)):
        time.sleep(0.05)
        handler.wfile.write(raw[place : place + 1])


def reset(handler: Handler, raw: bytes) -> None:
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    handler.connection.close()


def broken_off(handler: Handler, raw: bytes) -> None:
    send(handler, raw[: len(raw) // 2], promised=len(raw))
    handler.close_connection = True


WAYS = {
    "drips": drip,
    "resets": reset,
    "breaks off": broken_off,
    "is busy": lambda handler, raw: send(handler, raw, 503),
    "says when to ask again": lambda handler, raw: send(handler, b"{}", 429, Retry_After="nan"),
    "says an odd status": lambda handler, raw: send(handler, b"<html>", 599),
    "refuses": lambda handler, raw: send(handler, b'{"error": {"message": "top_p"}}', 400),
    "sends bytes": lambda handler, raw: send(handler, bytes(range(256))),
    "sends depth": lambda handler, raw: send(handler, b"[" * 100_000),
    "sends nothing": lambda handler, raw: send(handler, b""),
    "sends a page": lambda handler, raw: send(handler, b"<html>busy</html>"),
}


class Faults:
    """Answers of which one in two is a fault, and what was said to each question last."""

    def __init__(self, right: Any, seed: str) -> None:
        self.right, self.chance, self.lock = right, random.Random(seed), threading.Lock()
        self.said: dict[str, Any] = {}
        self.healthy = False
        self.met: Counter[str] = Counter()

    def __call__(self, body: dict[str, Any]) -> Any:
        question = body["messages"][-1]["content"] if "messages" in body else body["prompt"]
        right = self.right(body)
        with self.lock:
            self.said[question] = right
            if self.healthy:
                return right
            if self.chance.random() < 0.4:
                way = self.chance.choice(list(WAYS))
                self.met[way] += 1
                self.said[question] = way
                raw = json.dumps(right).encode()
                return lambda handler: WAYS[way](handler, raw)
            self.met["changes a value"] += 1
            self.said[question] = changed(right, self.chance)
            return self.said[question]


@pytest.fixture
def server() -> Iterator[Server]:
    found = Server()
    found.RequestHandlerClass = FaultyHandler
    found.handle_error = lambda *_: None  # type: ignore[method-assign]  # who gave up waiting
    threading.Thread(target=found.serve_forever, daemon=True).start()
    yield found
    found.shutdown()
    found.server_close()


@pytest.fixture
def study(project: Path, server: Server) -> Path:
    for number in range(COUNT):
        file = project / "many" / f"{number:04}.txt"
        file.parent.mkdir(exist_ok=True)
        file.write_text(f"Note {number}\n\nThis is note {number} of many. It goes on with {number} words.\n")
    (project / "params" / "datasets" / "many.yaml").write_text("kind: folder\nfolder: many\n")
    (project / "params" / "studies" / "faults.yaml").write_text(STUDY)
    (project / "params" / "served.yaml").write_text(PARAMS.format(url=server.url))
    weights = f'{{backend: openai, model: m, base_url: "{server.url}", concurrency: 16, timeout: 4}}'
    (project / "params" / "judge.yaml").write_text(f"kind: scorer\nweights: {weights}\n")
    return project


def is_a_sentence(said: Any) -> bool:
    return isinstance(said, str) and 10 <= len(said) <= 300 and said.isprintable()


def written(body: dict[str, Any]) -> dict[str, Any]:
    text = f" And so on after {len(body['messages'][-1]['content'])} characters."
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    return {"id": "x", "object": "chat.completion", "choices": [choice], "usage": {"completion_tokens": 9}}


def test_no_text_is_lost_by_a_server_that_answers_wrongly(study: Path, server: Server) -> None:
    server.answer = faults = Faults(written, "writes")
    run = resolve("01_generate", {"model": "served", "study": "faults"})
    generate.generate_texts(run)
    first = generate.read_texts(run)
    assert len(first) == COUNT
    failed = first["status"] == "error"
    assert [said for said in first[failed]["error"] if not is_a_sentence(said)] == []
    assert (first[failed]["text"] == "").all()
    for row in first[~failed].itertuples():
        assert row.text == faults.said[row.prompt]["choices"][0]["message"]["content"]
    faults.healthy = True
    generate.generate_texts(run)
    second = generate.read_texts(run)
    assert list(second["error"].dropna()) == []
    assert (second["text"][~failed] == first["text"][~failed]).all()
    assert (second["text"][failed].str.startswith(" And so on")).all()
    print(f"\nwriting: {dict(faults.met)}: {failed.sum()} named, {(~failed).sum()} read as they were said")


def scored(body: dict[str, Any]) -> dict[str, Any]:
    """Pieces of four characters, each of them as probable as its place says, with a new one at the end."""
    prompt = body["prompt"]
    pieces = [prompt[at : at + 4] for at in range(0, len(prompt), 4)]
    values = [None, *(-0.5 - (at % 7) for at in range(1, len(pieces)))]
    tops = [None if value is None else {"top": -0.25} for value in values]
    if not body.get("echo"):
        pieces, values, tops = [], [], []
    columns = {
        "tokens": [*pieces, " new"],
        "token_logprobs": [*values, -1.0],
        "text_offset": [*range(0, 4 * len(pieces), 4), len(prompt)],
        "top_logprobs": [*tops, {" new": -0.25}],
    }
    choice = {"index": 0, "text": prompt, "logprobs": columns, "finish_reason": "length"}
    return {"id": "x", "object": "text_completion", "choices": [choice]}


def expected(said: Any, prompt: str, text: str) -> np.ndarray:
    """The bits of the tokens that end in `text`, as the answer says them, summed up by hand."""
    columns = said["choices"][0]["logprobs"]
    whole = len(prompt + text)
    found = [
        -value / math.log(2)
        for token, value, at in zip(
            columns["tokens"], columns["token_logprobs"], columns["text_offset"], strict=True
        )
        if at < whole and at + len(token) > len(prompt)
    ]
    return np.maximum(np.array(found), 0.0)


def test_no_wrong_number_passes_and_no_text_stays_without_its_scores(
    study: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(ServerScoringModel._ask.__kwdefaults__, "max_retries", 0)
    server.answer = faults = Faults(scored, "scores")
    faults.healthy = True
    generate.generate_texts(resolve("01_generate", {"model": "human", "study": "faults", "generate": COUNT}))
    run = resolve("02_surprisal", {"model": "human", "study": "faults"})
    path = paths.surprisals("judge", "many", "human")
    scoring.score_texts(run)
    undisturbed = path.read_bytes()
    path.unlink()

    opened = open_scoring_model(run.scorer.weights)
    monkeypatch.setattr(scoring, "open_scoring_model", lambda _: opened)  # opening it asks, too
    monkeypatch.setattr(again, "open_scoring_model", lambda _: opened)
    faults.healthy = False
    summary = scoring.score_texts(run)
    tokens = store.read(path, "make it")
    assert [said for said in summary.not_scored.values() if not is_a_sentence(said)] == []
    rows = generate.read_texts(run).set_index("doc_id")
    assert len(rows) == COUNT == len(summary.not_scored) + tokens["doc_id"].nunique()
    for doc_id, of_text in tokens.groupby("doc_id"):
        prompt, text = rows.loc[doc_id, ["prompt", "text"]]
        assert isinstance(faults.said[prompt + text], dict), faults.said[prompt + text]
        assert "".join(of_text["token"]) == text
        np.testing.assert_allclose(of_text["surprisal"], expected(faults.said[prompt + text], prompt, text))
    faults.healthy = True
    assert scoring.score_texts(run).not_scored == {}
    kept = tokens["doc_id"].unique()
    now = store.read(path, "make it")
    assert now["doc_id"].nunique() == COUNT
    assert list(now["doc_id"].unique()) == sorted(now["doc_id"].unique())
    before = tokens.reset_index(drop=True)
    assert now[now["doc_id"].isin(kept)].reset_index(drop=True).equals(before)
    if all(faults.right({"prompt": q, "echo": True}) == said for q, said in faults.said.items()):
        assert path.read_bytes() == undisturbed
    print(f"\nscoring: {dict(faults.met)}: {len(summary.not_scored)} named, {len(kept)} as they were said")


def test_a_text_is_scored_as_the_answer_says(server: Server) -> None:
    server.answer = scored
    model = open_scoring_model(OpenAI(backend="openai", model="m", base_url=server.url))
    (found,) = model.read([("A prompt is", " followed by this.")], Scoring())
    said = scored({"prompt": "A prompt is followed by this.", "echo": True})
    np.testing.assert_allclose(found.surprisal, expected(said, "A prompt is", " followed by this."))
