"""What a job needs of a machine: processors, memory, GPUs."""

from collections.abc import Iterable, Iterator

from lib.backends.engines import engine_of
from lib.params import Model, Source, Study, Weights, load_scorer, load_source

LIBRARIES = 1_000  # MB that Python, torch and the tables take before a model is loaded
READING = 800  # MB of a job that opens no model
KB_PER_WRITTEN = 4  # of what steps 01 and 02 hold of each text, short ones
KB_PER_TESTED = 1  # of what step 04 holds of each text
KB_PER_REPORTED = 2  # of what reports hold of it
BATCH = 600  # MB of activations and logits of a batch, measured with the demo's models
SPARE = 1.2  # of the weights: what is packed or converted stands beside them for a while
MB_PER_THREAD = 256  # of weights; a smaller model is no faster on two processors, two of them are


def memory_of(weights: Weights) -> int:
    """MB that a process takes which writes or scores with `weights`, as far as their files tell."""
    engine = engine_of(weights)
    if engine.remote:
        return LIBRARIES // 2
    needs = engine.needs(weights)
    return LIBRARIES + BATCH + needs.besides + round(SPARE * needs.weights)


def threads_of(weights: Weights, most: int) -> int:
    """How many processors, `most` at most, a model of these `weights` makes use of."""
    engine = engine_of(weights)
    if engine.remote:
        return 1
    return max(1, min(most, engine.needs(weights).weights // MB_PER_THREAD))


def gpus_of(weights: Weights) -> int:
    """How many GPUs the engine of `weights` uses, where there are any."""
    return engine_of(weights).needs(weights).gpus


def served(study: Study) -> dict[Weights, int]:
    """The weights that servers of `study` have, writers before scorers; the first has the highest rank."""
    declared = [load_source(name) for name in study.sources] + [load_scorer(name) for name in study.scorers]
    weights = [getattr(each, "weights", None) for each in declared]
    distinct = dict.fromkeys(each for each in weights if each is not None and engine_of(each).served)
    return {each: len(distinct) - number for number, each in enumerate(distinct)}


def held(study: Study, source: str) -> int:
    """MB of the texts of `source` on one dataset, as a job has them that writes or scores them."""
    return 0 if study.imported else KB_PER_WRITTEN * texts_of(study, load_source(source)) // 1000


def reading(study: Study, sources: Iterable[str], each: int) -> int:
    """MB of a job that reads the measures of all texts of `sources`, in all datasets: `each` kB of a text."""
    if study.imported:
        return READING
    texts = sum(texts_of(study, load_source(name)) for name in sources)
    return READING + each * texts * len(study.datasets) // 1000


def texts_of(study: Study, source: Source) -> int:
    """How many texts of a source there will be of a dataset, at most: people have one of each opening."""
    if isinstance(source, Model):
        return source.sampling.generate * (study.samples if source.sampling.temperature else 1)
    declared = [load_source(name) for name in study.sources]
    openings = (each.sampling.generate for each in declared if isinstance(each, Model))
    return source.generate or max(openings, default=0)


def unmet(study: Study, shards: int, there: int) -> Iterator[str]:
    """What of `study` cannot run in so many `shards`, or where one job has at most `there` GPUs."""
    sources = {name: load_source(name) for name in study.sources}
    scorers = {name: load_scorer(name) for name in study.scorers}
    has = f"{there or 'no'} GPU{'s' * (there > 1)}"
    for name, declared in (sources | scorers).items():
        if (weights := getattr(declared, "weights", None)) is not None:
            needs = engine_of(weights).needs(weights)
            if needs.least_gpus > there:
                wanted = f"{needs.least_gpus} GPUs" if needs.least_gpus > 1 else "a GPU"
                yield f"{name!r} asks for {wanted}, and a job has {has} here; {needs.otherwise}."
    for name, source in sources.items():
        if isinstance(source, Model):
            most = texts_of(study, source)
            if shards > most:
                yield f"{name!r} writes {most} texts, which {shards} shards cannot share; give fewer."
