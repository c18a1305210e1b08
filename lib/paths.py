"""Where everything lives. Nothing else builds paths.

The root is the folder that holds this package, or the one that the environment variable
`STUDY_ROOT` names, so notebooks run from any working directory.
"""

import os
from pathlib import Path

from lib import packages

DEAR = ("texts", "surprisals", "words")  # folders of data/ whose files take long to make


def root() -> Path:
    return Path(os.environ.get("STUDY_ROOT") or Path(__file__).resolve().parents[1])


# What a person writes.


def source_file(source: str) -> Path:
    """Of a varied source (`tiny-rlhf+temperature=0.5`) the file of the one that it varies."""
    name = source.partition("+")[0] if "=" in source else source
    return root() / "params" / f"{name}.yaml"


def dataset_file(dataset: str) -> Path:
    return root() / "params" / "datasets" / f"{dataset}.yaml"


def study_file(study: str) -> Path:
    return root() / "params" / "studies" / f"{study}.yaml"


def registered(study: str) -> Path:
    """What a study fixed before its data, committed with what people write."""
    return root() / "params" / "registered" / f"{study}.yaml"


def notebook(step: str) -> Path:
    return root() / "notebooks" / f"{step}.ipynb"


def resolve(path: str | Path) -> Path:
    """A path of a params file: absolute, from the home folder (~), from the root, or in a package.

    Raises StudyError if it names a package (`package:NAME/…`) that is not installed.
    """
    if str(path).startswith(packages.SCHEME):
        return packages.inside(str(path))
    return root() / Path(path).expanduser()


def shown(path: Path) -> str:
    """How a sentence names `path`: from the root where it lies below it."""
    return str(path.relative_to(root())) if path.is_relative_to(root()) else str(path)


# What runs make. Parquet files each carry their record under the metadata key "study".


def documents(dataset: str) -> Path:
    return root() / "data" / "documents" / f"{dataset}.parquet"


def imported(dataset: str, source: str) -> Path:
    """What stands in the files that a study imports, read once."""
    return root() / "data" / "documents" / dataset / f"{source}.parquet"


def texts(dataset: str, source: str) -> Path:
    return root() / "data" / "texts" / dataset / f"{source}.parquet"


def surprisals(scorer: str, dataset: str, source: str) -> Path:
    return root() / "data" / "surprisals" / scorer / dataset / f"{source}.parquet"


def words(scorer: str, dataset: str, source: str) -> Path:
    return root() / "data" / "words" / scorer / dataset / f"{source}.parquet"


def uid(scorer: str, dataset: str, source: str) -> Path:
    return root() / "data" / "uid" / scorer / dataset / f"{source}.parquet"


def earlier(path: Path) -> Path | None:
    """Where what stood at `path` is kept, a folder; None for a file that is made again in no time."""
    data = root() / "data"
    if not path.is_relative_to(data) or path.relative_to(data).parts[0] not in DEAR:
        return None
    return data / "earlier" / path.relative_to(data).with_suffix("")


def comparison(study: str, comparison: str, table: str) -> Path:
    """`table` is "summary", "tests" or "models"."""
    return root() / "data" / "compare" / study / comparison / f"{table}.parquet"


def hypotheses(study: str) -> Path:
    return root() / "data" / "compare" / study / "hypotheses.parquet"


def rendered_notebook(step: str, dataset: str, source: str, scorer: str | None = None) -> Path:
    """`scorer` is None for step 01 alone, which is the same whoever scores its texts."""
    folder = root() / "rendered" / dataset / source
    return (folder / scorer if scorer else folder) / f"{step}.ipynb"


def rendered_study(study: str) -> Path:
    """The folder of a study's front page, its comparisons and its pages of texts."""
    return root() / "rendered" / "studies" / study


def rendered_comparison(study: str, comparison: str) -> Path:
    return rendered_study(study) / comparison / "04_compare.ipynb"


def paper_notebook() -> Path:
    """The main comparison of the study that the paper is about, where paper/ looks for its figures."""
    return root() / "rendered" / "paper" / "04_compare.ipynb"


def texts_page(study: str, dataset: str) -> Path:
    return rendered_study(study) / f"texts-{dataset}.html"


def running_lock() -> Path:
    """Held by the `make study` that runs in this folder."""
    return root() / "data" / ".running.lock"


def speeds() -> Path:
    """How fast models were in short runs, by kind of device."""
    return root() / "data" / "speeds.json"


def gpu_lock(host: str, name: str) -> Path:
    """Held by the job that uses the GPU `name` of the machine `host`."""
    return root() / "data" / f".gpu-{host}-{name}.lock"


def server_state(host: str, device: str) -> Path:
    """Where the server is that a study keeps on a device of `host`."""
    return root() / "data" / ".servers" / f"{host}-{device}.json"


def server_log(model: str) -> Path:
    """What the server of a model says."""
    return root() / "rendered" / "servers" / f"{model.strip('/').replace('/', '-')}.log"


def failed_log(step: str, name: str) -> Path:
    return root() / "rendered" / "failed" / f"{step}-{name}.log"


def failed_notebook(step: str, name: str) -> Path:
    return root() / "rendered" / "failed" / f"{step}-{name}.ipynb"


def plan_page(study: str) -> Path:
    """What a study would find, before it runs."""
    return rendered_study(study) / "plan.html"


def study_page(study: str) -> Path:
    """The front page of a study."""
    return rendered_study(study) / "index.html"


def index_page() -> Path:
    """The page that lists every study."""
    return root() / "rendered" / "index.html"


def paper_page(kind: str) -> Path:
    """`kind` is "html" or "pdf"."""
    return root() / "_site" / "paper" / f"index.{kind}"


def export(study: str) -> Path:
    """The folder of a study's plain tables."""
    return root() / "exports" / study


def archive(study: str) -> Path:
    return root() / "archives" / f"{study}.zip"
