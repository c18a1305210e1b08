"""Choices that a trial made, remembered: by whoever makes one file together, and on this machine.

A trial's noise must not decide what stands in a file. Within `upon` a file beside the output keeps the
choices, and the first process that makes one makes it for all: a run that goes on, and shards on other
machines. Where nobody has chosen yet, what this machine remembers under the user's cache counts.
"""

import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from lib import machine, store
from lib.errors import StudyError

WAIT = 60  # seconds for another process that tries just now; then both try
_job: ContextVar[tuple[Path, dict[str, str]] | None] = ContextVar("job", default=None)


@contextmanager
def upon(file: Path) -> Iterator[dict[str, str]]:
    """Within it, choices are those of `file` where it has them, and are kept there where it has not.

    Yields what was asked for so far, by name. Raises StudyError if `file` cannot be written.
    """
    asked: dict[str, str] = {}
    token = _job.set((file, asked))
    try:
        yield asked
    finally:
        _job.reset(token)


def choices(names: Iterable[str], here: str, decide: Callable[[str], str]) -> dict[str, str]:
    """What was chosen for each of `names`; `decide` is asked for what nobody knows.

    `here` is all that the choice depends on but the name: the machine, versions, threads. A cache that
    cannot be read or written is no error.
    """
    names = sorted(set(names))
    job = _job.get()
    if job is None:
        return _remembered(names, here, decide)
    file, asked = job
    with store.lock(file):
        known = _read(file)
        missing = [name for name in names if name not in known]
        if missing:
            known |= _remembered(missing, here, decide)
            store.write_text(file, _json(known))
    found = {name: known[name] for name in names}
    asked |= found
    return found


def _remembered(names: list[str], here: str, decide: Callable[[str], str]) -> dict[str, str]:
    """As `choices`, from this machine's memory."""
    file = machine.cache_folder() / "choices.json"
    with _alone(file):  # a trial beside another would measure both
        known = _read(file)
        own = known.get(here) or {}
        missing = [name for name in names if name not in own]
        if missing:
            own |= {name: decide(name) for name in missing}
            with suppress(StudyError):  # then it is chosen anew next time
                store.write_text(file, _json({**known, here: own}))
    return {name: own[name] for name in names}


@contextmanager
def _alone(file: Path) -> Iterator[None]:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        held: Any = FileLock(file.with_suffix(".lock")).acquire(timeout=WAIT)
    except (OSError, Timeout):
        held = nullcontext()
    with held:
        yield


def _read(file: Path) -> dict[str, Any]:
    try:
        found = json.loads(file.read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _json(content: dict[str, Any]) -> str:
    return json.dumps(content, indent=1, sort_keys=True)
