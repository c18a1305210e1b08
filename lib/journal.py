"""Rows that are safe on the disk as soon as they are there, before the file that they belong to is.

A line of JSON each, after a first line with the record of the file: what a run with another record left
counts for nothing. Of a line that a kill or a full disk cut off, nothing is read.
"""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from lib import store


class Journal:
    """Rows beside `path`, which is being made as `made` says, each under a key of strings and numbers.

    `lines` are those that an earlier run left, as they are on the disk: there may be very many.
    """

    def __init__(self, path: Path, made: store.Record) -> None:
        self.file = path.with_name(f".{path.name}.journal")
        self.head = _line({"made": made})
        self.lines: dict[tuple[Any, ...], bytes] = {}
        with store.writing(self.file):
            self._begin()

    def _begin(self) -> None:
        lines = self.file.read_bytes().splitlines(keepends=True) if self.file.exists() else []
        whole = len(lines[0]) if lines and lines[0] == self.head else 0
        for line in lines[1:] if whole else []:
            found = _read(line)
            if found is None:
                break
            self.lines[tuple(found["key"])] = line
            whole += len(line)
        self.file.parent.mkdir(parents=True, exist_ok=True)
        if not whole:
            self.file.write_bytes(self.head)
        else:
            os.truncate(self.file, whole)

    def pop(self, key: tuple[Any, ...]) -> dict[str, Any] | None:
        """The row that an earlier run left under `key`, once; None where it left none."""
        line = self.lines.pop(key, None)
        # Whether it is whole was seen when it was found.
        return None if line is None else json.loads(line.partition(b" ")[2])["row"]

    def take_over(self, other: "Journal") -> None:
        """What is in `other`, which stays on the disk, too."""
        self.lines |= other.lines
        other.lines.clear()

    def add(self, key: tuple[Any, ...], row: dict[str, Any]) -> None:
        """Keep `row`; when this returns, neither a kill nor a power cut loses it.

        Raises StudyError, as every other writing here, where the disk or the permissions do not allow it.
        """
        with store.writing(self.file), self.file.open("ab") as stream:
            stream.write(_line({"key": key, "row": row}))
            stream.flush()
            os.fsync(stream.fileno())

    def remove(self) -> None:
        """The file is made, and the journal of no use any more."""
        self.file.unlink(missing_ok=True)


def _line(content: dict[str, Any]) -> bytes:
    written = json.dumps(content, sort_keys=True)
    return f"{_digest(written)} {written}\n".encode()


def _read(line: bytes) -> dict[str, Any] | None:
    """What a whole line says; None for one that is cut off or damaged."""
    digest, _, written = line.decode(errors="replace").partition(" ")
    if not written.endswith("\n") or _digest(written[:-1]) != digest:
        return None
    return json.loads(written)


def _digest(written: str) -> str:
    return hashlib.sha256(written.encode()).hexdigest()[:16]
