"""Real processes whose global generators differ: see rank_program.py.

Two and four with gloo on the CPU; where there are GPUs, one and two with NCCL, one GPU each.
"""

import contextlib
import itertools
import multiprocessing
import shutil
import socket

import pytest
import torch

from lightning_sparse.files.tensor_files import load_tensors
from lightning_sparse.paths.end_points import load_end_point
from lightning_sparse.paths.evaluation import PathEvaluator, evaluate_path
from lightning_sparse.records import read_record
from lightning_sparse.rises import margin
from lightning_sparse.sparsity.mask_files import load_masks
from lightning_sparse.streams import stream_generator
from lightning_sparse.training.measurement import decayed_half_squared_norm, measure
from lightning_sparse.training.numerics import true_single_precision
from lightning_sparse.training.ranks import is_first_rank, mean_over_ranks
from tests.training import rank_program
from tests.training.methods import AsksAtStart, GrowsByGradient
from tests.training.problems import TwoLayers, make_data, make_network, same_bits, train
from tests.training.rank_program import CLIP_NORM, EVALUATION

# How alike sums are that two processes add up: a GPU may take other algorithms each time.
ALIKE = {"cpu": 1e-12, "cuda": 1e-6}


def free_port():
    with contextlib.closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def skip_without_gpus(number):
    there = torch.cuda.device_count()
    if there < number:
        pytest.skip(f"needs {number} GPUs, one for each rank, and there are {there}")


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(("cpu", 2), id="gloo-2"),
        pytest.param(("cpu", 4), id="gloo-4"),
        pytest.param(("cuda", 1), id="nccl-1", marks=pytest.mark.gpu),
        pytest.param(("cuda", 2), id="nccl-2", marks=pytest.mark.gpu),
    ],
)
def shared(request, tmp_path_factory):
    """The folder that so many ranks worked in, and what each of them saw."""
    device, number = request.param
    if device == "cuda":
        skip_without_gpus(number)
    folder, port = tmp_path_factory.mktemp("ranks"), free_port()
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([rank_program.__name__])
    processes = [
        context.Process(target=rank_program.run_rank, args=(folder, device, rank, number, port))
        for rank in range(number)
    ]
    try:
        for process in processes:
            process.start()
        for process in processes:
            process.join(timeout=600)
    finally:
        for process in processes:
            process.kill()
            process.join()
    statuses = [process.exitcode for process in processes]
    outputs = [(folder / f"rank{rank}.txt").read_text() for rank in range(number)]
    assert statuses == [0] * number, (statuses, [output[-1500:] for output in outputs])
    seen = [torch.load(folder / f"rank{rank}.pt") for rank in range(number)]
    assert {rank["backend"] for rank in seen} == {"nccl" if device == "cuda" else "gloo"}
    return folder, seen


@pytest.mark.dist
def test_weights_and_statistics_are_the_same_bits_on_every_rank(shared):
    folder, seen = shared
    for run in ("prune", "dense", "clipped"):
        saved = load_tensors(folder / run / "weights.safetensors")
        assert all(same_bits(dict(sorted(rank[run].items())), saved) for rank in seen)
    masks = load_masks(folder / "prune" / "masks.safetensors")
    assert all(not seen[0]["prune"][name][~mask].any() for name, mask in masks.items())
    assert sum(int(mask.sum()) for mask in masks.values()) < 231


@pytest.mark.dist
def test_every_method_trains_on_ranks_of_unequal_seeds_inside_equal_masks(shared, subtests):
    folder, seen = shared
    for example in rank_program.names_of_examples(len(seen)):
        name = example.replace(" ", "_")
        with subtests.test(name):
            saved = load_tensors(folder / name / "weights.safetensors")
            masks = load_masks(folder / name / "masks.safetensors")
            for rank in seen:
                assert same_bits(dict(sorted(rank[name].items())), saved)
                assert all(not rank[name][layer][~mask].any() for layer, mask in masks.items())


@pytest.mark.dist
def test_a_record_of_several_ranks_measures_the_saved_network_on_every_image_once(shared):
    folder, seen = shared
    device = torch.device(seen[0]["device"])
    record = read_record(folder / "prune")
    network = make_network()
    network.load_state_dict(load_tensors(folder / "prune" / "weights.safetensors"))
    network.to(device)
    penalty = 1e-4 * decayed_half_squared_norm(network, dict(network.named_parameters()))

    data = make_data()
    for measured, batches in (
        (record.train, data.train_subset_batches()),
        (record.test, data.test_batches()),
    ):
        with true_single_precision():
            alone = measure(network.eval(), batches, penalty=penalty, device=device)
        assert measured.num_images == alone.num_images
        assert measured.accuracy == alone.accuracy
        assert measured.loss == pytest.approx(alone.loss, rel=ALIKE[device.type])
        assert measured.loss_standard_error == pytest.approx(
            alone.loss_standard_error, rel=1000 * ALIKE[device.type]
        )
    assert record.global_batch_size == 8


@pytest.mark.dist
def test_gradients_are_clipped_on_every_rank_in_mixed_precision_too(shared):
    folder, _ = shared
    start = load_tensors(folder / "clipped" / "start.safetensors")
    end = load_tensors(folder / "clipped" / "weights.safetensors")
    masks = load_masks(folder / "clipped" / "masks.safetensors")

    # A step is at most the rate of 0.1 times 1 / (1 - 0.9) times the limit, and there are 20.
    moved = [
        (end[name] - weight)[masks.get(name, torch.ones_like(weight).bool())].flatten()
        for name, weight in start.items()
        if not name.startswith("bn") or name.endswith(("weight", "bias"))
    ]
    assert 0 < torch.cat(moved).norm() <= 20 * 0.1 * 10 * CLIP_NORM


def leaves(nested):
    """Tensors by the keys on the way to them."""
    for key, value in nested.items():
        found = leaves(value) if isinstance(value, dict) else [((), value)]
        yield from (((key, *keys), tensor) for keys, tensor in found)


@pytest.mark.dist
@pytest.mark.parametrize("make_method", [GrowsByGradient, AsksAtStart])
def test_a_method_sees_on_every_rank_the_bits_that_one_process_would_see(
    shared, make_method, tmp_path
):
    """The gradients of the global batch, and the probe's: up to the order of sums."""
    folder, seen = shared
    alone, name = make_method(), make_method.__name__

    train(tmp_path, method=alone, network=make_network(network_type=TwoLayers))

    ours = [dict(leaves(rank[f"view of {name}"])) for rank in seen]
    single = dict(leaves(alone.seen))
    assert len(single) == (8 if name == "GrowsByGradient" else 10)
    for keys, tensor in single.items():
        assert all(torch.equal(rank[keys], ours[0][keys]) for rank in ours)
        torch.testing.assert_close(ours[0][keys].cpu(), tensor, rtol=1e-3, atol=1e-5)
    masks = load_masks(folder / name / "masks.safetensors")
    expected = load_masks(tmp_path / "masks.safetensors")
    assert all(torch.equal(mask, expected[layer]) for layer, mask in masks.items())


@pytest.mark.dist
def test_masks_that_differ_stop_every_rank_and_the_odd_ones_are_named(shared):
    folder, seen = shared
    if len(seen) == 1:
        pytest.skip("a single rank agrees with itself")
    odd = ", ".join(str(rank) for rank in range(1, len(seen)))
    for rank in seen:
        assert rank["odd"].startswith(f"after step 3 the masks of rank {odd} are not those of rank")
    assert not (folder / "odd" / "record.json").exists()


@pytest.mark.dist
def test_every_rank_draws_its_own_t_from_the_seeded_stream(shared):
    _, seen = shared
    for number, rank in enumerate(seen):
        expected = [
            torch.rand(
                (), generator=stream_generator(1, "curve", step, number), dtype=torch.float64
            ).item()
            for step in range(12)
        ]
        assert rank["draws"] == expected
    assert len({t for rank in seen for t in rank["draws"]}) == 12 * len(seen)


@pytest.mark.dist
@pytest.mark.parametrize("degree", [1, 2])
def test_a_path_measured_by_several_ranks_has_the_numbers_of_one_process(shared, degree):
    folder, seen = shared
    start, end = (load_end_point(folder / name, "end", name=name) for name in ("dense", "prune"))
    network = make_network(seed=7)
    evaluator = PathEvaluator(
        network=network,
        data=make_data(),
        settings=EVALUATION,
        weight_decay=0.01,
        buffers=(start.buffers(network), end.buffers(network)),
        device=torch.device(seen[0]["device"]),
    )
    layout = evaluator._layout
    ends = [layout.flatten(point.state) for point in (start, end)]
    if degree == 2:
        points = load_tensors(folder / "degree2" / "control_points.safetensors")
        inner = {k.removeprefix("1/"): v for k, v in points.items() if k.startswith("1/")}
        ends.insert(1, layout.flatten(inner))

    with true_single_precision():
        smallest = margin(evaluator.num_classes)
        alone, _ = evaluate_path(evaluator, lambda t: _de_casteljau(ends, t), EVALUATION, smallest)

    assert all(rank[f"degree{degree}"] == seen[0][f"degree{degree}"] for rank in seen)
    numbers = [
        [point.t, point.train.loss, point.test.loss, point.train.accuracy, point.test.accuracy]
        for point in alone
    ]
    for together, single in zip(seen[0][f"degree{degree}"], numbers, strict=True):
        assert together == pytest.approx(single, rel=1e-5)


def _de_casteljau(points, t):
    while len(points) > 1:
        points = [(1 - t) * a + t * b for a, b in itertools.pairwise(points)]
    return points[0]


@pytest.mark.dist
def test_derivatives_of_the_loss_on_shares_of_the_batches_are_those_of_one_process(
    shared, tmp_path
):
    folder, seen = shared
    shutil.copytree(folder / "prune", tmp_path / "prune")
    alone = {}
    options = {"accelerator": "cpu", "devices": 1}
    rank_program.look_at_derivatives(tmp_path, alone, torch.device("cpu"), options)
    for rank in seen:
        for name, gradient in alone["gradient"].items():
            torch.testing.assert_close(rank["gradient"][name], gradient, rtol=1e-9, atol=1e-12)
        torch.testing.assert_close(rank["curvature"], alone["curvature"], rtol=1e-9, atol=1e-12)
        assert rank["ray"] == seen[0]["ray"]
    for together, single in zip(seen[0]["ray"], alone["ray"], strict=True):
        assert together == pytest.approx(single, rel=1e-4)


@pytest.mark.dist
def test_the_objective_of_a_fit_is_that_of_all_ranks(shared):
    _, seen = shared
    assert len({rank["fit_objective"] for rank in seen}) == 1


def test_one_process_is_the_first_and_its_mean_is_its_number():
    assert is_first_rank()
    assert mean_over_ranks(0.1, torch.device("cpu")) == 0.1
