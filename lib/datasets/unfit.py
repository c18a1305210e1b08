"""Texts of a dataset that cannot be used: all of them named at once, or left out and counted."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from lib.datasets.document import Document
from lib.errors import StudyError

MOST_NAMES = 100  # with the same fault that one sentence lists
ENOUGH = 1000  # faults, after which nobody looks for more


class Unfit(Exception):  # noqa: N818 (a finding about a text, no fault of the program)
    """Why one text cannot be used, as the rest of a sentence that begins with its name."""


@dataclass
class Found:
    """The documents of a dataset, and why the unfit ones are none of them, by their names."""

    documents: list[Document] = field(default_factory=list)
    unfit: dict[str, str] = field(default_factory=dict)

    def checked(self, *, skip_unfit: bool) -> "Found":
        """Itself. Raises StudyError if there are unfit ones that nobody wants left out, or no others."""
        if self.unfit and not (skip_unfit and self.documents):
            way_out = "mend them or take them out" if len(self.unfit) > 1 else "mend it or take it out"
            if not skip_unfit:
                way_out += ", or leave such out with `skip_unfit: true` in the dataset"
            raise StudyError(f"{listed(self.unfit)}; {way_out}.")
        return self


def listed(unfit: Mapping[str, str]) -> str:
    """One clause per fault, with the names that have it."""
    names: dict[str, list[str]] = {}
    for name, reason in unfit.items():
        names.setdefault(reason, []).append(name if name.isprintable() else repr(name))
    return "; ".join(f"{_together(those)} {reason}" for reason, those in names.items())


def _together(names: list[str]) -> str:
    if len(names) == 1:
        return names[0]
    more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
    return f"each of {', '.join(names[:MOST_NAMES])}{more}"
