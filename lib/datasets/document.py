"""What a dataset is made of."""

from dataclasses import dataclass

Key = tuple[str, int]
KEYS = ["doc_id", "sample"]  # what tells one text of a source from another; people's have sample 0


@dataclass(frozen=True, slots=True)
class Document:
    """One opening and how a person went on from it.

    `prompt` is what every source is given (of an article: the title, an empty line, the first
    sentence) and `text` what the author wrote after it. Documents with the same `joined_as` are
    parts of one conversation, whose texts become one row of that name.
    """

    doc_id: str
    title: str
    prompt: str
    text: str
    joined_as: str | None = None
