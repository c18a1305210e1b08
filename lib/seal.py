"""A hash of a whole file that stands inside the file, so that no changed bit of it goes unseen.

Parquet's own checksums cover the pages and nothing between them: not a page's header, not the footer
with the schema and the record. The seal covers every byte. It is an entry of the footer's metadata,
the SHA-256 of the file as it is with zeros in the place of the 64 digits; other readers see a text.
"""

import hashlib
import os
from functools import cache
from pathlib import Path

KEY = b"seal"
DIGITS = 64
_BEFORE = b"sha256 of this file with these digits as zeros: "
EMPTY = _BEFORE + b"0" * DIGITS  # what a file is written with before `close`
_END = 8  # bytes after a footer: its length and the letters PAR1
_BLOCK = 1 << 20


def close(path: Path) -> None:
    """Put the hash into a file that was written with `EMPTY`, and flush it to the disk."""
    place = _place(path)
    if place is None:
        raise ValueError(f"{path} was not written to be sealed")
    digits = _hash(path, place).encode()
    with path.open("r+b") as stream:
        stream.seek(place)
        stream.write(digits)
        stream.flush()
        os.fsync(stream.fileno())


def is_whole(path: Path) -> bool | None:
    """Whether `path` is as it was sealed; None for a file without a seal. Raises OSError."""
    stat = path.stat()
    return _is_whole(path, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)


@cache
def _is_whole(path: Path, *_: int) -> bool | None:
    """Asked once a process for a file that nobody touches: hashing takes about a second a gigabyte."""
    place = _place(path)
    if place is None:
        return None
    with path.open("rb") as stream:
        stream.seek(place)
        return stream.read(DIGITS) == _hash(path, place).encode()


def _place(path: Path) -> int | None:
    """Where the digits stand in `path`: behind the last words before them."""
    size = path.stat().st_size
    with path.open("rb") as stream:
        stream.seek(max(0, size - _END))
        footer = int.from_bytes(stream.read(_END)[:4], "little") + _END
        # The length of the footer may be what is damaged; then the whole file is searched.
        for start in (max(0, size - footer), 0):
            stream.seek(start)
            place = start + stream.read().rfind(_BEFORE) + len(_BEFORE)
            if len(_BEFORE) + start <= place <= size - DIGITS:
                return place
    return None


def _hash(path: Path, place: int) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        left = place
        while block := stream.read(min(left, _BLOCK)):
            digest.update(block)
            left -= len(block)
        digest.update(b"0" * DIGITS)
        stream.seek(place + DIGITS)
        while block := stream.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()
