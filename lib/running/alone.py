"""One study at a time makes files in a folder: who does so now, and since when."""

import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from filelock import FileLock, Timeout

from lib import paths
from lib.errors import StudyError


@contextmanager
def alone(study: str) -> Iterator[None]:
    """A context in which no other `make study` runs in this folder. The lock ends with its process.

    Raises StudyError, which says which one it is, if another does.
    """
    lock = FileLock(paths.running_lock())
    lock_file = Path(lock.lock_file)
    lock_file.parent.mkdir(parents=True, exist_ok=True)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise StudyError(_who_runs(lock_file)) from None
    about = _about(lock_file)
    try:
        about.write_text(
            json.dumps(
                {
                    "study": study,
                    "pid": os.getpid(),
                    "host": socket.gethostname(),
                    "since": f"{datetime.now():%Y-%m-%d %H:%M}",
                }
            )
        )
        yield
    finally:
        about.unlink(missing_ok=True)
        lock.release()


def _who_runs(lock_file: Path) -> str:
    try:
        found = json.loads(_about(lock_file).read_text())
        where = "" if found["host"] == socket.gethostname() else f" on {found['host']}"
        who = f"the study {found['study']!r}, process {found['pid']}{where}, since {found['since']}"
        end = f"`kill {found['pid']}`"
    except (OSError, ValueError, KeyError, TypeError):  # it began or ended just now
        who, end = "a study", "Ctrl-C"
    return f"Another `make study` runs in this folder ({who}); wait until it is done, or stop it with {end}."


def _about(lock_file: Path) -> Path:
    return lock_file.with_suffix(".json")
