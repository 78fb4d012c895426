"""Every precision that Lightning has makes runs, lines and curves, or is refused at once."""

from typing import get_args

import pytest
import torch
from lightning_fabric.plugins.precision.precision import (
    _PRECISION_INPUT_INT,
    _PRECISION_INPUT_STR,
    _PRECISION_INPUT_STR_ALIAS,
)

from lightning_sparse.cli.main import main
from lightning_sparse.errors import UserError
from lightning_sparse.execution.build import build_data, build_network
from lightning_sparse.execution.execute import execute
from lightning_sparse.files.tensor_files import load_tensors
from lightning_sparse.pipeline.jobs import with_needs
from lightning_sparse.planning.runs import plan_path, plan_training
from lightning_sparse.process.preemption import Preempted
from lightning_sparse.settings.checks import check_precision
from lightning_sparse.sparsity.mask_files import load_masks
from lightning_sparse.training.measurement import measure
from tests.cli.small import in_small
from tests.faults.interrupted import signal_at

PRECISIONS = get_args(_PRECISION_INPUT_STR)
OLDER_NAMES = (*get_args(_PRECISION_INPUT_STR_ALIAS), *get_args(_PRECISION_INPUT_INT))
REFUSED = {
    "transformer-engine": "puts layers of its own in the place of the network's",
    "transformer-engine-float16": "puts layers of its own in the place of the network's",
}
REFUSED_ON_A_CPU = {**REFUSED, "16-mixed": "needs a GPU"}
FITTED_IN = {
    "bf16-true": torch.bfloat16,
    "16-true": torch.float16,
    "64-true": torch.float64,
}


@pytest.mark.parametrize("precision", REFUSED_ON_A_CPU)
@pytest.mark.parametrize("verb", ["train", "line", "path"])
def test_what_cannot_be_is_refused_before_anything_starts(precision, verb, refused, tmp_path):
    message = refused(
        verb, "experiment=smoke", f"runs_dir={tmp_path}/runs", f"+trainer.precision={precision}"
    )

    assert message.startswith(f"trainer.precision={precision}: {REFUSED_ON_A_CPU[precision]}")
    assert not (tmp_path / "runs").exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="auto is a GPU here")
def test_a_device_that_is_only_known_later_is_asked_for_its_precisions_too(refused, tmp_path):
    message = refused(
        "train", "experiment=smoke", f"runs_dir={tmp_path}/runs", "trainer.accelerator=auto",
        "+trainer.precision=16-mixed",
    )  # fmt: skip

    assert "needs a GPU" in message
    assert not list((tmp_path / "runs").glob("smoke-*"))


@pytest.mark.parametrize("precision", ["9-true", "", "true", "[16]"])
def test_a_word_that_is_no_precision_is_answered_with_those_there_are(precision, refused):
    message = refused("train", "experiment=smoke", f"+trainer.precision='{precision}'")

    assert message.startswith(f"trainer.precision={precision}: choose one of 32-true, bf16-mixed,")


@pytest.mark.parametrize("precision", [*PRECISIONS, *OLDER_NAMES])
def test_a_gpu_takes_every_precision_but_those_with_layers_of_their_own(precision):
    if precision in REFUSED:
        with pytest.raises(UserError, match="layers of its own"):
            check_precision(precision, "gpu")
    else:
        check_precision(precision, "gpu")


@pytest.fixture(scope="module", params=[p for p in PRECISIONS if p not in REFUSED_ON_A_CPU])
def made(request, tmp_path_factory):
    """A precision, and the folders of a pruned and a scratch run, a line and a curve made in it."""
    precision, folder = request.param, tmp_path_factory.mktemp("precision")
    clipped = "path.training.gradient_clip_norm=1.0"
    words = [f"++trainer.precision={precision}", clipped]
    jobs = {}
    for curve in ("line", "quadratic"):
        settings = in_small("smoke", folder, *words, f"curve={curve}")
        for job in with_needs([plan_path(settings)]):
            jobs[job.run_id] = job
    folders = {}
    for job in jobs.values():
        execute(job)
        folders[job.run_id.split("-seed")[0].removeprefix("smoke-")] = job
    return precision, folders


def test_a_run_that_was_stopped_ends_as_the_straight_one(made, tmp_path):
    precision, folders = made
    settings = in_small("smoke", tmp_path, f"++trainer.precision={precision}", "method=prune")
    job = plan_training(settings)

    with pytest.raises(Preempted):
        execute(job, signal_at(1, "SIGTERM"))
    record = execute(job)

    straight = job_of(folders, "prune").run_dir
    assert record.provenance["num_resumed"] == 1
    for file in ("weights.safetensors", "masks.safetensors"):
        assert (job.run_dir / file).read_bytes() == (straight / file).read_bytes()


def job_of(folders, stem):
    return next(job for name, job in folders.items() if name.startswith(stem))


def test_runs_lines_and_curves_are_made_and_verified(made):
    _, folders = made

    assert len(folders) == 4
    assert main(["verify", *(str(job.run_dir) for job in folders.values())]) == 0


def test_weights_are_those_of_the_precision_and_their_file_is_single_or_double(made):
    precision, folders = made
    fitted = FITTED_IN.get(precision, torch.float32)
    kept = torch.float64 if precision == "64-true" else torch.float32

    for stem in ("prune", "scratch"):
        run_dir = job_of(folders, stem).run_dir
        masks = load_masks(run_dir / "masks.safetensors")
        for file in ("start.safetensors", "weights.safetensors"):
            weights = load_tensors(run_dir / file)
            parameters = [w for n, w in weights.items() if n.endswith(("weight", "bias"))]
            assert {weight.dtype for weight in parameters} == {kept}
            assert all(torch.equal(w.to(fitted).to(kept), w) for w in parameters)
        assert all((weights[name][~mask] == 0).all() for name, mask in masks.items())
    if precision == "64-true":
        assert any((weight.float().double() != weight).any() for weight in parameters)


def test_what_a_record_measures_is_the_network_that_was_written(made):
    precision, folders = made
    job = job_of(folders, "prune")
    settings = job.settings
    data = build_data(settings)
    weights = load_tensors(job.run_dir / "weights.safetensors")
    dtype = next(iter(weights.values())).dtype
    network = build_network(settings, data.source).to(dtype).eval()
    network.load_state_dict(weights)

    measured = measure(network, data.test_batches(), penalty=0.0, dtype=dtype)

    record = job.record()
    assert (record.test.loss, record.test.accuracy) == (measured.loss, measured.accuracy)
    assert record.config["trainer"]["precision"] == precision


def test_a_curve_has_its_ends_exactly_and_moves_between_them(made):
    _, folders = made
    points = load_tensors(
        job_of(folders, "S-end-to-P-end-degree2").run_dir / "control_points.safetensors"
    )
    for k, stem in ((0, "scratch"), (2, "prune")):
        end = load_tensors(job_of(folders, stem).run_dir / "weights.safetensors")
        names = [name.removeprefix("0/") for name in points if name.startswith("0/")]
        assert all(torch.equal(points[f"{k}/{name}"], end[name]) for name in names)
    middle = [(points[f"0/{n}"] + points[f"2/{n}"]) / 2 - points[f"1/{n}"] for n in names]
    assert 1e-7 < max(float(part.abs().max()) for part in middle) < 1


@pytest.mark.gpu
@pytest.mark.parametrize("precision", [p for p in PRECISIONS if p not in REFUSED])
def test_a_gpu_makes_runs_and_curves_in_every_precision(precision, tmp_path):
    words = ["trainer.accelerator=gpu", "path.training.gradient_clip_norm=1.0"]
    settings = in_small("smoke", tmp_path, *words, f"++trainer.precision={precision}")
    jobs = with_needs([plan_path(settings)])

    records = [execute(job) for job in jobs]

    assert [record.provenance["deterministic"] for record in records] == [True] * 3
    assert main(["verify", *(str(job.run_dir) for job in jobs)]) == 0
