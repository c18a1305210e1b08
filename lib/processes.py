"""Ending processes: one with all that it started, and whether one still runs."""

import contextlib
import os

import psutil

PATIENCE = 5.0  # seconds from asking a process to end to ending it


def identity(pid: int) -> str | None:
    """What tells process `pid` from a later one of its number; None if it has ended."""
    with contextlib.suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        if process.status() != psutil.STATUS_ZOMBIE:
            return f"{pid} {process.create_time()}"
    return None


def runs(found: str) -> bool:
    """Whether the process of that `identity` runs."""
    return identity(int(found.split()[0])) == found


def stop(pid: int) -> None:
    """End process `pid`, its group and everything below it; what does not end when asked is killed."""
    try:
        tree = [process := psutil.Process(pid), *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        tree = []
    known = {process.pid for process in tree}
    tree += [process for process in _group(pid) if process.pid not in known]
    for process in tree:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.terminate()
    _, left = psutil.wait_procs(tree, timeout=PATIENCE)
    for process in left:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()


def _group(leader: int) -> list[psutil.Process]:
    """The processes of the group that `leader` leads or led: its orphans are in it still."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if os.getpgid(process.pid) == leader:
                found.append(process)
    return found
