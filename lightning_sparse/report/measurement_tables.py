"""How it was measured, and the list of all records that every number leads to."""

import itertools
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from lightning_sparse.analysis.experiment import route_of
from lightning_sparse.analysis.measured_rises import measure_rise
from lightning_sparse.report.blocks import Block, Paragraph, Row, Table
from lightning_sparse.report.endpoint_tables import counts
from lightning_sparse.report.findings import Findings
from lightning_sparse.report.path_tables import route_words
from lightning_sparse.report.style import nominal, number, percent

_SHOWN_VALUES = 6


def measurement_blocks(findings: Findings) -> list[Block]:
    """Return what all numbers have in common: data, policies, steps, program and machine."""
    if not findings.records:
        return [Paragraph("There are no records.", "note")]
    facts = [*_experiment_facts(findings), *_path_facts(findings), *_provenance_facts(findings)]
    return [Table(columns=["what", "value"], rows=[Row(cells=fact) for fact in facts])]


def record_blocks(findings: Findings) -> list[Block]:
    """Return one row per record, under the short name by which the other tables refer to it."""
    blocks: list[Block] = []
    if findings.runs:
        blocks.append(_run_table(findings))
    if findings.paths:
        blocks.append(_path_table(findings))
    return blocks or [Paragraph("There are no records.", "note")]


def _experiment_facts(findings: Findings) -> list[tuple[str, str]]:
    records, runs = findings.records, findings.runs
    hours = sum(record.wall_seconds for record in records) / 3600
    steps = {findings.looks.words(run.method): f"{run.num_steps:,}" for run in runs}
    facts = [
        ("experiment", _joined(record.experiment for record in records)),
        ("seeds", _joined(sorted({record.seed for record in records}))),
        ("records", f"{len(runs)} runs and {len(findings.paths)} paths"),
        ("computing time, summed over records", f"{number(hours)} hours"),
    ]
    if runs:
        facts += [
            ("optimizer steps per run", ", ".join(f"{arm} {n}" for arm, n in steps.items())),
            ("images of the training subset", _joined(run.train.num_images for run in runs)),
            ("images of the test set", _joined(run.test.num_images for run in runs)),
        ]
    return [*facts, *_rewinds(findings)]


def _rewinds(findings: Findings) -> Iterator[tuple[str, str]]:
    """Say at which step of another run the arms begin that begin at one."""
    for name, arm in findings.arms.items():
        steps = [run.rewind_step for run in findings.runs if run.arm == name]
        if steps and arm.start and arm.start.moment != "end":
            yield f"{arm.words} rewinds to step", _joined(steps)


def _path_facts(findings: Findings) -> list[tuple[str, str]]:
    paths = findings.paths
    if not paths:
        return []
    policies = (f"{path.batch_norm}, {path.num_recalibration_images:,} images" for path in paths)
    return [
        ("batch-norm statistics along paths", _joined(policies)),
        ("training subset of the paths, by its hash", _joined(p.train_subset_hash for p in paths)),
        ("points measured per path", _range(len(path.points) for path in paths)),
    ]


def _provenance_facts(findings: Findings) -> list[tuple[str, str]]:
    """List every entry of the provenance, whatever the program that wrote it called them."""
    flat = [_flattened(record.provenance) for record in findings.records]
    names = dict.fromkeys(itertools.chain.from_iterable(flat))
    facts = {name: [entry[name] for entry in flat if name in entry] for name in names}
    return [
        (name.replace("_", " "), _range_of_dates(values) if name == "date" else _joined(values))
        for name, values in facts.items()
    ]


def _flattened(entries: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in entries.items():
        if isinstance(value, Mapping):
            flat |= _flattened(value, f"{prefix}{name}: ")
        else:
            flat[f"{prefix}{name}"] = value
    return flat


def _joined(values: Iterable[Any]) -> str:
    """Write every different value once, the first few of them if there are many."""
    different = list(dict.fromkeys(_plain(value) for value in values))
    more = len(different) - _SHOWN_VALUES
    return ", ".join(different[:_SHOWN_VALUES]) + (f" and {more} more" if more > 0 else "")


def _plain(value: Any) -> str:
    words = {None: "none", True: "yes", False: "no"}
    if value is None or isinstance(value, bool):
        return words[value]
    return str(value)


def _range(values: Iterable[int]) -> str:
    numbers = sorted(values)
    low, high = numbers[0], numbers[-1]
    return str(low) if low == high else f"{low} to {high}"


def _range_of_dates(values: Iterable[Any]) -> str:
    dates = sorted(map(str, values))
    return dates[0] if dates[0] == dates[-1] else f"{dates[0]} to {dates[-1]}"


def _run_table(findings: Findings) -> Table:
    numeric = [
        "sparsity",
        "seed",
        "kept / prunable",
        "test accuracy",
        "training loss",
        "training objective",
        "distance from start",
        "seconds",
    ]
    return Table(
        columns=["record", "run id", "arm", *numeric, "mask from"],
        rows=[
            Row(
                cells=[
                    findings.label(run.run_id),
                    run.run_id,
                    findings.looks.words(run.method),
                    nominal(run.target_sparsity),
                    str(run.seed),
                    counts([run]),
                    percent(run.test.accuracy, 2),
                    number(run.train.loss),
                    number(run.train.objective),
                    "" if run.distance_from_start is None else number(run.distance_from_start),
                    number(run.wall_seconds),
                    findings.references([run.mask_source] if run.mask_source else []),
                ],
                anchor=findings.label(run.run_id),
            )
            for run in findings.runs
        ],
        caption="Records of runs. Loss and objective in nats.",
        numeric=frozenset(numeric),
    )


def _path_table(findings: Findings) -> Table:
    numeric = [
        "sparsity",
        "seed",
        "loss at t = 0",
        "loss at t = 1",
        *findings.page.record_columns,
        "length",
        "seconds",
    ]
    rows = []
    for path in findings.paths:
        measured = measure_rise(path)
        rows.append(
            Row(
                cells=[
                    findings.label(path.run_id),
                    path.run_id,
                    route_words(route_of(path), findings.looks),
                    nominal(path.target_sparsity),
                    str(path.seed),
                    number(measured.first),
                    number(measured.last),
                    *(number(value(path)) for value in findings.page.record_columns.values()),
                    number(path.length),
                    number(path.wall_seconds),
                    findings.references([path.start_run, path.end_run]),
                ],
                anchor=findings.label(path.run_id),
            )
        )
    return Table(
        columns=["record", "run id", "path", *numeric, "runs of its ends"],
        rows=rows,
        caption=findings.page.records_caption,
        numeric=frozenset(numeric),
    )
