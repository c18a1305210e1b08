"""An engine of a benchmark in a process of its own, and the memory it took."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any


def peak_bytes() -> int:
    """The most memory this process held; `ru_maxrss` would count its parent's, too."""
    status = Path("/proc/self/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) * 1024  # type: ignore[index]


def in_own_process(script: str, engine: str, folder: Path) -> dict[str, Any]:
    """What `script --engine … --folder …` prints as JSON on its last line.

    Raises RuntimeError with the end of what it said if it fails.
    """
    command = [sys.executable, script, "--engine", engine, "--folder", str(folder)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])
