import dataclasses

import pytest

from benchmarks.page import write_page
from benchmarks.spent import Spent, time_spent
from lightning_sparse.records import to_json
from tests.analysis.simulate import evaluation, path_points, simulated_path, simulated_run


def taking(record, seconds, num_threads=1):
    provenance = {**record.provenance, "num_threads": num_threads, "processor": "simulated"}
    return dataclasses.replace(record, wall_seconds=seconds, provenance=provenance)


@pytest.fixture
def records():
    loss = evaluation(0.1)
    ends = {"train": loss, "test": loss}
    points = path_points(loss, loss, 0.1)
    return [
        taking(simulated_run("dense", 1, 0.0, **ends), 2.0),
        taking(simulated_run("dense", 2, 0.0, **ends), 3.0),
        taking(simulated_run("prune", 1, 0.9, **ends), 4.0, num_threads=2),
        taking(simulated_path("dense:end", "dense2:end", 1, points=points), 1.0),
        taking(simulated_path("dense:end", "dense2:end", 1, degree=2, points=points), 6.0),
    ]


def test_time_is_added_up_by_kind_of_job_and_thread(records):
    assert list(time_spent(records).items()) == [
        ("end points: prune, 0.9 sparse", Spent(num_jobs=1, core_seconds=8.0)),
        ("paths: quadratic curves", Spent(num_jobs=1, core_seconds=6.0)),
        ("end points: dense", Spent(num_jobs=2, core_seconds=5.0)),
        ("paths: lines", Spent(num_jobs=1, core_seconds=1.0)),
    ]


def test_the_page_says_where_the_time_of_a_published_experiment_went(tmp_path, records):
    (tmp_path / "small").mkdir()
    lines = "".join(to_json(record) + "\n" for record in records)
    (tmp_path / "small" / "records.jsonl").write_text(lines)

    write_page(tmp_path / "benchmarks", tmp_path / "SPEED.md")

    page = (tmp_path / "SPEED.md").read_text()
    assert "## Where the time of make reproduce went: small" in page
    assert "20 core-seconds on simulated" in page
    assert "| end points: dense | 2 | 5 s | 2.5 s | 25.0% |" in page
