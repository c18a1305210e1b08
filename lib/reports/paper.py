"""What the paper quotes: a study's files, and the sentences that follow from them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import nbformat
import pandas as pd

from lib import paths, store
from lib.compare import findings
from lib.compare.findings import Aspect, Finding
from lib.errors import StudyError
from lib.params import Study, load_dataset, load_scorer, load_source, load_study
from lib.reports import cells

MADE_BY = "make study"
# How to speak of a group: of one source, and of several that are pooled.
CLASS_NAMES = {
    "human": ("people", "people"),
    "base": ("the base model", "the base models"),
    "instruct": ("the fine-tuned model", "the fine-tuned models"),
    "rlhf": ("the model tuned on preferences", "the models tuned on preferences"),
}
SPELT_OUT = 3  # pairs: of more, the paper gives the count and the largest difference
# What a figure is drawn from, by what its cell hands on.
DRAWN_FROM = {
    "compared.tests": "`data/compare/{study}/{comparison}/tests.parquet`",
    "step.contours(": "`data/surprisals/{scorer}/`",
    "compared.texts": "`data/uid/{scorer}/`",
}


@dataclass(frozen=True)
class Paper:
    """The tables of one comparison of a study; `counts` has the texts of each source by status.

    No sentence is ever empty: Quarto would show the code in its place.
    `others` are the tests of the study's comparisons by another scorer, by the comparison's name.
    """

    name: str
    study: Study
    comparison: str
    summary: pd.DataFrame
    tests: pd.DataFrame
    models: pd.DataFrame
    counts: pd.DataFrame
    others: Mapping[str, pd.DataFrame]

    @property
    def scorer(self) -> str:
        return self.study.scorer_of(self.comparison)

    @property
    def classes(self) -> dict[str, str]:
        """The class of each group; of one that pools several, such as "base+rlhf"."""
        return dict(zip(self.summary["group"], self.summary["text_class"], strict=True))

    @property
    def names(self) -> Mapping[str, str]:
        """How to speak of a group: by its class, or by its own name where several share a class."""
        groups, classes = self.study.groups_of(self.comparison), list(self.classes.values())
        return {
            group: CLASS_NAMES[text_class][len(groups[group]) > 1]
            if classes.count(text_class) == 1 and text_class in CLASS_NAMES
            else group
            for group, text_class in self.classes.items()
        }

    @property
    def texts(self) -> int:
        return int(self.counts.sum().sum())

    @property
    def answer(self) -> dict[str, str]:
        """The question answered: "level_base", "spread_base", "level_human", "spread_human"."""
        return findings.answer(self.tests, self.classes)

    def in_short(self) -> str:
        """What became of the claim, against base models and against people, and the largest difference."""
        verdicts = [findings.verdict(self.tests, self.classes, other) for other in ("base", "human")]
        return " ".join([*verdicts, self.largest()]).strip()

    def of_class(self, text_class: str) -> list[str]:
        """The groups of a class, such as "rlhf"."""
        return [group for group, found in self.classes.items() if found == text_class]

    def means(self, metric: str) -> str:
        """ "14.50 ± 2.26 for people, … and …": mean ± standard deviation over the texts of each group."""
        values = {group: found[metric] for group, found in findings.numbers(self.summary).items()}
        *parts, last = (
            f"{v['mean']:.2f} ± {v['std']:.2f} for {self.names[group]}" for group, v in values.items()
        )
        return f"{', '.join(parts)} and {last}"

    def largest(self) -> str:
        """The largest difference in UID variance of models tuned on preferences, in level or spread."""
        found = [f for other in ("base", "human") for a in findings.TESTS for f in self._found(other, a)]
        if not found:
            return ""
        first = findings.strongest(found)
        kind = "The largest difference" if first.direction in ("more", "less") else "Nearest to a difference"
        return f"{kind}: {_lower(first.sentence(self.names))}"

    def said(self, metric: str, aspect: Aspect) -> str:
        """The findings on the models tuned on preferences: each in a sentence, or how many go which way."""
        said = [self._said(metric, aspect, other) for other in ("base", "human")]
        return " ".join(filter(None, said)) or "No tuned model was compared with others."

    def _said(self, metric: str, aspect: Aspect, other: str) -> str:
        found = self._found(other, aspect, metric)
        if len(found) <= SPELT_OUT:
            return " ".join(f.sentence(self.names) for f in found)
        name = findings.NAMES.get(metric, metric)
        quantity = name if aspect == "level" else f"spread of {name} between texts"
        others = {"base": "base models", "human": "people"}[other]
        return (
            f"{findings.tally_sentence(found, f'tuned models with {others} in {quantity}')} "
            f"{findings.strongest(found).sentence(self.names)}"
        )

    def _found(self, other: str, aspect: Aspect, metric: str = "uid_variance") -> list[Finding]:
        return findings.tested(self.tests, metric, self._pairs(other), aspect)

    def _pairs(self, other: str) -> list[tuple[str, str]]:
        """Each group tuned on preferences (fine-tuned, if there is none) with each of the class `other`.

        With the base models of its own family, where there are any.
        """
        tuned = self.of_class("rlhf") or self.of_class("instruct")
        pairs = [(a, b) for a in tuned for b in self.of_class(other)]
        related = [(a, b) for a, b in pairs if self._families(a) & self._families(b)]
        return related or pairs

    def _families(self, group: str) -> set[str]:
        return {load_source(source).family for source in self.study.groups_of(self.comparison)[group]}

    def by_another_scorer(self) -> str:
        """Whether the findings stand when another model gives the surprisals."""
        if not self.others:
            return (
                f"All surprisals are those of one scorer, {self.scorer}; this study does not test whether "
                "another would say the same."
            )
        sentences = []
        for name, tests in self.others.items():
            scorer = self.study.scorer_of(name)
            there = {frozenset(pair) for pair in zip(tests["group_a"], tests["group_b"], strict=True)}
            first = [
                f
                for f in findings.findings(self.tests)
                if frozenset((f.group_a, f.group_b)) in there and f.metric in set(tests["metric"])
            ]
            pairs = list(dict.fromkeys((f.group_a, f.group_b) for f in first))
            second = findings.findings(tests, pairs=pairs)
            sentences.append(findings.agreement_sentence(first, second, f"With {scorer} as the scorer,"))
            if scorer in self.study.sources_of(self.comparison):
                sentences.append(
                    f"{scorer} is itself one of the sources: its own texts, and those of models tuned from "
                    "it, surprise it less than they would an outsider, so it is no independent witness."
                )
        return " ".join(sentences)

    def at_equal_length(self, metric: str = "uid_variance") -> str:
        """The mixed-effects models' estimates for the tuned classes, on all and on matched texts."""
        there = [name for name in CLASS_NAMES if name in self._text_classes()]
        reference = "human" if "human" in there else min(there)
        datasets = self.study.datasets
        where = f"in the dataset {min(datasets)}" if len(datasets) > 1 else ""
        tuned = [name for name in ("rlhf", "instruct") if name in there and name != reference]
        return (
            " ".join(
                findings.matched_sentence(self.models, f"class[{name}]", metric, reference, where)
                for name in tuned
            )
            or "No tuned model was set against others at equal length."
        )

    def _text_classes(self) -> set[str]:
        return {load_source(source).text_class for source in self.study.sources_of(self.comparison)}

    def paired(self) -> str:
        return findings.paired_sentence(self.tests)

    def significant(self) -> str:
        """How many of the comparison's tests stand after the correction."""
        return f"{int((self.tests['p_adjusted'] < findings.ALPHA).sum())} of {len(self.tests)}"

    def unusual(self) -> str:
        """What became of texts that are not as they should be."""
        short, failed = (int(self.counts[status].sum()) for status in ("short", "error"))
        measured = sum(int(found["uid_variance"]["n"]) for found in findings.numbers(self.summary).values())
        return (
            f"{short} of the {self.texts} texts stayed shorter than asked for after all retries and are "
            f"kept; {failed or 'none'} failed. {self.texts - measured} have no measures, being empty or too "
            f"short for them, and are in no test; {measured} are."
        )

    def describe(self) -> str:
        """The sources, datasets and scorers, in a sentence."""
        classes = {
            source: load_source(source).text_class for source in self.study.sources_of(self.comparison)
        }
        sources = ", ".join(
            source if source == text_class else f"{source} ({text_class})"
            for source, text_class in classes.items()
        )
        datasets = ", ".join(f"{name} ({load_dataset(name).kind})" for name in self.study.datasets)
        several = len(self.study.datasets) > 1
        context = {"prompt": "the prompt", "none": "nothing"}[load_scorer(self.scorer).scoring.context]
        return (
            f"The sources are {sources}; the {'datasets are' if several else 'dataset is'} {datasets}; the "
            f"scorer is {self.scorer}, with {context} as context."
        )

    def limits(self) -> str:
        """What the study's file says of its own limits."""
        return self.study.limits or "The study's file names no limits of its own."

    def provenance(self) -> str:
        """What the numbers and figures were made of, so that anyone can tell whether theirs are the same."""
        record = store.read_record(paths.comparison(self.name, self.comparison, "tests"))
        versions = ", ".join(f"{name} {version}" for name, version in record["versions"].items())
        digest = store.digest(f"{name} {value}" for name, value in sorted(record["inputs"].items()))
        return (
            f"This is the study `{self.name}`, its comparison `{self.comparison}`. The numbers come from "
            f"`data/compare/{self.name}/{self.comparison}/`, the figures from the notebook "
            f"`{paths.shown(paths.rendered_comparison(self.name, self.comparison))}`; both were made of "
            f"{len(record['inputs'])} files of measures with the joint SHA-256 {digest[:16]}, by {versions}, "
            f"{record['parameters']['draws']} bootstrap draws and the seed {record['parameters']['seed']}."
        )

    def figures(self, labels: Sequence[str]) -> str:
        """A Markdown table: each figure, the cell of the notebook that drew it, and from which files."""
        drawn_by = _labelled_cells()
        rows = []
        for label in labels:
            number, code = drawn_by[label]
            files = next(file for sign, file in DRAWN_FROM.items() if sign in code)
            files = files.format(study=self.name, comparison=self.comparison, scorer=self.scorer)
            rows.append(f"| @{label} | {number} | `{code.partition('(')[0]}` | {files} |")
        return "\n".join(
            ["| figure | cell | drawn by | drawn from |", "|:-----|:---|:----------|:-----------|", *rows]
        )


def paper(study: str | None = None, comparison: str | None = None) -> Paper:
    """The paper's source: of the study whose notebook lies where the paper takes its figures from.

    Raises StudyError if the study has not been run.
    """
    if study is None or comparison is None:
        given = _notebook().metadata["papermill"]["parameters"]
        study, comparison = given["study"], given["comparison"]
    declared = load_study(study)
    tables = {
        table: store.read(paths.comparison(study, comparison, table), MADE_BY)
        for table in ("summary", "tests", "models")
    }
    statuses = {
        (source, dataset): store.read(paths.texts(dataset, source), MADE_BY)["status"].value_counts()
        for source in declared.sources_of(comparison)
        for dataset in declared.datasets
    }
    counts = pd.DataFrame(statuses).T.reindex(columns=["ok", "short", "error"]).fillna(0).astype(int)
    others = {
        name: store.read(paths.comparison(study, name, "tests"), MADE_BY)
        for name in declared.comparisons
        if declared.scorer_of(name) != declared.scorer_of(comparison)
    }
    return Paper(study, declared, comparison, counts=counts, others=others, **tables)


def _lower(sentence: str) -> str:
    return sentence[0].lower() + sentence[1:]


def _notebook() -> nbformat.NotebookNode:
    path = paths.paper_notebook()
    if not path.exists():
        raise StudyError(
            f"{paths.shown(path)} does not exist yet; `make study` makes it for a study with `paper: true`."
        )
    return nbformat.read(path, as_version=4)


def _labelled_cells() -> dict[str, tuple[int, str]]:
    """The number of each cell with a label when it ran, and its code."""
    labelled = {cells.options(cell).get("label"): cell for cell in _notebook().cells}
    return {label: (cell.execution_count, cells.code(cell)) for label, cell in labelled.items() if label}
