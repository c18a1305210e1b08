"""The five things that a person declares: source, scorer, dataset, comparison, study.

Each is a YAML file under `params/` or an entry in a study's file. Everything is checked when it is
read; what is wrong ends in one sentence that names the file, the field and what is allowed.
"""

from lib.params.corpora import (
    Articles,
    Chats,
    Corpus,
    Dataset,
    Dialogues,
    Folder,
    Opening,
    Pydocs,
    Rows,
    WordList,
    language_of,
)
from lib.params.declared import Declared, Slug, TextClass
from lib.params.hypotheses import Aspect, Contrast, Expectation, Hypothesis
from lib.params.reading import load_dataset, load_scorer, load_source, source_names, validated
from lib.params.sources import (
    AnySource,
    Human,
    LlamaCpp,
    Model,
    OpenAI,
    Sampling,
    Scorer,
    Scoring,
    Source,
    Transformers,
    Vllm,
    Weights,
)
from lib.params.studies import Comparison, Import, Study, UidSettings, load_study

__all__ = [
    "AnySource",
    "Articles",
    "Aspect",
    "Chats",
    "Comparison",
    "Contrast",
    "Corpus",
    "Dataset",
    "Declared",
    "Dialogues",
    "Expectation",
    "Folder",
    "Human",
    "Hypothesis",
    "Import",
    "LlamaCpp",
    "Model",
    "OpenAI",
    "Opening",
    "Pydocs",
    "Rows",
    "Sampling",
    "Scorer",
    "Scoring",
    "Slug",
    "Source",
    "Study",
    "TextClass",
    "Transformers",
    "UidSettings",
    "Vllm",
    "Weights",
    "WordList",
    "language_of",
    "load_dataset",
    "load_scorer",
    "load_source",
    "load_study",
    "source_names",
    "validated",
]
