import itertools
import math

import numpy as np
import pytest
import torch
from torch import nn

from lightning_sparse.data.datamodule import ImageDataModule
from lightning_sparse.errors import UserError
from lightning_sparse.files.tensor_files import load_tensors
from lightning_sparse.models.convnet import ConvNet
from lightning_sparse.paths.curves import PolygonalChain
from lightning_sparse.paths.evaluation import (
    PathEvaluator,
    evaluate_path,
    judged_pairs,
    midpoints_around,
)
from lightning_sparse.paths.layout import WeightLayout
from lightning_sparse.paths.settings import EvaluationSettings
from lightning_sparse.records import Evaluation, PathPoint
from lightning_sparse.rises import barriers, descent, largest_rise, margin
from lightning_sparse.training.measurement import decayed_half_squared_norm, measure
from tests.reference import interpolation
from tests.training.problems import (
    NUM_CLASSES,
    SOURCE,
    TwoLayers,
    make_data,
    make_network,
    same_bits,
)
from tests.waits import Waits

POLICIES = ("recalibrated", "recalibrated_plain", "batch", "interpolated", "stored")
WEIGHT_DECAY = 0.01


def make_evaluation(**changes):
    return EvaluationSettings(
        **{
            "num_recalibration_images": 48,
            "recalibration_batch_size": 16,
            "points_at_once": 4,
            **changes,
        }
    )


class Line:
    """The straight line between two states of one network."""

    def __init__(self, network, start, end):
        self.network = network
        self.states = (start, end)
        self.layout = WeightLayout(network)
        self.vectors = [self.layout.flatten(state) for state in self.states]

    def weights_at(self, t):
        return (1 - t) * self.vectors[0] + t * self.vectors[1]

    def evaluator(self, *, data=None, **changes):
        buffers = tuple(
            {name: state[name] for name, _ in self.network.named_buffers()} for state in self.states
        )
        return PathEvaluator(
            network=self.network,
            data=data or make_data(),
            settings=make_evaluation(**changes),
            weight_decay=WEIGHT_DECAY,
            buffers=buffers,
        )

    def points(self, ts, **changes):
        return self.evaluator(**changes)(ts, self.weights_at)


@pytest.fixture
def line(ends):
    return Line(make_network(), *(end.state for end in ends))


def own_evaluation(network, state, batches):
    network.load_state_dict(state)
    network.eval()
    penalty = WEIGHT_DECAY * decayed_half_squared_norm(network, dict(network.named_parameters()))
    return measure(network, batches, penalty=penalty)


def trained_state(network, seed):
    """Statistics and weights that no fresh network has."""
    torch.manual_seed(seed)
    network.train()
    for parameter in network.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    with torch.no_grad():
        for _ in range(3):
            network(torch.randn(8, *SOURCE.image_shape))
    return {name: tensor.clone().contiguous() for name, tensor in network.state_dict().items()}


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("constructor", [make_network, lambda: ConvNet(1, NUM_CLASSES)])
def test_stored_statistics_reproduce_the_ends_own_evaluation_exactly(constructor, memory_format):
    network = constructor().to(memory_format=memory_format)
    states = [trained_state(network, seed) for seed in (1, 2)]
    line = Line(network, *states)

    at_ends = line.points([0.0, 1.0], batch_norm="stored")

    for point, state in zip(at_ends, states, strict=True):
        data = make_data()
        assert point.train == own_evaluation(network, state, data.train_subset_batches())
        assert point.test == own_evaluation(network, state, data.test_batches())
    assert at_ends[0].train != at_ends[1].train


def test_stored_statistics_fail_in_the_middle(run_dirs):
    states = [load_tensors(run_dirs[name] / "weights.safetensors") for name in ("dense", "prune")]
    line = Line(make_network(), *states)

    stored, recalibrated = (
        line.points([0.0, 0.5, 1.0], batch_norm=policy) for policy in ("stored", "recalibrated")
    )

    assert stored[1].train.loss > 1.8 * recalibrated[1].train.loss
    # At the ends, which were trained, the two nearly agree.
    for here, there in zip(stored[::2], recalibrated[::2], strict=True):
        assert here.train.loss == pytest.approx(there.train.loss, abs=0.15)


@pytest.mark.parametrize("policy", POLICIES)
def test_a_device_is_waited_for_as_often_for_many_points_and_batches_as_for_few(line, policy):
    """Once for the penalties, once for each set of images."""

    def waits_of(ts, evaluation_batch_size):
        data = make_data(evaluation_batch_size=evaluation_batch_size)
        evaluator = line.evaluator(data=data, batch_norm=policy, points_at_once=9)
        with Waits() as waits:
            evaluator(ts, line.weights_at)
        # Images are varied on the host, where nothing is waited for.
        with Waits() as varying:
            list(data.recalibration_batches(48, 16, augmented=policy == "recalibrated"))
        return waits.number - varying.number

    assert waits_of([0.0, 1.0], 48) == waits_of([0.0, 0.2, 0.5, 0.7, 1.0], 5) == 3


def reference_loss(line, t, statistics_of, batches):
    weights = line.layout.unflatten(line.weights_at(t))
    losses = [
        nn.functional.cross_entropy(
            interpolation.tiny_net(weights, images, statistics_of(weights, images))[0],
            labels,
            reduction="none",
        )
        for images, labels in batches
    ]
    return torch.cat(losses).mean().item()


@pytest.mark.parametrize("t", [-0.1, 0.4, 1.0])
@pytest.mark.parametrize("policy", ["recalibrated", "recalibrated_plain"])
def test_recalibration_is_the_mean_over_equal_batches(line, t, policy):
    data = make_data()

    def recalibrated(weights, _):
        batches = data.recalibration_batches(48, 16, augmented=policy == "recalibrated")
        return interpolation.recalibrated_statistics(weights, batches)

    expected = reference_loss(line, t, recalibrated, data.test_batches())

    assert line.points([t], batch_norm=policy)[0].test.loss == pytest.approx(expected, rel=1e-5)


def test_the_images_and_batches_of_recalibration_are_those_asked_for(line):
    losses = {
        (images, batch): line.points(
            [0.5], num_recalibration_images=images, recalibration_batch_size=batch
        )[0].train.loss
        for images, batch in ((48, 16), (48, 24), (16, 16))
    }

    assert len(set(losses.values())) == 3


def test_batch_statistics_are_those_of_each_evaluation_batch(line):
    expected = reference_loss(line, 0.4, lambda *_: None, make_data().test_batches())

    measured = line.points([0.4], batch_norm="batch")[0].test.loss

    assert measured == pytest.approx(expected, rel=1e-5)


def test_interpolated_statistics_lie_between_those_of_the_ends(line):
    start, end = line.states

    def interpolated(*_):
        return {
            name: tuple(
                0.6 * start[f"{name}.{kind}"] + 0.4 * end[f"{name}.{kind}"]
                for kind in ("running_mean", "running_var")
            )
            for name in ("bn1", "bn2")
        }

    expected = reference_loss(line, 0.4, interpolated, make_data().test_batches())

    measured = line.points([0.4], batch_norm="interpolated")[0].test.loss

    assert measured == pytest.approx(expected, rel=1e-5)


def test_every_policy_gives_numbers_on_the_whole_grid(line):
    for policy in POLICIES:
        points = line.points(make_evaluation().grid(), batch_norm=policy)
        assert all(math.isfinite(point.train.loss + point.test.loss) for point in points), policy


@pytest.mark.parametrize("policy", POLICIES)
def test_measuring_changes_neither_the_network_nor_the_ends(line, policy):
    copies = [
        {name: tensor.clone() for name, tensor in state.items()}
        for state in (line.network.state_dict(), *line.states)
    ]

    line.points([0.0, 0.5, 1.0], batch_norm=policy)

    for copy, state in zip(copies, (line.network.state_dict(), *line.states), strict=True):
        assert same_bits(copy, state)
    assert line.network.training
    assert line.network.bn1.momentum == 0.1
    assert all(parameter.requires_grad for parameter in line.network.parameters())


def test_a_network_without_batch_norm_is_the_same_under_every_policy():
    networks = [make_network(seed, TwoLayers) for seed in (0, 1)]
    line = Line(networks[0], *(network.state_dict() for network in networks))

    results = [line.points([0.0, 0.3, 1.0], batch_norm=policy) for policy in POLICIES]

    assert all(result == results[0] for result in results)


class WithConstant(nn.Module):
    """A buffer that belongs to the function, and is no statistic."""

    def __init__(self):
        super().__init__()
        self.register_buffer("scale", torch.ones(()))
        self.linear = nn.Linear(36, NUM_CLASSES)

    def forward(self, images):
        return self.linear(images.flatten(1)) * self.scale


@pytest.mark.parametrize("policy", POLICIES)
def test_buffers_that_are_no_statistics_are_those_of_the_ends(policy):
    network = WithConstant()
    state = {**network.state_dict(), "scale": torch.zeros(())}

    point = Line(network, state, state).points([0.3], batch_norm=policy)[0]

    # All logits are zero.
    assert point.test.loss == pytest.approx(math.log(NUM_CLASSES))


def test_the_objective_adds_the_penalty_of_the_point_itself(line):
    point = line.points([0.5])[0]

    weights = line.layout.unflatten(line.weights_at(0.5))
    names = ("conv1.weight", "conv2.weight", "fc.weight")
    squares = sum(weights[name].double().square().sum().item() for name in names)
    assert point.train.objective - point.train.loss == pytest.approx(
        0.5 * WEIGHT_DECAY * squares, rel=1e-9
    )
    assert point.test.objective - point.test.loss == pytest.approx(
        0.5 * WEIGHT_DECAY * squares, rel=1e-9
    )


class CountingData(ImageDataModule):
    """Counts how often each set is gone through."""

    def __init__(self):
        super().__init__(SOURCE, batch_size=8, seed=1, evaluation_batch_size=16)
        self.num_batches = {"train": 0, "test": 0, "recalibration": 0}

    def counted(self, name, batches):
        for batch in batches:
            self.num_batches[name] += 1
            yield batch

    def train_subset_batches(self):
        return self.counted("train", super().train_subset_batches())

    def test_batches(self):
        return self.counted("test", super().test_batches())

    def recalibration_batches(self, num_images, batch_size, **options):
        batches = super().recalibration_batches(num_images, batch_size, **options)
        return self.counted("recalibration", batches)


def test_each_batch_is_loaded_once_for_all_points(line):
    data = CountingData()

    line.points([i / 10 for i in range(11)], data=data, points_at_once=11)

    # 48 training and 21 test images in batches of 16.
    assert data.num_batches == {"train": 3, "test": 2, "recalibration": 3}


@pytest.mark.parametrize("size", [1, 3, 100])
def test_how_many_points_are_held_at_once_changes_no_number(line, size):
    ts = [i / 6 for i in range(7)]

    assert line.points(ts, points_at_once=size) == line.points(ts, points_at_once=7)


@pytest.mark.parametrize("t", [0.0, 0.3])
def test_a_point_measures_the_same_alone_and_among_others(line, t):
    among = {point.t: point for point in line.points([0.0, 0.3, 0.9])}

    assert line.points([t])[0] == among[t]


class Known(PathEvaluator):
    """A loss that is a known function of t."""

    def __init__(self, function):
        self.function = function
        self.asked = []

    def __call__(self, ts, weights_at):
        self.asked.append(list(ts))
        return [self.point(t) for t in ts]

    def point(self, t):
        loss = self.function(t)
        evaluation = Evaluation(
            loss=loss, loss_standard_error=0.0, objective=loss, accuracy=0.5, num_images=1
        )
        return PathPoint(t=t, train=evaluation, test=evaluation)


MARGIN = margin(10)


def refined(function, **changes):
    settings = make_evaluation(**changes)
    known = Known(function)
    points, converged = evaluate_path(known, lambda t: torch.tensor([t]), settings, MARGIN)
    return known, points, converged


def bump(t):
    """A valley at 0.13 and a narrow hump at 0.62, both between the points of the grid."""
    return (
        2 - 0.5 * math.exp(-(((t - 0.13) / 0.06) ** 2)) + 3 * math.exp(-(((t - 0.62) / 0.05) ** 2))
    )


def narrow(t):
    """A hump so narrow that the grid sees little of it."""
    return 2 - t + 3 * math.exp(-(((t - 0.515) / 0.03) ** 2))


FUNCTIONS = {
    "bump": bump,
    "narrow": narrow,
    "rising": lambda t: t**3,
    "wave": lambda t: math.sin(9 * t + 0.4),
    "falling": lambda t: -t,
    # Filters of next to no norm: all of it happens in the first hundredth.
    "bump_at_the_start": lambda t: 1 - t + 0.07 * t / 0.01 * math.exp(1 - t / 0.01),
    # A hump between two points of the grid, where the loss falls least.
    "hidden_on_a_plateau": lambda t: (
        1
        - min(t, 0.4)
        - max(0.0, t - 0.45)
        + (0.05 * math.sin(20 * math.pi * (t - 0.4)) if 0.4 < t < 0.45 else 0.0)
    ),
    # A trained line, whose peak at 0.015 lies between two lower points: nothing moves until then.
    "peak_between_measured_points": lambda t: float(
        np.interp(
            t,
            [0, 0.001, 0.0055, 0.00775, 0.01, 0.015, 0.02, 0.03, 0.05, 0.1, 1],
            [2.3125, 2.3126, 2.3140, 2.3148, 2.3158, 2.3193, 2.3152, 2.3129, 2.2999, 2.19, 0.16],
        )
    ),
    # Below the end from 0.3 on: the descent ends there, the rise goes on.
    "through_a_valley": lambda t: 0.4 - 3 * t * (0.9 - t) + 0.1 * math.sin(31 * t) * (t < 0.1),
}


def quantities(ts, losses):
    return (
        descent(ts, losses).value,
        largest_rise(ts, losses).value,
        barriers(ts, losses).worse_end,
    )


@pytest.mark.parametrize("function", FUNCTIONS.values(), ids=FUNCTIONS)
def test_refinement_finds_what_four_hundred_points_find(function):
    known, points, converged = refined(function)

    fine = sorted({i / 400 for i in range(401)} | {i / 4000 for i in range(40)})
    truth = quantities(fine, [function(t) for t in fine])
    ts = [point.t for point in points]
    measured = quantities(ts, [point.train.loss for point in points])
    assert converged
    for ours, theirs in zip(measured, truth, strict=True):
        assert ours >= theirs - max(0.02 * theirs, 0.1 * MARGIN)
    assert ts == sorted(set(ts))
    assert sum(map(len, known.asked)) == len(ts)


def peaks_of_a_chain(t):
    """As along a chain of nine bends: a peak 0.02 wide in one piece, and a lower one at a bend."""
    at_bend = 0.02 * max(0, 1 - 10 * abs(t - 0.5))
    return 0.05 - 0.02 * t + 0.04 * math.exp(-(((t - 0.269) / 0.008) ** 2)) + at_bend


def test_a_chain_is_measured_inside_every_piece():
    fine = [i / 2000 for i in range(2001)]
    truth = descent(fine, [peaks_of_a_chain(t) for t in fine]).value
    found = {}
    for further in ((), PolygonalChain(9).measured_at):
        known = Known(peaks_of_a_chain)
        points, _ = evaluate_path(
            known, lambda t: torch.tensor([t]), make_evaluation(), MARGIN, further=further
        )
        found[bool(further)] = descent(
            [point.t for point in points], [point.train.loss for point in points]
        ).value
    assert found[True] == pytest.approx(truth, rel=0.02)
    assert found[False] < 0.8 * truth


def test_refinement_ends_when_two_rounds_have_moved_nothing_and_no_interval_is_wide():
    known, _, converged = refined(narrow)

    found, seen = [], []
    for asked in known.asked:
        seen = sorted([*seen, *asked])
        found.append(quantities(seen, [narrow(t) for t in seen]))
    is_quiet = [
        all(abs(b - a) < 0.02 * max(b, MARGIN) for a, b in zip(old, new, strict=True))
        for old, new in itertools.pairwise(found)
    ]
    assert converged
    assert is_quiet[-2:] == [True, True]
    assert (True, True) not in itertools.pairwise(is_quiet[:-1])


def test_points_next_to_both_ends_are_always_measured():
    for max_refinements in (0, 3):
        points = refined(bump, max_refinements=max_refinements)[1]
        assert {0.001, 0.01, 0.99, 0.999} <= {point.t for point in points}


def test_only_the_path_between_the_ends_is_refined():
    known, _, _ = refined(lambda t: -abs(t - 1.1) - abs(t + 0.1))
    known_rising, _, _ = refined(bump)

    for asked in (*known.asked[1:], *known_rising.asked[1:]):
        assert all(0 < t < 1 for t in asked)
    assert len(known_rising.asked) > 1


def test_a_path_that_only_falls_is_refined_too():
    known, _, converged = refined(lambda t: -t)

    assert len(known.asked) == 3
    assert converged


def test_a_refinement_that_is_cut_off_says_so():
    assert refined(bump, max_refinements=0)[2] is False
    assert refined(bump, max_refinements=1)[2] is False


def test_refinements_are_reported():
    reported = []

    evaluate_path(
        Known(bump), lambda t: torch.tensor([t]), make_evaluation(max_refinements=9), MARGIN,
        lambda *steps: reported.append(steps),
    )  # fmt: skip

    assert reported[0] == (0, 9)
    assert [done for done, _ in reported] == list(range(len(reported)))


def test_the_pairs_that_are_judged_attain_descent_and_barrier():
    _, points, _ = refined(bump)
    loss = {point.t: point.train.loss for point in points}
    down, over = judged_pairs(points)
    found = quantities(list(loss), list(loss.values()))
    assert loss[down[1]] - loss[down[0]] == found[0]
    assert loss[over[1]] - loss[over[0]] == found[2]


def test_the_error_of_a_difference_is_that_of_paired_images(line):
    data = make_data(train_subset_size=32)
    evaluator = line.evaluator(data=data, batch_norm="stored")
    ts = (0.2, 0.7)

    losses = []
    for t in ts:
        state = {**dict(line.network.named_buffers()), **line.layout.unflatten(line.weights_at(t))}
        line.network.load_state_dict({**line.states[round(t)], **state_of_weights(line, state)})
        line.network.eval()
        losses.append(
            torch.cat(
                [
                    nn.functional.cross_entropy(line.network(images), labels, reduction="none")
                    for images, labels in data.train_subset_batches()
                ]
            ).double()
        )
    expected = (losses[0] - losses[1]).std() / math.sqrt(32)

    assert evaluator.difference_error(ts, line.weights_at) == pytest.approx(
        expected.item(), rel=1e-4
    )
    assert evaluator.difference_error((0.2, 0.2), line.weights_at) == 0
    whole = line.evaluator(batch_norm="stored")
    assert whole.difference_error(ts, line.weights_at) == 0


def state_of_weights(line, state):
    names = {name for name, _ in line.network.named_parameters()}
    return {name: tensor for name, tensor in state.items() if name in names}


@pytest.mark.parametrize(
    ("centres", "expected"),
    [((0.0, 0.5), [0.125, 0.375, 0.625]), ((1.0, 1.0), [0.875]), ((0.25, 0.25), [0.125, 0.375])],
)
def test_midpoints_touch_the_pair_and_come_once(centres, expected):
    assert midpoints_around([-0.25, 0.0, 0.25, 0.5, 0.75, 1.0, 1.25], *centres) == expected


def test_the_grid_is_that_of_the_protocol():
    grid = make_evaluation().grid()

    assert len(grid) == 29
    assert (grid[0], grid[-1]) == (-0.2, 1.2)
    assert {0.0, 0.5, 1.0} <= set(grid)
    assert "-0.0" not in map(str, grid)
    assert all(
        later - earlier == pytest.approx(0.05) for earlier, later in itertools.pairwise(grid)
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_points": 28}, r"evaluation.num_points=28: .* leave out an end of the path"),
        ({"num_points": 1}, r"evaluation.num_points=1: must be at least 2"),
        ({"lowest_t": 0.1}, r"points on \[0.1, 1.2\] leave out an end"),
        ({"points_at_once": 0}, r"evaluation.points_at_once=0: must be at least 1"),
        ({"quiet_rounds": 0}, r"evaluation.quiet_rounds=0: must be at least 1"),
        ({"max_refinements": -1}, r"evaluation.max_refinements=-1: must be at least 0"),
        ({"recalibration_batch_size": 0}, r"recalibration_batch_size=0: must be at least 1"),
    ],
)
def test_settings_that_cannot_be_measured_are_refused(changes, message):
    with pytest.raises(UserError, match=message):
        make_evaluation(**changes)


def test_an_unknown_policy_is_refused():
    settings = make_evaluation()
    # Types are checked in tests; the command line passes on any text.
    object.__setattr__(settings, "batch_norm", "none")

    with pytest.raises(UserError, match=r"batch_norm=none: choose one of recalibrated, recal"):
        settings.__post_init__()


class Normalised(nn.Module):
    """A convolution under a normalisation of one's choice."""

    def __init__(self, norm):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(1, 4, 3), norm, nn.ReLU())
        self.head = nn.Linear(4, NUM_CLASSES)

    def forward(self, images):
        return self.head(self.body(images).mean(dim=(2, 3)))


def test_instance_norm_that_tracks_is_recalibrated_at_every_point():
    network = Normalised(nn.InstanceNorm2d(4, track_running_stats=True))
    states = [trained_state(network, seed) for seed in (1, 2)]
    line, t = Line(network, *states), 0.4
    weights = line.layout.unflatten(line.weights_at(t))
    batches = [images for images, _ in make_data().recalibration_batches(48, 16)]
    features = [
        nn.functional.conv2d(images, weights["body.0.weight"], weights["body.0.bias"])
        for images in batches
    ]
    statistics = {
        "body.1.running_mean": torch.stack([f.mean((0, 2, 3)) for f in features]).mean(0),
        "body.1.running_var": torch.stack([f.var((2, 3)).mean(0) for f in features]).mean(0),
    }
    expected = own_evaluation(
        network, {**states[0], **weights, **statistics}, make_data().test_batches()
    )

    measured, alone = line.points([0.0, t]), line.points([t])

    assert measured[1].test.loss == pytest.approx(expected.loss, rel=1e-5)
    assert measured[1] == alone[0]
    assert measured[1] != line.points([t], batch_norm="stored")[0]


class Counting(nn.BatchNorm2d):
    """A batch norm with a further buffer, which each batch in training mode changes."""

    def __init__(self, width):
        super().__init__(width)
        self.register_buffer("gain", torch.tensor(2.0))

    def forward(self, images):
        if self.training:
            self.gain.mul_(1.1)
        return super().forward(images) * self.gain


@pytest.mark.parametrize("policy", ["recalibrated", "batch"])
def test_a_further_buffer_of_a_batch_norm_is_kept_and_not_shared_by_points(policy):
    network = Normalised(Counting(4))
    states = [trained_state(network, seed) for seed in (1, 2)]
    line = Line(network, *states)

    points = line.points([0.0, 0.1, 0.2], batch_norm=policy)

    assert points[2] == line.points([0.2], batch_norm=policy)[0]
    assert float(states[0]["body.1.gain"]) == pytest.approx(2 * 1.1**3)
