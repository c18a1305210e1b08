"""A command whose processes all end with the one that started it, however that one ends.

A kernel of a notebook is in a session of its own, so a signal to a group of processes does not reach
it. What is stopped here is therefore the whole tree below a process. Where the starter is killed
outright it cannot stop anything; a watcher does, to whom the end of a pipe says that the starter is gone.

    python -m lib.running.children 4711      the watcher of process 4711; it waits on its input
"""

import contextlib
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any

from lib.processes import stop

SIGNALS = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)


class Stopped(BaseException):
    """A signal asked this process to end; `number` is the signal's."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


@contextlib.contextmanager
def started(command: list[str], **given: Any) -> Iterator[subprocess.Popen[str]]:
    """`command`, run with what Popen is `given`; when the context ends, so have all its processes.

    Within it SIGTERM, SIGINT and SIGHUP raise `Stopped`.
    """
    with _signals_raise(), subprocess.Popen(command, start_new_session=True, **given) as process:
        watcher = subprocess.Popen(
            [sys.executable, "-m", "lib.running.children", str(process.pid)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            yield process
        finally:
            stop(process.pid)
            watcher.kill()
            watcher.communicate()


@contextlib.contextmanager
def _signals_raise() -> Iterator[None]:
    def stopped(number: int, frame: FrameType | None) -> None:
        for each in SIGNALS:
            signal.signal(each, signal.SIG_IGN)  # a second one must not interrupt the stopping
        raise Stopped(number)

    if threading.current_thread() is not threading.main_thread():
        yield  # Python lets only the main thread handle signals
        return
    before = {number: signal.signal(number, stopped) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


if __name__ == "__main__":
    for each in SIGNALS:
        signal.signal(each, signal.SIG_IGN)
    sys.stdin.read()
    stop(int(sys.argv[1]))
