"""An answer that a server sends token by token, put together as the one that it sends at once."""

from collections.abc import Callable, Iterable
from typing import Any

from lib.backends.openai_client import EmptyAnswerError, part


def streamed(chunks: Iterable[Any], heard: Callable[[int], None]) -> dict[str, Any]:
    """The whole answer of `chunks`, which are a token each; `heard` is told of every one.

    Raises EmptyAnswerError for one that breaks off, or has a piece that is no text.
    """
    parts: dict[str, list[str]] = {"content": [], "reasoning_content": []}
    reason, usage = None, None
    for chunk in chunks:
        usage = part(chunk, "usage") or usage
        choices = part(chunk, "choices")
        choice = choices[0] if isinstance(choices, list) and choices else None
        reason = part(choice, "finish_reason") or reason
        delta = part(choice, "delta")
        found = {
            "content": part(choice, "text") if delta is None else part(delta, "content"),
            "reasoning_content": part(delta, "reasoning_content") or part(delta, "reasoning"),
        }
        if not all(isinstance(each, str | None) for each in found.values()):
            raise EmptyAnswerError("the server's answer has a piece that is no text")
        written = {name: each for name, each in found.items() if each}
        for name, each in written.items():
            parts[name].append(each)
        if written:
            heard(1)
    if reason is None:
        raise EmptyAnswerError("the server's answer breaks off")
    text, thought = ("".join(parts[name]) for name in ("content", "reasoning_content"))
    message = {"content": text, "reasoning_content": thought or None}
    choice = {"text": text, "message": message, "finish_reason": reason}
    return {"choices": [choice], "usage": usage or {"completion_tokens": sum(map(len, parts.values()))}}
