"""One experiment of known truth, and the report on it, made once for all tests that read it."""

import dataclasses
from pathlib import Path

import pytest

from lightning_sparse.analysis.judge import judge_all
from lightning_sparse.report.document import write_report
from tests.analysis.simulate import HEADLINE_SPARSITY, simulated_records
from tests.report.found import found as found_in

HOSTILE = "<script>alert('x')</script>|`*_"


@pytest.fixture(scope="session")
def records():
    """Three seeds; one of the paths has an id that tries to be markup."""
    *others, last = simulated_records([11, 12, 13])
    hostile = dataclasses.replace(last, run_id=HOSTILE)
    return [dataclasses.replace(record, experiment=HOSTILE) for record in [*others, hostile]]


@pytest.fixture(scope="session")
def claims(records):
    return judge_all(records, headline_sparsity=HEADLINE_SPARSITY)


@pytest.fixture(scope="session")
def findings(records):
    return found_in(records, HEADLINE_SPARSITY)


@pytest.fixture(scope="session")
def report_dir(findings, claims, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    write_report(findings, claims, title="Digits & friends", report_dir=folder)
    return folder
