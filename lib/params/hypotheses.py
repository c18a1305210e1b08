"""Claims that a study declares before it has data: who, against whom, in what, which way.

A hypothesis is one contrast of two sides. Each side is a source, a class or a family, or several of
them; `against: own base` sets each tuned model against the base of its own family. A claim of several
parts (lower than this *and* than that) is several hypotheses with the same `claim`.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, Literal, get_args

from pydantic import BeforeValidator, Field

from lib.errors import StudyError, nearest
from lib.params.declared import Declared, Slug, TextClass

Aspect = Literal["level", "spread"]
Expectation = Literal["more", "less", "different", "not less", "not more"]
OWN = {f"own {name}": name for name in ("base", "instruct")}


def _several(value: object) -> object:
    return (value,) if isinstance(value, str) else value


Names = Annotated[tuple[str, ...], BeforeValidator(_several), Field(min_length=1)]


class Hypothesis(Declared):
    """One contrast, declared before the data."""

    sentence: str = Field(min_length=1, description="the hypothesis in words, as reports quote it")
    claim: str = Field("", description="what it is a part of, such as C1; reports group by it")
    metric: str = Field(description="a column of step 03")
    aspect: Aspect = Field("level", description="the mean over documents, or their spread")
    of: Names = Field(description="sources, classes or families")
    against: Names = Field(description="the same, or `own base`, `own instruct`: of the same family")
    expect: Expectation = Field(description="what `of` has, set against `against`")
    margin: float = Field(
        0.3, gt=0, allow_inf_nan=False, description="standard deviations within which a difference is none"
    )


@dataclass(frozen=True)
class Contrast:
    """A hypothesis with the sources of its two sides, each with its share of the side's mean.

    Sources of a side count alike; with `own base` families count alike, and so do a family's sources.
    """

    name: str
    declared: Hypothesis
    of: Mapping[str, float]
    against: Mapping[str, float]
    families: Mapping[str, str] = field(default_factory=dict)  # of each source, where families are set apart

    @property
    def sources(self) -> tuple[str, ...]:
        return (*self.of, *self.against)

    def among(self, sources: Collection[str]) -> "Contrast | None":
        """The contrast of those of its `sources` that there are; None if a side has none.

        Where each model is set against its own base, a family of which one side is lacking is left out.
        """
        sides = [[source for source in side if source in sources] for side in (self.of, self.against)]
        if self.families:
            both = set.intersection(*({self.families[source] for source in side} for side in sides))
            sides = [[source for source in side if self.families[source] in both] for side in sides]
        if not all(sides):
            return None
        of, against = (self._shares(side) for side in sides)
        return replace(self, of=of, against=against)

    def _shares(self, side: Sequence[str]) -> dict[str, float]:
        pools = Counter(self.families.get(source, "") for source in side)
        return {source: 1 / len(pools) / pools[self.families.get(source, "")] for source in side}


def contrast(name: str, declared: Hypothesis, sources: Mapping[str, Any]) -> Contrast:
    """What the hypothesis is about among `sources`, the study's (a name to `lib.params.Source`).

    Raises StudyError for a name that is none of them, a side that shares a source with the other, or a
    tuned model without its own base.
    """
    first = _sources_of(name, declared.of, sources)
    own = [OWN[entry] for entry in declared.against if entry in OWN]
    if not own:
        second = _sources_of(name, declared.against, sources)
        shared = [source for source in first if source in second]
        if shared:
            raise StudyError(
                f"Hypothesis {name!r} has {', '.join(shared)} on both sides; let `of` and `against` "
                f"name different sources."
            )
        return Contrast(name, declared, _alike(first), _alike(second))
    if len(declared.against) > 1:
        raise StudyError(
            f"Hypothesis {name!r} is `against` {', '.join(declared.against)}; `{declared.against[0]}` "
            f"stands alone there, so make the others a hypothesis of their own."
        )
    of, against = _by_family(name, first, own[0], sources)
    families = {source: sources[source].family for source in (*of, *against)}
    return Contrast(name, declared, of, against, families)


def _sources_of(name: str, entries: Sequence[str], sources: Mapping[str, Any]) -> list[str]:
    """The sources that `entries` name, in the study's order."""
    found: set[str] = set()
    families = {source.family for source in sources.values()}
    for entry in entries:
        named = [
            {source for source in sources if source == entry},
            {source for source, declared in sources.items() if declared.text_class == entry},
            {source for source, declared in sources.items() if declared.family == entry},
        ]
        meant = [some for some in named if some]
        if not meant and entry in get_args(TextClass):
            raise StudyError(
                f"Hypothesis {name!r} is about the class {entry!r}, of which the study has no source; "
                f"its sources are {', '.join(sources)}."
            )
        if not meant:
            known = {*sources, *get_args(TextClass), *families}
            raise StudyError(
                f"Hypothesis {name!r} names {entry!r}, which is no source, class or family of the study; "
                f"{nearest(entry, known)}"
            )
        if any(some != meant[0] for some in meant):
            raise StudyError(
                f"Hypothesis {name!r} names {entry!r}, which is more than one of a source, a class and a "
                f"family here; name the sources that are meant."
            )
        found |= meant[0]
    return [source for source in sources if source in found]


def _by_family(
    name: str, first: Sequence[str], own: str, sources: Mapping[str, Any]
) -> tuple[dict[str, float], dict[str, float]]:
    """Both sides' shares where each source of `first` is set against those of class `own` of its family."""
    families: dict[str, list[str]] = {}
    for source in first:
        if sources[source].text_class in ("human", own):
            raise StudyError(
                f"Hypothesis {name!r} sets {source} against its own {own}, but it is of the class "
                f"{sources[source].text_class!r}; let `of` name models that were tuned from one."
            )
        families.setdefault(sources[source].family, []).append(source)
    of: dict[str, float] = {}
    against: dict[str, float] = {}
    for family, members in families.items():
        others = [s for s, d in sources.items() if d.family == family and d.text_class == own]
        if not others:
            raise StudyError(
                f"Hypothesis {name!r} sets {members[0]} against its own {own}, but the study has no {own} "
                f"model of the family {family!r}; add one to `sources`, or name other sources in `of`."
            )
        of |= {source: share / len(families) for source, share in _alike(members).items()}
        against |= {source: share / len(families) for source, share in _alike(others).items()}
    return of, against


def _alike(sources: Sequence[str]) -> dict[str, float]:
    return {source: 1 / len(sources) for source in sources}


Hypotheses = dict[Slug, Hypothesis]
