"""What this machine has, as far as this process may use it: processors, memory, GPUs."""

import os
import platform
import shutil
import subprocess
from functools import cache
from pathlib import Path

import psutil
from platformdirs import user_cache_path

MEGABYTE = 1 << 20
_CPUINFO = Path("/proc/cpuinfo")  # Linux only


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


def cache_folder() -> Path:
    """Where this project keeps what the machine's next run need not find out again; it may be deleted."""
    return user_cache_path("balancing-the-flow")


@cache
def processor() -> str:
    """The processor by name, and by family and model, which tell more than the name in a virtual machine."""
    said = _cpuinfo()
    name = said.get("model name") or platform.processor() or platform.machine()
    if {"cpu family", "model"} <= said.keys():
        return f"{name} (family {said['cpu family']}, model {said['model']})"
    return name


@cache
def instruction_sets() -> frozenset[str]:
    """What the processor can do, in Linux's words (`avx512f`, `amx_bf16`); nothing elsewhere."""
    said = _cpuinfo()
    return frozenset((said.get("flags") or said.get("Features") or "").split())


def _cpuinfo() -> dict[str, str]:
    """What Linux says of the first processor."""
    if not _CPUINFO.exists():
        return {}
    lines = (line.partition(":") for line in _CPUINFO.read_text().partition("\n\n")[0].splitlines())
    return {name.strip(): value.strip() for name, _, value in lines}


@cache
def gpus() -> tuple[str, ...]:
    """The GPUs that this process may use, by the names that CUDA_VISIBLE_DEVICES takes."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is not None:
        return tuple(name.strip() for name in named.split(",") if name.strip() not in ("", "-1"))
    return _asked("index")


def gpu_names() -> tuple[str, ...]:
    """What `gpus` are, as their maker calls them."""
    return _asked("name")[: len(gpus())]


def _asked(field: str) -> tuple[str, ...]:
    """A field of every GPU, of NVIDIA's own tool."""
    if shutil.which("nvidia-smi") is None:
        return ()
    listed = subprocess.run(
        ["nvidia-smi", f"--query-gpu={field}", "--format=csv,noheader"],
        capture_output=True,
        text=True,
        check=False,
    )
    return tuple(line.strip() for line in listed.stdout.splitlines()) if listed.returncode == 0 else ()
