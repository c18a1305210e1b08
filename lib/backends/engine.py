"""What an engine is: a library or a server by which language models write and read."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from lib.backends import sizes
from lib.backends.generating import Generator
from lib.backends.scoring import Reader
from lib.params.declared import Declared

TEXTS_PER_PART = 8  # about so many are in the least part of step 02


@dataclass(frozen=True)
class Needs:
    """What a process needs that writes or reads with some weights; a study's jobs are given as much.

    Memory is in MB: the `weights` once loaded, and what stands `besides` them. `gpus` are those that it
    uses where there are any, `least_gpus` those without which it does not run; then the person may do
    `otherwise`.
    """

    weights: int = sizes.UNKNOWN
    besides: int = 0
    gpus: int = 0
    least_gpus: int = 0
    otherwise: str = ""


@dataclass(frozen=True)
class Engine:
    """All that the steps know of an engine; `lib.backends.engines` lists them.

    `declaration` is what a params file says under `weights`, told from others by its field `backend`.
    `identity` of declared weights is a content hash, a commit or a name: other weights, another identity.
    `writer` and `reader` open them, None for what the engine cannot do. The packages, those
    that some weights need `besides`, and `reading_module` with what it imports, decide the results.
    `exact` gives the same weights in float32, to measure a deviation from, or None. `asked_only` are fields
    that say how the engine is asked and change no result. `fills` says how many of the least parts of step 02
    it takes to fill the engine's batches, and `needs` what a process of it takes. A `remote` engine runs
    elsewhere: what failed may work another time, and seconds are its own. A `served` one answers from a
    server that a study starts, whose jobs share it.
    """

    declaration: type[Declared]
    identity: Callable[[Any], str]
    writer: Callable[[Any], Generator] | None
    reader: Callable[[Any], Reader] | None
    exact: Callable[[Any], Declared | None]
    reading_module: str
    writing_packages: tuple[str, ...] = ()
    reading_packages: tuple[str, ...] = ()
    besides: Callable[[Any], tuple[str, ...]] = lambda weights: ()
    asked_only: frozenset[str] = frozenset()
    fills: Callable[[Any], int] = lambda weights: 1
    needs: Callable[[Any], Needs] = lambda weights: Needs()
    remote: bool = False
    served: bool = False

    def packages(self, weights: Declared, *, reading: bool) -> tuple[str, ...]:
        """Those whose versions decide what `weights` write, or what they read."""
        always = self.reading_packages if reading else self.writing_packages
        return always + tuple(self.besides(weights))

    @property
    def name(self) -> str:
        """The `backend` of a params file."""
        (name,) = self.declaration.model_fields["backend"].annotation.__args__  # type: ignore[union-attr]
        return str(name)
