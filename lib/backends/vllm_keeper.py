"""The keeper of a vLLM server: starts it, says where it is, and ends it when nobody needs it any more.

It is told on its input what to keep:

    python -m lib.backends.vllm_keeper
"""

import ctypes
import fcntl
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from lib import processes

TICK = 0.3  # seconds


@dataclass(frozen=True)
class Kept:
    """What a keeper keeps: the command, where it answers, and whose process it ends with."""

    command: list[str]
    environment: dict[str, str]
    port: int
    key: str
    parent: str
    idle: float
    state: str
    log: str


def running(state: Path) -> dict[str, Any] | None:
    """What the keeper of a server that answers told in `state`; None if there is none."""
    try:
        found: dict[str, Any] = json.loads(state.read_text())
    except (OSError, ValueError):
        return None
    return found if processes.runs(found["keeper"]) else None


def users(state: Path) -> IO[str]:
    """A file of which whoever uses the server holds a shared lock."""
    return state.with_suffix(".users").open("a")


def is_used(state: Path, *, ending: bool = False) -> bool:
    """Whether somebody uses the server; with `ending`, nobody who comes later finds it if not."""
    with users(state) as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        if ending:
            state.unlink(missing_ok=True)
    return False


def _end_with_keeper() -> None:
    """Linux ends the server should the keeper be killed outright."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)


def keep(kept: Kept, wanted: dict[str, Any]) -> None:
    """Run the server until nobody needs it any more."""
    state, unused_since = Path(kept.state), time.monotonic()
    told = False
    with Path(kept.log).open("w") as log:
        server = subprocess.Popen(
            kept.command,
            stdout=log,
            stderr=log,
            stdin=subprocess.DEVNULL,
            env=os.environ | kept.environment | {"VLLM_API_KEY": kept.key},
            start_new_session=True,
            preexec_fn=_end_with_keeper,
        )
        try:
            while server.poll() is None:
                if not processes.runs(kept.parent) and not is_used(state, ending=True):
                    break
                if not told and (longest := _answers(kept)):
                    _tell(state, kept, wanted, longest)
                    told, unused_since = True, time.monotonic()
                if not told or is_used(state):
                    unused_since = time.monotonic()
                elif time.monotonic() - unused_since > kept.idle and not is_used(state, ending=True):
                    break
                time.sleep(TICK)
        finally:
            if (found := running(state)) and found["keeper"] == processes.identity(os.getpid()):
                state.unlink(missing_ok=True)
            processes.stop(server.pid)


def _answers(kept: Kept) -> int | None:
    """How many tokens fit into the server's model; None until it answers."""
    url = f"http://127.0.0.1:{kept.port}/v1/models"
    asked = urllib.request.Request(url, headers={"Authorization": f"Bearer {kept.key}"})
    try:
        with urllib.request.urlopen(asked, timeout=5) as answer:
            return int(json.load(answer)["data"][0]["max_model_len"])
    except (urllib.error.URLError, OSError, ValueError, LookupError, TypeError):
        return None


def _tell(state: Path, kept: Kept, wanted: dict[str, Any], longest: int) -> None:
    """Say where the server is, to this user alone: the key is in it."""
    found = {
        "url": f"http://127.0.0.1:{kept.port}/v1",
        "key": kept.key,
        "longest": longest,
        "keeper": processes.identity(os.getpid()),
        "wanted": wanted,
        "log": kept.log,
    }
    temporary = state.with_suffix(".part")
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as stream:
        stream.write(json.dumps(found))
    temporary.replace(state)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    _given = json.loads(sys.stdin.read())
    keep(Kept(**_given["kept"]), _given["wanted"])
