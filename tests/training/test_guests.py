"""`SparsityCallback` in Trainers, and on modules, that know nothing of this project."""

import copy

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.strategies import DeepSpeedStrategy, FSDPStrategy, ModelParallelStrategy
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

from lightning_sparse.errors import UserError
from lightning_sparse.models.prunable import prunable_weights
from lightning_sparse.sparsity.application import state_of
from lightning_sparse.sparsity.distributions import Uniform
from lightning_sparse.sparsity.masks import num_kept
from lightning_sparse.sparsity.methods.random_mask import RandomMask
from lightning_sparse.sparsity.methods.scaled_start import ScaledStart
from lightning_sparse.sparsity.methods.set import SET
from lightning_sparse.sparsity.regrowth import SwapSchedule
from lightning_sparse.training.hosts import check_host
from lightning_sparse.training.sparsity_callback import SparsityCallback
from tests.training.problems import make_pruning, same_bits

pytestmark = pytest.mark.filterwarnings(
    "ignore:.*does not have many workers:UserWarning",
    "ignore:.*LeafSpec.*deprecated:FutureWarning",
    "ignore:.*`srun` command is available:UserWarning",
)

NUM_STEPS = 10


class Plain(nn.Module):
    shape = (2, 8, 8)

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3))

    def forward(self, inputs):
        return self.body(inputs)


class Convolutions(nn.Module):
    """Grouped, depthwise, transposed, in one and in three dimensions."""

    shape = (4, 6, 6)

    def __init__(self):
        super().__init__()
        self.grouped = nn.Conv2d(4, 6, 3, groups=2)
        self.depthwise = nn.Conv2d(6, 6, 3, padding=1, groups=6)
        self.transposed = nn.ConvTranspose2d(6, 4, 2, stride=2, groups=2)
        self.flat = nn.Conv1d(4, 5, 3)
        self.solid = nn.ConvTranspose3d(1, 2, 2)
        self.last = nn.Linear(10, 3)

    def forward(self, inputs):
        hidden = self.transposed(self.depthwise(self.grouped(inputs)).relu())
        hidden = self.flat(hidden.flatten(2)).relu()
        hidden = self.solid(hidden[:, None, :, None, :9]).relu()
        return self.last(hidden.mean(dim=(3, 4)).flatten(1)[:, :10])


class Language(nn.Module):
    """An embedding, attention, a recurrent layer and a head that shares the embedding's weight."""

    shape = (5,)

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(11, 8)
        self.positions = nn.Parameter(torch.randn(5, 8))
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.recurrent = nn.GRU(8, 8, batch_first=True)
        self.head = nn.Linear(8, 11, bias=False)
        self.head.weight = self.embedding.weight

    def forward(self, inputs):
        hidden = self.embedding(inputs.abs().mul(3).long() % 11) + self.positions
        hidden = hidden + self.attention(hidden, hidden, hidden)[0]
        return self.head(self.recurrent(hidden)[0].mean(dim=1))


class OtherKeys(nn.Module):
    """Queries, keys and values of three sizes, so three projections."""

    shape = (5, 6)

    def __init__(self):
        super().__init__()
        self.attention = nn.MultiheadAttention(6, 2, kdim=4, vdim=3, batch_first=True)
        self.head = nn.Linear(6, 3)

    def forward(self, inputs):
        attended, _ = self.attention(inputs, inputs[..., :4], inputs[..., :3])
        return self.head(attended.mean(dim=1))


OPTIMIZERS = {
    "sgd": lambda p: torch.optim.SGD(p, 0.05, momentum=0.9, weight_decay=0.01),
    "adam": lambda p: torch.optim.Adam(p, 0.01, amsgrad=True),
    "adamw": lambda p: torch.optim.AdamW(p, 0.01, weight_decay=0.1),
    "rmsprop": lambda p: torch.optim.RMSprop(p, 0.01, momentum=0.9, centered=True),
    "adagrad": lambda p: torch.optim.Adagrad(p, 0.05, initial_accumulator_value=0.1),
}


class Guest(pl.LightningModule):
    def __init__(self, network, make_optimizer=OPTIMIZERS["sgd"]):
        super().__init__()
        self.network = network
        self.make_optimizer = make_optimizer

    def training_step(self, batch):
        inputs, labels = batch
        return functional.cross_entropy(self.network(inputs), labels)

    def configure_optimizers(self):
        return self.make_optimizer(self.parameters())


class Spy(pl.Callback):
    """Looks at what masks should hold at zero, after every step."""

    def __init__(self, sparsity):
        self.sparsity = sparsity
        self.leaks = set()
        self.num_states = 0

    def on_train_batch_end(self, trainer, pl_module, *_):
        for name, weight in prunable_weights(pl_module).items():
            state = trainer.optimizers[0].state.get(weight, {})
            kept = [value for value in state.values() if value.shape == weight.shape]
            self.num_states += len(kept)
            for tensor in (weight, *kept):
                if tensor[~self.sparsity.masks[name]].any():
                    self.leaks.add(name)


def loader(network):
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(40, *network.shape, generator=generator)
    return DataLoader(TensorDataset(inputs, torch.arange(40) % 3), batch_size=8)


def fit(module, *, method=None, more=(), **options):
    sparsity = SparsityCallback(method or make_pruning(sparsity=0.6))
    spy = Spy(sparsity)
    trainer = pl.Trainer(
        accelerator="cpu", devices=1, max_steps=NUM_STEPS, logger=False,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
        callbacks=[sparsity, spy, *more], log_every_n_steps=1, **options,
    )  # fmt: skip
    trainer.fit(module, loader(module.network))
    return sparsity, spy


def check_pruned(module, sparsity, spy):
    assert spy.leaks == set()
    assert spy.num_states > 0
    for name, weight in prunable_weights(module).items():
        kept = num_kept(weight.numel(), 0.6)
        assert int(sparsity.masks[name].sum()) == kept, name
        assert int(weight.count_nonzero()) == kept, name


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_whatever_an_optimizer_keeps_per_weight_is_masked(optimizer):
    module = Guest(Plain(), OPTIMIZERS[optimizer])

    sparsity, spy = fit(module)

    check_pruned(module, sparsity, spy)
    assert list(sparsity.masks) == ["network.body.0.weight", "network.body.3.weight"]


@pytest.mark.parametrize("network", [Convolutions, OtherKeys], ids=lambda item: item.__name__)
def test_layers_of_every_kind_are_pruned_to_their_count(network, caplog):
    module = Guest(network(), OPTIMIZERS["adam"])

    sparsity, spy = fit(module)

    check_pruned(module, sparsity, spy)
    weights = [name for name, weight in module.named_parameters() if weight.dim() > 1]
    assert list(sparsity.masks) == weights
    assert "note" not in caplog.text


def test_a_weight_that_two_layers_share_is_pruned_once_and_others_are_named(caplog):
    module = Guest(Language(), OPTIMIZERS["adamw"])

    sparsity, spy = fit(module)

    check_pruned(module, sparsity, spy)
    assert list(sparsity.masks) == [
        "network.embedding.weight",
        "network.attention.in_proj_weight",
        "network.attention.out_proj.weight",
    ]
    assert module.network.head.weight is module.network.embedding.weight
    notes = [message for message in caplog.messages if message.startswith("note")]
    assert notes == [
        "note: left dense: network.positions, network.recurrent.weight_ih_l0, "
        "network.recurrent.weight_hh_l0 (424 of 848 parameters); only weights of convolutions, "
        "linear layers and attention are pruned"
    ]


def test_an_optimizer_that_mixes_entries_is_noticed_and_its_weights_held_at_zero(caplog):
    module = Guest(Plain(), lambda ps: torch.optim.Muon([p for p in ps if p.dim() == 2], 0.02))

    _, spy = fit(module)

    assert spy.leaks == set()
    assert sum("Muon moves masked weights" in message for message in caplog.messages) == 1
    assert int(module.network.body[3].weight.count_nonzero()) == num_kept(432, 0.6)


def test_a_first_step_that_moves_nothing_does_not_hide_such_an_optimizer():
    class Late(Guest):
        def configure_optimizers(self):
            optimizer = super().configure_optimizers()
            schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: float(step > 3))
            return [optimizer], [{"scheduler": schedule, "interval": "step"}]

    module = Late(Plain(), lambda p: torch.optim.Muon([q for q in p if q.dim() == 2], 0.02))

    _, spy = fit(module, method=make_pruning(start_step=0, end_step=1, update_every=1))

    assert spy.leaks == set()


@pytest.mark.parametrize("policy", ["zero, zero", "keep, zero", "keep, keep"])
def test_momentum_of_removed_and_of_new_weights_is_what_the_method_says(policy):
    """One weight is removed after step 2 and grown after step 5; its momentum is followed."""
    removed, new = policy.split(", ")
    momenta, weights = {}, {}

    class Follow(pl.Callback):
        def on_train_batch_end(self, trainer, pl_module, *_):
            weight = pl_module.network.body[3].weight
            (momentum,) = state_of(trainer.optimizers[0], weight)
            momenta[trainer.global_step] = momentum[0, 0].item()
            weights[trainer.global_step] = weight[0, 0].item()

    class RemoveAndGrow(type(make_pruning())):
        removed_momentum, new_momentum = removed, new

        def is_due(self, step):
            return step in {2, 5}

        def updated_masks(self, view):
            masks = {name: mask.clone() for name, mask in view.masks.items()}
            masks["network.body.3.weight"][0, 0] = view.step == 5
            return masks

    given = {
        name: getattr(make_pruning(), name)
        for name in ("sparsity", "start_step", "end_step", "update_every", "distribution")
    }
    torch.manual_seed(0)
    fit(Guest(Plain()), method=RemoveAndGrow(**given), more=[Follow()])

    assert weights[1] != 0
    assert [weights[step] for step in (2, 3, 4, 5)] == [0, 0, 0, 0]
    assert weights[6] != 0
    decayed = [pytest.approx(0.9 * momenta[step], rel=1e-5) for step in (2, 3)]
    if removed == "zero":
        assert [momenta[step] for step in (2, 3, 4, 5)] == [0, 0, 0, 0]
        return
    assert momenta[2] != 0
    assert [momenta[3], momenta[4]] == decayed
    after = 0 if new == "zero" else pytest.approx(0.9 * momenta[4], rel=1e-5)
    assert momenta[5] == after


class Steps(Guest):
    automatic_optimization = False

    def __init__(self, network):
        super().__init__(network)
        self.automatic_optimization = False


class TwoOptimizers(Guest):
    def configure_optimizers(self):
        return [OPTIMIZERS["sgd"]([p]) for p in list(self.parameters())[:2]]


@pytest.mark.parametrize("strategy", [FSDPStrategy, ModelParallelStrategy, DeepSpeedStrategy])
def test_a_strategy_that_shards_parameters_is_refused_by_name(strategy):
    # Not begun, since two of them want accelerators and the third a library.
    trainer = pl.Trainer(accelerator="cpu", devices=1, logger=False, enable_checkpointing=False)
    trainer._accelerator_connector.strategy = object.__new__(strategy)

    with pytest.raises(UserError, match=rf"^strategy {strategy.__name__} shards parameters"):
        check_host(trainer, Guest(Plain()))


def test_a_module_that_steps_its_optimizers_itself_is_refused():
    with pytest.raises(UserError, match=r"^Steps steps its optimizers itself .*; use automatic"):
        fit(Steps(Plain()))


@pytest.mark.filterwarnings("ignore:.*returned `None`, this fit will run with no optimizer")
def test_a_module_without_an_optimizer_is_refused():
    with pytest.raises(UserError, match=r"^0 optimizers: a sparse run needs one"):
        fit(Guest(Plain(), lambda _: None))


def test_start_weights_that_a_method_asks_for_are_where_training_begins():
    module = Guest(Plain(), lambda parameters: torch.optim.SGD(parameters, 0.0, momentum=0.9))
    before = copy.deepcopy(module.state_dict())
    random = RandomMask(sparsity=0.6, distribution=Uniform())

    sparsity, spy = fit(module, method=ScaledStart(method=random))

    check_pruned(module, sparsity, spy)
    for name, weight in prunable_weights(module).items():
        mask = sparsity.masks[name]
        units = mask.flatten(1).float().mean(1).sqrt().view(-1, *(1,) * (mask.dim() - 1))
        torch.testing.assert_close(weight.detach(), before[name] * mask / units)


def test_a_period_in_which_nothing_would_change_is_refused_before_the_first_step():
    module = Guest(Plain())
    before = copy.deepcopy(module.state_dict())
    swaps = SwapSchedule(end_step=100, update_every=NUM_STEPS + 1)

    with pytest.raises(UserError, match=r"^update_every=11: no change of masks falls into steps 0"):
        fit(module, method=SET(sparsity=0.6, distribution=Uniform(), swaps=swaps))

    assert same_bits(module.state_dict(), before)


def test_a_weight_that_has_no_shape_yet_is_refused():
    network = Plain()
    network.body[3] = nn.LazyLinear(3)
    with pytest.raises(UserError, match=r"'network.body.3.weight' has no shape yet; send a batch"):
        fit(Guest(network))


def test_layers_that_are_built_in_setup_are_pruned():
    class Late(Guest):
        def setup(self, stage):
            self.network.added = nn.Linear(3, 3)

        def training_step(self, batch):
            inputs, labels = batch
            return functional.cross_entropy(self.network.added(self.network(inputs)), labels)

    module = Late(Plain())
    sparsity, spy = fit(module)

    check_pruned(module, sparsity, spy)
    assert "network.added.weight" in sparsity.masks


def test_one_part_of_a_module_can_be_pruned_by_its_name():
    module = Guest(Plain())
    before = copy.deepcopy(module.network.body[0].weight)
    sparsity = SparsityCallback(make_pruning(sparsity=0.6), network="network.body.3")
    trainer = pl.Trainer(
        accelerator="cpu", devices=1, max_steps=NUM_STEPS, logger=False, callbacks=[sparsity],
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
        log_every_n_steps=1,
    )  # fmt: skip
    trainer.fit(module, loader(module.network))

    assert list(sparsity.masks) == ["weight"]
    assert int(module.network.body[3].weight.count_nonzero()) == num_kept(432, 0.6)
    assert int(module.network.body[0].weight.count_nonzero()) == before.numel()
