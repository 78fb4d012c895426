import contextlib
import itertools
import math
import time
import warnings
from unittest import mock

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.utils import prune

from lightning_sparse.errors import UserError
from lightning_sparse.records import LayerSparsity
from lightning_sparse.sparsity import masks as masks_module
from lightning_sparse.sparsity.masks import (
    _select_by_sorting,
    apply_masks_,
    check_masks_fit,
    full_masks,
    global_masks,
    intersection,
    kept_and_prunable,
    layer_counts,
    layerwise_masks,
    measured_sparsity,
    num_kept,
    top_k_mask,
    union,
)
from lightning_sparse.sparsity.packed_masks import pack_mask
from tests.reference.before_training import ranked_together
from tests.reference.sparsity import sorted_top_k
from tests.sparsity.problems import random_mask
from tests.waits import Waits

# Few distinct values, so that ties are the rule.
tied_scores = st.lists(st.sampled_from([-1.0, 0.0, 0.5, 2.0]), min_size=1, max_size=40)
distinct_scores = st.lists(st.floats(-1e6, 1e6, width=32), min_size=1, max_size=40, unique=True)


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(0)


def as_on_a_gpu():
    """Let tensors on the CPU be ranked as those on a GPU are."""
    return mock.patch.object(masks_module, "_select_by_partition", _select_by_sorting)


@pytest.mark.parametrize(
    ("num_weights", "sparsity", "kept"),
    [
        (100, 0.29, 71),  # 0.29 * 100 = 28.999999999999996
        (100, 0.57, 43),  # 56.99999999999999
        (1000, 0.001, 999),
        (10, 0.99, 1),  # 9.9 zeros
        (3, 0.5, 2),  # 1.5 zeros
        (1, 0.999, 1),
        (7, 0.0, 7),
        (7, 1.0, 0),
        (25_502_912, 0.98, 25_502_912 - 24_992_853),  # 24,992,853.76 zeros
        (10, 0.7999999999999999, 2),
    ],
)
def test_the_number_of_zeros_is_rounded_down_but_not_by_float_error(num_weights, sparsity, kept):
    assert num_kept(num_weights, sparsity) == kept


@given(st.integers(1, 10**6), st.integers(0, 1000))
def test_thousandths_count_as_exact_decimals(num_weights, thousandths):
    zeros = num_weights * thousandths // 1000
    assert num_kept(num_weights, thousandths / 1000) == num_weights - zeros


@pytest.mark.parametrize("sparsity", [-0.01, 1.01, 98, float("nan")])
def test_a_sparsity_outside_the_unit_interval_is_refused(sparsity):
    with pytest.raises(ValueError, match="outside"):
        num_kept(10, sparsity)


@pytest.mark.parametrize(
    ("scores", "kept", "mask"),
    [
        ([3.0, 1.0, 2.0], 1, [1, 0, 0]),
        ([3.0, 1.0, 2.0], 2, [1, 0, 1]),
        ([1.0, 1.0, 1.0, 1.0], 3, [1, 1, 1, 0]),
        ([0.0, 1.0, 0.0, 1.0], 3, [1, 1, 0, 1]),
        ([5.0], 1, [1]),
        ([5.0], 0, [0]),
        ([-1.0, -2.0], 1, [1, 0]),
        ([0.0, -0.0], 1, [1, 0]),
        ([float("inf"), 1.0], 1, [1, 0]),
    ],
)
def test_the_highest_scores_are_kept_and_ties_go_to_the_first(scores, kept, mask):
    assert top_k_mask(torch.tensor(scores), kept).int().tolist() == mask


@given(tied_scores, st.data())
def test_selection_agrees_with_sorting_under_ties(scores, data):
    kept = data.draw(st.integers(0, len(scores)))
    assert top_k_mask(torch.tensor(scores), kept).tolist() == sorted_top_k(scores, kept)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.int64])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("kept", [1, 2_000, 15_000, 20_160])
def test_selection_agrees_with_sorting_in_a_large_layer(dtype, memory_format, kept, generator):
    values = torch.randn(40, 56, 3, 3, generator=generator) * 1000
    scores = values.to(dtype).to(memory_format=memory_format)
    expected = torch.tensor(sorted_top_k(scores.flatten().tolist(), kept)).reshape(scores.shape)
    mask = top_k_mask(scores, kept)
    assert torch.equal(mask, expected)
    assert mask.is_contiguous()


layers_with_ties = st.lists(
    st.lists(st.sampled_from([-1.0, 0.0, -0.0, 0.5, 2.0]), min_size=1, max_size=15),
    min_size=1,
    max_size=4,
)


@given(layers_with_ties, st.booleans(), st.data())
def test_all_layers_together_are_one_list_in_which_earlier_ones_come_first(layers, sorts, data):
    kept = data.draw(st.integers(0, sum(map(len, layers))))
    scores = {str(number): torch.tensor(layer) for number, layer in enumerate(layers)}

    with as_on_a_gpu() if sorts else contextlib.nullcontext():
        masks = global_masks(scores, kept)

    expected = ranked_together(dict(zip(scores, layers, strict=True)), kept)
    assert {name: mask.tolist() for name, mask in masks.items()} == expected


@pytest.mark.parametrize("num_masked", [0, 60_000, 140_000])
@pytest.mark.parametrize("kept", [1, 900, 21_000, 21_500, 77_000, 100_500, 161_279])
@pytest.mark.parametrize("in_order", [False, True])
def test_so_they_are_where_there_are_many_and_most_are_equal(num_masked, kept, in_order, generator):
    flat = torch.rand(2 * 80_640, generator=generator).round(decimals=4)
    flat[torch.randperm(len(flat), generator=generator)[:40_000]] = 0
    flat[torch.randperm(len(flat), generator=generator)[:num_masked]] = -1
    if in_order:  # a sample that misleads
        flat = flat.sort().values.view(-1, 8).t().reshape(-1)
    layers = dict(zip("ab", flat.view(2, 160, 56, 3, 3), strict=True))
    scores = {n: s.contiguous(memory_format=torch.channels_last) for n, s in layers.items()}

    masks = global_masks(scores, kept)

    (first, second), _ = _select_by_sorting(list(scores.values()), kept)
    assert torch.equal(masks["a"], first)
    assert torch.equal(masks["b"], second)
    assert all(mask.is_contiguous() for mask in masks.values())


@given(tied_scores)
def test_masks_of_the_same_scores_are_nested(scores):
    masks = [top_k_mask(torch.tensor(scores), kept) for kept in range(len(scores) + 1)]
    assert [int(mask.sum()) for mask in masks] == list(range(len(scores) + 1))
    assert all(bool((fewer <= more).all()) for fewer, more in itertools.pairwise(masks))


@given(distinct_scores, st.randoms(use_true_random=False), st.data())
def test_permuting_distinct_scores_permutes_the_mask(scores, random, data):
    kept = data.draw(st.integers(0, len(scores)))
    order = list(range(len(scores)))
    random.shuffle(order)
    values = torch.tensor(scores)
    assert torch.equal(top_k_mask(values[order], kept), top_k_mask(values, kept)[order])


def test_one_fifth_of_a_thousand_removes_two_hundred_and_not_one_more(generator):
    weight = torch.randn(1000, generator=generator)
    assert int((~top_k_mask(weight.abs(), num_kept(1000, 0.2))).sum()) == 200


@pytest.mark.parametrize("amount", [1, 7, 300, 575])
def test_selection_agrees_with_torch_pruning(amount, generator):
    layer = torch.nn.Conv2d(4, 16, 3)
    torch.nn.init.normal_(layer.weight, generator=generator)
    mask = top_k_mask(layer.weight.abs(), layer.weight.numel() - amount)
    prune.l1_unstructured(layer, "weight", amount=amount)
    assert torch.equal(mask, layer.weight_mask.bool())


@pytest.mark.parametrize("kept", [-1, 5])
def test_a_count_out_of_range_is_refused(kept):
    with pytest.raises(ValueError, match="of 4 entries"):
        top_k_mask(torch.zeros(4), kept)


@pytest.mark.parametrize("kept", [1, 2, 3, 4])
def test_scores_that_are_not_numbers_are_refused(kept):
    with pytest.raises(ValueError, match="NaN"):
        top_k_mask(torch.tensor([1.0, float("nan"), 2.0, float("nan")]), kept)
    with pytest.raises(ValueError, match="NaN"):
        top_k_mask(torch.tensor([1.0, float("nan"), 1.0, 1.0, 1.0]), kept)


special_scores = st.lists(
    st.sampled_from(
        [0.0, -0.0, 5e-324, 1e-45, -1e-45, 1e-40, 1.0, -1.0, math.inf, -math.inf, 3e38]
    ),
    min_size=1,
    max_size=40,
)


@given(special_scores, st.sampled_from([torch.float32, torch.float64, torch.bfloat16]), st.data())
def test_what_runs_on_a_gpu_selects_what_the_cpu_selects(scores, dtype, data):
    values = torch.tensor(scores, dtype=torch.float64).to(dtype)
    kept = data.draw(st.integers(1, len(scores)))

    (mask,), _ = _select_by_sorting([values], kept)

    assert mask.tolist() == top_k_mask(values, kept).tolist()
    assert mask.tolist() == sorted_top_k(values.double().tolist(), kept)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.int64])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("kept", [1, 2_000, 15_000, 20_160])
def test_so_it_does_in_a_large_layer_with_ties(dtype, memory_format, kept, generator):
    values = torch.randn(40, 56, 3, 3, generator=generator) * 1000
    scores = values.to(dtype).to(memory_format=memory_format)

    (mask,), _ = _select_by_sorting([scores], kept)

    assert torch.equal(mask, top_k_mask(scores, kept))
    assert mask.is_contiguous()


@pytest.fixture
def ranked_as_on_a_gpu():
    with as_on_a_gpu():
        yield


@pytest.mark.usefixtures("ranked_as_on_a_gpu")
@pytest.mark.parametrize("sign", [1.0, -1.0])
@pytest.mark.parametrize("kept", [1, 3])
def test_so_it_does_refuse_scores_that_are_not_numbers(sign, kept):
    not_a_number = torch.tensor(math.nan).copysign(torch.tensor(sign))
    scores = torch.stack([torch.tensor(1.0), not_a_number, torch.tensor(2.0)])
    with pytest.raises(ValueError, match="NaN"):
        top_k_mask(scores, kept)


@pytest.mark.usefixtures("ranked_as_on_a_gpu")
@pytest.mark.parametrize("num_layers", [1, 5])
def test_however_many_layers_there_are_a_gpu_is_waited_for_once(num_layers, generator):
    scores = {f"{i}": torch.rand(3, 5, generator=generator) for i in range(num_layers)}

    with Waits() as waits:
        masks = layerwise_masks(scores.items(), dict.fromkeys(scores, 4))

    assert waits.number == 1
    assert kept_and_prunable(masks) == (4 * num_layers, 15 * num_layers)
    with Waits() as waits:
        layer_counts(masks)
    assert waits.seen == ["tolist"]


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("shape", [(7,), (64, 3, 7, 7), (512, 512, 3, 3)])
def test_masks_made_on_the_gpu_are_those_of_the_cpu(dtype, shape, generator):
    scores = (torch.randn(shape, generator=generator) * 100).round() / 100  # full of ties
    scores.view(-1)[:4] = torch.tensor([-0.0, 0.0, 1e-45, -1e-45])
    scores = scores.to(dtype)
    on_gpu = scores.cuda()
    torch.use_deterministic_algorithms(mode=True)
    for kept in {1, scores.numel() // 50, scores.numel() // 2, scores.numel()}:
        mask = top_k_mask(on_gpu, kept)
        assert mask.is_cuda
        assert torch.equal(mask.cpu(), top_k_mask(scores, kept))
        assert torch.equal(pack_mask(mask).cpu(), pack_mask(mask.cpu()))


@pytest.mark.gpu
def test_an_update_on_the_gpu_waits_for_it_once(generator):
    scores = {f"{i}": torch.rand(300, 500, generator=generator).cuda() for i in range(9)}
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            layerwise_masks(scores.items(), dict.fromkeys(scores, 4))
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert len(caught) == 1, [str(warning.message) for warning in caught]


def test_selecting_takes_less_than_half_the_time_of_sorting(generator):
    scores = torch.randn(2_000_000, generator=generator)

    def seconds(work):
        started = time.process_time()
        work()
        return time.process_time() - started

    sorting = min(seconds(lambda: scores.sort(descending=True, stable=True)) for _ in range(2))
    selecting = min(seconds(lambda: top_k_mask(scores, 400_000)) for _ in range(2))
    assert selecting < sorting / 2


def test_the_mask_has_the_shape_of_the_scores_and_needs_no_gradient():
    weight = torch.arange(24.0).reshape(2, 3, 4).requires_grad_()
    mask = top_k_mask(weight, 5)
    assert mask.shape == (2, 3, 4)
    assert mask.dtype == torch.bool
    assert not mask.requires_grad


def test_transposed_scores_are_ranked_where_they_stand():
    scores = torch.tensor([[1.0, 4.0], [3.0, 2.0]]).t()
    assert top_k_mask(scores, 2).tolist() == [[False, True], [True, False]]


def test_each_layer_keeps_its_own_count():
    scores = {"small": torch.tensor([0.1, 0.2, 0.3]), "large": torch.tensor([10.0, 20.0])}
    masks = layerwise_masks(scores.items(), {"small": 2, "large": 1})
    assert {name: mask.int().tolist() for name, mask in masks.items()} == {
        "small": [0, 1, 1],
        "large": [0, 1],
    }


def test_applying_zeroes_in_place_and_leaves_other_tensors_alone():
    conv, bias = torch.tensor([1.0, -2.0, float("nan")]), torch.tensor([3.0])
    apply_masks_({"conv": conv, "bias": bias}, {"conv": torch.tensor([True, False, False])})
    assert conv.tolist() == [1.0, 0.0, 0.0]
    assert torch.signbit(conv).sum() == 0
    assert bias.tolist() == [3.0]


def test_applying_twice_is_applying_once():
    weight = torch.nn.Parameter(torch.tensor([1.0, -2.0, 3.0]))
    masks = {"w": torch.tensor([True, False, True])}
    apply_masks_({"w": weight}, masks)
    once = weight.detach().clone()
    apply_masks_({"w": weight}, masks)
    assert torch.equal(weight, once)


def test_counts_are_integers_per_layer_and_overall():
    masks = {"a": torch.tensor([True, False, True]), "b": torch.tensor([[False, True]])}
    assert layer_counts(masks) == {
        "a": LayerSparsity(kept=2, prunable=3),
        "b": LayerSparsity(kept=1, prunable=2),
    }
    assert kept_and_prunable(masks) == (3, 5)
    assert measured_sparsity(masks) == pytest.approx(0.4)


def test_full_masks_keep_everything():
    masks = full_masks({"w": torch.nn.Parameter(torch.zeros(2, 3))})
    assert kept_and_prunable(masks) == (6, 6)
    assert not masks["w"].requires_grad


def test_union_and_intersection_keep_what_either_or_both_keep():
    first = {"w": torch.tensor([True, True, False, False])}
    second = {"w": torch.tensor([True, False, True, False])}
    assert union(first, second)["w"].int().tolist() == [1, 1, 1, 0]
    assert intersection(first, second)["w"].int().tolist() == [1, 0, 0, 0]


@pytest.mark.parametrize("combine", [union, intersection])
def test_masks_of_different_layers_are_not_combined(combine):
    with pytest.raises(UserError, match="'w'"):
        combine({"w": random_mask((3,))}, {"w": random_mask((4,))})


def test_a_mask_of_another_shape_is_refused_with_both_shapes():
    with pytest.raises(UserError) as error:
        check_masks_fit({"fc.weight": random_mask((10, 64))}, {"fc.weight": torch.zeros(100, 64)})
    assert "'fc.weight'" in str(error.value)
    assert "(10, 64)" in str(error.value)
    assert "(100, 64)" in str(error.value)
    assert "use masks made for this network" in str(error.value)


def test_a_layer_without_a_mask_is_refused():
    weights = {"a": torch.zeros(2), "b": torch.zeros(2)}
    with pytest.raises(UserError, match="the masks lack 'b'"):
        check_masks_fit({"a": random_mask((2,))}, weights)


def test_a_mask_without_a_layer_is_refused():
    masks = {"a": random_mask((2,)), "b": random_mask((2,))}
    with pytest.raises(UserError, match="the network lacks 'b'"):
        check_masks_fit(masks, {"a": torch.zeros(2)})
