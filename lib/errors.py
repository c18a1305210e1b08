"""Errors that a person can act on: one sentence that names the thing and the way out."""

import re
from collections.abc import Iterable
from difflib import get_close_matches

LONGEST_VALUE = 80  # characters of a wrong value that a sentence quotes
_LONG_WORD = re.compile(r"\S{300,}")  # no name and no path


class StudyError(Exception):
    """What went wrong and what to do about it, in one sentence, in which no value takes a page."""

    def __init__(self, sentence: str = "") -> None:
        super().__init__(_LONG_WORD.sub(lambda word: f"{word[0][:LONGEST_VALUE]}…", sentence))

    def _render_traceback_(self) -> list[str]:
        """What IPython shows in place of a traceback: the sentence."""
        return [f"{type(self).__name__}: {self}"]


def nearest(name: str, known: Iterable[str]) -> str:
    """A clause such as "did you mean 'tiny-base'?", or the names there are, for an unknown `name`."""
    names = sorted(map(str, known))
    if close := get_close_matches(name, names, n=1, cutoff=0.5):
        return f"did you mean {close[0]!r}?"
    return f"there are {', '.join(names)}." if names else "there are none."


def shortened(value: object) -> str:
    """`value` as Python writes it, cut to what a sentence can hold."""
    try:
        written = repr(value)
    except ValueError:  # Python writes no number of thousands of digits
        return "a number of thousands of digits"
    return written if len(written) <= LONGEST_VALUE else f"{written[:LONGEST_VALUE]}…"
