import dataclasses
import json
from pathlib import Path

import pytest

from benchmarks.comparison import changes
from benchmarks.page import count_verdicts, write_page
from benchmarks.pairing import run_trial
from benchmarks.records import append_record, by_session, read_records, to_record
from lightning_sparse.errors import UserError
from tests.benchmarks.simulate import Machine, trial

PROVENANCE = {
    "commit": "abc", "versions": {"torch": "2"}, "processor": "simulated", "num_cores": 2,
    "accelerator": None, "num_threads": 2,
}  # fmt: skip


def record(session, ratio, *, seed=1, **provenance):
    machine = Machine(seed)
    outcome = run_trial(trial(machine, ratio), clock=machine.clock)
    return to_record(
        outcome, session=session, row="simulated", provenance={**PROVENANCE, **provenance}
    )


def test_a_record_comes_back_as_it_was_written(tmp_path):
    written = [record("1", 1.0), record("2", 1.5)]
    for one in written:
        append_record(one, tmp_path / "sub" / "cpu.jsonl")

    assert read_records(tmp_path / "sub" / "cpu.jsonl") == written


def test_a_record_sums_up_its_sides():
    side = record("1", 2.0).sides[0]

    assert (side.name, side.what) == ("ours", "simulated")
    assert 0.19 < side.lower_quartile < side.median < side.upper_quartile < 0.7
    assert side.median == pytest.approx(0.2, rel=0.05)


@pytest.mark.parametrize(
    "line",
    ["no json", "[]", '{"version": 1}', '{"version": 99, "sides": [], "findings": []}'],
)
def test_a_line_that_is_no_record_is_named(tmp_path, line):
    file = tmp_path / "cpu.jsonl"
    append_record(record("1", 1.0), file)
    with file.open("a") as stream:
        stream.write(line + "\n")

    with pytest.raises(UserError, match=r"line 2: (not a benchmark|written by another)"):
        read_records(file)


def test_without_records_the_command_to_run_is_named(tmp_path):
    with pytest.raises(UserError, match=r"no benchmark records at .*; run `make bench` first"):
        read_records(tmp_path / "cpu.jsonl")


@pytest.mark.parametrize(("ratio", "is_slower"), [(1.0, False), (1.3, True), (0.7, False)])
def test_what_became_slower_is_seen(ratio, is_slower):
    sessions = by_session([record("2", ratio, seed=2), record("1", 1.0)])

    (change,) = changes(sessions)

    assert change.is_slower == is_slower
    assert change.key == ("simulated", "simulated", "ours / theirs")


def test_sessions_of_another_machine_are_no_comparison():
    one, other, same = (
        record("1", 1.0), record("2", 9.0, processor="another"), record("3", 1.3),
    )  # fmt: skip

    (change,) = changes(by_session([one, other, same]))
    assert change.before.estimate == pytest.approx(1.0, rel=0.05)
    assert change.is_slower

    with pytest.raises(UserError, match="no session before 2 comes from the same machine"):
        changes(by_session([one, other]))
    with pytest.raises(UserError, match="1 sessions recorded, two are needed"):
        changes(by_session([one]))


def test_verdicts_are_counted_with_the_two_that_matter_always_shown():
    assert count_verdicts([record("1", 1.0), record("1", 2.0), record("1", 3.0)]) == {
        "holds": 1,
        "falls short": 2,
    }
    assert count_verdicts([]) == {"holds": 0, "falls short": 0}


def test_the_page_shows_the_last_session_with_its_origin(tmp_path):
    for one in (record("1", 5.0), record("2", 1.0)):
        append_record(one, tmp_path / "benchmarks" / "cpu.jsonl")

    write_page(tmp_path / "benchmarks", tmp_path / "SPEED.md")

    page = (tmp_path / "SPEED.md").read_text()
    assert "1 holds, 0 falls short. Session 2, commit abc; torch 2." in page
    assert "## On 2 cores of simulated" in page
    (row,) = [line for line in page.splitlines() if line.startswith("| ours / theirs")]
    finding = json.loads((tmp_path / "benchmarks" / "cpu.jsonl").read_text().splitlines()[1])[
        "findings"
    ][0]
    assert f"| 1.01 | {finding['estimate']:.4g} |" in row
    assert row.endswith("| holds |")


def test_a_session_that_had_fewer_cores_says_so(tmp_path):
    append_record(record("1", 1.0, num_threads=1), tmp_path / "benchmarks" / "cpu.jsonl")
    write_page(tmp_path / "benchmarks", tmp_path / "SPEED.md")
    assert "## On 1 of 2 cores of simulated" in (tmp_path / "SPEED.md").read_text()


def test_peaks_of_memory_stand_beside_the_sides_that_have_one(tmp_path):
    plain = record("1", 1.0)
    ours, theirs = plain.sides
    on_gpu = dataclasses.replace(plain, sides=[dataclasses.replace(ours, peak_mb=24_512.3), theirs])
    append_record(on_gpu, tmp_path / "benchmarks" / "accelerator.jsonl")
    append_record(plain, tmp_path / "benchmarks" / "cpu.jsonl")

    write_page(tmp_path / "benchmarks", tmp_path / "SPEED.md")

    on_cpu, on_gpu = [
        [line for line in part.splitlines() if line.startswith(("| side", "| ours |", "| theirs"))]
        for part in (tmp_path / "SPEED.md").read_text().split("## On ")[1:]
    ]
    assert not any("peak memory" in line for line in on_cpu)
    assert on_gpu[0].endswith("| peak memory |")
    assert on_gpu[1].endswith("| 24,512 MB |")
    assert on_gpu[2].endswith("|  |")


def test_every_kind_of_gpu_has_its_last_session_on_the_page_after_the_cpus(tmp_path):
    append_record(record("1", 1.0, accelerator="GPU B"), tmp_path / "benchmarks" / "cpu.jsonl")
    for one in (
        record("2", 5.0, accelerator="GPU B"), record("3", 1.0, accelerator="GPU B"),
        record("4", 2.0, accelerator="GPU A"),
    ):  # fmt: skip
        append_record(one, tmp_path / "benchmarks" / "accelerator.jsonl")

    write_page(tmp_path / "benchmarks", tmp_path / "SPEED.md")

    page = (tmp_path / "SPEED.md").read_text()
    assert [line for line in page.splitlines() if line.startswith("## ")] == [
        "## On 2 cores of simulated",
        "## Simulated",
        "## On GPU A beside 2 cores of simulated",
        "## GPU A: simulated",
        "## On GPU B beside 2 cores of simulated",
        "## GPU B: simulated",
    ]
    for last in (1, 3, 4):
        assert f"Session {last}, commit abc" in page
    assert "Session 2," not in page


PUBLISHED = Path(__file__).parents[2] / "results" / "benchmarks" / "accelerator.jsonl"


def test_the_documented_speeds_of_a_gpu_are_those_of_the_published_record():
    first = next(iter(by_session(read_records(PUBLISHED)).values()))
    page = PUBLISHED.parents[2].joinpath("docs", "cluster.md").read_text()

    assert {record.provenance["accelerator"] for record in first} == {"NVIDIA H200"}
    for pixels, batch in ((224, 256), (160, 256)):
        (trial,) = [record for record in first if record.trial.endswith(f"{batch} x {pixels} px")]
        seconds = {side.name: side.median for side in trial.sides}
        eager, compiled = (
            f"{batch / seconds[name]:,.0f}" for name in ("masked", "compiled, masked")
        )
        assert f"{eager} images/s at {pixels} px, {compiled} compiled" in page
        ratios = {finding.statement: finding.estimate for finding in trial.findings}
        assert f"{ratios['path / dense']:.3f} at {pixels} px" in page


def test_what_a_later_and_shorter_session_did_not_measure_stays_on_the_page(tmp_path):
    first = record("1", 1.0, accelerator="GPU B")
    other = dataclasses.replace(first, row="other", trial="Other")
    again = record("2", 1.0, accelerator="GPU B")
    for one in (first, other, again):
        append_record(one, tmp_path / "benchmarks" / "accelerator.jsonl")

    write_page(tmp_path / "benchmarks", tmp_path / "SPEED.md")

    page = (tmp_path / "SPEED.md").read_text()
    before, _, after = page.partition("Session 2, commit abc")
    assert "Session 1, commit abc" in before
    assert ("## GPU B: Other" in before, "## GPU B: simulated" in before) == (True, False)
    assert "## GPU B: simulated" in after


def test_a_page_without_records_says_so(tmp_path):
    write_page(tmp_path / "benchmarks", tmp_path / "SPEED.md")

    assert "> No session has been published yet." in (tmp_path / "SPEED.md").read_text()
