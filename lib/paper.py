"""What the paper quotes: a study's files, and the sentences that follow from them."""

from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

from lib import findings, paths, store
from lib.findings import Aspect
from lib.params import Study, load_dataset, load_scorer, load_source, load_study

MADE_BY = "make study"
CLASS_NAMES = {
    "human": "people",
    "base": "the base model",
    "instruct": "the fine-tuned model",
    "rlhf": "the model tuned on preferences",
}


@dataclass(frozen=True)
class Paper:
    """The tables of one comparison of a study; `counts` has the texts of each source by status."""

    name: str
    study: Study
    comparison: str
    summary: pd.DataFrame
    tests: pd.DataFrame
    models: pd.DataFrame
    counts: pd.DataFrame

    @property
    def classes(self) -> dict[str, str]:
        return {source: load_source(source).text_class for source in self.study.sources_of(self.comparison)}

    @property
    def names(self) -> Mapping[str, str]:
        """How to speak of a source: by its class, or by its own name where several share a class."""
        classes = list(self.classes.values())
        return {
            source: CLASS_NAMES[text_class] if classes.count(text_class) == 1 else source
            for source, text_class in self.classes.items()
        }

    @property
    def texts(self) -> int:
        return int(self.counts.sum().sum())

    @property
    def answer(self) -> dict[str, str]:
        """The question answered: "level_base", "spread_base", "level_human", "spread_human"."""
        return findings.answer(self.tests, self.classes)

    def of_class(self, text_class: str) -> str:
        """The first source of a class, such as "rlhf"."""
        return next(source for source, found in self.classes.items() if found == text_class)

    def mean(self, source: str, metric: str) -> str:
        """Mean ± standard deviation over the texts of `source`."""
        values = findings.numbers(self.summary)[source][metric]
        return f"{values['mean']:.2f} ± {values['std']:.2f}"

    def finding(self, metric: str, first: str, second: str, aspect: Aspect) -> str:
        """One finding as a sentence with its numbers."""
        return findings.finding(self.tests, metric, first, second, aspect).sentence(self.names)

    def at_equal_length(self, source: str, metric: str = "uid_variance") -> str:
        """The mixed-effects models' estimate for the class of `source`, on all and on matched texts."""
        return findings.matched_sentence(self.models, f"class[{self.classes[source]}]", metric)

    def paired(self) -> str:
        return findings.paired_sentence(self.tests)

    def significant(self) -> str:
        """How many of the comparison's tests stand after the correction."""
        return f"{int((self.tests['p_adjusted'] < findings.ALPHA).sum())} of {len(self.tests)}"

    def unusual(self) -> str:
        """What became of texts that are not as they should be."""
        short, failed = (int(self.counts[status].sum()) for status in ("short", "error"))
        return (
            f"{short} of the {self.texts} texts stayed shorter than asked for after all retries and are "
            f"kept; {failed} could not be made and are left out."
        )

    def describe(self) -> str:
        """The sources, datasets and scorers, in a sentence."""
        sources = ", ".join(f"{source} ({text_class})" for source, text_class in self.classes.items())
        datasets = ", ".join(f"{name} ({load_dataset(name).kind})" for name in self.study.datasets)
        contexts = {load_scorer(name).scoring.context for name in self.study.scorers}
        given = " and ".join(
            {"prompt": "the prompt", "none": "nothing"}[context] for context in sorted(contexts)
        )
        return (
            f"The sources are {sources}; the dataset is {datasets}; the scorer is "
            f"{', '.join(self.study.scorers)}, with {given} as context."
        )

    def provenance(self) -> str:
        """What the numbers and figures were made of, so that anyone can tell whether theirs are the same."""
        record = store.read_record(paths.comparison(self.comparison, "tests"))
        versions = ", ".join(f"{name} {version}" for name, version in record["versions"].items())
        digest = store.digest(f"{name} {value}" for name, value in sorted(record["inputs"].items()))
        return (
            f"The numbers come from `data/compare/{self.comparison}/`, the figures from "
            f"`rendered/compare/{self.comparison}/04_compare.ipynb`; both were made of "
            f"{len(record['inputs'])} files of measures with the joint SHA-256 {digest[:16]}, by {versions}, "
            f"{record['parameters']['draws']} bootstrap draws and the seed {record['parameters']['seed']}."
        )


def paper(study: str = "demo", comparison: str = "all") -> Paper:
    """The paper's source of a study. Raises StudyError if the study has not been run."""
    declared = load_study(study)
    tables = {
        table: store.read(paths.comparison(comparison, table), MADE_BY)
        for table in ("summary", "tests", "models")
    }
    statuses = {
        (source, dataset): store.read(paths.texts(dataset, source), MADE_BY)["status"].value_counts()
        for source in declared.sources_of(comparison)
        for dataset in declared.datasets
    }
    counts = pd.DataFrame(statuses).T.reindex(columns=["ok", "short", "error"]).fillna(0).astype(int)
    return Paper(study, declared, comparison, counts=counts, **tables)
