"""Errors that a person can act on: one sentence that names the thing and the way out."""

from collections.abc import Iterable
from difflib import get_close_matches


class StudyError(Exception):
    """What went wrong and what to do about it, in one sentence."""

    def _render_traceback_(self) -> list[str]:
        """What IPython shows in place of a traceback: the sentence."""
        return [f"{type(self).__name__}: {self}"]


def nearest(name: str, known: Iterable[str]) -> str:
    """A clause such as "did you mean 'tiny-base'?", or the names there are, for an unknown `name`."""
    names = sorted(known)
    if close := get_close_matches(name, names, n=1, cutoff=0.5):
        return f"did you mean {close[0]!r}?"
    return f"there are {', '.join(names)}." if names else "there are none."
