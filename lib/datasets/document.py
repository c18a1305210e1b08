"""What a dataset is made of."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Document:
    """One opening and how a person went on from it.

    `prompt` is what every source is given (here: the title, an empty line, the first sentence) and
    `text` what the author wrote after it, so that `prompt + text` is the whole document.
    """

    doc_id: str
    title: str
    prompt: str
    text: str
