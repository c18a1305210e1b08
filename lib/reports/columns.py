"""What each column of a table is: its unit, and a line about it.

    python -m lib.reports.columns        as the table of docs/files.md

Exports take their dictionary from here, and docs/files.md its table of columns.
"""

from lib.uid.measures import METRICS

OF_TEXTS = {
    "scorer": ("name", "the language model that gave surprisal"),
    "dataset": ("name", "where the openings are from; `all` is every dataset together"),
    "source": ("name", "who wrote: people, or one model with its settings"),
    "text_class": ("human, base, instruct, rlhf", "how the source was trained; groups of several have a +"),
    "family": ("name", "models that grew from one base model"),
    "doc_id": ("id", "the opening; the same for every text that grew from it"),
    "sample": ("number", "which of several texts of one opening and source, from 0"),
    "status": ("ok, short, error", "what became of the text"),
    "finish_reason": ("stop, length", "whether the model ended, or was cut off at its limit of tokens"),
    "retries": ("count", "attempts after the first"),
    "seed": ("number", "of the draws that made the text"),
    "error": ("text", "why there is no text, or a short one"),
    "seconds": ("seconds", "that a server took"),
    "sent": ("text", "what the model was really given: the prompt in its template"),
    "cut": ("text", "a repetition of the prompt, taken off the beginning of the text"),
    "reasoning": ("text", "what the model thought aloud before the text"),
    "title": ("text", "of the document"),
    "prompt": ("text", "what the source was given"),
    "text": ("text", "what the source wrote after it"),
}
OF_A_MEASURE = {
    "tokens": "tokens of the scorer",
    "mean_surprisal": "mean surprisal of the tokens",
    "median_surprisal": "median surprisal of the tokens",
    "min_surprisal": "lowest surprisal of a token",
    "max_surprisal": "highest surprisal of a token",
    "uid_variance": "population variance of the tokens' surprisals; less is more uniform",
    "uid_pairwise": "mean squared difference of neighbouring tokens' surprisals; less is more uniform",
    "vocab_size": "distinct tokens",
    "sentence_length": "mean length of a sentence",
    "local_difference": "mean absolute difference of neighbouring tokens' surprisals",
    "super_linear_cost": "mean of surprisal to the power k of the study (1.25 by default)",
    "corpus_deviation": "mean squared distance of the tokens' surprisals from the source's mean",
    "uid_variance_sentence": "uid_variance within each sentence, averaged",
    "uid_pairwise_sentence": "uid_pairwise within each sentence, averaged",
    "coefficient_of_variation": "standard deviation of surprisal over its mean",
    "pairwise_ratio": "uid_pairwise over uid_variance; 2 where neighbours are independent",
    "autocorrelation": "of neighbouring tokens' surprisals",
    "uid_variance_first_n": "uid_variance of the first tokens, as many as the study says (64 by default)",
    "moving_ttr": "mean share of distinct tokens in a moving window",
    "words": "words of the text",
    "sentence_variance": "variance of mean surprisal from sentence to sentence",
    "sentence_pairwise": "mean squared difference of neighbouring sentences' mean surprisals",
    "spectral_peak": "share of the spectrum of surprisal along the text in its strongest period",
}
OF_COMPARISONS = {
    "comparison": ("name", "of the study's comparisons, which are exploratory"),
    "group": ("name", "a source, or several pooled"),
    "group_a": ("name", "the first group of the pair"),
    "group_b": ("name", "the second group of the pair"),
    "metric": ("name", "the measure, a column of texts.csv"),
    "texts": ("count", "texts written, those that failed included"),
    "failed": ("count", "texts that failed"),
    "n": ("count", "texts that have the measure"),
    "missing": ("count", "texts that lack it"),
    "mean": ("as the metric", "mean over texts"),
    "median": ("as the metric", "median over texts"),
    "std": ("as the metric", "standard deviation over texts"),
    "min": ("as the metric", "lowest text"),
    "q25": ("as the metric", "first quartile"),
    "q75": ("as the metric", "third quartile"),
    "max": ("as the metric", "highest text"),
    "test": ("name", "what was tested, see docs/method.md"),
    "n_a": ("count", "texts of group_a, or pairs"),
    "n_b": ("count", "texts of group_b, or pairs"),
    "statistic": ("of the test", "its statistic"),
    "p": ("probability", "two-sided, uncorrected"),
    "p_adjusted": ("probability", "corrected within its family by Holm's method"),
    "p_adjusted_bh": ("false discovery rate", "corrected by Benjamini and Hochberg's method"),
    "effect": ("see effect_name", "signed, positive (a ratio: above 1) where the first side has more"),
    "effect_name": ("name", "which effect"),
    "ci_low": ("as the effect", "lower end of the interval"),
    "ci_high": ("as the effect", "upper end of the interval"),
    "margin": ("standard deviations", "within which a difference does not matter"),
}
OF_MODELS = {
    "response": ("level, spread", "the measure, or its distance from its group's median"),
    "term": ("name", "a fixed effect of the mixed model"),
    "estimate": ("as the metric", "of the term or the contrast"),
    "se": ("as the metric", "standard error of the estimate"),
    "z": ("ratio", "estimate over its standard error"),
    "documents": ("count", "openings"),
    "document_variance": ("as the metric, squared", "of the random intercepts of the openings"),
    "residual_variance": ("as the metric, squared", "what is left"),
    "residual_skewness": ("ratio", "of the residuals"),
    "residual_kurtosis": ("ratio", "excess, 0 for normal residuals"),
    "converged": ("true, false", "whether the fit converged"),
    "note": ("text", "what the fit warned of"),
    "formula": ("formula", "of the mixed model"),
}
OF_HYPOTHESES = {
    "hypothesis": ("name", "declared in study.yaml before the data"),
    "claim": ("name", "the published claim that the hypothesis belongs to"),
    "sentence": ("text", "the hypothesis in words"),
    "of": ("names", "the sources that the hypothesis is about, with spaces between"),
    "against": ("names", "the sources that they are set against"),
    "paired": ("true, false", "whether both sides have texts of the same openings"),
    "unit": ("as the metric", "what a margin of 1 is"),
    "family": ("confirmatory, supporting", "whether the verdict of this row decides"),
    "aspect": ("level, spread", "of the measure, or of how much it differs between documents"),
    "expected": ("more, less, different", "the direction that was declared"),
    "p_equivalence": (
        "probability",
        "of such data were the difference as large as the margin",
    ),
    "p_equivalence_adjusted": (
        "probability",
        "the same, corrected by Holm's method in a family of its own",
    ),
    "verdict": ("supported, reversed, no difference, open", "what the data say"),
    "independent": ("true, false", "whether the scorer is neither a source nor the parent of one"),
}
OF_TOKENS = {
    "position": ("number", "within the text, from 0"),
    "token_id": ("number", "in the scorer's vocabulary"),
    "token": ("text", "the exact characters; put together they are the text"),
    "word": ("text", "the exact characters of the word"),
    "start": ("characters", "where it begins in the text"),
    "end": ("characters", "where it ends in the text"),
    "surprisal": ("bits", "of the token, or of the word, corrected for white space"),
    "surprisal_uncorrected": ("bits", "the sum of the word's tokens"),
    "entropy": ("bits", "of the distribution that the token was drawn from"),
    "context": ("tokens", "that the scorer saw before it"),
    "rank": ("number", "1 for the token that the scorer held most probable"),
}


def _measures() -> dict[str, tuple[str, str]]:
    found = {}
    for name, unit in METRICS.items():
        of_words = name.startswith("word_")
        what = OF_A_MEASURE[name.removeprefix("word_")]
        found[name] = (unit, f"{what}, of words in place of tokens" if of_words else what)
    return found


# A column that several tables have means the same in each, but for these.
SHARED = OF_HYPOTHESES | OF_MODELS | OF_COMPARISONS | OF_TOKENS | _measures() | OF_TEXTS
OTHERWISE = {
    "hypotheses": OF_HYPOTHESES,
    "models": {"sample": ("all, length-matched", "which texts the model was fitted to")},
    "written": {"tokens": ("count", "tokens of the source's own model")},
}


def described(table: str, column: str) -> tuple[str, str] | None:
    """Unit and meaning of a column of a table, None if nobody has described it.

    `table` is the name of an exported table; "written" is that of texts before they are measured.
    """
    return OTHERWISE.get(table, {}).get(column) or SHARED.get(column)


def as_markdown() -> str:
    """Every column in a table of Markdown, by name; with its table's where it means something else there."""
    rows = [(f"`{name}`", *about) for name, about in SHARED.items()]
    for table, columns in OTHERWISE.items():
        rows += [
            (f"`{name}` of {table}", *about)
            for name, about in columns.items()
            if SHARED.get(name, about) != about
        ]
    lines = (f"| {name} | {unit} | {what} |" for name, unit, what in sorted(rows))
    return "\n".join(["| column | unit | what |", "|---|---|---|", *lines])


if __name__ == "__main__":
    print(as_markdown())
