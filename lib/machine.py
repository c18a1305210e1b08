"""What this machine has, as far as this process may use it: processors and memory."""

import os
from pathlib import Path

import psutil

MEGABYTE = 1 << 20


def processors() -> int:
    """Processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):  # not on macOS
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def threads() -> int:
    """How many threads a library is to use: as many as OMP_NUM_THREADS gives the job, else all processors."""
    given = os.environ.get("OMP_NUM_THREADS", "")
    return int(given) if given.isdecimal() and int(given) else processors()


def memory() -> int:
    """MB of memory that there are, a container's limit included; a tenth is left to the system."""
    there = psutil.virtual_memory().total
    limit = Path("/sys/fs/cgroup/memory.max")
    if limit.exists() and (said := limit.read_text().strip()).isdigit():
        there = min(there, int(said))
    return there * 9 // 10 // MEGABYTE
