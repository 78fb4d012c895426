"""What holds for every test: it starts from the same state and leaves none behind."""

import os
import random
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import hypothesis
import numpy as np
import pytest
import torch
import torch.distributed

from tests.commands import (  # noqa: F401 (what several rooms' tests ask for)
    dense_run,
    narrow_run,
    pruned_run,
    refused,
    runs_dir,
)
from tests.distribution import SchedulingByFile, is_worker, long_first, num_processes
from tests.faults.findings import note
from tests.typechecking import check_annotations

check_annotations()

os.environ["MPLBACKEND"] = "Agg"
os.environ["WANDB_MODE"] = "offline"

# Ctrl-C is tested, and is ignored in what was started in the background.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Tests run beside each other on few cores, and sums must not depend on how many.
torch.set_num_threads(1)

# The first call into torch is slow, and a test that fails must fail again.
hypothesis.settings.register_profile("project", derandomize=True, deadline=None, database=None)
hypothesis.settings.load_profile("project")


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("gpu") and not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    from lightning_sparse.execution.session import num_cores

    return num_processes(config.args, num_cores())


def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> SchedulingByFile:
    config.option.loadscopereorder = False  # a file of few tests may be the longest
    return SchedulingByFile(config, log)


def pytest_collection_modifyitems(session: pytest.Session, items: list[pytest.Item]) -> None:
    if is_worker(session.config):
        items[:] = long_first(items)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Note for the page of reliability how many tests there were, and which did not pass."""
    if is_worker(terminalreporter.config):  # which sums up its own share
        return
    reports = terminalreporter.stats
    not_passed = [
        report.nodeid for outcome in ("failed", "error", "skipped")
        for report in reports.get(outcome, [])
    ]  # fmt: skip
    note(
        test="tests",
        number=len(reports.get("passed", [])) + len(not_passed),
        not_passed=not_passed,
    )


@pytest.fixture(autouse=True)
def _same_start() -> Iterator[None]:
    """Give every test the same global generators, and undo what it set for the process."""
    undo = _undo()
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)

    yield

    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
    if hydra := sys.modules.get("hydra.core.global_hydra"):
        hydra.GlobalHydra.instance().clear()
    for restore in undo:
        restore()


@pytest.fixture
def global_generators_untouched() -> Iterator[None]:
    """Fail a test whose code drew from, or seeded, a generator that is not its own."""
    before = _generator_states()
    yield
    assert _generator_states() == before, "a global random generator was used or seeded"


@pytest.fixture
def chromium() -> Path:
    """The browser; where there is none the test is skipped, except in continuous integration."""
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if found := shutil.which(name):
            return Path(found)
    if os.environ.get("CI"):
        pytest.fail("no Chromium, and set-up did not install it")
    pytest.skip("no Chromium: sudo apt-get install -y chromium")


def _generator_states() -> tuple[object, bytes, bytes]:
    numpy_state = np.random.get_state(legacy=False)
    return random.getstate(), repr(numpy_state).encode(), bytes(torch.random.get_rng_state())


def _undo() -> list[Callable[[], object]]:
    """Remember the process-wide state: one call for each part that brings it back."""
    cudnn = torch.backends.cudnn
    return [
        partial(random.setstate, random.getstate()),
        partial(np.random.set_state, np.random.get_state()),
        partial(torch.random.set_rng_state, torch.random.get_rng_state()),
        partial(
            torch.use_deterministic_algorithms,
            torch.are_deterministic_algorithms_enabled(),
            warn_only=torch.is_deterministic_algorithms_warn_only_enabled(),
        ),
        partial(
            setattr,
            torch.utils.deterministic,
            "fill_uninitialized_memory",
            torch.utils.deterministic.fill_uninitialized_memory,
        ),
        partial(setattr, cudnn, "deterministic", cudnn.deterministic),
        partial(setattr, cudnn, "benchmark", cudnn.benchmark),
        partial(torch.set_float32_matmul_precision, torch.get_float32_matmul_precision()),
        partial(torch.set_default_dtype, torch.get_default_dtype()),
        partial(torch.set_num_threads, torch.get_num_threads()),
        partial(os.chdir, Path.cwd()),
        os.environ.clear,
        partial(os.environ.update, dict(os.environ)),
    ]
