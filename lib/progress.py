"""How far a step is: a bar in its notebook, and a line in the terminal of the study that runs it.

`lib.running.study` names a folder in the environment. Each notebook that runs has one file there, with one
line about it, which its bar keeps up to date; the terminal shows the files that there are.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event, Thread
from typing import Any

from tqdm import tqdm

FOLDER, FILE = "STUDY_PROGRESS_FOLDER", "STUDY_PROGRESS_FILE"


class Bar(tqdm):
    """tqdm, whose state also goes to the file that the environment names, if it names one.

    `part` is how much is done of what is under way, in the unit of the bar: it is none yet, but less is left.
    """

    part = 0.0

    def display(self, *args: Any, **kwargs: Any) -> None:
        if file := os.environ.get(FILE):
            _say(Path(file), self._line())
        super().display(*args, **kwargs)

    def _line(self) -> str:
        state = self.format_dict
        done, total, seconds = state["n"], state["total"] or 0, state["elapsed"]
        reached = done + self.part
        of = f"{done} of {total} {self.unit}s" if total and self.unit == "text" else ""
        parts = [f"{reached / total:4.0%}" if total else "", of, state["postfix"] or ""]
        begun = reached - self.initial
        if total and begun > 0:
            parts.append(f"{self.format_interval(seconds * (total - reached) / begun)} left")
        return ", ".join(part for part in parts if part)


def name_of(step: str, parameters: Mapping[str, str]) -> str:
    """How the terminal names a step with its notebook's `parameters`."""
    return " ".join([step, *(value for name, value in parameters.items() if name != "study")])


@contextmanager
def running(name: str) -> Iterator[None]:
    """While it lasts, the terminal shows that `name` runs, and how far its bar is."""
    if not (folder := os.environ.get(FOLDER)):
        yield
        return
    file = Path(folder) / name.replace("/", "-")
    _say(file, "")
    os.environ[FILE] = str(file)
    try:
        yield
    finally:
        del os.environ[FILE]
        file.unlink(missing_ok=True)


@contextmanager
def waiting(what: str) -> Iterator[None]:
    """While it lasts, the bar says for `what` it waits, and since when; nobody knows for how long."""
    with Bar(desc=what, bar_format="{desc}: {elapsed}") as bar:
        ended = Event()

        def tick() -> None:
            while not ended.wait(1):
                bar.set_postfix_str(f"{what}, {bar.format_interval(bar.format_dict['elapsed'])}")

        watch = Thread(target=tick, daemon=True)
        watch.start()
        try:
            yield
        finally:
            ended.set()
            watch.join()


def lines(folder: Path) -> list[str]:
    """What runs, one line each."""
    found = []
    for file in sorted(folder.glob("[!.]*")):
        try:
            found.append(f"{file.name:44} {file.read_text()}".rstrip())
        except FileNotFoundError:
            continue  # it ended just now
    return found


def _say(file: Path, line: str) -> None:
    """Write `line` in one step, so that nobody reads half of it."""
    temporary = file.with_name(f".{file.name}")
    if not file.parent.is_dir():
        return  # whoever watched has gone; the work goes on
    with suppress(OSError):  # a disk that is full for a line is no reason to stop
        temporary.write_text(line)
        temporary.replace(file)
