"""Comparisons and studies."""

import os
import re
from collections.abc import Iterable
from itertools import combinations
from typing import Any, Literal

from pydantic import Field, TypeAdapter, model_validator

from lib import paths
from lib.errors import StudyError, nearest
from lib.params import varying
from lib.params.declared import Declared, Slug, TextClass
from lib.params.hypotheses import Contrast, Hypotheses, contrast
from lib.params.reading import load_source, read


class Comparison(Declared):
    """A named set of sources, how they form groups, and which pairs of groups are compared.

    Without `sources`, `classes` or `families` it is about all sources of the study.
    """

    sources: tuple[str, ...] = ()
    classes: tuple[TextClass, ...] = ()
    families: tuple[str, ...] = ()
    pooled: bool = Field(False, description="one group per family where `families` are named, else per class")
    against: str | None = Field(None, description="compare this group with each of the others only")
    metrics: tuple[str, ...] = Field((), description="columns of step 03; all by default")
    scorer: str | None = Field(None, description="one of the study's scorers; its first by default")
    margin: float = Field(0.3, gt=0, description="standard deviations within which groups are equivalent")

    @model_validator(mode="after")
    def _against_is_a_source(self) -> "Comparison":
        if sum(map(bool, (self.sources, self.classes, self.families))) > 1:
            raise ValueError("a comparison names `sources`, `classes` or `families`, one of the three")
        if self.sources and len(self.sources) < 2:
            raise ValueError("a comparison needs two `sources` or more")
        if self.against and self.sources and not self.pooled and self.against not in self.sources:
            raise ValueError(f"`against: {self.against}` is none of its sources")
        return self

    def pairs(self, groups: Iterable[str]) -> list[tuple[str, str]]:
        """The pairs of `groups` that are compared."""
        if self.against is None:
            return list(combinations(groups, 2))
        return [(self.against, group) for group in groups if group != self.against]


class UidSettings(Declared):
    """The free numbers of the UID metrics (see `lib.uid.measures`)."""

    power: float = Field(1.25, gt=1, le=10, description="k of the super-linear cost")
    first_n: int = Field(64, ge=2, description="leading tokens of `uid_variance_first_n`")
    ttr_window: int = Field(50, ge=2, description="tokens of the moving type–token ratio")


class Import(Declared):
    """Texts and surprisals that lie in another project's layout (see `lib.datasets.imported`)."""

    layout: Literal["balancing-the-flow"]
    root: str | None = Field(None, description="where it lies; `make study ROOT=...` says it instead")
    older: Slug | None = Field(
        None, description="the dataset of results without a level of datasets; the study's, where it has one"
    )
    flagged: Literal["leave_out", "keep"] = Field(
        "leave_out", description="texts in which the generator's own warnings stand"
    )


class Study(Declared):
    """What is compared with what.

    The first comparison is the main one: the front page and the paper are about it.
    """

    title: str
    sources: tuple[str, ...] = Field(min_length=1)
    datasets: tuple[Slug, ...] = Field(min_length=1)
    scorers: tuple[str, ...] = Field(min_length=1)
    vary: dict[str, dict[str, tuple[Any, ...]]] = Field(
        default_factory=dict, description="sources at several values of a parameter (`lib.params.varying`)"
    )
    samples: int = Field(1, ge=1, le=1000, description="texts per prompt and model")
    hypotheses: Hypotheses = Field(default_factory=dict, description="declared before the data")
    comparisons: dict[Slug, Comparison] = Field(default_factory=dict)
    paper: bool = Field(False, description="whether paper/ is about this study")
    limits: str = Field("", description="what the paper says of this study's own limits")
    uid: UidSettings = UidSettings()
    imported: Import | None = Field(None, alias="import")

    @model_validator(mode="before")
    @classmethod
    def _varied_sources_have_names(cls, content: Any) -> Any:
        if isinstance(content, dict) and isinstance(content.get("vary"), dict):
            return varying.expanded(content)
        return content

    @property
    def main_comparison(self) -> str | None:
        return next(iter(self.comparisons), None)

    def contrasts(self) -> list[Contrast]:
        """The hypotheses with the sources of their sides, in the order of the file.

        Raises StudyError for a hypothesis about a source, class or family that the study lacks, whose
        sides share a source, or whose models have no base of their own (`lib.params.hypotheses`).
        """
        if not self.hypotheses:
            return []
        sources = {name: load_source(name) for name in self.sources}
        return [contrast(name, declared, sources) for name, declared in self.hypotheses.items()]

    def against_people(self, model: str) -> tuple["Study", str]:
        """This study with a comparison of people with `model`, and the comparison's name.

        `model` need not be one of the study's sources.
        """
        people = [name for name in self.sources if load_source(name).text_class == "human"]
        if model in people or not people:
            raise StudyError(
                f"A model is compared with people, but {model!r} stands for people or the study has none; "
                f"name a `comparison`."
            )
        name = f"{people[0]}-vs-{re.sub('[^a-z0-9_-]+', '-', model.lower())}"
        declared = Comparison(sources=(people[0], model))
        more = {"comparisons": {name: declared}, "sources": tuple(dict.fromkeys([*self.sources, model]))}
        return self.model_copy(update=more), name

    def scorer_of(self, comparison: str) -> str:
        """Whose surprisals a comparison is about."""
        return self.comparisons[comparison].scorer or self.scorers[0]

    def sources_of(self, comparison: str) -> tuple[str, ...]:
        """The sources of a comparison. Raises StudyError if the study has none of that name."""
        return tuple(source for group in self.groups_of(comparison).values() for source in group)

    def groups_of(self, comparison: str) -> dict[str, tuple[str, ...]]:
        """The groups of a comparison, each with its sources; a source is a group unless they are pooled.

        Raises StudyError if the study has no comparison of that name or it has fewer than two groups.
        """
        if comparison not in self.comparisons:
            raise StudyError(
                f"The study has no comparison {comparison!r}; {nearest(comparison, self.comparisons)}"
            )
        declared = self.comparisons[comparison]
        groups: dict[str, tuple[str, ...]] = {}
        for name in declared.sources or self.sources:
            source = load_source(name)
            if declared.classes and source.text_class not in declared.classes:
                continue
            if declared.families and source.family not in declared.families:
                continue
            pool = source.family if declared.families else source.text_class
            group = pool if declared.pooled else name
            groups[group] = (*groups.get(group, ()), name)
        if len(groups) < 2:
            raise StudyError(
                f"Comparison {comparison!r} needs two groups and has {', '.join(groups) or 'none'}; "
                f"the study's sources are {', '.join(self.sources)}."
            )
        if declared.against is not None and declared.against not in groups:
            raise StudyError(
                f"Comparison {comparison!r} has no group {declared.against!r} to be `against`; "
                f"{nearest(declared.against, groups)}"
            )
        return groups

    @model_validator(mode="after")
    def _what_is_compared_is_declared(self) -> "Study":
        if self.paper and not self.comparisons:
            raise ValueError("`paper: true` needs a comparison to be about; name one under `comparisons`")
        if self.imported and self.imported.older and self.imported.older not in self.datasets:
            hint = nearest(self.imported.older, self.datasets)
            raise ValueError(f"`import: older` names {self.imported.older!r}, not in `datasets`; {hint}")
        for name, comparison in self.comparisons.items():
            if comparison.scorer is not None and comparison.scorer not in self.scorers:
                hint = nearest(comparison.scorer, self.scorers)
                raise ValueError(
                    f"comparison {name!r} names the scorer {comparison.scorer!r}, not in `scorers`; {hint}"
                )
            for source in comparison.sources:
                if source not in self.sources:
                    hint = nearest(source, self.sources)
                    raise ValueError(
                        f"comparison {name!r} names the source {source!r}, not in `sources`; {hint}"
                    )
        return self


IMPORT_ROOT = "IMPORT_ROOT"  # the variable of the environment that stands before a file's `import: root`


def load_study(name: str) -> Study:
    """The study `name`. Raises StudyError for whatever in it is wrong, its hypotheses' sides included."""
    study: Study = read(paths.study_file(name), TypeAdapter(Study), "study", name)
    study.contrasts()
    if study.imported and (root := os.environ.get(IMPORT_ROOT)):
        return study.model_copy(update={"imported": study.imported.model_copy(update={"root": root})})
    return study
