"""Models that vLLM serves, by real servers; vLLM has its own environment (`VLLM`, or `vllm` on PATH)."""

import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import yaml

from lib import paths, processes, store
from lib.backends import vllm_keeper, vllm_server
from lib.backends.engines import open_generator, open_scoring_model
from lib.backends.generating import Request
from lib.errors import StudyError
from lib.generate import texts as generate
from lib.params import Sampling, Vllm
from lib.params.run import resolve
from lib.running.study import run_study
from lib.surprisal import scoring
from tests.conftest import REPOSITORY, make_project, make_small_study

pytest.importorskip("openai", reason="the openai client is not installed (`make extras`)")
here = pytest.mark.skipif(
    not (os.environ.get("VLLM") or shutil.which("vllm")), reason="vLLM is not installed (VLLM, PATH)"
)

MODELS = REPOSITORY / "data" / "models"
WEIGHTS = Vllm(backend="vllm", model=str(MODELS / "tiny-rlhf"), concurrency=16)
PROMPTS = [f"Return the {word} of the array." for word in ("first", "second", "sum", "shape", "type", "rest")]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A project for all tests of this module, so that they share servers."""
    root = tmp_path_factory.mktemp("vllm")
    make_project(root)
    make_small_study(root)
    for name in ("tiny-rlhf", "tiny-scorer"):
        file = root / "params" / f"{name}.yaml"
        declared = yaml.safe_load(file.read_text())
        declared["weights"] = {"backend": "vllm", "model": f"data/models/{name}", "concurrency": 16}
        (root / "params" / f"served-{name}.yaml").write_text(yaml.safe_dump(declared))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STUDY_ROOT", str(root))
        patch.setattr(vllm_server, "ALONE", 120.0)  # seconds that a server waits for the next test
        yield root
        vllm_server.end(paths.server_state(vllm_server.socket.gethostname(), vllm_server.device()))


@here
def test_the_most_probable_text_is_that_of_transformers(root):
    greedy = Sampling(temperature=0, max_tokens=40)
    requests = [Request(prompt, 0, chat=chat) for prompt in PROMPTS for chat in (False, True)]
    found = open_generator(WEIGHTS).generate(requests, greedy)
    plain = open_generator(vllm_server.plain(WEIGHTS)).generate(requests, greedy)
    same = [a for a, b in zip(found, plain, strict=True) if a == b]
    assert [each.sent for each in found] == [each.sent for each in plain]
    assert len(same) >= len(found) - 1, "but for a tie that another order of sums may break"


@here
def test_seeds_limits_and_ends_are_kept(root):
    generator = open_generator(WEIGHTS)
    requests = [Request(PROMPTS[0], seed) for seed in (1, 2**31 - 1, 3)]
    written = generator.generate(requests, Sampling(max_tokens=30, min_tokens=30))
    assert {each.tokens for each in written} == {30}
    assert {each.finish_reason for each in written} == {"length"}
    assert len({each.text for each in written}) == 3
    assert [each.text for each in written] == [
        each.text for each in generator.generate(requests, Sampling(max_tokens=30, min_tokens=30))
    ]
    chats = [Request(prompt, seed, chat=True) for seed, prompt in enumerate(PROMPTS)]
    ended = generator.generate(chats, Sampling(max_tokens=400))
    assert "stop" in {each.finish_reason for each in ended}
    assert not any("<|" in each.text for each in ended)
    (long,) = generator.generate([Request("word " * 600, 0)], Sampling())
    assert long.error is not None
    assert "context is 512" in long.error


@here
def test_the_server_writes_as_many_texts_at_once_as_are_asked_for(root):
    """By vLLM's own log."""
    requests = [Request(prompt, seed) for seed in range(10) for prompt in PROMPTS]
    open_generator(WEIGHTS).generate(requests, Sampling(max_tokens=200, min_tokens=200))
    log = paths.server_log(WEIGHTS.model)
    end = time.monotonic() + 15  # the log counts every ten seconds
    while time.monotonic() < end:
        running = [int(each) for each in re.findall(r"Running: (\d+) reqs", log.read_text())]
        if max(running, default=0) > 8:
            break
        time.sleep(0.5)
    assert 8 < max(running) <= 16


@here
def test_surprisal_is_that_of_float32_and_its_deviation_is_in_the_record(root):
    given = {"study": "small", "dataset": "notes"}
    generate.generate_texts(resolve("01_generate", given | {"model": "human"}))
    runs = [
        resolve("02_surprisal", given | {"model": "human", "scorer": scorer})
        for scorer in ("served-tiny-scorer", "tiny-scorer")
    ]
    summary = scoring.score_texts(runs[0])
    scoring.score_texts(runs[1])
    found, exact = (scoring.read_tokens(run) for run in runs)
    for column in ("token", "start", "end", "context", "token_id"):
        assert (found[column] == exact[column]).all(), column
    assert np.abs(found["surprisal"] - exact["surprisal"]).mean() < 0.05
    assert (found["rank"] == exact["rank"]).mean() > 0.95
    assert summary.measured["deviation"]["mean_absolute"] < 0.05
    assert "vllm" in summary.measured["vllm"]
    assert summary.words == 0


@here
def test_one_server_on_a_device_is_shared_and_gives_way(root):
    state = paths.server_state(vllm_server.socket.gethostname(), vllm_server.device())
    first, second = vllm_server.use(WEIGHTS), vllm_server.use(WEIGHTS)
    assert first.url == second.url
    assert (state.stat().st_mode & 0o777) == 0o600
    keeper = json.loads(state.read_text())["keeper"]
    assert first.key not in " ".join(vllm_server.processes.psutil.Process(int(keeper.split()[0])).cmdline())
    del first, second
    other = vllm_server.use(WEIGHTS.model_copy(update={"concurrency": 8}))
    assert not processes.runs(keeper)
    del other


@here
def test_jobs_of_a_study_share_a_server(root, monkeypatch):
    monkeypatch.setenv(vllm_server.PARENT, vllm_server.parent_of_jobs())
    keepers = []
    for step, more in (("texts", []), ("surprisal", ["-p", "scorer", "served-tiny-rlhf"])):
        command = [sys.executable, "-m", "lib.running.make", step, "-p", "model", "served-tiny-rlhf", *more]
        done = subprocess.run(
            [*command, "-p", "study", "small", "-p", "dataset", "notes"], capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        state = paths.server_state(vllm_server.socket.gethostname(), vllm_server.device())
        keepers.append(json.loads(state.read_text())["keeper"])
    assert keepers[0] == keepers[1]
    rows = generate.read_texts(resolve("01_generate", {"model": "served-tiny-rlhf", "study": "small"}))
    assert "error" not in set(rows["status"])
    assert rows["seconds"].isna().all()
    assert (rows["sent"] != rows["prompt"]).all()  # a chat template


@here
def test_make_study_starts_one_server_for_all_that_a_model_writes_and_reads(root):
    study = yaml.safe_load(paths.study_file("small").read_text())
    study |= {"sources": ["human", "served-tiny-rlhf"], "scorers": ["served-tiny-rlhf"], "paper": False}
    study |= {"datasets": ["notes", "again"], "hypotheses": {}, "comparisons": {}}
    paths.study_file("served").write_text(yaml.safe_dump(study))
    paths.dataset_file("again").write_text(paths.dataset_file("notes").read_text())
    state, keepers = paths.server_state(vllm_server.socket.gethostname(), vllm_server.device()), set()
    vllm_server.end(state)
    over = threading.Event()

    def watch() -> None:
        while not over.wait(0.2):
            if found := vllm_keeper.running(state):
                keepers.add(found["keeper"])

    watching = threading.Thread(target=watch)
    watching.start()
    assert run_study("served") == 0
    over.set()
    watching.join()
    (keeper,) = keepers
    end = time.monotonic() + 30
    while processes.runs(keeper) and time.monotonic() < end:
        time.sleep(0.2)
    assert not processes.runs(keeper), "it ends with the study"
    assert "POST /v1/completions" in paths.server_log("data/models/tiny-rlhf").read_text()
    for dataset in study["datasets"]:
        assert set(store.read(paths.texts(dataset, "served-tiny-rlhf"), "").status) <= {"ok", "short"}
        page = paths.rendered_notebook("02_surprisal", dataset, "human", "served-tiny-rlhf")
        said = store.measured(paths.surprisals("served-tiny-rlhf", dataset, "human"))["deviation"]
        assert 0 < said["mean_absolute"] < 0.05
        assert "from float32" in page.with_suffix(".html").read_text()


@here
def test_a_server_ends_with_its_study_however_that_ends(root, monkeypatch):
    parent = subprocess.Popen(["sleep", "600"])
    found = processes.identity(parent.pid)
    monkeypatch.setenv(vllm_server.PARENT, f"{vllm_server.socket.gethostname()} {found}")
    lease = vllm_server.use(WEIGHTS.model_copy(update={"concurrency": 4}))
    state = json.loads(paths.server_state(vllm_server.socket.gethostname(), "cpu").read_text())
    server = vllm_server.processes.psutil.Process(int(state["keeper"].split()[0])).children()
    lease.check()
    parent.kill()
    parent.wait()
    lease.give_up()  # as the study's jobs do, which end with it
    end = time.monotonic() + 30
    while processes.runs(state["keeper"]) and time.monotonic() < end:
        time.sleep(0.2)
    with pytest.raises(StudyError, match="The vLLM server has ended: "):
        lease.check()
    assert not any(process.is_running() for process in server)


@here
def test_a_server_that_does_not_start_says_why_and_where_its_log_is(root):
    with pytest.raises(StudyError, match=r"vLLM does not start with .*; its log is rendered/servers/"):
        vllm_server.use(WEIGHTS.model_copy(update={"options": ("--no-such-option",)}))


def test_what_vllm_cannot_do_is_a_sentence(project, monkeypatch):
    monkeypatch.delenv("VLLM", raising=False)
    monkeypatch.setenv("PATH", str(project))
    monkeypatch.setattr(vllm_server.sys, "executable", str(project / "python"))
    with pytest.raises(StudyError, match="need the command `vllm`, which is not on PATH"):
        open_scoring_model(WEIGHTS)
    with pytest.raises(ValueError, match="a GGUF file is for"):
        Vllm(backend="vllm", model="a.gguf")
