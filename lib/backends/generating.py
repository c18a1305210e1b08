"""What step 01 asks of an engine: texts that go on from prompts."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from lib.params import Sampling


@dataclass(frozen=True)
class Request:
    """One text to write. `seed` alone decides the draws, whatever else is written beside it."""

    prompt: str
    seed: int
    chat: bool = False
    system_prompt: str | None = None


@dataclass(frozen=True)
class Completion:
    """What came of a request.

    `text` is what follows the prompt, with its leading space; `sent` what the model was given in
    the end; `tokens` how many it wrote. `seconds` is how long a server took, retries included, and
    None for a model that runs here: its texts are the same in every run, its time is not. With an
    `error` there is no text.
    """

    text: str
    sent: str
    tokens: int
    finish_reason: Literal["stop", "length"] | None
    seconds: float | None = None
    retries: int = 0
    error: str | None = None
    reasoning: str | None = None  # what a server gives apart from the text


def why_not(ids: Sequence[int], context: int) -> str | None:
    """Why no text can follow the prompt `ids` in a `context` of so many tokens; None if one can."""
    if not ids:
        return "the prompt has no tokens, and the model no BOS to begin with"
    if len(ids) >= context:
        return f"the prompt has {len(ids)} tokens and the model's context is {context}"
    return None


def _nobody(*_: object) -> None:
    """Hear nothing."""


@dataclass(frozen=True)
class Watch:
    """Who hears what while texts are written.

    `tokens(count)`: so many more were written. `text(number, completion)`: the request of that number
    is answered. Neither is called by two threads at a time.
    """

    tokens: Callable[[int], None] = _nobody
    text: Callable[[int, Completion], None] = _nobody


UNWATCHED = Watch()


class Generator(Protocol):
    """A model that writes texts. `at_once` is how many requests it takes well in one call."""

    at_once: int

    def generate(
        self, requests: Sequence[Request], sampling: Sampling, watch: Watch = UNWATCHED
    ) -> list[Completion]:
        """A completion per request, in their order; `watch` hears of each as soon as it is there.

        Raises StudyError where none can be made.
        """
        ...
