"""What was dear is not thrown away: a file that another takes the place of stays under `data/earlier/`.

It is kept by a key of its record, and comes back when a file of that record is asked for again.
"""

import os
import shutil
from pathlib import Path

from lib import paths

KEY_LENGTH = 24  # hexadecimal digits of a key; a file's own hash beside it tells two of one record apart


def keep(path: Path, key: str, content: str) -> Path | None:
    """Keep the file `path`, which stays where it is; return its second place, None if it is not dear.

    `content` is a hash of the file.
    """
    folder = paths.earlier(path)
    if folder is None:
        return None
    kept = folder / f"{key[:KEY_LENGTH]}-{content[:8]}{path.suffix}"
    if not kept.exists():
        folder.mkdir(parents=True, exist_ok=True)
        _second_name(path, kept)
    return kept


def find(path: Path, key: str) -> Path | None:
    """The file of that key that stood at `path` last, if there is one."""
    folder = paths.earlier(path)
    if folder is None:
        return None
    found = list(folder.glob(f"{key[:KEY_LENGTH]}-*{path.suffix}"))
    return max(found, key=lambda file: file.stat().st_mtime_ns, default=None)


def bring_back(kept: Path, path: Path) -> None:
    """Let the file `kept` be `path` again, in one step."""
    temporary = path.with_name(f".{path.name}.part")
    temporary.unlink(missing_ok=True)
    _second_name(kept, temporary)
    os.utime(temporary)  # what follows from it is looked at again
    temporary.replace(path)


def _second_name(path: Path, other: Path) -> None:
    """A hard link costs no room; where the file system has none, a copy. Whole or not there."""
    try:
        os.link(path, other)
    except OSError:
        temporary = other.with_name(f".{other.name}.copy")
        shutil.copyfile(path, temporary)
        temporary.replace(other)
