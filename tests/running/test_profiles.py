"""A profile that cannot be used is one sentence, before anything is made."""

import stat
import subprocess
import sys

import pytest
import yaml

from lib import paths
from lib.errors import StudyError
from lib.params import load_study
from lib.running import profiles, status
from lib.running import slurm as slurm_module
from lib.running.profiles import load_profile
from lib.running.study import run_study, snakemake_command

NODE = "executor: {executor}\nconfig: {{processors: 4, mem_mb: 8000, gpus: {gpus}}}\n"


def declare(root, name, text):
    folder = root / "profiles" / name
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(text)


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    """A function that puts programs of Slurm on PATH which say what they are told to."""
    folder = tmp_path / "slurm"
    folder.mkdir()
    monkeypatch.setattr(profiles.importlib.util, "find_spec", lambda name: name)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")

    def program(name, script):
        file = folder / name
        file.write_text(f"#!/bin/sh\n{script}\n")
        file.chmod(file.stat().st_mode | stat.S_IXUSR)

    program("sinfo", "printf 'short\\nlong\\n'")
    program("sbatch", f'echo "$@" >> {folder}/asked')
    program.asked = folder / "asked"
    return program


def test_a_profile_that_there_is_not_is_named_with_the_nearest(small_study):
    with pytest.raises(
        StudyError, match=r"no profile 'slrum' \(profiles/slrum/config.yaml\); did you mean 'slurm'"
    ):
        run_study("small", "1", "slrum")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("config: [", "is not valid YAML at line 1"),
        ("- executor", "must be settings by name"),
        ("executor: local", "`processors`, a whole number from 1 on"),
        ("config: {processors: 0, mem_mb: 1, gpus: 0}", "`processors`, a whole number"),
        ("config: {processors: 1, mem_mb: 1.5, gpus: 0}", "`mem_mb`, a whole number"),
        ("config: {processors: 1, mem_mb: 1}", "`gpus`, a whole number from 0"),
        ("config: 3", "so must `config`"),
    ],
)
def test_a_profile_that_says_nothing_usable_is_one_sentence(project, text, sentence):
    declare(project, "mine", text)
    with pytest.raises(StudyError, match=sentence):
        load_profile("mine")


def test_a_cluster_that_cannot_take_the_jobs_is_one_sentence(project, slurm):
    declare(
        project, "mine", NODE.format(executor="slurm", gpus=1) + "default-resources: {slurm_partition: lon}"
    )
    with pytest.raises(
        StudyError, match="the partition 'lon', which this Slurm does not have; did you mean 'long'"
    ):
        load_profile("mine")
    file = project / "profiles" / "mine" / "config.yaml"
    file.write_text(file.read_text().replace("lon}", "long, gpu_model: a100, runtime: 60}"))
    load_profile("mine")
    asked = "--cpus-per-task=4 --mem=8000 --gpus=a100:1 --partition=long --time=60"
    assert asked in slurm.asked.read_text()
    slurm("sbatch", "echo 'sbatch: error: Invalid generic resource (gres) specification' >&2; exit 1")
    with pytest.raises(
        StudyError, match=r"no node for a job of .* \(sbatch: error: Invalid generic resource"
    ):
        load_profile("mine")
    slurm("sinfo", "echo 'slurm_load_partitions: Unable to contact slurm controller' >&2; exit 1")
    with pytest.raises(StudyError, match=r"does not answer here \(slurm_load_partitions: Unable"):
        load_profile("mine")


def test_what_slurm_needs_is_named_where_it_is_not_installed(project, slurm, monkeypatch):
    declare(project, "mine", NODE.format(executor="slurm", gpus=0))
    slurm.asked.with_name("sbatch").unlink()
    with monkeypatch.context() as patch:
        patch.setenv("PATH", str(slurm.asked.parent))
        with pytest.raises(StudyError, match="there is no `sbatch` here; run it on a login node"):
            load_profile("mine")
        patch.setattr(profiles.importlib.util, "find_spec", lambda name: None)
        with pytest.raises(StudyError, match="`make cluster` installs it"):
            load_profile("mine")


def test_a_profile_takes_the_place_of_what_this_machine_has(small_study):
    declare(small_study, "mine", NODE.format(executor="local", gpus=2))
    command = snakemake_command("small", load_study("small"), 3, load_profile("mine"))
    assert command[command.index("--workflow-profile") + 1] == str(paths.root() / "profiles" / "mine")
    assert "--cores" not in command
    assert "--resources" not in command
    told = command[command.index("--config") + 1 :]
    assert told == ["study=small", "shards=3", "processors=4", "mem_mb=8000", "gpus=2", 'before=[""]']


def test_a_profile_names_what_comes_before_a_command(small_study):
    before = "test -n '$HOME' && env MARK=\"a b\""
    declared = yaml.safe_load(NODE.format(executor="local", gpus=0)) | {"cores": 2}
    declared["config"]["before"] = before
    declare(small_study, "mine", yaml.safe_dump(declared))
    command = snakemake_command("small", load_study("small"), 1, load_profile("mine"))
    command += ["--dry-run", "--printshellcmds"]
    said = subprocess.run(command, cwd=small_study, capture_output=True, text=True, check=True)
    shell = f"RAYON_NUM_THREADS=1; {before} {sys.executable} -m lib.running.make texts"
    assert shell in said.stdout + said.stderr
    declared["config"]["before"] = ["a"]
    (small_study / "profiles" / "mine" / "config.yaml").write_text(yaml.safe_dump(declared))
    with pytest.raises(StudyError, match="what comes `before` a command"):
        load_profile("mine")


def test_what_waits_and_what_runs_is_told_with_its_reason_and_its_log(small_study, slurm):
    jobs = {
        "7|PENDING|Resources|rule_generate_wildcards_notes_tiny-base": "waiting",
        "8|RUNNING|None|rule_generate_shard_wildcards_notes_tiny-rlhf_2": "running",
        "9|RUNNING|None|rule_uid": "",
    }
    elsewhere = "10|PENDING|Priority|rule_generate_wildcards_notes_human|/elsewhere"
    lines = "\\n".join([*(f"{job}|{small_study}" for job in jobs), elsewhere])
    slurm("squeue", f"printf '{lines}\\n'")
    assert slurm_module.Queue().lines() == ["waiting in Slurm: 1 (Resources)"]
    failed = small_study / ".snakemake/slurm_logs/rule_surprisal/tiny-scorer_notes_human/5.log"
    failed.parent.mkdir(parents=True)
    failed.write_text("x\nslurmstepd-a: error: *** JOB 5 ON a CANCELLED AT 1 DUE TO TIME LIMIT ***\n")
    table = status.status("small").set_index(["step", "of"])
    assert tuple(table.loc[("01_generate", "notes tiny-base")]) == ("waiting", "in Slurm: Resources")
    log = ".snakemake/slurm_logs/rule_generate_shard/notes_tiny-rlhf_2/8.log"
    assert tuple(table.loc[("01_generate", "notes tiny-rlhf")]) == ("running", f"its log: {log}")
    state, why = table.loc[("02_surprisal", "notes human tiny-scorer")]
    assert state == "failed"
    assert why == f"JOB 5 ON a CANCELLED AT 1 DUE TO TIME LIMIT ({failed.relative_to(small_study)})"
    assert table.loc[("01_generate", "notes human"), "state"] == "missing"


def test_failed_jobs_say_their_sentence_or_slurms(small_study):
    folder = small_study / ".snakemake" / "slurm_logs" / "rule_generate" / "notes_tiny-base"
    folder.mkdir(parents=True)
    (folder / "1.log").write_text("error: of an earlier run\n")
    earlier = slurm_module.job_logs()
    (folder / "2.log").write_text(
        "Building\nerror: texts failed: no.\n  to run just this again: x\nShutting\n"
    )
    killed = (
        "0%| | slurmstepd-a: error: *** JOB 3 ON a CANCELLED AT 2026-01-01T00:00:00 DUE TO TIME LIMIT ***"
    )
    (folder / "3.log").write_text(f"Building\n{killed}\nsrun: error: a: task 0: Terminated\n")
    (folder / "4.log").write_text("Building\n")
    logs = [
        f"  the job's log: .snakemake/slurm_logs/rule_generate/notes_tiny-base/{n}.log" for n in (2, 3, 4)
    ]
    assert slurm_module.failed_jobs(("error:", "  to run just this again:"), earlier) == [
        "error: texts failed: no.",
        "  to run just this again: x",
        logs[0],
        "error: JOB 3 ON a CANCELLED AT 2026-01-01T00:00:00 DUE TO TIME LIMIT",
        logs[1],
        "error: A job ended without a word; its node may be gone.",
        logs[2],
    ]
