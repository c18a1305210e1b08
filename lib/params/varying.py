"""One source at several values of a parameter: `vary:` in a study.

    vary: {tiny-rlhf: {temperature: [0.5, 0.9, 1.2]}}

makes of the source three, which share its file and its weights: `tiny-rlhf+temperature=0.5` and so on. Such a
name stands wherever a source's does: in a hypothesis, in a notebook's `model`, on a command line.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from lib.errors import StudyError, nearest, shortened
from lib.params.declared import LARGEST

# Where a parameter stands in a model's file, and how a value is read back from a name.
PARAMETERS = {
    "temperature": ("sampling", "temperature"),
    "top_p": ("sampling", "top_p"),
    "chat": ("chat",),
    "revision": ("weights", "revision"),
}
NUMBERS = ("temperature", "top_p")
IN_A_NAME = re.compile(r"[A-Za-z0-9._-]+")


class Variant(NamedTuple):
    """A source's file, and the parameter that it takes another value of."""

    source: str
    parameter: str
    value: Any


def variant_of(name: str) -> Variant | None:
    """What the name of a varied source says, or None for the name of a file."""
    source, plus, rest = name.partition("+")
    parameter, equals, value = rest.partition("=")
    if not (plus and equals):
        return None
    if parameter not in PARAMETERS:
        raise StudyError(f"{name!r} varies {parameter!r}; {nearest(parameter, PARAMETERS)}")
    if parameter in NUMBERS:
        try:
            return Variant(source, parameter, float(value))
        except ValueError:
            raise StudyError(f"{name!r} has no number after {parameter}=.") from None
    if parameter == "chat":
        if value not in ("true", "false"):
            raise StudyError(f"{name!r} has {value!r} after chat=, where true or false belongs.")
        return Variant(source, parameter, value == "true")
    return Variant(source, parameter, value)


def changed(content: Mapping[str, Any], variant: Variant) -> dict[str, Any]:
    """A model's declaration as plain values, with the parameter's other value."""
    *within, last = PARAMETERS[variant.parameter]
    made = dict(content)
    place = made
    for part in within:
        place[part] = dict(place[part])
        place = place[part]
    place[last] = variant.value
    made["label"] = f"{content.get('label') or variant.source}, {variant.parameter} {_spelled(variant.value)}"
    return made


def expanded(study: Mapping[str, Any]) -> dict[str, Any]:
    """A study's content with the names of varied sources in place of theirs, wherever they stand.

    Raises ValueError for a `vary` that cannot be, in a sentence.
    """
    made = dict(study)
    names = {source: _names(source, how) for source, how in study["vary"].items()}
    listed = study.get("sources")
    for source, variants in names.items():
        if isinstance(listed, (list, tuple)) and not any(each in listed for each in (source, *variants)):
            hint = nearest(str(source), listed)
            raise ValueError(f"`vary` names the source {shortened(source)}, not in `sources`; {hint}")
    made["sources"] = _replaced(listed, names)
    if isinstance(study.get("comparisons"), dict):
        made["comparisons"] = {
            name: {**each, "sources": _replaced(each["sources"], names)} if _has(each, "sources") else each
            for name, each in study["comparisons"].items()
        }
    if isinstance(study.get("hypotheses"), dict):
        made["hypotheses"] = {
            name: {**each, **{side: _replaced(each[side], names) for side in SIDES if _has(each, side)}}
            if isinstance(each, dict)
            else each
            for name, each in study["hypotheses"].items()
        }
    return made


SIDES = ("of", "against")


def _has(each: Any, field: str) -> bool:
    return isinstance(each, dict) and field in each


def _replaced(listed: Any, names: Mapping[str, Iterable[str]]) -> Any:
    if isinstance(listed, str):
        return list(names[listed]) if listed in names else listed
    if not isinstance(listed, (list, tuple)):
        return listed
    return [new for old in listed for new in (names.get(old, (old,)) if isinstance(old, str) else (old,))]


def _names(source: str, how: Any) -> list[str]:
    if not isinstance(how, Mapping) or not how:
        raise ValueError(
            f"`vary: {source}` names no parameter; write one of {', '.join(PARAMETERS)} with values"
        )
    names = []
    for parameter, values in how.items():
        if parameter not in PARAMETERS:
            raise ValueError(f"`vary: {source}` names {parameter!r}; {nearest(str(parameter), PARAMETERS)}")
        if not _several(values):
            raise ValueError(
                f"`vary: {source}: {parameter}` is {shortened(values)}, but must be two values or more, each "
                f"once"
            )
        for value in values:
            _check(source, parameter, value)
            names.append(f"{source}+{parameter}={_spelled(value)}")
    return names


def _several(values: Any) -> bool:
    whole = isinstance(values, (list, tuple)) and len(values) > 1
    return whole and not any(value in values[:place] for place, value in enumerate(values))


def _check(source: str, parameter: str, value: Any) -> None:
    if parameter == "chat":
        fits, wanted = isinstance(value, bool), "true or false"
    elif parameter == "revision":
        fits = isinstance(value, str) and IN_A_NAME.fullmatch(value) is not None
        wanted = "text of letters, digits and . _ - (of another branch, its commit)"
    else:
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        fits, wanted = number and abs(value) <= LARGEST, "a number"
    if not fits:
        raise ValueError(f"`vary: {source}: {parameter}` has {shortened(value)}, but must have {wanted}")


def _spelled(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value:g}" if isinstance(value, (int, float)) else str(value)
