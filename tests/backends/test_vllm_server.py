"""When a vLLM server starts, who shares it and when it ends, with a stand-in that answers as vLLM does."""

import json
import socket
import subprocess
import sys
import time
from itertools import product
from pathlib import Path

import psutil
import pytest
import yaml

from lib import paths, processes
from lib.backends import vllm_server
from lib.backends.engines import identity, open_generator, open_scoring_model
from lib.backends.generating import Request
from lib.errors import StudyError
from lib.params import Sampling, Scoring, Vllm, load_study
from lib.running.study import snakemake_command
from tests.conftest import REPOSITORY

pytest.importorskip("openai", reason="the openai client is not installed (`make extras`)")

STANDS_IN = """\
#!/usr/bin/env -S {python} -S
import json, os, sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
if sys.argv[1:] == ["--version"]:
    sys.exit(print("0.0 (stands in)"))
if "--no-such-option" in sys.argv:
    print("(APIServer pid=7) ValueError: no option of that name")
    sys.exit(1)
with open(sys.argv[0] + ".starts", "a") as starts:
    print(os.path.basename(sys.argv[sys.argv.index("--model") + 1]), file=starts)
class Handler(BaseHTTPRequestHandler):
    def answer(self, content):
        known = self.headers["Authorization"] == "Bearer " + os.environ["VLLM_API_KEY"]
        body = json.dumps(content if known else {{}}).encode()
        self.send_response(200 if known else 401)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def do_GET(self):
        self.answer({{"data": [{{"id": "study", "max_model_len": 64}}]}})
    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        ids = asked["prompt"]
        told = [None] + [{{str(i): {{"logprob": -1.0, "rank": 2, "decoded_token": "?"}}}} for i in ids[1:]]
        new = ids[-1:] * asked["max_tokens"]
        choice = {{"index": 0, "text": "?", "token_ids": new, "finish_reason": "length"}}
        choice["prompt_logprobs"] = told
        about = {{"id": "1", "object": "text_completion", "created": 1, "model": "m"}}
        self.answer({{**about, "choices": [choice]}})
    def log_message(self, *_): ...
ThreadingHTTPServer(("127.0.0.1", int(sys.argv[sys.argv.index("--port") + 1])), Handler).serve_forever()
"""
WEIGHTS = Vllm(backend="vllm", model=str(REPOSITORY / "data" / "models" / "tiny-base"), concurrency=4)


@pytest.fixture
def state(project, monkeypatch) -> Path:
    """Where the server of this project is; the command that stands in is the one that is found."""
    command = project / "vllm"
    command.write_text(STANDS_IN.format(python=sys.executable))
    command.chmod(0o755)
    monkeypatch.setenv("VLLM", str(command))
    monkeypatch.setattr(vllm_server, "ALONE", 600.0)
    state = paths.server_state(socket.gethostname(), vllm_server.device())
    yield state
    vllm_server.end(state)


def keeper(state: Path) -> str:
    return json.loads(state.read_text())["keeper"]


def ended(found: str) -> bool:
    end = time.monotonic() + 30
    while processes.runs(found) and time.monotonic() < end:
        time.sleep(0.1)
    return not processes.runs(found)


def test_what_is_asked_by_ids_is_read_and_written(state):
    (written,) = open_generator(WEIGHTS).generate([Request("Return the sum", 1)], Sampling(max_tokens=5))
    assert (written.tokens, written.finish_reason, written.seconds) == (5, "length", None)
    (read,) = open_scoring_model(WEIGHTS).read([("Return", " the sum of it.")], Scoring())
    assert set(read.rank) == {2}
    assert read.surprisal == pytest.approx(1 / 0.6931471805599453)
    assert identity(WEIGHTS).endswith(" by 0.0 (stands in)")
    (long,) = open_generator(WEIGHTS).generate([Request("word " * 80, 0)], Sampling())
    assert "context is 64" in str(long.error)
    with pytest.raises(StudyError, match="behind vLLM gives no entropy"):
        open_scoring_model(WEIGHTS).read([("a", " text")], Scoring(entropy=True))


def test_a_server_is_shared_and_gives_way_to_another(state):
    first, second = vllm_server.use(WEIGHTS), vllm_server.use(WEIGHTS)
    assert first.url == second.url
    assert (state.stat().st_mode & 0o777) == 0o600
    found = keeper(state)
    server = psutil.Process(int(found.split()[0])).children()
    told = [psutil.Process(int(found.split()[0])), *server]
    assert not [each for each in told if first.key in " ".join(each.cmdline())]
    vllm_server.use(WEIGHTS.model_copy(update={"concurrency": 8}))
    assert not processes.runs(found)
    assert not [each for each in server if each.is_running()]


def test_a_server_lives_as_long_as_any_process_uses_it(state):
    code = (
        "import sys, time\nfrom lib.backends import vllm_server\nfrom lib.params import Vllm\n"
        "lease = vllm_server.use(Vllm.model_validate_json(sys.argv[1]))\n"
        "print('uses', flush=True)\ntime.sleep(600)\n"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", code, WEIGHTS.model_dump_json()], stdout=subprocess.PIPE, text=True
    )
    assert other.stdout is not None
    assert other.stdout.readline() == "uses\n"
    assert vllm_server.vllm_keeper.is_used(state)
    assert vllm_server.use(WEIGHTS).url == json.loads(state.read_text())["url"]
    lease, found = vllm_server.use(WEIGHTS), keeper(state)
    other.kill()  # it was the one that started it
    other.wait()
    time.sleep(1)
    lease.check()
    lease.give_up()
    assert ended(found)


def test_a_server_ends_when_nobody_uses_it_and_with_its_study(state, monkeypatch):
    monkeypatch.setattr(vllm_server, "ALONE", 0.1)
    lease = vllm_server.use(WEIGHTS)
    found = keeper(state)
    time.sleep(1)
    assert processes.runs(found)
    del lease
    assert ended(found)
    study = subprocess.Popen(["sleep", "600"])
    monkeypatch.setenv(vllm_server.PARENT, f"{socket.gethostname()} {processes.identity(study.pid)}")
    lease = vllm_server.use(WEIGHTS)
    found = keeper(state)
    study.kill()
    study.wait()
    lease.give_up()  # as the study's jobs do, which end with it
    assert ended(found)
    with pytest.raises(StudyError, match=r"The vLLM server has ended: .*its log is rendered/servers/"):
        lease.check()


def test_a_study_starts_a_server_once_for_all_datasets_of_a_source(small_study, state, monkeypatch):
    declared = yaml.safe_load(paths.study_file("small").read_text())
    declared |= {"sources": ["tiny-rlhf", "tiny-base"], "datasets": ["notes", "again"], "hypotheses": {}}
    paths.study_file("small").write_text(yaml.safe_dump(declared | {"comparisons": {}, "paper": False}))
    paths.dataset_file("again").write_text(paths.dataset_file("notes").read_text())
    for name in declared["sources"]:
        file = paths.source_file(name)
        served = {"backend": "vllm", "model": f"data/models/{name}"}
        file.write_text(yaml.safe_dump(yaml.safe_load(file.read_text()) | {"weights": served}))
    monkeypatch.setenv(vllm_server.PARENT, vllm_server.parent_of_jobs())
    files = [paths.texts(*pair) for pair in product(declared["datasets"], declared["sources"])]
    command = snakemake_command("small", load_study("small"), files=files)
    done = subprocess.run(command, cwd=small_study, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert all(file.exists() for file in files)
    assert (small_study / "vllm.starts").read_text().split() == declared["sources"]


def test_a_server_that_does_not_start_says_why(state):
    with pytest.raises(StudyError, match=r"does not start with .*: ValueError: no option of that name; its"):
        vllm_server.use(WEIGHTS.model_copy(update={"options": ("--no-such-option",)}))
