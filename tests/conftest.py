"""A small project in a folder of its own, so that no test touches the real study."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from filelock import FileLock

if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ["OMP_NUM_THREADS"] = "1"  # the workers share the processors; read when torch is imported

from lib.running import study as study_module

REPOSITORY = Path(__file__).resolve().parents[1]

SMALL_STUDY = """\
title: A small study
sources: [human, tiny-base, tiny-rlhf]
datasets: [notes]
scorers: [tiny-scorer]
hypotheses:
  level:
    claim: C1
    sentence: Tuned texts are more uniform than people's.
    metric: uid_variance
    of: rlhf
    against: human
    expect: less
  spread:
    claim: C3
    sentence: Tuned texts differ less among themselves than the base model's.
    metric: uid_variance
    aspect: spread
    of: rlhf
    against: own base
    expect: less
comparisons:
  all: {sources: [human, tiny-base, tiny-rlhf], metrics: [mean_surprisal, uid_variance, uid_pairwise]}
paper: true
"""

# What a model may write, and no page may obey.
MARKUP = (
    "<script>window.obeyed = 1</script> <img src=x onerror='window.obeyed = 2'> ]]> {{ 7 * 6 }} {% raw %} "
    "</script> <b>bold</b> **bold** [link](javascript:obeyed) $x$ <!-- é 🙂 &amp; `ticks`\n"
)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The root of a project with the real parameters, notebooks and demo models, and no data."""
    make_project(tmp_path)
    monkeypatch.setenv("STUDY_ROOT", str(tmp_path))
    return tmp_path


@pytest.fixture
def small_study(project: Path) -> Path:
    """`project` with the study `small` of six short texts in the folder `notes`."""
    make_small_study(project)
    return project


@pytest.fixture
def imported_study(project: Path) -> Path:
    """`project` with the study `original`, which imports two sources and lacks a third."""
    (project / "params" / "studies" / "original.yaml").write_text(
        "title: What was left\nsources: [human, llama-2-7b-chat@q8_0, mistral-7b-v0.1]\n"
        "datasets: [daily_dialog]\nscorers: [gpt2]\n"
        "import: {layout: balancing-the-flow, root: original}\ncomparisons: {}\n"
    )
    for source, folder in (("human", "human_texts"), ("llama-2-7b-chat@q8_0", "llama-2-7b-chat@q8_0")):
        file = project / "original" / "Surprisals" / folder / "daily_dialog" / f"{source}_0.csv"
        file.parent.mkdir(parents=True)
        file.write_text("token,surprisal\n one,1.5\n two,2.5\n three,0.5\n")
    return project


@pytest.fixture(scope="session")
def study_root(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """A project in which the small study, named `demo`, has run from end to end; workers share it."""
    base = tmp_path_factory.getbasetemp()
    root = (base if worker_id == "master" else base.parent) / "study"
    with FileLock(root.with_suffix(".lock")):
        if not (root / "whole").exists():
            _run_small_study(root)
            (root / "whole").touch()
    return root


def _run_small_study(root: Path) -> None:
    root.mkdir()
    make_project(root)
    make_small_study(root)
    (root / "params" / "studies" / "demo.yaml").write_text(SMALL_STUDY + "samples: 2\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STUDY_ROOT", str(root))
        assert study_module.run_study("demo") == 0


@pytest.fixture
def finished_study(study_root: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("STUDY_ROOT", str(study_root))
    return study_root


@pytest.fixture
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    """torch with so many threads: one, as a job of a small model has, if a test says no other number."""
    import torch  # not for tests that open no model

    usual, number = torch.get_num_threads(), getattr(request, "param", 1)
    torch.set_num_threads(number)
    yield number
    torch.set_num_threads(usual)


def make_project(root: Path) -> None:
    # But for what a person declared by the README's example, which tests declare, too.
    own = shutil.ignore_patterns("mine.yaml")
    shutil.copytree(REPOSITORY / "params", root / "params", ignore=own)
    shutil.copytree(REPOSITORY / "notebooks", root / "notebooks")
    shutil.copytree(REPOSITORY / "paper", root / "paper")
    shutil.copy(REPOSITORY / "_quarto.yml", root)
    (root / "data").mkdir()
    (root / "data" / "models").symlink_to(REPOSITORY / "data" / "models")


def make_small_study(root: Path) -> None:
    notes = root / "notes"
    notes.mkdir()
    topics = (
        "arrays",
        "files",
        "graphs",
        "lists",
        "matrices",
        "modules",
        "numbers",
        "strings",
        "tables",
        "trees",
    )
    for number, topic in enumerate(topics):
        (notes / f"{topic}.txt").write_text(
            f"About {topic}\n\nThis note explains how {topic} are made and used. "
            f"The first of its {number + 2} parts says what they are for. Each value has a name and a type, "
            f"and most functions return a new object. If the argument is missing, an error is raised.\n"
        )
    with (notes / "trees.txt").open("a") as stream:
        stream.write(MARKUP)
    (root / "params" / "datasets" / "notes.yaml").write_text("kind: folder\nfolder: notes\n")
    (root / "params" / "studies" / "small.yaml").write_text(SMALL_STUDY)
    for name in ("tiny-base", "tiny-rlhf"):
        file = root / "params" / f"{name}.yaml"
        file.write_text(
            file.read_text()
            .replace("generate: 150", "generate: 10")
            .replace("min_tokens: 48, ", "")
            .replace("320", "48")
        )


def path_without(program: str) -> str:
    """PATH but for the folders that have `program`."""
    folders = os.environ["PATH"].split(os.pathsep)
    return os.pathsep.join(folder for folder in folders if not (Path(folder) / program).exists())


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What runs a whole study is begun first, so that no worker is left with one at the end."""
    later = pytest.mark.whole_study(9).mark
    items.sort(key=lambda item: (item.get_closest_marker("whole_study") or later).args)
