"""A small study through a real Slurm makes the bytes that one process makes.

It takes the cluster that is there, or starts one of two nodes on this machine; some minutes.
"""

import importlib.util
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from lib import paths
from lib.errors import StudyError
from lib.params import load_study
from lib.running import profiles
from lib.running.make import make
from lib.running.study import run_study, snakemake_command
from tests.cluster import loopback

STUDY = """\
title: A study of one model
sources: [human, tiny-base]
datasets: [notes]
scorers: [tiny-scorer]
hypotheses:
  level:
    sentence: A base model's texts are more uniform than people's.
    metric: uid_variance
    of: base
    against: human
    expect: less
comparisons: {}
"""
SOURCES = ("human", "tiny-base")
GIVEN = {"study": "small", "dataset": "notes"}


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    """Slurm's commands reach a cluster whose nodes see this folder; the nodes that two shards must take."""
    if importlib.util.find_spec("snakemake_executor_plugin_slurm") is None:
        pytest.skip("snakemake-executor-plugin-slurm is not installed (`make cluster`)")
    if shutil.which("sinfo") and not subprocess.run(["sinfo"], capture_output=True, check=False).returncode:
        seen = subprocess.run(["srun", "--immediate=60", "test", "-d", str(tmp_path)], check=False)
        if seen.returncode:
            pytest.skip(
                f"this cluster's nodes do not see {tmp_path} (--basetemp names another), or none is free"
            )
        yield ()
        return
    if lacking := loopback.lacking():
        pytest.skip(f"no Slurm here: {', '.join(lacking)} not installed")
    with loopback.cluster(tmp_path / "slurm", cpus=1) as environment:
        for name in ("SLURM_CONF", "PATH"):
            monkeypatch.setenv(name, environment[name])
        yield loopback.NODES


def declare(root: Path, key: str, changed: object) -> None:
    """A profile `loopback` for the nodes of the tests, with `changed` under `key`."""
    profile = yaml.safe_load((profiles.PROFILES / "slurm" / "config.yaml").read_text())
    profile["config"] |= {"processors": 1, "mem_mb": 2_500}
    profile |= {"slurm-init-seconds-before-status-checks": 3, "slurm-keep-successful-logs": True}
    profile[key] = profile[key] | changed if isinstance(changed, dict) else changed
    folder = root / "profiles" / "loopback"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.yaml").write_text(yaml.safe_dump(profile))


@pytest.mark.usefixtures("threads")
def test_two_shards_on_two_nodes_make_the_bytes_of_one_process(small_study, slurm):
    (small_study / "params" / "studies" / "small.yaml").write_text(STUDY)
    accounts = bool(slurm) and loopback.accounting()
    declare(small_study, "slurm-status-command", "sacct" if accounts else "squeue")

    scored = [("tiny-scorer", "notes", source) for source in SOURCES]
    files = [
        *(paths.texts("notes", source) for source in SOURCES),
        *(file(*place) for place in scored for file in (paths.surprisals, paths.words, paths.uid)),
        paths.hypotheses("small"),
    ]
    command = snakemake_command(
        "small", load_study("small"), 2, profiles.load_profile("loopback"), files[-1:]
    )
    done = subprocess.run(command, cwd=small_study, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3_000:]
    through_slurm = [path.read_bytes() for path in files]

    submitted = re.findall(r"submitted with SLURM jobid \d+ \(log: \S+/rule_(\w+)/", done.stderr)
    assert sorted(submitted) == [
        *("generate", "generate", "generate_shard", "generate_shard", "hypotheses"),
        *("surprisal", "surprisal", *4 * ["surprisal_shard"], "uid", "uid"),
    ]
    asked = ["squeue", "--noheader", "--states=all", "--format=%N"]
    assert set(slurm) <= set(subprocess.run(asked, capture_output=True, text=True, check=True).stdout.split())

    if accounts:
        asked = ["sacct", "--noheader", "--allocations", "--parsable2", "--format=State"]
        said = subprocess.run(asked, capture_output=True, text=True, check=True).stdout.split()
        assert said == ["COMPLETED"] * len(submitted)

    for path in files:
        path.unlink()
    for source in SOURCES:
        make("texts", GIVEN | {"model": source})
        for step in ("surprisal", "uid"):
            make(step, GIVEN | {"model": source, "scorer": "tiny-scorer"})
    make("hypotheses", {"study": "small"})
    assert [path.read_bytes() for path in files] == through_slurm


def test_what_this_slurm_has_not_is_one_sentence(small_study, slurm):
    no_node = "Slurm has no node for a job of .*"
    for section, changed, sentence in (
        ("default-resources", {"slurm_partition": "nights"}, "names the partition 'nights', which this"),
        ("config", {"gpus": 1}, no_node + r"--gpus=1.* \(.+\); correct profiles/loopback/config.yaml"),
        ("config", {"mem_mb": 9_000_000}, no_node + "--mem=9000000"),
    ):
        declare(small_study, section, changed)
        with pytest.raises(StudyError, match=sentence) as raised:
            run_study("small", "1", "loopback")
        assert "\n" not in str(raised.value)
    assert not paths.documents("notes").exists()
