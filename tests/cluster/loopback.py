"""A Slurm of two nodes on this machine, with everything it writes in one folder.

    python -m tests.cluster.loopback FOLDER      starts it and waits; Ctrl-C ends it

The commands find it by SLURM_CONF. Debian's packages slurmctld, slurmd, slurm-client and munge suffice,
and any user may start it: jobs run as that user. With slurmdbd and mariadb-server it keeps accounts, too.
"""

import contextlib
import getpass
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

ACCOUNTING = ("slurmdbd", "mariadbd", "mariadb-install-db")
PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "sinfo")
NODES = ("node1", "node2")
PATIENCE = 60.0  # seconds until both nodes take jobs
CONFIGURATION = """\
ClusterName=loopback
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket
CryptoType=crypto/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
SchedulerType=sched/backfill
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
ReturnToService=2
MinJobAge=300
SlurmdTimeout=30
KillWait=5
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=1
JobAcctGatherParams=OverMemoryKill
{nodes}
PartitionName=study Nodes=ALL Default=YES MaxTime=600 State=UP
"""


KEEPS_ACCOUNTS = """\
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort={port}
AccountingStoragePass={folder}/munge/socket
AccountingStoreFlags=job_comment
"""
DATABASE_DAEMON = """\
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket
DbdHost={host}
DbdAddr=127.0.0.1
DbdPort={port}
SlurmUser={user}
LogFile={folder}/slurmdbd.log
PidFile={folder}/slurmdbd.pid
StorageType=accounting_storage/mysql
StorageHost=127.0.0.1
StoragePort={database}
StorageUser=slurm
StoragePass={password}
StorageLoc=slurm
"""


def accounting() -> bool:
    """Whether a cluster here can keep accounts."""
    return all(_found(name) for name in ACCOUNTING)


def lacking() -> list[str]:
    """The programs of Slurm and munge that are not installed."""
    return [name for name in PROGRAMS if _found(name) is None]


@contextlib.contextmanager
def cluster(folder: Path, cpus: int = 2, mem_mb: int = 8_000) -> Iterator[dict[str, str]]:
    """A cluster of `NODES`, each said to have `cpus` and `mem_mb`; the environment in which it is found.

    Raises RuntimeError with the ends of the logs if it does not take jobs within `PATIENCE`.
    """
    folder = folder.resolve()
    for name in ("bin", "munge", "state", *(f"spool-{node}" for node in NODES)):
        (folder / name).mkdir(parents=True, mode=0o755)
    key = folder / "munge" / "key"
    key.write_bytes(secrets.token_bytes(128))
    key.chmod(0o400)
    controller, accounts, database, *ports = _free_ports(3 + len(NODES))
    host = socket.gethostname()
    nodes = "\n".join(
        f"NodeName={node} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs={cpus} RealMemory={mem_mb}"
        for node, port in zip(NODES, ports, strict=True)
    )
    configuration = folder / "slurm.conf"
    configuration.write_text(
        CONFIGURATION.format(
            host=host, controller=controller, user=getpass.getuser(), folder=folder, nodes=nodes
        )
        + (KEEPS_ACCOUNTS.format(port=accounts, folder=folder) if accounting() else "")
    )
    environment = os.environ | {"SLURM_CONF": str(configuration)}
    # Snakemake's jobs call srun without their SLURM_ variables, this one among them.
    srun = folder / "bin" / "srun"
    srun.write_text(f'#!/bin/sh\nSLURM_CONF={configuration} exec {_found("srun")} "$@"\n')
    srun.chmod(0o755)
    environment["PATH"] = f"{srun.parent}:{environment['PATH']}"
    munged = ["munged", "--foreground", "--force", f"--key-file={key}", f"--socket={folder}/munge/socket"]
    munged += [f"--{name}-file={folder}/munge/{name}" for name in ("log", "pid", "seed")]
    with contextlib.ExitStack() as stack:
        stack.enter_context(_daemon(munged, folder, environment))
        _until((folder / "munge" / "socket").exists, folder)
        if accounting():
            stack.enter_context(_accounts(folder, environment, host, accounts, database))
        stack.enter_context(_daemon(["slurmctld", "-D", "-f", str(configuration)], folder, environment))
        for node in NODES:
            stack.enter_context(_daemon(slurmd(node, configuration), folder, environment))
        _until(lambda: _idle(environment) == len(NODES), folder)
        yield environment


@contextlib.contextmanager
def _accounts(
    folder: Path, environment: dict[str, str], host: str, port: int, database: int
) -> Iterator[None]:
    """A database on loopback, with a user of a password of its own, and Slurm's daemon before it."""
    user, password, data = getpass.getuser(), secrets.token_hex(16), folder / "database"
    made = ["mariadb-install-db", "--no-defaults", f"--datadir={data}", f"--user={user}", "--skip-test-db"]
    subprocess.run(made, capture_output=True, check=True, env=environment)
    first = folder / "first.sql"
    first.touch(mode=0o600)
    first.write_text(
        f"CREATE USER slurm@'%' IDENTIFIED BY '{password}';\nGRANT ALL ON slurm.* TO slurm@'%';\n"
    )
    server = ["mariadbd", "--no-defaults", f"--datadir={data}", f"--user={user}", f"--init-file={first}"]
    server += ["--bind-address=127.0.0.1", f"--port={database}", f"--socket={data}/socket"]
    server += [f"--pid-file={data}/pid", f"--log-error={folder}/mariadbd.log", "--skip-name-resolve"]
    configuration = folder / "slurmdbd.conf"
    configuration.touch(mode=0o600)
    configuration.write_text(
        DATABASE_DAEMON.format(
            folder=folder, host=host, port=port, user=user, database=database, password=password
        )
    )
    with _daemon(server, folder, environment):
        _until((data / "socket").exists, folder)
        with _daemon(["slurmdbd", "-D"], folder, environment):
            _until(lambda: _listens(port), folder)
            yield


def _listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


def slurmd(node: str, configuration: Path) -> list[str]:
    return ["slurmd", "-D", "-N", node, "-f", str(configuration)]


@contextlib.contextmanager
def _daemon(command: list[str], folder: Path, environment: dict[str, str]) -> Iterator[None]:
    """`command`, run until the context ends."""
    program = _found(command[0])
    assert program is not None, f"{command[0]} is not installed"
    with (
        (folder / f"{command[0]}.out").open("ab") as out,
        subprocess.Popen([program, *command[1:]], stdout=out, stderr=out, env=environment) as process,
    ):
        try:
            yield
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()


def _found(program: str) -> str | None:
    return shutil.which(program, path=f"{os.environ['PATH']}:/usr/sbin:/usr/local/sbin")


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def _idle(environment: dict[str, str]) -> int:
    """How many nodes take jobs."""
    asked = ["sinfo", "--noheader", "--Node", "--states=idle", "--format=%N"]
    return len(subprocess.run(asked, capture_output=True, env=environment, check=False).stdout.split())


def _until(ready, folder: Path) -> None:
    end = time.monotonic() + PATIENCE
    while not ready():
        if time.monotonic() > end:
            logs = [*folder.glob("*.log"), *folder.glob("*.out"), *folder.glob("munge/log")]
            ends = "\n".join(f"== {log.name}\n{log.read_text(errors='replace')[-1500:]}" for log in logs)
            raise RuntimeError(f"The loopback cluster does not take jobs.\n{ends}")
        time.sleep(0.2)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with cluster(Path(sys.argv[1])) as found:
        print(f"export SLURM_CONF={found['SLURM_CONF']} PATH={found['PATH']}", flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            signal.pause()
