"""Kill runs, measure what checkpoints cost, and show both: `make reliability`.

What is found goes to results/reliability/faults.jsonl, from which RELIABILITY.md is made.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lightning_sparse.records import read_record
from lightning_sparse.report.blocks import Document, Paragraph, Row, Section, Table
from lightning_sparse.report.markdown import render_markdown
from lightning_sparse.storage import write_text_atomic

FINDINGS = Path("results/reliability/faults.jsonl")
PAGE = Path("RELIABILITY.md")

# The tests that note what they find.
_TESTS = ("tests/faults", "tests/hostile", "tests/training/test_checkpoints.py")

# Of the time of a run, that writing checkpoints may take at the default interval.
_LARGEST_SHARE = 0.02

_INTRODUCTION = (
    "Made by make reliability. Every run here is interrupted by a real signal to a real process, "
    "started again, and compared with one that nothing disturbed: all files of tensors byte by "
    "byte, history and record but for durations and dates, and in the last checkpoint weights, "
    "momentum, masks, schedules, place in the data and generators bit by bit. SIGTERM and SIGUSR1 "
    "ask a run to stop, SIGKILL does not ask. On the CPU; nothing is claimed here for GPUs."
)


def measure() -> None:
    """Run all tests of faults, then two runs of digits, and keep what they find."""
    from lightning_sparse.training.provenance import provenance  # noqa: PLC0415 (torch)

    with tempfile.TemporaryDirectory() as folder:
        found = Path(folder) / "found.jsonl"
        found.write_text(_line(test="machine", **provenance()))
        command = [sys.executable, "-m", "pytest", *_TESTS]
        environment = {**os.environ, "RELIABILITY": str(found)}
        subprocess.run(command, env=environment, check=True)
        with found.open("a", encoding="utf-8") as stream:
            for arm in ("dense", "prune"):
                stream.write(_cost(arm, Path(folder) / arm))
        write_text_atomic(FINDINGS, found.read_text(encoding="utf-8"))


def _cost(arm: str, runs_dir: Path) -> str:
    """Train one arm of digits as `reproduce` does; return what its checkpoints took."""
    words = ["train", "experiment=digits", f"method={arm}", f"runs_dir={runs_dir}"]
    subprocess.run([sys.executable, "-m", "lightning_sparse.cli.main", *words], check=True)
    (run_dir,) = runs_dir.iterdir()
    record = read_record(run_dir)
    seconds = record.provenance["checkpoint_seconds"]
    return _line(test="cost", of=arm, seconds=seconds, of_seconds=record.wall_seconds)


def _line(**found: Any) -> str:
    return json.dumps(found) + "\n"


def write_page() -> None:
    """Write the page from the findings."""
    findings = [json.loads(line) for line in FINDINGS.read_text(encoding="utf-8").splitlines()]
    (machine,) = (item for item in findings if item["test"] == "machine")
    kills = [item for item in findings if "differences" in item and item.get("running", True)]
    costs = [item for item in findings if item["test"] == "cost"]
    hostile = [item for item in findings if item["test"] == "hostile files"]
    origin = (
        f"{machine['num_cores']} cores of {machine['processor']}, torch "
        f"{machine['versions']['torch']}, {machine['num_threads']} thread, commit "
        f"{machine['commit']}, {machine['date']}."
    )
    document = Document(
        title="Killed and started again",
        opening=[Paragraph(_INTRODUCTION), _summary(kills, hostile, costs), Paragraph(origin)],
        sections=[
            Section("Interruptions", [_table_of_kills(kills)]),
            Section("What checkpoints cost at the default interval", [_table_of_costs(costs)]),
        ],
    )
    write_text_atomic(PAGE, render_markdown(document))


def _summary(
    kills: Sequence[dict[str, Any]],
    hostile: Sequence[dict[str, Any]],
    costs: Sequence[dict[str, Any]],
) -> Table:
    """Count what came out against what was asked for."""
    matrix = [item for item in kills if item["test"] == "kill matrix"]
    pipeline = [item for item in kills if item["test"] == "pipeline kills"]
    claims = [item for item in kills if item["test"] == "pipeline claims"]
    survived = sum(not item["differences"] for item in pipeline) if claims else 0
    different = sum(bool(item["differences"]) for item in matrix)
    equal = "equal" if claims and not any(item["differences"] for item in claims) else "not equal"
    executed = sum(item["executed"] for item in hostile)
    share = max(item["seconds"] / item["of_seconds"] for item in costs)
    rows = [
        ("runs of the kill matrix that end with other bits", f"{different} of {len(matrix)}", "0"),
        (
            "kills of the pipeline that lose nothing finished",
            f"{survived} of {len(pipeline)}",
            "20 of 20",
        ),
        ("claims after them, and those of an undisturbed run", equal, "equal"),
        ("hostile files whose code was executed", f"{executed} of {len(hostile)}", "0"),
        ("largest share of a run's time for checkpoints", f"{share:.2%}", f"{_LARGEST_SHARE:.0%}"),
    ]
    return Table(("what", "found", "asked for"), [Row([*row]) for row in rows])


def _table_of_kills(kills: Sequence[dict[str, Any]]) -> Table:
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for item in kills:
        groups.setdefault((item["test"], item.get("of", "")), []).append(item)
    rows = []
    for (test, of), items in groups.items():
        signals = ", ".join(sorted({item.get("signal", "") for item in items}))
        steps = ", ".join(str(step) for step in sorted({item.get("step", "") for item in items}))
        different = sum(bool(item["differences"]) for item in items)
        rows.append(Row([test, of, signals, steps, str(len(items)), str(different)]))
    columns = ("test", "of", "signals", "after steps", "interruptions", "with any difference")
    return Table(columns, rows, numeric=frozenset(columns[4:]))


def _table_of_costs(costs: Sequence[dict[str, Any]]) -> Table:
    columns = ("run of digits", "writing checkpoints", "training", "share")
    rows = [
        Row([
            item["of"],
            f"{item['seconds']:.3f} s",
            f"{item['of_seconds']:.1f} s",
            f"{item['seconds'] / item['of_seconds']:.2%}",
        ])
        for item in costs
    ]  # fmt: skip
    return Table(columns, rows, numeric=frozenset(columns[1:]))


if __name__ == "__main__":
    if "page" not in sys.argv[1:]:
        measure()
    write_page()
