"""The whole of ``reproduce`` in small, as a user runs it: a process of its own, several workers."""

import functools
import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from fake_jobs import wait_until

from lightning_sparse.cli.main import main
from lightning_sparse.planning.reproduce import plan_all
from lightning_sparse.records import PathRecord, RunRecord, read_records
from lightning_sparse.settings.compose import compose_settings
from lightning_sparse.sparsity.masks import num_kept

pytestmark = pytest.mark.pipeline

# The command, with a look at whether its own process got along without torch.
COMMAND = """
import sys
from lightning_sparse.cli.main import main
if __name__ == "__main__":
    status = main(sys.argv[1:])
    assert not {"torch", "pytorch_lightning"} & set(sys.modules), "the parent imported torch"
    sys.exit(status)
"""

WORDS = ["experiment=smoke", "reproduce.seeds=[21,22]", "reproduce.num_processes=2"]
CLAIMS = [
    *("A", "B", "C", "C1", "control: dense", "control: in the mask"),
    *("D1", "D2", "D3", "D4"),
]


def command(runs_dir: Path) -> tuple[list[str], dict[str, str]]:
    words = [sys.executable, "-c", COMMAND, "reproduce", *WORDS, f"runs_dir={runs_dir}"]
    return words, {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}


def run_to_the_end(runs_dir: Path) -> str:
    words, environment = command(runs_dir)
    done = subprocess.run(
        words,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A folder of runs, and what was printed while they were made."""
    # A name that neither Hydra nor a shell would take without quotes.
    runs_dir = tmp_path_factory.mktemp("it's a=b, (c) #~& ü")
    return runs_dir, run_to_the_end(runs_dir)


@pytest.fixture(scope="module")
def report_dir(undisturbed: tuple[Path, str]) -> Path:
    return undisturbed[0] / "reproduce_smoke"


@functools.cache
def planned() -> list[str]:
    return [job.run_id for job in plan_all(compose_settings(WORDS))]


def test_every_claim_is_judged_on_the_seeds_that_were_asked_for(report_dir):
    claims = json.loads((report_dir / "claims.json").read_text())

    assert [claim["claim"] for claim in claims] == CLAIMS
    for claim in claims:
        assert claim["verdict"] in {"supported", "contradicted", "undecided"}
        assert claim["num_seeds"] == 2
        assert claim["seeds"] == [21, 22]
        low, high = claim["interval"]
        assert low <= claim["estimate"] <= high
        assert claim["rule"]
        assert claim["statement"]
    parts = {claim["claim"]: [part["claim"] for part in claim["parts"]] for claim in claims}
    assert parts["A"] == [
        *("A: dense:start", "A: lottery:start", "A: scratch:start"),
        *("A: control dense:start to dense:end", "A: control scratch:start to scratch:end"),
    ]
    assert parts["B"] == []


def test_there_is_one_record_of_each_planned_run_and_path(report_dir):
    records = read_records(report_dir / "records.jsonl")

    assert [record.run_id for record in records] == planned()
    assert {record.seed for record in records} == {21, 22}
    known = {claim["claim"]: claim["records"] for claim in _claims(report_dir)}
    assert all(set(names) <= set(planned()) and names for names in known.values())


def test_exactly_as_many_weights_are_kept_as_the_policy_asks_for(report_dir):
    runs = [
        item for item in read_records(report_dir / "records.jsonl") if isinstance(item, RunRecord)
    ]

    assert {run.target_sparsity for run in runs} == {0.0, 0.8, 0.9}
    for run in runs:
        sizes = {name: layer.prunable for name, layer in run.layers.items()}
        assert {name: layer.kept for name, layer in run.layers.items()} == _asked(
            sizes, run.target_sparsity
        )
        assert run.kept == sum(layer.kept for layer in run.layers.values())


def test_the_arms_share_what_the_protocol_says(report_dir):
    records = read_records(report_dir / "records.jsonl")
    runs = {record.run_id: record for record in records if isinstance(record, RunRecord)}
    masked = [run for run in runs.values() if run.method in {"scratch", "lottery"}]

    assert len(masked) == 8
    for run in masked:
        assert run.mask_source is not None
        pruned = runs[run.mask_source]
        assert pruned.method == "prune"
        assert (run.seed, run.target_sparsity) == (pruned.seed, pruned.target_sparsity)
        assert run.start == {"scratch": "init/scratch", "lottery": "prune:0"}[run.method]
        assert run.start_source == {"scratch": None, "lottery": run.mask_source}[run.method]
    paths = [record for record in records if isinstance(record, PathRecord)]
    assert len(paths) == 2 * 14
    for path in paths:
        assert {path.start_run, path.end_run} <= set(runs)
        assert runs[path.start_run].seed == runs[path.end_run].seed == path.seed
        ts = [point.t for point in path.points]
        assert {-0.2, 0.0, 0.2, 0.4, 0.6, 0.8, 1.0, 1.2} <= set(ts)


def test_the_report_names_every_claim_and_every_record(report_dir):
    page = (report_dir / "report.html").read_text()

    assert all(name in page for name in planned())
    assert "Smoke test" in page
    assert (report_dir / "report.md").read_text().count("| control: dense") >= 1
    assert (report_dir / "figures" / "headline.png").stat().st_size > 1000


def test_what_is_printed_ends_with_the_claims_and_the_page(undisturbed, report_dir):
    _, output = undisturbed
    assert "44 runs and paths, 0 of them finished" in output
    assert len(re.findall(r"^\[ ?\d+/44\] .*kept [\d,]+ of [\d,]+ weights", output, re.M)) == 16
    assert output.rstrip().endswith(f"report: {report_dir / 'report.html'}")


def test_no_lock_and_no_unfinished_file_is_left(undisturbed):
    runs_dir, _ = undisturbed
    assert [file.name for file in runs_dir.rglob(".*")] == []


def test_the_report_alone_gives_the_same_claims_byte_for_byte(report_dir, tmp_path):
    copy = tmp_path / "reproduce_smoke"
    copy.mkdir()
    (copy / "records.jsonl").write_bytes((report_dir / "records.jsonl").read_bytes())

    assert main(["report", "experiment=smoke", f"runs_dir={tmp_path}"]) == 0

    assert (copy / "claims.json").read_bytes() == (report_dir / "claims.json").read_bytes()


def test_a_killed_run_goes_on_where_it_was_and_ends_with_the_same_claims(
    report_dir, tmp_path, popen
):
    process = popen(*command(tmp_path), stderr=subprocess.STDOUT)
    wait_until(lambda: len(_finished(tmp_path)) >= 12, seconds=300)
    process.kill()
    # Reads to the end: the workers, which write to the same pipe, are gone too.
    process.communicate(timeout=120)
    before = _finished(tmp_path)
    assert len(before) < len(planned())

    output = run_to_the_end(tmp_path)

    # A worker may have finished one more run in the moment before it noticed.
    count = re.search(r"44 runs and paths, (\d+) of them finished", output)
    assert count
    assert len(before) <= int(count.group(1)) <= len(before) + 2
    after = _finished(tmp_path)
    assert {name: after[name] for name in before} == before
    assert (tmp_path / "reproduce_smoke" / "claims.json").read_bytes() == (
        report_dir / "claims.json"
    ).read_bytes()


def test_two_at_once_in_one_folder_are_refused(tmp_path, capsys, popen):
    process = popen(*command(tmp_path), stderr=subprocess.STDOUT)
    wait_until((tmp_path / "reproduce_smoke" / ".lock").exists)

    status = main(["reproduce", *WORDS, f"runs_dir={tmp_path}"])

    assert status == 2
    errors = capsys.readouterr().err
    owner = f"process {process.pid} on {socket.gethostname()}"
    assert errors.startswith(f"error: {owner} makes or reports on this experiment")
    assert errors.count("\n") == 1


def _finished(runs_dir: Path) -> dict[str, int]:
    """Return when each finished run was finished."""
    return {file.parent.name: file.stat().st_mtime_ns for file in runs_dir.glob("*/record.json")}


def _claims(report_dir: Path) -> list[Mapping[str, list[str]]]:
    claims: list[Mapping[str, list[str]]] = json.loads((report_dir / "claims.json").read_text())
    return claims


def _asked(sizes: Mapping[str, int], sparsity: float) -> dict[str, int]:
    """First layer dense, last layer at most at 80 %, the rest as asked."""
    first, *middle, last = sizes
    asked = {first: 0.0, **dict.fromkeys(middle, sparsity), last: min(sparsity, 0.8)}
    return {name: num_kept(size, asked[name]) for name, size in sizes.items()}


@pytest.mark.parametrize(
    ("verb", "words", "missing", "there"),
    [
        (
            "reproduce",
            [
                "reproduce.claims=[D2,D4]",
                "reproduce.sparsities=[]",
                "tuned.learning_rate.lottery=1e30",
            ],
            "lottery",
            "scratch",
        ),
        (
            "laboratory",
            ["laboratory.claims=[E1]", "tuned.learning_rate.cyclic=1e30"],
            "cyclic",
            "continued",
        ),
    ],
)
def test_what_diverges_is_missing_in_a_report_on_all_the_rest(
    verb, words, missing, there, tmp_path, capsys
):
    few = ["reproduce.seeds=[21]", "laboratory.seeds=[21]", "reproduce.num_processes=2"]

    assert main([verb, "experiment=smoke", f"runs_dir={tmp_path}", *few, *words]) == 2

    assert re.match(
        rf"error: train {missing}\w* .*, seed 21: the training loss is", capsys.readouterr().err
    )
    folder = tmp_path / "reproduce_smoke" / ("" if verb == "reproduce" else verb)
    made = {
        run.method for run in read_records(folder / "records.jsonl") if isinstance(run, RunRecord)
    }
    assert missing not in made
    assert there in made
    assert missing in (folder / "report.md").read_text()
