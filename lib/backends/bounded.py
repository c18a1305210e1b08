"""Calls into other people's code that may never come back: a chat template's loop, a server that drips."""

from collections.abc import Callable
from threading import Thread
from typing import TypeVar

Found = TypeVar("Found")


def within(seconds: float, call: Callable[[], Found]) -> Found:
    """`call()`, or TimeoutError after `seconds`; the thread that it runs in is then left behind.

    What `call` raises is raised here. The thread ends with the process at the latest.
    """
    found: list[Found] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            found.append(call())
        except BaseException as error:
            errors.append(error)

    thread = Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    if errors:
        raise errors[0]
    if not found:
        raise TimeoutError(f"no answer within {seconds:g} s")
    return found[0]
