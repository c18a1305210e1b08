"""Articles, dialogues and chats of a table, as openings with what a person wrote next.

The rules are those of the original study; each number in them is a field of the dataset's file.
"""

from collections.abc import Iterator
from itertools import islice
from typing import Any

import numpy as np

from lib.datasets import rows
from lib.datasets.document import Document
from lib.datasets.openings import split_opening
from lib.errors import StudyError, nearest
from lib.params import Articles, Chats, Dialogues, Opening


def documents(corpus: Articles | Dialogues | Chats) -> list[Document]:
    """The documents of the first `corpus.texts` rows that have any.

    Raises StudyError for a table that is not there, a column that it lacks, or if no row is usable.
    """
    table = rows.read(corpus.rows)
    for column in _columns(corpus):
        if column not in table.column_names:
            raise StudyError(f"The table has no column {column!r}; {nearest(column, table.column_names)}")
    order = np.arange(len(table))
    if corpus.seed is not None:
        order = np.random.default_rng(corpus.seed).permutation(order)
    usable = (found for number in order if (found := list(_of_row(corpus, table[int(number)], int(number)))))
    chosen = list(islice(usable, corpus.texts))
    if not chosen:
        raise StudyError("No row of the table has a text after its opening; check its columns and the rules.")
    return [document for of_row in chosen for document in of_row]


def _columns(corpus: Articles | Dialogues | Chats) -> list[str]:
    match corpus:
        case Articles(text=text, title=title):
            named = [text, title]
        case Dialogues(turns=turns):
            named = [turns]
        case Chats(conversation=conversation):
            named = [conversation]
    return [column for column in (*named, corpus.id) if column is not None]


def _of_row(corpus: Articles | Dialogues | Chats, row: dict[str, Any], number: int) -> Iterator[Document]:
    name = str(row[corpus.id]) if corpus.id else f"{number:06}"
    match corpus:
        case Articles():
            return article(corpus, name, row[corpus.text] or "", row[corpus.title] if corpus.title else None)
        case Dialogues():
            return dialogue(corpus, name, row[corpus.turns] or [])
        case Chats():
            return chat(corpus, name, row[corpus.conversation] or [])


def article(corpus: Articles, name: str, text: str, title: str | None) -> Iterator[Document]:
    """One document, or none if nothing follows the opening."""
    body = text.strip()
    if title is None and "\n" in body:
        title, _, body = body.partition("\n")
    title = next(iter((title or "").strip().splitlines()), "").strip()
    body = body.lstrip()
    opening = opening_of(body, corpus.opening)
    if body[len(opening) :].strip():
        prompt = f"{title}\n\n{opening}" if title else opening
        yield Document(name, title, prompt, body[len(opening) :])


def opening_of(body: str, rule: Opening) -> str:
    """The first sentence of `body`, or its first characters if that has no fitting length."""
    sentence, _ = split_opening(body)
    return sentence if rule.shortest <= len(sentence) <= rule.longest else body[: rule.characters]


def dialogue(corpus: Dialogues, name: str, turns: list[str]) -> Iterator[Document]:
    """One document per prompt; its text is the turn that a person took next."""
    said = [turn.strip() for turn in turns]
    for count in range(corpus.first_turn, len(said), corpus.every):
        prompt = "\n".join([corpus.instruction, "", *(f'"{turn}"' for turn in said[:count])])
        if said[count]:
            yield Document(f"{name}/{count}", name, prompt, said[count], name if corpus.join else None)


def chat(corpus: Chats, name: str, messages: list[dict[str, Any]]) -> Iterator[Document]:
    """One document per turn of the user; its text is what the user wrote next, "" after the last turn."""
    turns = [
        message["content"].strip()
        for message in messages
        if message["role"] == "user"
        and (message["content"] or "").strip()
        and corpus.language in (None, message.get("language", corpus.language))
    ]
    for number, (turn, following) in enumerate(zip(turns, [*turns[1:], ""], strict=True), start=1):
        yield Document(f"{name}/{number}", name, turn, following, name if corpus.join else None)
