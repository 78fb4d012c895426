import json
import re

import pytest
import torch

from lightning_sparse.training import provenance as module
from lightning_sparse.training.provenance import provenance


@pytest.fixture(autouse=True)
def _fresh_cache():
    module._machine.cache_clear()
    yield
    module._machine.cache_clear()


def test_it_names_program_machine_and_time_and_is_json():
    described = json.loads(json.dumps(provenance(), allow_nan=False))

    assert described["versions"]["torch"] == torch.__version__
    assert described["num_threads"] == torch.get_num_threads()
    assert described["processor"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", described["date"])


def test_the_commit_is_that_of_the_checkout(monkeypatch, tmp_path):
    (tmp_path / ".git").mkdir()
    monkeypatch.setattr(module, "__file__", str(tmp_path / "package" / "room" / "module.py"))
    answers = {"rev-parse": "abc123", "status": " M README.md"}
    monkeypatch.setattr(module, "_git", lambda _, verb, *__: answers[verb])

    described = provenance()

    assert described["commit"] == "abc123"
    assert described["has_local_changes"] is True


def test_without_git_there_is_no_commit(monkeypatch):
    monkeypatch.setenv("PATH", "")

    described = provenance()

    assert described["commit"] is None
    assert described["has_local_changes"] is None


def test_a_package_that_is_not_installed_has_no_version():
    assert module._version("no-such-package-anywhere") is None
