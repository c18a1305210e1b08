"""A killed run of step 01 loses the texts that were being written, no other; its file is then the same."""

import json
import signal
import subprocess
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import ClassVar

import pytest

from lib import paths
from lib.backends import llama_cpp_generating, llama_cpp_probe
from lib.backends.generating import Request
from lib.backends.llama_cpp_generating import LlamaCppGenerator
from lib.backends.transformers_generating import TransformersGenerator
from lib.generate import texts as generate
from lib.generate.writing import Progress
from lib.journal import Journal
from lib.params.run import resolve
from lib.progress import Bar
from tests.servers import answer

SCRIPT = """
from lib.backends import continuing, llama_cpp_generating
from lib.generate.texts import generate_texts
from lib.params.run import resolve
continuing.BATCH = 2
llama_cpp_generating.SLOTS = (1,)
generate_texts(resolve("01_generate", {given!r}))
"""


def rows_of(file: Path) -> list[dict]:
    lines = file.read_text().splitlines()[1:] if file.exists() else []
    return [json.loads(line.partition(" ")[2]) for line in lines]


def kill_in_mid_work(how: dict, journal: Path) -> None:
    """Kill a run with the parameters `how` as soon as three texts or more are in its `journal`."""
    running = subprocess.Popen([sys.executable, "-c", SCRIPT.format(given=how)], stderr=subprocess.DEVNULL)
    while not (journal.exists() and journal.read_bytes().count(b"\n") >= 4):
        assert running.poll() is None, "it ended before it could be killed"
        time.sleep(0.005)
    running.send_signal(signal.SIGKILL)
    running.wait()


@pytest.mark.parametrize(
    ("source", "engine"), [("tiny-base", TransformersGenerator), ("tiny-base@q8_0", LlamaCppGenerator)]
)
def test_a_killed_run_loses_only_what_was_being_written(source, engine, small_study, monkeypatch):
    if engine is LlamaCppGenerator and (trouble := llama_cpp_probe.trouble()):
        pytest.skip(trouble)
    how = {"model": source, "study": "small", "max_tokens": 150, "max_retries": 1}
    if engine is LlamaCppGenerator:
        monkeypatch.setattr(llama_cpp_generating, "SLOTS", (1,))
    path = paths.texts("notes", source)
    generate.generate_texts(resolve("01_generate", how))
    undisturbed = path.read_bytes()
    path.unlink()
    journal = path.with_name(f".{path.name}.journal")
    assert not journal.exists()

    kill_in_mid_work(how, journal)
    assert not path.exists()
    safe = rows_of(journal)
    assert len(safe) >= 3
    with journal.open("ab") as stream:
        stream.write(b"cut off in the mid")  # as a kill within a write leaves it

    asked: list[Request] = []
    plain = engine.generate

    def counted(self, requests, *given):
        asked.extend(requests)
        return plain(self, requests, *given)

    monkeypatch.setattr(engine, "generate", counted)
    generate.generate_texts(resolve("01_generate", how))
    assert path.read_bytes() == undisturbed
    seeds = {request.seed for request in asked}
    assert not seeds & {one["row"]["seed"] for one in safe}
    assert not journal.exists()


class Slow(BaseHTTPRequestHandler):
    """A server that takes its time for each text, which is the seed that it was asked with."""

    asked: ClassVar[list[int]] = []

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.asked.append(body["seed"])
        time.sleep(0.1)
        choice = {"text": f" This is the text of {body['seed']}.", "finish_reason": "stop"}
        answer(self, 200, json.dumps({"choices": [choice], "usage": {"completion_tokens": 7}}).encode())

    def log_message(self, *_: object) -> None: ...


def test_so_it_does_with_a_server_whose_texts_are_safe_as_they_arrive(small_study):
    pytest.importorskip("openai", reason="the openai client is not installed (`make extras`)")
    server = ThreadingHTTPServer(("127.0.0.1", 0), Slow)
    Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}/v1"
    (small_study / "params" / "served.yaml").write_text(
        "kind: model\nclass: base\nfamily: served\nstudy: small\n"
        f'weights: {{backend: openai, model: m, base_url: "{url}", concurrency: 2}}\n'
        "sampling: {generate: 10, min_characters: 1}\n"
    )
    how = {"model": "served", "study": "small"}
    path = paths.texts("notes", "served")
    journal = path.with_name(f".{path.name}.journal")
    kill_in_mid_work(how, journal)
    time.sleep(0.3)  # what was asked for is answered, to nobody
    before, safe = set(Slow.asked), {one["row"]["seed"] for one in rows_of(journal)}
    assert safe <= before
    assert len(safe) >= 3
    assert len(before - safe) <= 2 + 1  # as many as are asked for at a time; one may have been on its way
    Slow.asked.clear()
    generate.generate_texts(resolve("01_generate", how))
    server.shutdown()
    server.server_close()
    assert not set(Slow.asked) & safe
    rows = generate.read_texts(resolve("01_generate", how))
    assert len(rows) == 10
    assert all(row.text == f" This is the text of {row.seed}." for row in rows.itertuples())


def test_a_journal_of_another_record_counts_for_nothing(tmp_path):
    path = tmp_path / "a.parquet"
    Journal(path, {"temperature": 1}).add(("a", 0, 0), {"text": "é 🙂 \n", "seconds": 0.1})
    again, other = Journal(path, {"temperature": 1}), Journal(tmp_path / "b.parquet", {})
    other.take_over(again)
    assert again.pop(("a", 0, 0)) is None
    assert other.pop(("a", 0, 0)) == {"text": "é 🙂 \n", "seconds": 0.1}
    assert other.pop(("a", 0, 0)) is None  # a row counts once
    assert Journal(path, {"temperature": 2}).lines == {}
    assert Journal(path, {"temperature": 1}).lines == {}  # the other one began anew


@pytest.mark.parametrize("damage", [lambda line: line[:-5], lambda line: line.replace(b"two", b"twO")])
def test_what_is_damaged_is_not_read(tmp_path, damage):
    path = tmp_path / "a.parquet"
    journal = Journal(path, {})
    for text in ("one", "two"):
        journal.add((text,), {"text": text})
    head, first, second = journal.file.read_bytes().splitlines(keepends=True)
    journal.file.write_bytes(head + first + damage(second))
    journal = Journal(path, {})
    assert list(journal.lines) == [("one",)]
    journal.add(("three",), {"text": "three"})
    assert list(Journal(path, {}).lines) == [("one",), ("three",)]


def test_the_bar_moves_with_every_token(monkeypatch):
    monkeypatch.setattr("lib.generate.writing.SECONDS", 0.0)
    with Bar(total=4, unit="text", disable=False) as bar:
        progress = Progress(bar, most=100)
        progress.wrote(100)
        assert bar.part == 1.0  # as much as one whole text, spread over those under way
        assert "100 tokens" in bar._line()
        assert "0 of 4 texts" in bar._line()
        assert "left" in bar._line()
        progress.wrote(50)
        assert bar.part == 1.5
        progress.finished(50)
        bar.update(1)
        progress.wrote(10)
        assert bar.part == pytest.approx(2.2)  # the others are taken to be as long as that one
        assert "1 of 4 texts" in bar._line()
