"""Models behind an OpenAI-compatible server, with a real one on loopback and a proxy that spoils answers."""

import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from lib import paths
from lib.backends.engines import open_scoring_model
from lib.errors import StudyError
from lib.generate import texts as generate
from lib.params import LlamaCpp, OpenAI, Scoring
from lib.params.run import resolve
from lib.surprisal.rows import Text, score_rows
from tests.servers import Proxy, free_port, start_server

REPOSITORY = Path(__file__).resolve().parents[2]
GGUF = REPOSITORY / "data" / "models" / "tiny-base" / "q8_0.gguf"

pytest.importorskip("llama_cpp", reason="llama-cpp-python is not installed (`make extras`)")
pytest.importorskip("openai", reason="the openai client is not installed (`make extras`)")

PARAMS = """\
kind: model
class: base
family: served
study: small
weights: {{backend: openai, model: tiny, base_url: "{url}", concurrency: 4, timeout: 2}}
sampling: {{generate: 10, max_tokens: 40, min_characters: 1, max_retries: 3}}
"""
GIVEN = {"model": "served", "study": "small"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    process, url = start_server(GGUF, tmp_path_factory.mktemp("server") / "log")
    yield url
    process.kill()
    process.wait()


@pytest.fixture
def proxy(server: str) -> Iterator[Proxy]:
    proxy = Proxy(server)
    yield proxy
    proxy.close()


@pytest.fixture
def served(small_study: Path, proxy: Proxy) -> Proxy:
    """The small study with a source behind the proxy."""
    (small_study / "params" / "served.yaml").write_text(PARAMS.format(url=proxy.url))
    return proxy


def written(given: dict[str, object] = GIVEN) -> pd.DataFrame:
    run = resolve("01_generate", given)
    generate.generate_texts(run)
    return generate.read_texts(run)


def test_texts_of_a_server_are_rows_like_any_other(served):
    rows = written()
    assert len(rows) == 10
    assert "error" not in set(rows["status"])
    assert rows["error"].isna().all()
    assert rows["tokens"].sum() > 50
    assert rows["tokens"].max() <= 40
    assert (rows["sent"] == rows["prompt"]).all()
    assert set(rows["finish_reason"]) <= {"stop", "length"}
    asked = served.asked
    written()
    assert served.asked == asked  # a complete file asks for nothing


@pytest.mark.parametrize("fault", ["429", "500", "slow", "reset", "cut", "malformed", "empty"])
def test_what_may_pass_is_asked_again(served, fault):
    served.faults = [fault, fault]
    rows = written()
    assert "error" not in set(rows["status"])
    assert rows["retries"].sum() >= 2
    assert served.met[fault] == 2


def test_retry_after_is_heeded(served):
    served.faults = ["429"] * 4
    began = time.monotonic()
    written()
    assert time.monotonic() - began >= 1.0


@pytest.mark.parametrize("fault", ["429", "500", "cut", "malformed", "empty", "reset"])
def test_what_does_not_pass_is_a_row_with_an_error_and_gets_another_chance(served, fault):
    served.always = fault
    rows = written({**GIVEN, "max_retries": 0})
    assert set(rows["status"]) == {"error"}
    assert (rows["text"] == "").all()
    assert rows["error"].str.len().between(10, 300).all()
    served.always = None
    served.faults = ["none"] * 5 + ["500"]
    rows = written({**GIVEN, "max_retries": 0})
    assert list(rows["status"]).count("error") == 1
    good = rows[rows["status"] != "error"].set_index("doc_id")["text"]
    rows = written({**GIVEN, "max_retries": 0})
    assert "error" not in set(rows["status"])
    assert (rows.set_index("doc_id")["text"].loc[good.index] == good).all()  # what was there stays


def test_nobody_there_costs_the_waits_once_and_loses_no_run(small_study):
    (small_study / "params" / "served.yaml").write_text(
        PARAMS.format(url=f"http://127.0.0.1:{free_port()}/v1")
    )
    began = time.monotonic()
    rows = written()
    assert time.monotonic() - began < 20
    assert set(rows["status"]) == {"error"}
    assert rows["error"].str.contains("no connection").all()


def test_a_key_is_sent_and_stands_nowhere(served, small_study, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-very-secret")
    command = [
        sys.executable,
        "-m",
        "lib.running.execute",
        "01_generate",
        "-p",
        "model",
        "served",
        "-p",
        "study",
        "small",
    ]
    done = subprocess.run([*command, "-p", "dataset", "notes"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "Bearer sk-very-secret" in served.keys
    served.always = "401"
    with pytest.raises(StudyError) as refused:
        written({**GIVEN, "regenerate": True})
    assert "OPENAI_API_KEY" in str(refused.value)
    assert "sk-very-secret" not in str(refused.value)
    files = [file for file in small_study.rglob("*") if file.is_file() and "models" not in file.parts]
    assert len(files) > 10
    assert not [file for file in files if b"sk-very-secret" in file.read_bytes()]


def test_two_clients_write_while_a_third_is_killed_and_begins_again(served, small_study):
    for name in ("first", "second", "third"):
        text = PARAMS.format(url=served.url).replace("concurrency: 4", "concurrency: 1")
        (small_study / "params" / f"{name}.yaml").write_text(text)
    commands = {
        name: [
            *(sys.executable, "-m", "papermill", "notebooks/01_generate.ipynb", f"{name}.ipynb"),
            *("-p", "model", name, "-p", "study", "small"),
        ]
        for name in ("first", "second", "third")
    }

    def start(name: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(commands[name], cwd=small_study, stderr=subprocess.DEVNULL)

    running = {name: start(name) for name in commands}
    path = paths.texts("notes", "third")
    kept = path.with_name(f".{path.name}.journal")
    while not (kept.exists() and len(kept.read_bytes().splitlines()) > 3) and running["third"].poll() is None:
        time.sleep(0.005)
    running["third"].send_signal(signal.SIGKILL)
    assert running["third"].wait() == -signal.SIGKILL
    assert not path.exists()
    lines = kept.read_text().splitlines()[1:]
    before = [json.loads(line.partition(" ")[2]) for line in lines]
    before = {each["key"][0]: each["row"]["text"] for each in before if each["row"]["status"] == "ok"}
    assert before
    assert start("third").wait() == 0
    assert [running[name].wait() for name in ("first", "second")] == [0, 0]
    for name in commands:
        rows = written({**GIVEN, "model": name})
        assert len(rows) == 10
        assert "error" not in set(rows["status"])
    after = rows.set_index("doc_id")["text"]
    assert {doc_id: after[doc_id] for doc_id in before} == before


TEXTS = [
    Text("a", "Arrays\n\nThis is how arrays are made.", " They have a shape and a type."),
    Text("b", "Sets.", " Each value 🙂 stands in it once, é too.\n\n"),
    Text("c", "Files.", " A file is closed <|endoftext|> at the end."),
    Text("d", "", "Without a prompt."),
]


def test_a_server_that_shows_a_prompts_log_probabilities_scores_as_the_file_does(proxy):
    model = open_scoring_model(OpenAI(backend="openai", model="tiny", base_url=proxy.url))
    found = score_rows(model, Scoring(), TEXTS)
    direct = score_rows(open_scoring_model(LlamaCpp(backend="llama_cpp", file=str(GGUF))), Scoring(), TEXTS)
    tokens, expected = found.tokens.to_pandas(), direct.tokens.to_pandas()
    assert set(found.not_scored) == {("c", 0), ("d", 0)}
    assert "context" in found.not_scored["d", 0]
    expected = expected[expected["doc_id"].isin(["a", "b"])].reset_index(drop=True)
    columns = ["doc_id", "position", "context"]
    pd.testing.assert_frame_equal(tokens[columns], expected[columns])
    # Where a character is several tokens, the server shows it with the last of them.
    assert list(tokens.groupby("doc_id")["token"].sum()) == [TEXTS[0].text, TEXTS[1].text]
    whole = expected["token"].ne("") & tokens["token"].ne("") & tokens["doc_id"].eq("a")
    assert whole.sum() == 9
    assert (tokens["token"] == expected["token"])[whole].all()
    # The server keeps keys and values in half precision.
    assert np.abs(tokens["surprisal"] - expected["surprisal"]).max() < 0.2
    assert found.words.num_rows == 0
    assert model.why_no_words


@pytest.mark.parametrize("fault", ["empty", "500", "malformed"])
def test_a_server_without_them_is_refused_in_one_sentence(proxy, fault):
    proxy.always = fault
    with pytest.raises(StudyError, match="gives no log-probabilities of a prompt"):
        open_scoring_model(OpenAI(backend="openai", model="tiny", base_url=proxy.url))


def test_step_02_runs_with_a_server(served, small_study):
    shutil.copy(small_study / "params" / "tiny-scorer.yaml", small_study / "params" / "judge.yaml")
    weights = f'{{backend: openai, model: tiny, base_url: "{served.url}"}}'
    (small_study / "params" / "judge.yaml").write_text(f"kind: scorer\nweights: {weights}\n")
    from lib.surprisal import scoring as surprisal

    run = resolve("02_surprisal", {"model": "human", "study": "small", "scorer": "judge"})
    generate.generate_texts(run)
    summary = surprisal.score_texts(run)
    assert summary.texts == 10
    assert summary.tokens > 100
    assert "server" in summary.table()["words"][0]
    assert surprisal.score_texts(run).scored_now == 0
