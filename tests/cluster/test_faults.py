"""What befalls a study on Slurm, and that it goes on when asked again, with nothing lost.

Minutes each, so they are asked for: `FAULTS=yes pytest tests/cluster/test_faults.py`, where there is Slurm.
"""

import contextlib
import importlib.util
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
import yaml

from lib import paths
from lib.running import profiles, status
from lib.running.make import make
from tests.cluster import loopback

STUDY = """\
title: A study of one source
sources: [human, tiny-base]
datasets: [notes]
scorers: [tiny-scorer]
samples: 3
comparisons: {}
"""
# `make study` for one file; texts take a while, so that there is time for something to befall them.
DRIVER = """\
import sys
from lib.running import study
command = study.snakemake_command
def of_one_file(*given):
    return command(*given, files=[study.paths.root() / sys.argv[3]])
study.snakemake_command = of_one_file
try:
    sys.exit(study.run_study(sys.argv[1], "1", sys.argv[2]))
except study.children.Stopped:
    sys.exit(130)
"""
SLOWLY = """\
import os, sys, time
if os.environ.get("SLOWLY") and "lib.running.make" in sys.orig_argv:
    from lib import journal
    add = journal.Journal.add
    journal.Journal.add = lambda *given: (time.sleep(float(os.environ["SLOWLY"])), add(*given))
"""


class Cluster:
    """The loopback cluster and a small study in a folder that its nodes see."""

    def __init__(self, root: Path, environment: dict[str, str]) -> None:
        self.root, self.environment = root, environment
        self.texts = paths.texts("notes", "tiny-base")
        (root / "slow").mkdir()
        (root / "slow" / "sitecustomize.py").write_text(SLOWLY)
        self.profile()

    def profile(self, **changed: object) -> None:
        profile = yaml.safe_load((profiles.PROFILES / "slurm" / "config.yaml").read_text())
        profile["config"] |= {"processors": 1, "mem_mb": 2_500}
        profile["slurm-init-seconds-before-status-checks"] = 3
        profile |= changed
        folder = self.root / "profiles" / "loopback"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config.yaml").write_text(yaml.safe_dump(profile))

    def asked(self, *command: str) -> str:
        return subprocess.run(
            command, env=self.environment, capture_output=True, text=True, check=True
        ).stdout.strip()

    @contextlib.contextmanager
    def study(self, slowly: float = 0.0) -> Iterator[subprocess.Popen[str]]:
        """`make study` with the profile, for the texts alone."""
        environment = dict(self.environment)
        if slowly:
            environment |= {"SLOWLY": str(slowly), "PYTHONPATH": str(self.root / "slow")}
        with subprocess.Popen(
            [sys.executable, "-c", DRIVER, "small", "loopback", str(self.texts.relative_to(self.root))],
            cwd=self.root,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as process:
            try:
                yield process
            finally:
                process.kill()

    def said(self, slowly: float = 0.0) -> tuple[int, str]:
        with self.study(slowly) as process:
            said, _ = process.communicate(timeout=500)
        return process.returncode, said

    def written(self) -> int:
        """Texts that are safe on the disk."""
        journals = list(self.texts.parent.glob(".*.journal"))
        return sum(len(journal.read_bytes().splitlines()) - 1 for journal in journals)

    def until(self, ready: Callable[[], object], seconds: float = 240) -> None:
        end = time.monotonic() + seconds
        while not ready():
            assert time.monotonic() < end, self.asked("squeue", "--states=all")
            time.sleep(0.3)

    def jobs(self, state: str) -> list[str]:
        return self.asked("squeue", "--noheader", f"--states={state}", "--format=%i %N").splitlines()

    def goes_on(self) -> None:
        """Asked again, the study is whole, made the bytes of one process, and kept what was written."""
        before = self.written()
        code, said = self.said()
        assert code == 0, said
        made = self.texts.read_bytes()
        assert before >= 3
        self.texts.unlink()
        make("texts", {"study": "small", "dataset": "notes", "model": "tiny-base"})
        assert self.texts.read_bytes() == made


@pytest.fixture
def cluster(small_study, monkeypatch, request) -> Iterator[Cluster]:
    if importlib.util.find_spec("snakemake_executor_plugin_slurm") is None:
        pytest.skip("snakemake-executor-plugin-slurm is not installed (`make cluster`)")
    if not os.environ.get("FAULTS"):
        pytest.skip("takes a quarter of an hour; FAULTS=yes runs it")
    if lacking := loopback.lacking():
        pytest.skip(f"no Slurm here: {', '.join(lacking)} not installed")
    (small_study / "params" / "studies" / "small.yaml").write_text(STUDY)
    with loopback.cluster(small_study / "slurm", cpus=1) as environment:
        for name in ("SLURM_CONF", "PATH"):
            monkeypatch.setenv(name, environment[name])
        yield Cluster(small_study, environment)


def test_a_cancelled_job_is_told_with_its_log_and_the_study_goes_on(cluster):
    with cluster.study(slowly=1) as process:
        cluster.until(lambda: cluster.written() >= 3)
        state = status.status("small").set_index(["step", "of"]).loc[("01_generate", "notes tiny-base")]
        assert state["state"] == "running"
        assert (cluster.root / state["why"].removeprefix("its log: ")).exists()
        (job,) = cluster.jobs("running")
        cluster.asked("scancel", job.split()[0])
        said, _ = process.communicate(timeout=200)
    assert process.returncode == 1
    assert re.search(r"error: JOB \d+ ON node\d CANCELLED AT \S+", said)
    assert re.search(r"the job's log: \.snakemake/slurm_logs/rule_generate/notes_tiny-base/\d+\.log", said)
    state = status.status("small").set_index(["step", "of"]).loc[("01_generate", "notes tiny-base")]
    assert state["state"] == "failed"
    assert "CANCELLED" in state["why"]
    cluster.goes_on()


def test_a_job_over_its_time_says_so_and_the_study_goes_on(cluster):
    cluster.profile(**{"default-resources": {"runtime": 1}})
    code, said = cluster.said(slowly=2)
    assert code == 1
    assert re.search(r"error: JOB \d+ ON node\d CANCELLED AT \S+ DUE TO TIME LIMIT", said), said
    cluster.profile()
    cluster.goes_on()


def test_a_job_over_its_memory_says_so(cluster):
    cluster.profile(**{"set-resources": {"generate": {"mem_mb": 150}}})
    code, said = cluster.said()
    assert code == 1
    assert re.search(r"error: .*memory", said, re.IGNORECASE), said
    assert "the job's log: .snakemake/slurm_logs/" in said


def test_a_full_partition_is_waited_for_and_said(cluster):
    taken = [
        cluster.asked(
            "sbatch",
            "--parsable",
            "--exclusive",
            "--output=/dev/null",
            f"--nodelist={node}",
            "--wrap",
            "sleep 900",
        )
        for node in loopback.NODES
    ]
    with cluster.study() as process:
        cluster.until(lambda: len(cluster.jobs("pending")) == 1)
        state = status.status("small").set_index(["step", "of"]).loc[("01_generate", "notes tiny-base")]
        assert state["state"] == "waiting"
        assert "Resources" in state["why"] or "Priority" in state["why"] or "None" in state["why"]
        cluster.asked("scancel", *taken)
        said, _ = process.communicate(timeout=300)
    assert process.returncode == 0, said


def test_the_jobs_of_a_node_that_dies_go_on_on_another(cluster):
    with cluster.study(slowly=1) as process:
        cluster.until(lambda: cluster.written() >= 3)
        (job,) = cluster.jobs("running")
        number, node = job.split()
        _kill_node(node, cluster.root)
        cluster.until(lambda: [each for each in cluster.jobs("running") if node not in each], seconds=400)
        assert cluster.written() >= 3
        said, _ = process.communicate(timeout=400)
    assert process.returncode == 0, said
    assert number in cluster.asked("squeue", "--noheader", "--states=all", "--format=%i").split()


def test_a_login_node_that_dies_loses_nothing(cluster):
    with cluster.study(slowly=1) as process:
        cluster.until(lambda: cluster.written() >= 3)
        for each in [*psutil.Process(process.pid).children(recursive=True), psutil.Process(process.pid)]:
            with contextlib.suppress(psutil.NoSuchProcess):
                each.send_signal(signal.SIGKILL)  # the watcher, too, as when a machine loses its power
        process.wait()
    assert cluster.jobs("running"), "the job works on"
    cluster.goes_on()


def _kill_node(node: str, root: Path) -> None:
    """End the daemon of `node` of the cluster in `root` and all that it runs, as when its power fails."""
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            line = " ".join(process.cmdline())
            mine = f"-N {node} -f {root}/" in line
            if mine or (line.startswith("slurmstepd") and _runs_on(process, node, root)):
                for each in [process, *process.children(recursive=True)]:
                    with contextlib.suppress(psutil.NoSuchProcess):
                        each.kill()


def _runs_on(step: psutil.Process, node: str, root: Path) -> bool:
    """Whether the daemon of a step is of `node` of this cluster: its children know."""
    for child in step.children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            if child.environ().get("SLURMD_NODENAME") == node and child.cwd() == str(root):
                return True
    return False
