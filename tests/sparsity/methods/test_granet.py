"""GraNet against integers and a walk over every place."""

import pytest

from lightning_sparse.errors import UserError
from lightning_sparse.sparsity.distributions import ErdosRenyiKernel
from lightning_sparse.sparsity.masks import kept_and_prunable
from lightning_sparse.sparsity.methods.granet import GraNet
from lightning_sparse.sparsity.regrowth import SwapSchedule
from tests.reference.before_training import ranked_together
from tests.reference.swaps import dropped_and_grown, granet_kept, itop_number
from tests.sparsity.simulation import flat, simulate

SWAPS = SwapSchedule(
    end_step=45, update_every=5, drop_fraction=0.5, final_drop_fraction=0.005, rounding="up"
)


def granet(**changes):
    given = {
        "sparsity": 0.9,
        "initial_sparsity": 0.5,
        "distribution": ErdosRenyiKernel(),
        "start_step": 5,
        "end_step": 30,
        "swaps": SWAPS,
    }
    return GraNet(**{**given, **changes})


@pytest.mark.parametrize(
    ("unit", "kept"), [(0, 5000), (1, 4429), (5, 2687), (10, 1500), (20, 1000), (30, 1000)]
)
def test_of_ten_thousand_weights_so_many_stay(unit, kept):
    method = granet(start_step=0, end_step=20, swaps=SwapSchedule(end_step=40, update_every=1))
    assert int(10_000 * (1 - method._scheduled(unit))) == kept
    assert granet_kept(10_000, first=500, last=900, number=unit, units=20) == kept


@pytest.mark.parametrize("initial", [0.0, 0.5])
def test_every_change_prunes_all_layers_together_and_swaps_in_each(initial):
    method, num_swapped = granet(initial_sparsity=initial), 0
    for change in simulate(method, 50):
        kept, total = kept_and_prunable(change.after)
        if change.step == 0:
            assert initial or kept == total
            continue
        if change.step % 5 or change.step > 45:
            assert change.after is change.before
            continue
        before = {name: flat(mask) for name, mask in change.before.items()}
        unit = max(change.step // 5 - 1, 0)
        number = granet_kept(total, first=int(1000 * initial), last=900, number=unit, units=5)
        number = min(number, sum(map(sum, before.values())))
        assert kept == number
        scores = {
            n: [abs(w) if keep else -1 for w, keep in zip(flat(weight), before[n], strict=True)]
            for n, weight in change.weights.items()
        }
        pruned = ranked_together(scores, number)
        for name, mask in change.after.items():
            swapped = itop_number(
                sum(pruned[name]), fraction=0.5, last=0.005, step=change.step, end=45
            )
            growth = [abs(g) for g in flat(change.gradients[name])]
            weights = flat(change.weights[name])
            assert flat(mask) == dropped_and_grown(weights, pruned[name], growth, swapped)
            num_swapped += flat(mask) != pruned[name]
    assert kept == total // 10
    assert num_swapped >= 10


def test_gradients_are_needed_at_changes():
    assert [step for step in range(60) if granet().needs_gradients(step)] == list(range(0, 46, 5))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"initial_sparsity": 0.95}, r"^initial_sparsity=0.95: must not be above 0.9"),
        ({"end_step": 28}, r"^end_step=28: no change of masks falls on it; choose a multiple of"),
        ({"end_step": 5}, r"^end_step=5: must come after start_step=5"),
        ({"sparsity": 90}, r"^sparsity=90: must be a fraction"),
    ],
)
def test_what_cannot_be_done_is_refused(changes, message):
    with pytest.raises(UserError, match=message):
        granet(**changes)


def test_a_run_that_ends_before_the_sparsity_is_reached_is_refused():
    granet().check_length(30)
    with pytest.raises(UserError, match=r"^end_step=30: the run ends at step 29, before the"):
        granet().check_length(29)
