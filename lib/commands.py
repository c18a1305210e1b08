"""How a command ends: what a person can act on is a sentence on the terminal, with exit status 1."""

import errno
import functools
import os
import sys
from collections.abc import Callable
from pathlib import Path

from lib import paths
from lib.errors import StudyError


def a_command(main: Callable[[], int]) -> Callable[[], int]:
    """`main`, of which a StudyError, or what the system refuses, ends in sentences and the exit status 1."""

    @functools.wraps(main)
    def ended() -> int:
        try:
            return main()
        except StudyError as error:
            said = str(error)
        except OSError as error:
            said = str(StudyError(f"{about(error)}."))
        for line in said.splitlines():
            print(line if line.startswith(" ") else f"error: {line}", file=sys.stderr)
        return 1

    return ended


def about(error: OSError) -> str:
    """What the system refuses, of which file, and the way out, in a sentence without its full stop."""
    where = f" ({paths.shown(Path(error.filename))})" if isinstance(error.filename, str) else ""
    return f"{reason(error)}{where}; {way_out(error)}"


def reason(error: OSError) -> str:
    """What the system refuses, in small letters."""
    said = os.strerror(error.errno) if error.errno else (str(error).strip() or type(error).__name__)
    return said.splitlines()[0].rstrip(".").lower()


def way_out(error: OSError) -> str:
    """What to do about it, as the rest of a sentence without its full stop."""
    match error:
        case IsADirectoryError() | NotADirectoryError() | FileExistsError():
            return "a folder and a file are in each other's place: move it away"
        case PermissionError():
            return "give yourself the permission, or work where you have it"
        case OSError(errno=errno.ENOSPC | errno.EDQUOT | errno.EFBIG):
            return "make room and run it again: what is complete is kept"
        case OSError(errno=errno.EROFS):
            return "work in a folder that can be written to"
        case _:
            return "see to it and run it again: what is complete is kept"
