"""Articles, dialogues and chats of a table, as openings with what a person wrote next.

The rules are those of the original study; each number in them is a field of the dataset's file.
"""

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np

from lib.datasets import rows, values
from lib.datasets.document import Document
from lib.datasets.openings import split_opening
from lib.datasets.unfit import ENOUGH, Found, Unfit
from lib.errors import StudyError
from lib.params import Articles, Chats, Dialogues, Opening


def documents(corpus: Articles | Dialogues | Chats) -> Found:
    """The documents of the first `corpus.texts` rows that have any.

    Unfit is a row whose identifier is missing or another row's, or in whose columns stands something
    else than `corpus` says. Raises StudyError for a table that is not there, a column that it lacks,
    or if no row is usable.
    """
    table = rows.read(corpus.rows, _columns(corpus))
    order = np.arange(len(table.rows))
    if corpus.seed is not None:
        order = np.random.default_rng(corpus.seed).permutation(order)
    found = Found()
    faults: dict[int, str] = {}
    first: dict[str, str] = {}  # which row has an identifier
    used = 0
    for number in map(int, order):
        if used == corpus.texts or len(faults) > ENOUGH > used:
            break
        here = table.names[number]
        try:
            row = table.rows[number]
            name = values.name(row[corpus.id], corpus.id) if corpus.id else f"{number:06}"
            if not name.strip():
                raise Unfit(f"has no identifier in the column `{corpus.id}`")
            if name in first:
                raise Unfit(f"has the identifier {name!r} of {first[name]} again in the column `{corpus.id}`")
            first[name] = here
            documents = list(_of_row(corpus, row, name))
        except Unfit as reason:
            faults[number] = str(reason)
            continue
        found.documents += documents
        used += bool(documents)
    found.unfit = {table.names[number]: faults[number] for number in sorted(faults)}
    if not (used or found.unfit):
        raise StudyError("No row of the table has a text after its opening; check its columns and the rules.")
    return found


def _columns(corpus: Articles | Dialogues | Chats) -> list[str]:
    match corpus:
        case Articles(text=text, title=title):
            named = [text, title]
        case Dialogues(turns=turns):
            named = [turns]
        case Chats(conversation=conversation):
            named = [conversation]
    return [column for column in (*named, corpus.id) if column is not None]


def _of_row(corpus: Articles | Dialogues | Chats, row: dict[str, Any], name: str) -> Iterator[Document]:
    match corpus:
        case Articles(text=column, title=title):
            heading = values.name(row[title], title) if title else None
            return article(corpus, name, values.text(row[column], column), heading)
        case Dialogues(turns=column):
            return dialogue(corpus, name, values.turns(row[column], column))
        case Chats(conversation=column):
            messages = values.messages(row[column], column)
            roles = sorted({str(message["role"]) for message in messages})
            if roles and "user" not in roles:
                named = " and ".join(f"`{role}`" for role in roles)
                raise Unfit(
                    f"has messages of {named} in the column `{column}`, and none of `user`, who writes the "
                    f"prompts"
                )
            return chat(corpus, name, messages)


def article(corpus: Articles, name: str, text: str, title: str | None) -> Iterator[Document]:
    """One document, or none if nothing follows the opening."""
    body = text.strip()
    if title is None and "\n" in body:
        title, _, body = body.partition("\n")
    title = next(iter((title or "").strip().splitlines()), "").strip()
    body = body.lstrip()
    opening = opening_of(body, corpus.opening, corpus.language)
    if body[len(opening) :].strip():
        prompt = f"{title}\n\n{opening}" if title else opening
        yield Document(name, title, prompt, body[len(opening) :])


def opening_of(body: str, rule: Opening, language: str) -> str:
    """The first sentence of `body`, or its first characters if that has no fitting length."""
    sentence, _ = split_opening(body, language)
    return sentence if rule.shortest <= len(sentence) <= rule.longest else body[: rule.characters]


def dialogue(corpus: Dialogues, name: str, turns: list[str]) -> Iterator[Document]:
    """One document per prompt; its text is the turn that a person took next."""
    said = [turn.strip() for turn in turns]
    for count in range(corpus.first_turn, len(said), corpus.every):
        prompt = "\n".join([corpus.instruction, "", *(f'"{turn}"' for turn in said[:count])])
        if said[count]:
            yield Document(f"{name}/{count}", name, prompt, said[count], name if corpus.join else None)


def chat(corpus: Chats, name: str, messages: list[dict[str, Any]]) -> Iterator[Document]:
    """One document per turn of the user; its text is what the user wrote next, "" after the last turn.

    None where the user wrote nothing, or nothing in the corpus' language.
    """
    turns = [
        message["content"].strip()
        for message in messages
        if message["role"] == "user"
        and message["content"].strip()
        and corpus.language in (None, message.get("language", corpus.language))
    ]
    for number, (turn, following) in enumerate(pairwise([*turns, ""]), start=1):
        yield Document(f"{name}/{number}", name, turn, following, name if corpus.join else None)
