"""Values of another kind, in some place of a declaration or an answer."""

import copy
import datetime
import math
import random
from collections.abc import Iterator, Sequence
from typing import Any

ODD = [
    *(None, True, -1, 0.5, 10**30, 10**400, 1e308, math.nan, math.inf, -math.inf, "", "x", "\ud800", "\0"),
    *([], {}, [None], [[1]], {"a": 1}, "9" * 5_000),
]
IN_YAML = [
    *(each for each in ODD if each != "\ud800"),
    *(" ", "a\nb", "../x", "/", "~", "{x}", "human", "own base", datetime.date(2024, 1, 31), b"x"),
    ["human", "human"],
]


def places_in(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where every value below `value` stands."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, each in inner:
        yield (*at, key)
        yield from places_in(each, (*at, key))


def changed(answer: dict[str, Any], chance: random.Random, odd: Sequence[Any] = ODD) -> dict[str, Any]:
    """`answer` with one value taken out, doubled, or replaced by an odd one."""
    found = copy.deepcopy(answer)
    *way, last = chance.choice(list(places_in(found)))
    there = found
    for key in way:
        there = there[key]
    what = chance.random()
    if what < 0.2:
        del there[last]
    elif what < 0.3 and isinstance(there, list):
        there.insert(last, there[last])
    else:
        there[last] = chance.choice(odd)
    return found
