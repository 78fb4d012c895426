import pytest
import torch

from lightning_sparse.errors import DivergedError, UserError
from lightning_sparse.sparsity.growth import AtRandom, LargestGradient, SmallestGradient
from lightning_sparse.sparsity.regrowth import (
    SwapSchedule,
    check_places,
    remember_kept,
    share_ever_kept,
    swapped_masks,
)
from lightning_sparse.sparsity.view import SparseView
from tests.reference.swaps import itop_number, rigl_clock, rigl_number

IMAGENET = SwapSchedule(end_step=25_000, update_every=100)


@pytest.mark.parametrize(
    ("made", "number"),
    [(0, 300), (100, 299), (6_250, 256), (12_500, 150), (18_750, 43), (24_900, 0)],
)
def test_of_a_thousand_weights_rigl_removes_as_many_as_its_schedule_says(made, number):
    assert IMAGENET.num_swapped(1000, made) == number


@pytest.mark.parametrize(("quarter", "number"), [(0, 500), (1, 428), (2, 253), (3, 78), (4, 5)])
def test_of_a_thousand_weights_itop_removes_as_many_as_its_schedule_says(quarter, number):
    swaps = SwapSchedule(
        end_step=4000, update_every=4, drop_fraction=0.5, final_drop_fraction=0.005, rounding="up"
    )
    assert swaps.num_swapped(1000, quarter * 1000) == number


def test_numbers_are_those_of_a_second_implementation_at_every_step():
    rigl = SwapSchedule(start_step=7, end_step=1207, update_every=1, drop_fraction=0.3)
    itop = SwapSchedule(
        end_step=1200, update_every=1, drop_fraction=0.5, final_drop_fraction=0.005, rounding="up"
    )
    for step in range(1201):
        for size in (1, 10, 997, 23_456):
            assert rigl.num_swapped(size, step + 7) == rigl_number(
                size, fraction=0.3, step=step + 7, begin=7, end=1207
            )
            assert itop.num_swapped(size, step) == itop_number(
                size, fraction=0.5, last=0.005, step=step, end=1200
            )


def changes(swaps, num_steps, *, replaces_update):
    made = {
        step: swaps.made_before(step, replaces_update=replaces_update)
        for step in range(1, num_steps + 1)
    }
    return {step: number for step, number in made.items() if number is not None}


def test_rigl_on_imagenet_changes_masks_251_times_and_after_steps_250_times():
    assert len(changes(IMAGENET, 32_000, replaces_update=True)) == 251
    assert len(changes(IMAGENET, 32_000, replaces_update=False)) == 250


@pytest.mark.parametrize(
    ("begin", "end", "every"), [(0, 40, 10), (0, 39, 10), (5, 41, 6), (3, 4, 1), (0, 1, 50)]
)
def test_changes_that_replace_steps_come_when_rigls_two_counters_say_so(begin, end, every):
    swaps = SwapSchedule(start_step=begin, end_step=end, update_every=every)
    expected = rigl_clock(begin=begin, end=end, every=every, num_batches=100)
    assert changes(swaps, 100, replaces_update=True) == expected
    assert min(expected.values()) == begin


def by_hand(regrow):
    weights = {"a": torch.tensor([3.0, -1.0, 2.0, 0.0, 0.0])}
    masks = {"a": torch.tensor([True, True, True, False, False])}
    growth = [("a", torch.tensor([9.0, 5.0, 9.0, 4.0, 1.0]))]
    view = SparseView(step=1, weights=weights, masks=masks)
    return swapped_masks(view, {"a": 1}, growth, regrow=regrow, num_grown={"a": 1})["a"].tolist()


def test_a_weight_that_goes_may_come_back_at_once_where_that_is_allowed():
    assert by_hand("allowed") == [True, True, True, False, False]
    assert by_hand("forbidden") == [True, False, True, True, False]


def test_layers_without_place_to_grow_are_named():
    masks = {"dense": torch.ones(4) > 0, "nearly": torch.tensor([True, True, True, False])}
    check_places(masks, {"dense": 2, "nearly": 1})
    with pytest.raises(UserError, match=r"^regrow=forbidden: 'nearly' has 1 empty places for 2 "):
        check_places(masks, {"dense": 2, "nearly": 2})


def test_what_was_ever_kept_is_remembered():
    view = SparseView.at_start({"a": torch.zeros(4)})
    remember_kept(view, {"a": torch.tensor([True, False, False, False])})
    remember_kept(view, {"a": torch.tensor([False, True, False, False])})
    assert share_ever_kept(view.state) == {"share_ever_kept": 0.5}


def test_growth_scores_say_what_their_names_say():
    gradients = {"a": torch.tensor([-3.0, 1.0, 2.0])}
    weights = {"a": torch.zeros(3)}
    view = SparseView(step=4, weights=weights, masks={}, gradients=lambda: gradients, seed=3)
    assert dict(LargestGradient().scores(view))["a"].tolist() == [3.0, 1.0, 2.0]
    assert dict(SmallestGradient().scores(view))["a"].tolist() == [-3.0, -1.0, -2.0]
    again = SparseView(step=4, weights=weights, masks={}, seed=3)
    draws = (dict(AtRandom().scores(item))["a"] for item in (view, again))
    assert torch.equal(*draws)


def test_gradients_that_are_all_zero_end_the_run_in_one_line():
    gradients = {"a": torch.zeros(3)}
    view = SparseView(step=4, weights=gradients, masks={}, gradients=lambda: gradients)
    with pytest.raises(DivergedError, match=r"^step 4: every gradient is zero, so none says where"):
        LargestGradient().scores(view)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("start_step", -1),
        ("end_step", 0),
        ("update_every", 0),
        ("drop_fraction", 30),
        ("final_drop_fraction", -0.1),
    ],
)
def test_a_bad_field_is_named_with_its_value(field, value):
    with pytest.raises(UserError, match=rf"^{field}={value!r}: must"):
        SwapSchedule(**{"end_step": 10, "update_every": 2, field: value})


def test_a_window_that_ends_before_it_starts_is_refused():
    with pytest.raises(UserError, match=r"^end_step=10: must come after start_step=10"):
        SwapSchedule(start_step=10, end_step=10, update_every=1)


@pytest.mark.parametrize(
    ("window", "replaces_update"),
    [
        ({"end_step": 50, "update_every": 100}, False),
        ({"start_step": 30, "end_step": 200, "update_every": 100}, True),
        ({"end_step": 200, "update_every": 21}, False),
    ],
)
def test_a_period_in_which_nothing_changes_before_training_ends_is_refused(window, replaces_update):
    swaps = SwapSchedule(**window)
    with pytest.raises(UserError, match=rf"^update_every={swaps.update_every}: no change of masks"):
        swaps.check_length(20, replaces_update=replaces_update)


def test_a_period_with_one_change_before_training_ends_is_taken():
    SwapSchedule(end_step=50, update_every=100).check_length(20, replaces_update=True)
    SwapSchedule(end_step=200, update_every=20).check_length(20, replaces_update=False)
