"""How commands on pages are tried: what a page finds in its folder, what is run smaller, and what is not run.

All that is not named here is run as it stands, in one folder for its page. In each table a command stands
as on the page, without its comment.
"""

from __future__ import annotations

from typing import Final

NOT_RUN: Final[dict[str, tuple[str, ...]]] = {
    "it needs an account at Amazon; on emulators tests/playbooks and tests/fleet do the same": (
        "ansible-playbook playbooks/",
        "ansible-playbook -i inventory/kon.aws_ec2.yml ",
    ),
    "it needs a fleet; tests/autoscale has it on moto, tests/playbooks in the lab": ("kon autoscale ",),
    "it needs cold objects; tests/cli/test_restore.py has them": ("kon restore ", "kon results RUN --"),
    "test_fresh_clone.py runs it, in a clone of its own": ("make run",),
    "it is what runs these tests, or installs what they need": (
        "make setup",
        "make help",
        "make test",
        "make check",
        "make photos",
    ),
    "it measures for minutes, and writes what is committed": (
        "make bench",
        "python -m benchmarks.",
    ),
    "it fetches packages; tests/benchmarks/test_photos.py has what it does without": ("make photos",),
    "it needs another machine": (
        "ssh ",
        "curl -s http://127.0.0.1:9464/metrics | grep kon_tasks_ended_total",
    ),
    "it would install into the virtualenv that the tests run in": (
        "pip install 'cloudkon[",
        "pip install pytest",
    ),
    "tests/test_wheel.py installs it": (
        "git clone <this project> kon",
        "python3 -m venv venv",
        ". venv/bin/activate",
        ". .venv/bin/activate",
        "pip install './kon[controller,plots]'",
        "pip install git+<this project>",
    ),
    "it needs a collector; tests/report/traces has one": (
        "kon trace results/exp/exp-lease-w4-r1 --otlp http://localhost:4318",
    ),
    "it goes on until Ctrl-C; tests/backends/emulator and tests/report/live have it": (
        "kon emulator",
        "kon serve",
    ),
}
"""What commands begin with that are not run, by the reason."""

ELSEWHERE: Final[dict[str, str]] = {
    "quickstart.md": "test_fresh_clone.py runs the whole page, in a clone of its own",
}
"""Pages that another test runs."""

SMALLER: Final[dict[str, str]] = {
    "kon run efficiency.yml": "kon run efficiency.yml --limit 50 --set workers=[1,2]",
    "kon run faults.yml": (
        "kon run faults.yml --set repeats=1 --set 'strategies=[none, {name: lease, lease_s: 1}]'"
    ),
    "kon run amazon.yml": "kon run amazon.yml --set workers=[1,4]",
    "kon plan amazon.yml --workers 1,4,16": "kon plan amazon.yml --workers 1,4",
    "kon plan exp.yml --autoscale policy.yml --workers 2,8 --arrive 1h": (
        "kon plan exp.yml --autoscale policy.yml --workers 2 --arrive 1m"
    ),
    "kon plan workloads/cloudkon-2014.yml": "kon plan workloads/cloudkon-2014.yml --workers 1 --limit 200",
    "kon plan exp.yml --workers 1,2,4,...,256 --deadline 30m": (
        "kon plan exp.yml --workers 1,2,4,...,8 --deadline 30m"
    ),
    "kon plan workloads/cloudkon-16k.yml": "kon plan workloads/cloudkon-16k.yml --workers 16 --limit 500",
    "kon report results/efficiency results/faults results/amazon": "kon report results/amazon",
    "kon plot results/efficiency results/amazon": "kon plot results/amazon --format svg",
    "kon run workloads/sleep-0.yml ": "kon run workloads/sleep-0.yml --limit 50 --set workers=[1] ",
    "kon run workloads/sleep-10ms.yml": (
        "kon run workloads/sleep-10ms.yml --limit 20 --set workers=[1] --set backend=memory "
        "--out results/sleep-10ms"
    ),
    "kon run workloads/sleep-1s.yml": (
        "kon run workloads/sleep-1s.yml --limit 1 --set workers=[1] --set backend=memory "
        "--out results/sleep-1s"
    ),
    "kon run workloads/sleep-10s.yml": (
        "kon run workloads/sleep-10s.yml --out results/sleep-10s --set backend=memory --set workers=[1] "
        "--set 'workload={kind: sleep, items: [0.1]}'"
    ),
    "kon prove lease --seeds 1000": "kon prove lease --seeds 5 --fault crash --jobs 1",
    "kon prove lease --backend aws --seeds 100": (
        "kon prove lease --backend aws --seeds 2 --fault crash --jobs 1"
    ),
    "kon prove mylab.strategies:Mine lease_s=10 --story": (
        "kon prove mylab.strategies:Mine lease_s=10 --story --seeds 2 --fault crash --jobs 1"
    ),
    "kon run choose.yml --quiet": "kon run choose.yml --quiet --limit 100",
    "kon prove first_result:FirstResult           # each": (
        "kon prove first_result:FirstResult --fault crash --seeds 2 --jobs 1  #"
    ),
    "pip install .": (
        "PYTHONWARNINGS= pip install --quiet --no-index --no-deps --no-build-isolation --target installed ."
    ),
    "kon run sums.yml --set workload.kind=digest": (
        "PYTHONPATH=installed kon run sums.yml --set workload.kind=digest"
    ),
    "kon run workloads/animoto.yml": (
        "kon run workloads/animoto.yml --set workers=2 --set "
        "'workload={kind: animoto, items: [[picture-001.jpg, picture-002.jpg]], images: demo, size: 320x180}'"
    ),
    "kon run my-first.yml": "kon run my-first.yml --limit 20 --set backend=memory",
    "find . -name '*.wav' | kon map --joblog done.tsv --resume 'flac -s {} -o {.}.flac'": (
        "find . -name '*.wav' | kon map --joblog done.tsv --resume 'cp {} {.}.flac'"
    ),
}
"""What is run in place of a command that takes too long, or a program that a machine may lack."""

EXPERIMENT: Final = """\
cat > exp.yml <<'END'
name: exp
workload: {kind: sleep, count: 20, seconds: 0.001}
workers: 4
visibility_s: 2
backend: {name: %s}
END
"""

GIVEN: Final[dict[str, str]] = {
    "README.md": "echo a > a.log; echo b > 'b c.log'; echo sound > beep.wav",
    "operations.md": EXPERIMENT % "sqlite" + "echo 'max_hosts: 3' > policy.yml",
    "aws.md": (EXPERIMENT % "aws, depth_lag_s: 1").replace("name: exp", "name: page-aws"),
    "costs.md": EXPERIMENT % "aws" + "kon run exp.yml --quiet",
    "emulators.md": (EXPERIMENT % "aws, depth_lag_s: 1").replace("name: exp", "name: page-emulators"),
    "observability.md": EXPERIMENT % "sqlite",
    "live.md": EXPERIMENT % "sqlite",
    "security.md": (EXPERIMENT % "aws, depth_lag_s: 1").replace("name: exp", "name: page-security"),
    "simulator-fleet.md": EXPERIMENT % "sqlite"
    + "kon run exp.yml --quiet --out results/mine --set workload.count=400",
    "strategies.md": (
        "mkdir mylab; echo 'from kon.strategies.lease import Lease as Mine' > mylab/strategies.py"
    ),
}
"""What a page takes for granted, made by sh in the page's folder before its first command."""

ON_AMAZON: Final = ("aws.md", "costs.md", "emulators.md", "security.md")
"""Pages whose commands are led to an emulator, which they all share; their own `--emulator` is left out."""
