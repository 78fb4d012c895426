"""Methods that train other weights than the network computes with, in a stranger's Trainer."""

import pytest
import pytorch_lightning as pl
import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader

from lightning_sparse.errors import UserError
from lightning_sparse.sparsity.distributions import Uniform
from lightning_sparse.sparsity.masks import num_kept
from lightning_sparse.sparsity.methods.gradual_magnitude import GradualMagnitude
from lightning_sparse.sparsity.methods.n_of_m import NOfM
from lightning_sparse.sparsity.methods.powerpropagation import Powerpropagation
from lightning_sparse.sparsity.methods.random_mask import RandomMask
from lightning_sparse.sparsity.methods.rigl import RigL
from lightning_sparse.sparsity.methods.s2_sam import S2SAM
from lightning_sparse.sparsity.methods.soft_threshold import STR
from lightning_sparse.sparsity.methods.top_kast import TopKAST
from lightning_sparse.sparsity.regrowth import SwapSchedule
from lightning_sparse.sparsity.reparameterisation import LargerSet, Power
from lightning_sparse.sparsity.schedules import cubic_sparsity
from lightning_sparse.sparsity.view import SparseView
from lightning_sparse.training.sparsity_callback import SparsityCallback
from tests.reference.reparameterised import (
    largest_of_groups,
    train_powers,
    train_refined,
    train_thresholds,
    train_top_sets,
    train_uphill,
)

WARNINGS_OF_A_STRANGER = pytest.mark.filterwarnings(
    "ignore:.*does not have many workers:UserWarning",
    "ignore:.*LeafSpec.*deprecated:FutureWarning",
    "ignore:.*`srun` command is available:UserWarning",
)
pytestmark = WARNINGS_OF_A_STRANGER

SGD = {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.01}
SIZES = {"0.weight": 60, "2.weight": 30}
PRUNING = {"sparsity": 0.6, "start_step": 2, "end_step": 8, "update_every": 3}


def network():
    torch.manual_seed(3)
    return nn.Sequential(nn.Linear(6, 10), nn.Tanh(), nn.Linear(10, 3))


def batches():
    generator = torch.Generator().manual_seed(0)
    return [(torch.randn(8, 6, generator=generator), torch.arange(8) % 3) for _ in range(12)]


def loss_of(forward, batch):
    return functional.cross_entropy(forward(batch[0]), batch[1])


class Guest(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.network = network()

    def training_step(self, batch):
        return loss_of(self.network, batch)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), **SGD)


def is_outside(method):
    """Whether the network is seen outside of its masks before training ends."""
    return isinstance(method, S2SAM) and not method.masked


class Watch(pl.Callback):
    """Compares, whenever a batch has ended, what the network holds with the masks."""

    def __init__(self, sparsity):
        self.sparsity = sparsity
        self.counts = []

    def on_train_batch_end(self, trainer, pl_module, *_):
        for name, mask in self.sparsity.masks.items():
            if is_outside(self.sparsity.method) and trainer.global_step < len(batches()):
                continue
            weight = pl_module.network.get_parameter(name)
            assert not weight[~mask].any()
            momentum = trainer.optimizers[0].state[weight].get("momentum_buffer", weight * 0)
            if not isinstance(self.sparsity.method, NOfM | STR):  # which move everything
                moving = self.sparsity._state.get("larger", self.sparsity.masks)[name]
                assert not momentum[~moving].any()
        self.counts.append({name: int(mask.sum()) for name, mask in self.sparsity.masks.items()})


def fitted(method, *, data=None, **options):
    module, sparsity = Guest(), SparsityCallback(method, network="network")
    watch = Watch(sparsity)
    trainer = pl.Trainer(
        accelerator="cpu", devices=1, max_epochs=1, logger=False, callbacks=[sparsity, watch],
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False, **options
    )  # fmt: skip
    trainer.fit(module, DataLoader(data or batches(), batch_size=None))
    return module.network.state_dict(), sparsity, watch


def alike(state, expected):
    assert state.keys() == expected.keys()
    for name, tensor in state.items():
        torch.testing.assert_close(tensor, expected[name], rtol=1e-4, atol=1e-6)
        assert torch.equal(tensor == 0, expected[name] == 0), name


def test_powerpropagation_is_a_loop_with_autograd_through_powers():
    method = Powerpropagation(**PRUNING, distribution=Uniform(), exponent=3.0)
    due = [step for step in range(13) if method.is_due(step)]
    shares = {step: cubic_sparsity(step, start=2, end=8, initial=0.0, final=0.6) for step in due}
    masks_after = {
        step: {name: num_kept(size, share) for name, size in SIZES.items()}
        for step, share in shares.items()
    }

    state, _, watch = fitted(method)

    expected = train_powers(
        network(), loss_of, batches(), exponent=3.0, masks_after=masks_after, sgd=SGD
    )
    alike(state, expected)
    assert watch.counts[-1] == masks_after[8]
    assert [watch.counts[step - 1] for step in due] == [masks_after[step] for step in due]


def test_top_kast_is_a_loop_that_sees_one_set_and_trains_another():
    method = TopKAST(sparsity=0.8, backward_sparsity=0.5, distribution=Uniform(), penalty=0.02)
    counts = {name: (num_kept(n, 0.8), num_kept(n, 0.5)) for name, n in SIZES.items()}

    state, sparsity, watch = fitted(method)

    expected = train_top_sets(network(), loss_of, batches(), counts=counts, penalty=0.02, sgd=SGD)
    alike(state, expected)
    assert watch.counts == [{name: small for name, (small, _) in counts.items()}] * 12
    trained = sparsity.state_dict()["trained"]
    assert all(int((trained[name] != 0).sum()) == size for name, size in SIZES.items())


def test_str_is_a_loop_with_autograd_through_soft_thresholds():
    """From thresholds of a twentieth, which rise until half of the weights are below them."""
    method = STR(sparsity=0.6, decay=0.1, initial=-3.0)

    state, sparsity, watch = fitted(method)

    expected, limits = train_thresholds(
        network(), loss_of, batches(), initial=-3.0, decay=0.1, sgd=SGD
    )
    alike(state, expected)
    found = sparsity.state_dict()["method"]["limits"]
    for name, limit in limits.items():
        assert found[name].item() == pytest.approx(limit.item(), rel=1e-5)
        assert -2 < limit < -1
    kept = [sum(counts.values()) for counts in watch.counts]
    assert kept[0] > kept[-1]
    assert 0 < kept[-1] < 60
    assert all(torch.equal(state[name] != 0, mask) for name, mask in sparsity.masks.items())


def test_str_without_decay_never_leaves_a_sigmoid_of_zero():
    method = STR(sparsity=0.6, decay=0.0)
    state, _, watch = fitted(method)
    assert watch.counts[-1] == SIZES
    dense, _, _ = fitted(GradualMagnitude(**{**PRUNING, "sparsity": 0.0}, distribution=Uniform()))
    alike(state, dense)


def test_str_of_a_decay_below_zero_is_refused():
    with pytest.raises(UserError, match="decay=-1: must be a number of at least 0"):
        STR(sparsity=0.6, decay=-1)


@pytest.mark.parametrize("masked", [True, False])
def test_s2_sam_is_a_loop_that_takes_gradients_uphill_of_the_weights(masked):
    static = RandomMask(sparsity=0.6, distribution=Uniform())
    uphill = {"radius": 0.3, "masked": masked}

    state, sparsity, _ = fitted(S2SAM(method=static, num_steps=12, **uphill))

    expected = train_uphill(
        network(), loss_of, batches(), masks=sparsity.masks, uphill=uphill, sgd=SGD
    )
    alike(state, expected)
    flat, _, _ = fitted(static)
    assert any((state[name] - flat[name]).abs().max() > 1e-3 for name in SIZES)


def test_s2_sam_costs_dense_passes_where_it_leaves_the_masks():
    static = RandomMask(sparsity=0.9, distribution=Uniform())
    costs = [
        S2SAM(method=static, num_steps=5, masked=masked).step_flops(1, dense=1.0, sparse=0.1)
        for masked in (True, False)
    ]
    assert costs == pytest.approx([0.3, 3.0])


def test_s2_sam_of_another_length_radius_or_method_is_refused():
    static = RandomMask(sparsity=0.6, distribution=Uniform())
    with pytest.raises(UserError, match="num_steps=9: must be the length of the run, 12 steps"):
        fitted(S2SAM(method=static, num_steps=9))
    with pytest.raises(UserError, match="radius=0: must be a number above 0"):
        S2SAM(method=static, num_steps=9, radius=0)
    rigl = RigL(
        sparsity=0.6, distribution=Uniform(), swaps=SwapSchedule(end_step=9, update_every=3)
    )
    for method in (rigl, Powerpropagation(**PRUNING, distribution=Uniform())):
        with pytest.raises(UserError, match=f"method={type(method).__name__}: S2SAM goes around"):
            S2SAM(method=method, num_steps=12)


def test_n_of_m_is_a_loop_that_trains_everything_by_gradients_of_the_masked_weights():
    """Of six inputs and of ten two of each three and of each five go; layers of others stay."""
    for group, number, counts in ((3, 1, (20, 30)), (5, 2, (60, 12))):
        method = NOfM(sparsity=1 - number / group, group=group, decay=0.05)

        state, sparsity, watch = fitted(method)

        expected = train_refined(
            network(), loss_of, batches(), groups=(number, group), decay=0.05, sgd=SGD
        )
        alike(state, expected)
        assert watch.counts == [dict(zip(SIZES, counts, strict=True))] * 12
        assert len(sparsity.kept_by_step) == 1


@pytest.mark.parametrize("shape", [(3, 8), (2, 4, 3, 3)])
def test_of_every_group_of_input_channels_the_largest_stay(shape):
    weight = torch.randn(shape, generator=torch.Generator().manual_seed(0)).round(decimals=1)
    method = NOfM(sparsity=0.5, group=4)
    mask = method.initial_masks(SparseView.at_start({"a": weight}))["a"]
    assert torch.equal(mask, largest_of_groups(weight, 2, 4))
    assert torch.equal(
        mask.movedim(1, -1).reshape(-1, 4).sum(1), torch.full((mask.numel() // 4,), 2)
    )


def test_with_an_exponent_of_one_it_is_pruning_as_it_always_was():
    plain, *_ = fitted(GradualMagnitude(**PRUNING, distribution=Uniform()))
    powers, *_ = fitted(Powerpropagation(**PRUNING, distribution=Uniform(), exponent=1.0))
    alike(powers, plain)


def test_gradients_of_accumulated_batches_are_of_the_weights_that_were_seen():
    method = Powerpropagation(
        **{**PRUNING, "end_step": 6, "distribution": Uniform(), "exponent": 2.0}
    )
    pairs = [
        (torch.cat([a, b]), torch.cat([x, y]))
        for (a, x), (b, y) in zip(batches()[::2], batches()[1::2], strict=True)
    ]

    halves, *_ = fitted(method, accumulate_grad_batches=2)
    wholes, *_ = fitted(method, data=pairs)

    alike(halves, wholes)


def test_the_network_begins_as_it_was():
    weights = dict(network().named_parameters())
    rule = Power(exponent=4.0)
    trained = rule.trained(weights)
    view = SparseView.at_start(trained)
    for name, seen in rule.seen(view).items():
        torch.testing.assert_close(seen, weights[name].detach())


def test_the_chain_rule_is_that_of_the_paper():
    view = SparseView(
        step=1, weights={"a": torch.tensor([0.5, -0.5, 0.5])},
        masks={"a": torch.tensor([True, True, False])},
        gradients=lambda: {"a": torch.ones(3)},
    )  # fmt: skip
    rule = Power(exponent=3.0)
    assert rule.seen(view)["a"].tolist() == [0.125, -0.125, 0.0]
    assert rule.gradients(view)["a"].tolist() == [0.75, 0.75, 0.0]


def test_the_penalty_falls_harder_on_what_is_trained_but_not_seen():
    view = SparseView(
        step=1, weights={"a": torch.tensor([2.0, 1.0, 0.5])},
        masks={"a": torch.tensor([True, False, False])},
        gradients=lambda: {"a": torch.zeros(3)}, state={},
    )  # fmt: skip
    LargerSet.remember(view, {"a": torch.tensor([True, True, False])})
    rule = LargerSet(density=0.25, penalty=0.5)
    assert rule.gradients(view)["a"][:2].tolist() == [1.0, 2.0]
    assert rule.moving(view)["a"].tolist() == [True, True, False]


def test_top_kast_costs_what_its_two_sets_cost():
    method = TopKAST(sparsity=0.8, backward_sparsity=0.5, distribution=Uniform())
    assert method.step_flops(1, dense=1.0, sparse=0.2) == pytest.approx(2 * 0.2 + 0.5)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: TopKAST(sparsity=0.5, backward_sparsity=0.6), "backward_sparsity=0.6: must not"),
        (lambda: TopKAST(sparsity=0.5, backward_sparsity=50), "backward_sparsity=50: must be a"),
        (
            lambda: Powerpropagation(**PRUNING, distribution=None, exponent=0.5),
            "exponent=0.5: must",
        ),
    ],
)
def test_what_cannot_be_done_is_refused(make, message):
    with pytest.raises(UserError, match=f"^{message}"):
        make()
