"""Every experiment takes two optimizer steps, as it stands, in every arm, line and curve it names.

What is its own: precision, clipping, compiling, accumulated batches, schedule, layer policy,
batch-norm policy. What is not: images and network, which are tiny, how many of each there are, and
the device. Experiments that differ in nothing but sparsity and seeds are stepped once.
"""

import functools
import json
import math

import pytest
import torch

from lightning_sparse.analysis.experiment import Route, route_of
from lightning_sparse.analysis.second_rules import RULES_2
from lightning_sparse.execution.execute import execute
from lightning_sparse.files.tensor_files import load_tensors
from lightning_sparse.planning.reproduce import plan_all
from lightning_sparse.records import PathRecord, RunRecord
from lightning_sparse.settings.compose import compose_settings
from lightning_sparse.settings.shipped import CONF_DIR
from lightning_sparse.settings.tree import as_plain
from tests.cli.small import in_small

# Those that set methods beside each other have no lines and curves: tests/cli/test_methods.py.
EXPERIMENTS = sorted(
    file.stem
    for file in (CONF_DIR / "experiment").glob("*.yaml")
    if not file.stem.endswith("_methods")
)


def alike():
    """Group the experiments whose steps are made by the same settings."""
    groups = {}
    for experiment in EXPERIMENTS:
        settings = compose_settings([f"experiment={experiment}", "sparsity=0.5"])
        own = {"experiment_name", "reproduce", "pilot"}
        claims = [settings.reproduce.claims, settings.reproduce.further_claims]
        key = json.dumps([{k: v for k, v in as_plain(settings).items() if k not in own}, claims])
        groups.setdefault(key, []).append(experiment)
    return list(groups.values())


@pytest.fixture
def traced_only(monkeypatch):
    """Let `torch.compile` trace what it is given, and leave out the minute that its C++ takes."""
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend="eager"))
    yield
    torch.compiler.reset()


@pytest.mark.pipeline
@pytest.mark.parametrize("experiments", alike(), ids="+".join)
@pytest.mark.usefixtures("traced_only")
def test_every_arm_line_and_curve_of_an_experiment_is_made(experiments, tmp_path):
    experiment = experiments[0]
    narrow = "model._target_=tests.cli.narrow.NarrowNet"
    jobs = plan_all(in_small(experiment, tmp_path, narrow))

    records = [execute(job) for job in jobs]

    runs = [record for record in records if isinstance(record, RunRecord)]
    paths = [record for record in records if isinstance(record, PathRecord)]
    assert {run.method for run in runs} == {"dense", "prune", "scratch", "lottery"}
    assert all(run.num_steps == 2 and math.isfinite(run.test.loss) for run in runs)
    assert all(run.distance_from_start > 0 for run in runs)
    settings = compose_settings([f"experiment={experiment}"])
    made = {route_of(path) for path in paths}
    assert {route for route in RULES_2.routes if route.is_fitted} <= made
    assert Route("scratch:end", "prune:end") in made
    for job, record in zip(jobs, records, strict=True):
        assert record.config["trainer"].get("precision") == settings.trainer.get("precision")
        assert record.config["compile"] == settings.compile
        if isinstance(record, PathRecord) and record.is_fitted:
            assert record.num_steps == 2
            assert has_moved(job.run_dir)


def has_moved(run_dir):
    """Whether a curve's control points have left the straight line between its ends."""
    points = load_tensors(run_dir / "control_points.safetensors")
    names = [name.partition("/")[2] for name in points if name.startswith("0/")]
    last = len(points) // len(names) - 1
    start, inner, end = (
        torch.cat([points[f"{k}/{name}"].flatten() for name in names]) for k in (0, 1, last)
    )
    # At the first steps of a warm-up the rate is small: what moves are the smallest weights.
    return not torch.equal(inner, torch.lerp(start, end, 1 / last))
