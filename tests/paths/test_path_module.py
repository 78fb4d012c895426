import os
import signal

import pytest
import pytorch_lightning as pl
import torch
from torch import nn
from torchvision.models import resnet18

from lightning_sparse.errors import UserError
from lightning_sparse.paths.curves import Bezier, Line, PolygonalChain
from lightning_sparse.paths.path_module import PathModule
from lightning_sparse.process.preemption import Preempted
from lightning_sparse.streams import stream_generator
from lightning_sparse.training.checkpoints import RunCheckpoints, fit_resumably
from lightning_sparse.training.trainer import fit, quiet_trainer
from tests.reference import interpolation
from tests.reference.curve_points import plain_point
from tests.training.problems import (
    TinyNet,
    make_data,
    make_masks,
    make_network,
    make_settings,
    same_bits,
)

T = 0.3


def make_end(seed):
    """A state with batch-norm scales and shifts that differ from those of any other."""
    network = make_network(seed)
    generator = torch.Generator().manual_seed(seed)
    for norm in (network.bn1, network.bn2):
        norm.weight.data = 0.5 + torch.rand(norm.weight.shape, generator=generator)
        norm.bias.data = torch.randn(norm.bias.shape, generator=generator)
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


def masked(state, masks):
    return {name: v * masks[name] if name in masks else v for name, v in state.items()}


def make_module(
    *, degree=2, curve=None, masks=None, network=None, seed=1, probe_batches=None, **changes
):
    start, end = make_end(1), make_end(2)
    if masks is not None:
        start, end = masked(start, masks), masked(end, masks)
    return PathModule(
        network=network or make_network(),
        start=start,
        end=end,
        curve=curve or Bezier(degree),
        subspace=masks,
        settings=make_settings(**changes),
        seed=seed,
        probe_batches=probe_batches,
    )


def bent(module):
    """Move the control points off the line."""
    noise = torch.randn(module.control_points.shape, generator=torch.Generator().manual_seed(5))
    module.control_points.data += 0.3 * noise
    return module


def at(module, t, monkeypatch):
    monkeypatch.setattr(module, "draw_t", lambda _: t)
    return module


def batch():
    return next(iter(make_data().train_dataloader()))


def run(module, *callbacks, num_steps=12, **options):
    trainer = quiet_trainer(num_steps, callbacks, {"accelerator": "cpu", "devices": 1, **options})
    fit(trainer, module, make_data(), num_steps)
    return module


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("degree", [2, 3])
def test_loss_and_gradients_are_those_of_the_layer_by_layer_network(
    degree, memory_format, monkeypatch
):
    network = make_network().to(memory_format=memory_format)
    options = {"label_smoothing": 0.1, "weight_decay": 0.05}
    module = at(bent(make_module(degree=degree, network=network, **options)), T, monkeypatch)
    layout = module.layout
    points = [
        {
            name: piece.detach().clone().requires_grad_()
            for name, piece in layout.unflatten(p).items()
        }
        for p in module.all_points
    ]

    loss = module.training_step(batch(), 0)
    loss.backward()
    expected = interpolation.objective(points, T, batch(), **options)
    expected.backward()

    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    assert len(module.control_points) == degree - 1
    for row, point in zip(module.control_points.grad, points[1:-1], strict=True):
        gradients = layout.flatten({name: weight.grad for name, weight in point.items()})
        assert gradients.norm() > 0.1
        assert torch.allclose(row, gradients, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("curve", [Bezier(2), Bezier(4), PolygonalChain(1), PolygonalChain(3)])
def test_the_curve_starts_on_the_straight_line(curve):
    module = make_module(curve=curve)
    start, end = (module.layout.flatten(make_end(seed)) for seed in (1, 2))

    for t in (0.0, 0.25, 0.5, 1.0):
        assert torch.allclose(plain_point(module, t), torch.lerp(start, end, t), atol=1e-6)


def test_batch_norm_scale_and_shift_lie_on_the_curve():
    module = make_module()
    middle = module.layout.unflatten(plain_point(module, 0.5))

    for name in ("bn1.weight", "bn1.bias", "bn2.weight", "bn2.bias"):
        expected = (make_end(1)[name] + make_end(2)[name]) / 2
        assert torch.allclose(middle[name], expected, atol=1e-6)


def test_ends_template_and_network_stay_and_control_points_move():
    network = make_network()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    module = make_module(network=network)
    template = module._template[0]
    template_before = {name: tensor.clone() for name, tensor in template.state_dict().items()}
    points_before = module.all_points.detach().clone()

    run(module)

    points = module.all_points
    assert torch.equal(points[0], module.layout.flatten(make_end(1)))
    assert torch.equal(points[-1], module.layout.flatten(make_end(2)))
    assert not torch.isclose(points[1], points_before[1]).any(dim=0).all()
    assert same_bits(template.state_dict(), template_before)
    assert all(parameter.grad is None for parameter in template.parameters())
    assert same_bits(network.state_dict(), before)
    assert all(parameter.requires_grad for parameter in network.parameters())


class OffSubspace(pl.Callback):
    """Notes after every step what lies outside the masks: position, gradient and momentum."""

    def __init__(self, masks):
        self.masks = masks
        self.largest = []

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        points = pl_module.control_points
        outside = ~pl_module.layout.subspace(self.masks).bool()
        momentum = trainer.optimizers[0].state[points]["momentum_buffer"]
        self.largest.append(
            [
                tensor.detach()[:, outside].abs().max().item()
                for tensor in (points, points.grad, momentum)
            ]
        )


def test_control_points_never_leave_a_sparse_space():
    masks = make_masks()
    witness = OffSubspace(masks)
    module = make_module(masks=masks, degree=3)
    inside = module.layout.subspace(masks).bool()
    before = module.control_points.detach().clone()

    run(module, witness)

    assert witness.largest == [[0.0, 0.0, 0.0]] * 12
    # All but what dead units leave without a gradient.
    assert (module.control_points != before)[:, inside].float().mean() > 0.9


def test_control_points_use_every_coordinate_of_the_dense_space():
    masks = make_masks()
    witness = OffSubspace(masks)
    start, end = masked(make_end(1), masks), masked(make_end(2), masks)
    dense = PathModule(
        network=make_network(), start=start, end=end, curve=Bezier(2), subspace=None,
        settings=make_settings(), seed=1,
    )  # fmt: skip

    run(dense, witness)

    outside = ~dense.layout.subspace(masks).bool()
    assert all(min(values) > 0 for values in witness.largest)
    assert (dense.control_points[:, outside] != 0).all()


def test_ends_outside_the_subspace_start_from_points_inside_it():
    masks = make_masks()
    module = PathModule(
        network=make_network(), start=make_end(1), end=make_end(2), curve=Bezier(2), subspace=masks,
        settings=make_settings(), seed=1,
    )  # fmt: skip
    outside = ~module.layout.subspace(masks).bool()

    assert not module.control_points[:, outside].any()
    assert module.all_points[0, outside].all()


@torch.no_grad()
def test_the_penalty_is_that_of_the_interpolated_weights(monkeypatch):
    plain, decayed = (
        at(bent(make_module(weight_decay=weight_decay)), T, monkeypatch)
        for weight_decay in (0.0, 0.2)
    )

    penalty = decayed.training_step(batch(), 0) - plain.training_step(batch(), 0)

    def half_decay(vector):
        weights = decayed.layout.unflatten(vector)
        names = ("conv1.weight", "conv2.weight", "fc.weight")
        return 0.1 * float(sum(weights[name].square().sum() for name in names))

    assert float(penalty) == pytest.approx(half_decay(plain_point(decayed, T)), rel=1e-4)
    assert float(penalty) != pytest.approx(half_decay(decayed.control_points[0]), rel=0.1)


def test_the_optimizer_itself_decays_nothing():
    optimizer = make_module(weight_decay=0.2).configure_optimizers()["optimizer"]

    assert [group["weight_decay"] for group in optimizer.param_groups] == [0]
    assert optimizer.param_groups[0]["nesterov"]


def test_t_is_a_function_of_seed_step_and_rank(monkeypatch):
    module, same, other = make_module(seed=1), make_module(seed=1), make_module(seed=2)
    module.draw_t(99)

    assert [module.draw_t(step) for step in range(5)] == [same.draw_t(step) for step in range(5)]
    assert module.draw_t(3) != module.draw_t(4)
    assert module.draw_t(3) != other.draw_t(3)
    generator = stream_generator(1, "curve", 3, 0)
    on_rank_0 = torch.rand((), generator=generator, dtype=torch.float64).item()
    assert module.draw_t(3) == on_rank_0
    monkeypatch.setattr(PathModule, "global_rank", 1)
    assert module.draw_t(3) != on_rank_0


def test_t_is_uniform():
    module = make_module()

    draws = torch.tensor([module.draw_t(step) for step in range(2000)])

    # The standard errors of the two are 0.0065 and 0.0019.
    assert draws.mean().item() == pytest.approx(0.5, abs=0.02)
    assert draws.var().item() == pytest.approx(1 / 12, abs=0.006)
    assert 0 <= draws.min() < 0.01
    assert 0.99 < draws.max() < 1


def test_the_same_fit_twice_is_the_same_bit_for_bit():
    first, second, other = run(make_module()), run(make_module()), run(make_module(seed=2))

    assert torch.equal(first.control_points, second.control_points)
    assert not torch.equal(first.control_points, other.control_points)


def test_only_the_control_points_are_saved():
    module = make_module(degree=3, masks=make_masks())

    assert list(module.state_dict()) == ["control_points"]
    assert [name for name, _ in module.named_parameters()] == ["control_points"]
    assert not list(module.buffers())


@pytest.mark.parametrize("masks", [None, make_masks()], ids=["dense", "sparse"])
def test_a_checkpoint_does_not_carry_the_ends_along(masks):
    points = make_module(degree=2, masks=masks).control_points

    assert points.untyped_storage().nbytes() == points.numel() * points.element_size()


class WithConstant(nn.Module):
    """A buffer that belongs to the function, and is no statistic."""

    def __init__(self):
        super().__init__()
        self.register_buffer("scale", torch.ones(()))
        self.linear = nn.Linear(36, 3)

    def forward(self, images):
        return self.linear(images.flatten(1)) * self.scale


def test_buffers_that_are_no_statistics_are_those_of_the_ends():
    network = WithConstant()
    state = {**network.state_dict(), "scale": torch.zeros(())}
    module = PathModule(
        network=network, start=state, end=state, curve=Bezier(2), subspace=None,
        settings=make_settings(weight_decay=0.0), seed=1,
    )  # fmt: skip

    # All logits are zero.
    assert module.training_step(batch(), 0).item() == pytest.approx(torch.tensor(3.0).log().item())


def test_a_network_of_torchvision_can_be_interpolated_as_it_is():
    network = resnet18(num_classes=3)
    other = resnet18(num_classes=3).state_dict()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    module = PathModule(
        network=network, start=network.state_dict(), end=other, curve=Bezier(2), subspace=None,
        settings=make_settings(), seed=1,
    )  # fmt: skip

    loss = module.training_step((torch.randn(2, 3, 32, 32), torch.tensor([0, 1])), 0)
    loss.backward()
    configured = module.configure_optimizers()
    configured["optimizer"].step()

    gradients = module.layout.unflatten(module.control_points.grad[0])
    assert all(gradient.any() for gradient in gradients.values())
    assert same_bits(network.state_dict(), before)


def test_a_curve_without_control_points_is_refused():
    with pytest.raises(UserError, match="a straight line has no control points between its ends"):
        make_module(curve=Line())


def test_masks_of_another_network_are_refused():
    masks = make_masks()
    del masks["fc.weight"]

    with pytest.raises(UserError, match=r"masks do not fit: the masks lack 'fc.weight'"):
        PathModule(
            network=make_network(), start=make_end(1), end=make_end(2), curve=Bezier(2),
            subspace=masks, settings=make_settings(), seed=1,
        )  # fmt: skip


class Drifting(TinyNet):
    """Keeps a state in a buffer while it trains, and so does its first batch norm by itself."""

    def __init__(self):
        super().__init__()
        self.register_buffer("drift", torch.ones(()))

    def forward(self, images):
        if self.training:
            self.drift.mul_(0.9).add_(0.1 * images.std())
        # Read in training too, as batch renormalisation does.
        return super().forward(images) * self.drift + self.bn1.running_mean.sum()


class StopAt(pl.Callback):
    def __init__(self, step):
        self.step = step

    def on_train_batch_end(self, trainer, *_):
        if trainer.global_step == self.step:
            os.kill(os.getpid(), signal.SIGTERM)


@pytest.mark.parametrize("network_type", [TinyNet, Drifting])
def test_a_resumed_fit_ends_as_the_straight_one_whatever_the_network_keeps(tmp_path, network_type):
    def fitted(folder, *stops):
        network = make_network(network_type=network_type)
        module = PathModule(
            network=network, start=network.state_dict(), end=make_network(2).state_dict(),
            curve=Bezier(2), subspace=None, settings=make_settings(), seed=1,
        )  # fmt: skip
        options = {"accelerator": "cpu", "devices": 1}
        checkpoints = RunCheckpoints(tmp_path / folder, None, {})
        fit_resumably(module, make_data(), 12, [*map(StopAt, stops)], options, checkpoints)
        return module.control_points.detach()

    with pytest.raises(Preempted):
        fitted("cut", 7)

    assert torch.equal(fitted("cut"), fitted("straight"))
