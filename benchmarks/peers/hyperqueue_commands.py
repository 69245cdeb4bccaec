"""HyperQueue, server and worker in one process, through its own Python package: `pip install hyperqueue`.

As favourable to it as can be: one worker for all processors asked for, one submission, and no files for the
commands' output. `python -m benchmarks.peers.hyperqueue_commands PROCESSORS PROGRAM [WORD...] < ITEMS`.
"""

from __future__ import annotations

import importlib
import os
import sys
import tempfile


def main() -> None:
    processors, words = int(sys.argv[1]), sys.argv[2:]
    os.environ["TQDM_DISABLE"] = "1"  # nobody looks at its progress
    hyperqueue = importlib.import_module("hyperqueue")  # it carries no types
    worker = importlib.import_module("hyperqueue.cluster").WorkerConfig(cores=processors)
    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder,
        hyperqueue.LocalCluster(folder, worker) as cluster,
    ):
        job = hyperqueue.Job(default_workdir=folder)
        for line in sys.stdin:
            job.program([*words, line.rstrip("\n")], stdout=None, stderr=None)
        client = cluster.client()
        client.wait_for_jobs([client.submit(job)])


if __name__ == "__main__":
    main()
