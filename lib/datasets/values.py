"""What a cell of somebody's table holds, as what a dataset needs; `Unfit` where it is something else.

Line ends are "\\n" whatever system wrote them: a text is the same in a table as in a file of its own.
"""

import ast
import datetime
import io
import json
import tokenize
from typing import Any

from lib.datasets.unfit import Unfit


def with_plain_line_ends(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")


def text(value: Any, column: str) -> str:
    """A text; "" for a missing one."""
    match value:
        case None:
            return ""
        case str():
            return _whole(with_plain_line_ends(value), column)
        case _:
            raise _other(value, column, "a text")


def name(value: Any, column: str) -> str:
    """A title or an identifier, which may be a year, another number or a day; "" for a missing one."""
    match value:
        case bool():
            raise _other(value, column, "a name")
        case float() if value != value:
            return ""
        case float() if value.is_integer():
            return str(int(value))  # what pandas makes of whole numbers where some are missing
        case int() | float() | datetime.date():
            return str(value)
        case _:
            return text(value, column)


def turns(value: Any, column: str) -> list[str]:
    """A list of texts, or a text that spells such a list as JSON, Python or NumPy writes it."""
    found = _spelled(value) if isinstance(value, str) else value
    if found is None and not isinstance(value, str):
        return []
    if not isinstance(found, list) or not all(isinstance(turn, str) for turn in found):
        raise _other(value, column, "a list of turns, each a text,")
    return [text(turn, column) for turn in found]


def messages(value: Any, column: str) -> list[dict[str, Any]]:
    """A list of messages with `role` and `content`, or a text that spells such a list as JSON."""
    expected = "a list of messages, each with `role` and `content`,"
    if value is None:
        return []
    if isinstance(value, str):
        try:
            found = json.loads(value)
        except (ValueError, RecursionError):
            raise _other(value, column, expected) from None
    else:
        found = value
    if not isinstance(found, list):
        raise _other(value, column, expected)
    for message in found:
        if not isinstance(message, dict):
            raise _other(message, column, expected)
        if not {"role", "content"} <= message.keys():
            raise Unfit(
                f"has messages with {' and '.join(f'`{key}`' for key in sorted(message))} in the column "
                f"`{column}`, where {expected} belongs"
            )
    return [{**message, "content": text(message["content"], column)} for message in found]


def _spelled(value: str) -> list[str] | None:
    """The texts of a list that `value` spells, or None. NumPy puts no commas between them."""
    try:
        found = json.loads(value)
    except (ValueError, RecursionError):
        return _python_list(value)
    return found if isinstance(found, list) else None


def _python_list(value: str) -> list[str] | None:
    try:
        tokens = [
            token
            for token in tokenize.generate_tokens(io.StringIO(f"({value.strip()})").readline)
            if token.type not in (tokenize.NL, tokenize.NEWLINE, tokenize.ENDMARKER)
        ]
        *_, closing, _ = tokens
        inner = tokens[2:-2]
        plain = all(token.type == tokenize.STRING or token.string == "," for token in inner)
        if tokens[1].string != "[" or closing.string != "]" or not plain:
            return None
        found = [ast.literal_eval(token.string) for token in inner if token.type == tokenize.STRING]
    except (tokenize.TokenError, SyntaxError, ValueError, IndexError):
        return None
    return found if all(isinstance(turn, str) for turn in found) else None


def _whole(value: str, column: str) -> str:
    try:
        value.encode()
    except UnicodeEncodeError:
        raise Unfit(f"has half a character (a lone surrogate) in the column `{column}`") from None
    return value


def _other(value: Any, column: str, expected: str) -> Unfit:
    kinds = {str: "a text", bool: "true or false", int: "a number", float: "a number", list: "a list"}
    kinds |= {dict: "a group of fields", type(None): "nothing"}
    kind = kinds.get(type(value), f"a value of the type {type(value).__name__}")
    return Unfit(f"has {kind} in the column `{column}`, where {expected} belongs")
