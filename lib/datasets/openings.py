"""Where a prompt ends: the rules that split a document into its opening and the rest."""

import re

from lib.datasets.pydocs import first_sentence

PARAGRAPH_END = re.compile(r"\n\s*\n")


def split_opening(body: str) -> tuple[str, str]:
    """The first sentence of `body`, and the rest as it stands (with its leading space).

    A sentence ends with its paragraph at the latest.
    """
    paragraph = PARAGRAPH_END.split(body, maxsplit=1)[0]
    opening, _ = first_sentence(paragraph)
    return opening, body[len(opening) :]
