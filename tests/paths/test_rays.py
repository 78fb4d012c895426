"""Rays: they go down as steeply as the gradient says, along their own coordinates alone."""

import pytest
import torch

from lightning_sparse.errors import UserError
from lightning_sparse.paths.curves import Line
from lightning_sparse.paths.evaluation import PathEvaluator
from lightning_sparse.paths.freed import loss_gradients
from lightning_sparse.paths.layout import WeightLayout
from lightning_sparse.paths.rays import LENGTHS, Ray, evaluate_ray, measured_gradient
from lightning_sparse.paths.run import PathIdentity, PathRun
from lightning_sparse.paths.settings import EvaluationSettings
from lightning_sparse.paths.verification import problems_of_path
from lightning_sparse.planning.runs import plan_path
from lightning_sparse.records import PathPoint, read_record
from lightning_sparse.settings.compose import compose_settings
from tests.analysis.simulate import evaluation
from tests.paths.test_run import EVALUATION
from tests.training.problems import make_data, make_network, make_settings

COORDINATES = ("inside", "outside", "outside_random")
CPU = torch.device("cpu")


def slope_along(ends, gradient, chosen):
    """Measure, as on a path, how the loss changes at first down a gradient, by central difference.

    In units of the length of the step.
    """
    start = ends[0]
    layout, step = WeightLayout(make_network()), 1e-4
    zeros = {name: torch.zeros_like(value) for name, value in start.state.items()}
    down = {name: -gradient[name].double() * mask for name, mask in chosen.items()}
    first = layout.flatten(start.state).double()
    direction = layout.flatten({**zeros, **down}).double()
    length = float(direction.norm())
    measure = PathEvaluator(
        network=make_network(), data=make_data(), settings=EVALUATION, weight_decay=0.0,
        buffers=(start.buffers(make_network()),) * 2, dtype=torch.float64,
    )  # fmt: skip
    points = measure([-step, step], lambda t: first + direction * (t / length))
    return (points[1].train.loss - points[0].train.loss) / (2 * step), length


@pytest.mark.parametrize("coordinates", COORDINATES)
def test_the_loss_falls_at_first_as_the_gradient_says_statistics_included(ends, coordinates):
    chosen = Ray(coordinates=coordinates).masks(ends[0].masks, seed=1)
    gradient = measured_gradient(make_network(seed=7), ends[0].state, make_data(), EVALUATION, CPU)
    slope, length = slope_along(ends, gradient, chosen)
    assert slope == pytest.approx(-length, rel=1e-3)
    # With statistics held fixed it would be another number.
    fixed, length = slope_along(
        ends, loss_gradients(make_network(), ends[0].state, make_data()), chosen
    )
    assert fixed != pytest.approx(-length, rel=0.02)


def test_where_statistics_stay_those_of_the_end_the_gradient_is_the_plain_one(ends):
    stored = EvaluationSettings(num_points=8, batch_norm="stored")
    found = measured_gradient(make_network(seed=7), ends[0].state, make_data(), stored, CPU)
    plain = loss_gradients(make_network(), ends[0].state, make_data())
    for name, gradient in plain.items():
        assert torch.allclose(found[name].float(), gradient, atol=1e-6)
    own = EvaluationSettings(num_points=8, batch_norm="batch")
    with pytest.raises(UserError, match="statistics that belong to a point"):
        measured_gradient(make_network(), ends[0].state, make_data(), own, CPU)


def test_as_many_coordinates_outside_the_mask_are_drawn_as_it_has_inside():
    masks = {"a": torch.arange(40) < 5, "b": torch.arange(60) < 9}
    drawn = [Ray(coordinates="outside_random").masks(masks, seed) for seed in (1, 1, 2)]
    first = torch.cat(list(drawn[0].values()))
    assert int(first.sum()) == 14
    assert not bool((first & torch.cat(list(masks.values()))).any())
    assert torch.equal(first, torch.cat(list(drawn[1].values())))
    assert not torch.equal(first, torch.cat(list(drawn[2].values())))
    # Where fewer are outside, it is all of them.
    most = {"a": torch.arange(40) < 30}
    assert Ray(coordinates="outside_random").masks(most, 1)["a"].sum() == 10


def test_a_ray_ends_as_far_away_as_the_weights_are_long():
    state = {"w": torch.tensor([3.0, 4.0, 0.0]), "bias": torch.tensor([9.0])}
    masks = {"w": torch.tensor([True, True, False])}
    gradient = {"w": torch.tensor([1.0, 0.0, -0.1])}
    end = Ray(coordinates="inside").end(state, gradient, masks)
    assert end["w"].tolist() == [-2.0, 4.0, 0.0]
    outside = {"w": ~masks["w"]}
    assert Ray(coordinates="outside").end(state, gradient, outside)["w"].tolist() == [3.0, 4.0, 5.0]
    with pytest.raises(UserError, match="no way down"):
        Ray(coordinates="inside").end(state, {"w": torch.zeros(3)}, masks)


@pytest.mark.parametrize("lowest_t", [3e-6, 0.0007, 0.09, 0.7])
def test_the_largest_decrease_is_found_wherever_on_the_ray_it_is(lowest_t):
    """Known truth: a valley whose floor lies 0.01 nats below the point."""

    def measure(ts):
        losses = [0.11 + 0.01 * (t / lowest_t) * (t / lowest_t - 2) for t in ts]
        return [
            PathPoint(t=t, train=evaluation(loss), test=evaluation(loss))
            for t, loss in zip(ts, losses, strict=True)
        ]

    points, is_found = evaluate_ray(measure, EvaluationSettings())
    ts = [point.t for point in points]
    assert is_found
    assert ts == sorted({*ts, *LENGTHS})
    decrease = points[0].train.loss - min(point.train.loss for point in points)
    assert decrease == pytest.approx(0.01, rel=0.01)


def test_a_ray_that_still_falls_at_its_end_is_not_at_rest():
    def measure(ts):
        return [PathPoint(t=t, train=evaluation(1 - t), test=evaluation(1.0)) for t in ts]

    assert not evaluate_ray(measure, EvaluationSettings())[1]


def go_down(start, end, folder, coordinates):
    identity = PathIdentity(run_id="ray", experiment="tests", seed=1, target_sparsity=0.4)
    return PathRun(
        network=make_network(seed=7), data=make_data(), start=start, end=end, curve=Line(),
        space="dense", ray=Ray(coordinates=coordinates), identity=identity, run_dir=folder,
        settings=make_settings(weight_decay=0.01), evaluation=EVALUATION,
        trainer_options={"accelerator": "cpu", "devices": 1},
    ).make()  # fmt: skip


def test_a_ray_is_a_line_from_one_point_that_goes_down_where_it_may(ends, tmp_path):
    found = {
        coordinates: go_down(ends[0], ends[0], tmp_path / coordinates, coordinates)
        for coordinates in COORDINATES
    }
    for coordinates, record in found.items():
        assert (record.start, record.end, record.ray) == ("scratch:end",) * 2 + (coordinates,)
        losses = {point.t: point.train.loss for point in record.points}
        assert min(losses.values()) < losses[0.0]
        assert read_record(tmp_path / coordinates) == record
        said = [*problems_of_path(record, tmp_path / coordinates)]
        # These tests record no settings.
        assert f"config has path.ray=None, the record's own field says {coordinates!r}" in str(said)
    starts = [record.points[0].train.loss for record in found.values()]
    assert starts == [starts[0]] * 3
    # Inside the mask nothing is added to it; outside, everything that has a gradient is.
    kept, prunable = ends[0].run.kept, ends[0].run.prunable
    assert found["inside"].kept == kept < found["outside_random"].kept
    assert found["outside_random"].kept <= found["outside"].kept <= prunable


def test_a_ray_needs_one_point_and_a_line():
    words = ["experiment=smoke", "path.ray=outside", "curve=line"]
    with pytest.raises(UserError, match=r"say path\.end=scratch:end too"):
        plan_path(compose_settings(words))
    with pytest.raises(UserError, match="say curve=line"):
        plan_path(compose_settings([*words[:2], "curve=quadratic", "path.end=scratch:end"]))
    ids = {
        plan_path(compose_settings([*words[1:], *words[:1], "path.end=scratch:end", *more])).run_id
        for more in ([], ["path.ray=inside"])
    }
    assert len(ids) == 2
    assert any("ray-outside" in run_id for run_id in ids)
