"""Snakemake on this machine: `python -m lib.running.graph`, with Snakemake's own options.

It has no limit of jobs that are started in a second. With one, Snakemake 9 looks at all jobs that wait a
second after it has looked, and once more for each job that ends: after a hundred jobs a hundred times a
second, which took a third of a processor.
"""

import sys

from snakemake import cli


def main() -> int:
    parser, arguments = cli.parse_args(None)
    arguments.max_jobs_per_timespan = None  # the command line cannot say so
    return 0 if cli.args_to_api(arguments, parser) else 1


if __name__ == "__main__":
    sys.exit(main())
