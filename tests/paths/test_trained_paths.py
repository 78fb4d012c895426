"""What rules 2 promise of real paths: trained on digits, briefly, with its network and policy."""

import dataclasses
import functools

import pytest

from lightning_sparse.data.source import TensorImages
from lightning_sparse.execution.build import build_data, build_network
from lightning_sparse.execution.execute import execute
from lightning_sparse.files.tensor_files import load_tensors
from lightning_sparse.paths.end_points import load_end_point
from lightning_sparse.paths.evaluation import PathEvaluator
from lightning_sparse.paths.geometry import point_on_curve
from lightning_sparse.planning.runs import plan_path
from lightning_sparse.records import read_record
from lightning_sparse.rises import barriers, descent, largest_rise, margin
from lightning_sparse.settings.compose import compose_settings, with_values
from lightning_sparse.settings.objects import build_curve

MARGIN = margin(10)
FINE = [i / 400 for i in range(401)]
PATHS = {
    "line_between_solutions": ("scratch:end", "prune:end", "line", "end_mask"),
    "line_from_the_scratch_start": ("scratch:start", "prune:end", "line", "end_mask"),
    "line_from_the_dense_start": ("dense:start", "prune:end", "line", "end_mask"),
    "line_to_the_scratch_solution": ("scratch:start", "scratch:end", "line", "end_mask"),
    "curve_inside_the_mask": ("scratch:end", "prune:end", "quadratic", "end_mask"),
    "curve_in_the_dense_space": ("scratch:end", "prune:end", "quadratic", "dense"),
    "cubic_inside_the_mask": ("scratch:end", "prune:end", "cubic", "end_mask"),
    "line_from_the_lottery_start": ("lottery:start", "prune:end", "line", "end_mask"),
    "line_between_lottery_and_pruned": ("lottery:end", "prune:end", "line", "end_mask"),
    "line_to_the_dense_solution": ("dense:start", "dense:end", "line", "dense"),
    "chain_inside_the_mask": ("scratch:end", "prune:end", "autoneb_9", "end_mask"),
    "chain_in_the_dense_space": ("scratch:end", "prune:end", "polygonal_chain_5", "dense"),
}


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    return compose_settings(
        [
            "training.num_steps=400", "pruning.start_step=50", "pruning.end_step=250",
            "pruning.update_every=25", "path.training.num_steps=300", "seed=3",
            "evaluation.train_subset_size=256", "evaluation.num_recalibration_images=256",
            f"runs_dir={tmp_path_factory.mktemp('runs')}",
        ]
    )  # fmt: skip


@pytest.fixture(scope="module")
def measured(settings):
    """Each path's record, and the means to measure any other point of it."""

    @functools.cache
    def of(name):
        start, end, curve, space = PATHS[name]
        words = [f"path.start={start}", f"path.end={end}", f"curve={curve}"]
        ours = with_values(settings, [*words, f"path.space={space}"])
        job = plan_path(ours)
        for needed in job.needs:
            for before in needed.needs:
                execute(before)
            execute(needed)
        return execute(job), ours, job.run_dir

    return of


def losses_at(ts, ours, run_dir):
    data = build_data(ours)
    # What is compared is the training loss.
    few = TensorImages(data.source.test.images[:8], data.source.test.labels[:8])
    data.source = dataclasses.replace(data.source, test=few)
    network = build_network(ours, data.source)
    ends = [load_end_point(end.run_dir, end.moment, name=end.name) for end in plan_path(ours).ends]
    evaluator = PathEvaluator(
        network=network,
        data=data,
        settings=ours.evaluation,
        weight_decay=ours.path.training.weight_decay,
        buffers=tuple(end.buffers(network) for end in ends),
    )
    points = evaluator(
        ts,
        functools.partial(
            point_on_curve, build_curve(ours.curve), control_points(ends, run_dir, network)
        ),
    )
    return [point.train.loss for point in points]


def last_point(stored):
    return max(int(name.partition("/")[0]) for name in stored)


def control_points(ends, run_dir, network):
    import torch

    from lightning_sparse.paths.layout import WeightLayout

    layout = WeightLayout(network)
    vectors = [layout.flatten(end.state) for end in ends]
    file = run_dir / "control_points.safetensors"
    if not file.is_file():
        return torch.stack(vectors)
    stored = load_tensors(file)
    inner = [
        layout.flatten(
            {
                name.partition("/")[2]: each
                for name, each in stored.items()
                if name.partition("/")[0] == str(index)
            }
        )
        for index in range(1, last_point(stored))
    ]
    return torch.stack([vectors[0], *inner, vectors[1]])


@pytest.mark.parametrize("name", PATHS)
def test_what_is_judged_is_what_four_hundred_points_give(measured, name):
    record, ours, run_dir = measured(name)
    ts = [point.t for point in record.points]
    losses = [point.train.loss for point in record.points]
    fine = losses_at(FINE, ours, run_dir)

    for quantity in (
        lambda ts, losses: descent(ts, losses).value,
        lambda ts, losses: largest_rise(ts, losses).value,
        lambda ts, losses: barriers(ts, losses).worse_end,
    ):
        truth = quantity(FINE, fine)
        assert quantity(ts, losses) >= truth - max(0.02 * truth, 0.1 * MARGIN)
    assert record.refinement_converged


@pytest.mark.parametrize("name", ["line_between_solutions"])
def test_the_end_of_a_path_is_the_network_that_was_trained(measured, settings, name):
    record, _, _ = measured(name)
    losses = {point.t: point.train.loss for point in record.points}
    for t, run_id in ((0.0, record.start_run), (1.0, record.end_run)):
        run = read_record(plan_path(settings).run_dir.parent / run_id)
        assert losses[t] == pytest.approx(run.train.loss, abs=MARGIN / 2)


def test_the_record_says_by_which_rules_and_of_how_many_classes(measured):
    record, _, _ = measured("line_between_solutions")
    assert (record.rules, record.num_classes) == (2, 10)
    # Of 1,024 training images 256 are measured.
    assert 0 < record.descent_standard_error < 1
    assert 0 < record.barrier_standard_error < 1
