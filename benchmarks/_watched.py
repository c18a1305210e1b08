"""The processes of a command as one sees them from outside: time and memory by stage."""

import os
import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import psutil

BETWEEN = 1.0  # seconds between two looks
Stages = Mapping[str, tuple[str, ...]]  # what stands in the commands of a stage's processes


@dataclass
class Watched:
    """What was seen of the processes below one: seconds of processors and most bytes, by stage."""

    stages: Stages
    seconds: dict[int, tuple[str, float]] = field(default_factory=dict)
    span: dict[str, tuple[float, float]] = field(default_factory=dict)
    peak: dict[str, int] = field(default_factory=dict)
    together: int = 0

    def look(self, parent: int) -> None:
        now, together = time.monotonic(), 0
        for process in _below(parent):
            try:
                with process.oneshot():
                    stage = self._stage_of(" ".join(process.cmdline()))
                    spent = process.cpu_times()
                    held = process.memory_full_info()
            except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
                continue
            together += held.pss
            if stage is not None:
                self.seconds[process.pid] = stage, spent.user + spent.system
                self.span[stage] = self.span.get(stage, (now, now))[0], now
                self.peak[stage] = max(self.peak.get(stage, 0), held.rss)
        self.together = max(self.together, together)

    def _stage_of(self, command: str) -> str | None:
        """The stage of a process, by its command; None for a shell, or a process of no stage."""
        if not command or "python" not in command.split()[0]:
            return None
        return next(
            (stage for stage, names in self.stages.items() if any(name in command for name in names)), None
        )

    def rows(self) -> Iterator[dict[str, object]]:
        for stage in self.stages:
            if stage in self.span:
                of_stage = [seconds for name, seconds in self.seconds.values() if name == stage]
                first, last = self.span[stage]
                yield {
                    "stage": stage,
                    "processes": len(of_stage),
                    "processor seconds": round(sum(of_stage), 1),
                    "from first to last, s": round(last - first, 1),
                    "peak of one, MB": self.peak[stage] // 1_000_000,
                }


def _below(parent: int) -> list[psutil.Process]:
    try:
        return psutil.Process(parent).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def watch(
    command: list[str], said: Path, stages: Stages, environment: Mapping[str, str]
) -> tuple[Watched, float]:
    """Run `command`, what it prints going into `said`: what was seen of it, and its seconds.

    Raises SystemExit with what it said if it fails.
    """
    watched, began = Watched(stages), time.monotonic()
    with said.open("w") as stream:
        process = subprocess.Popen(
            command, env=os.environ | environment, stdout=stream, stderr=subprocess.STDOUT
        )
        while process.poll() is None:
            watched.look(process.pid)
            time.sleep(BETWEEN)
    if process.returncode:
        raise SystemExit(said.read_text())
    return watched, time.monotonic() - began
