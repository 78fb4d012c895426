import logging
import time

import pytest
import torch
from torch import nn
from torch.nn import functional

from lightning_sparse.errors import UserError
from lightning_sparse.execution.build import build_data, build_network
from lightning_sparse.paths.run import batches_of_statistics
from lightning_sparse.paths.settings import EvaluationSettings
from lightning_sparse.settings.compose import compose_settings
from lightning_sparse.training.validation import (
    check_batches_of_one,
    check_ranks_can_wait,
    say,
    validate,
)
from tests.training.problems import (
    NUM_CLASSES,
    TwoLayers,
    make_data,
    make_network,
    make_pruning,
    same_bits,
    train,
)


class Answers(TwoLayers):
    """Answers in the form that a test asks for."""

    def __init__(self, form):
        super().__init__()
        self.form = form

    def forward(self, images):
        return self.form(super().forward(images), self.training)


def found(network, **options):
    return validate(network, make_data(), **{"is_masked": True, **options})


FORMS = {
    "a tuple of 2": lambda logits, _: (logits, logits),
    "a dict with 'out', 'aux'": lambda logits, _: {"out": logits, "aux": logits},
    "NoneType": lambda *_: None,
    "training mode returns a tuple of 2": lambda y, trains: (y, y) if trains else y,
    "training mode returns a dict with 'out'": lambda y, trains: {"out": y} if trains else y,
    r"shape \(2, 2\) for 2 images; expected \(2, 3\)": lambda logits, _: logits[:, :2],
    r"training mode returns shape \(1, 3\)": lambda y, trains: y[:1] if trains else y,
    r"torch.int64; expected floating": lambda logits, _: logits.argsort(),
    "NaN or infinity": lambda logits, _: logits / 0,
    "no gradient": lambda logits, _: logits.detach(),
}


@pytest.mark.parametrize("expected", FORMS)
def test_whatever_is_not_one_tensor_of_logits_in_both_modes_is_refused(expected):
    with pytest.raises(UserError, match=f"^model Answers in .*{expected}"):
        found(Answers(FORMS[expected]))


@pytest.mark.parametrize("error", [KeyError, AssertionError, AttributeError, IndexError, OSError])
def test_whatever_a_network_raises_becomes_one_line(error):
    def fail(logits, trains):
        if trains:
            raise error("no such thing")
        return logits

    with pytest.raises(UserError, match=rf"in training mode: {error.__name__}: .*no such thing"):
        found(Answers(fail))


class Standardised(nn.Conv2d):
    def forward(self, images):
        return functional.conv2d(images, self.weight - self.weight.mean(), self.bias)


def standardised():
    return nn.Sequential(Standardised(1, 4, 3), nn.Flatten(), nn.Linear(64, NUM_CLASSES))


def test_masks_that_would_not_act_are_refused_by_the_name_of_the_weight():
    with pytest.raises(UserError, match=r"not zero in what it computes with.*: 0\.weight;"):
        found(standardised())
    found(standardised(), is_masked=False)


class Extras(TwoLayers):
    """With a head that is never called, an embedding, a frozen scale, and a cut-off layer."""

    def __init__(self):
        super().__init__()
        self.old_head = nn.Linear(7, 4)
        self.table = nn.Embedding(3, 5)
        self.cut = nn.Linear(36, 3)
        self.frozen = nn.Parameter(torch.ones(2), requires_grad=False)
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, images):
        if self.training:
            self.seen += len(images)
        table = self.table(torch.tensor([0, 1, 2])).sum()
        return super().forward(images) + self.cut(images.flatten(1)).detach() + table


def test_a_head_that_is_never_called_what_stays_dense_and_what_is_not_trained_are_named():
    findings = found(Extras(), recalibrates=True)
    assert findings.unused == ["old_head.weight"]
    assert findings.left_dense == ["table.weight"]
    assert findings.without_gradient == [
        "old_head.weight", "old_head.bias", "cut.weight", "cut.bias",
    ]  # fmt: skip
    assert findings.other_statistics == ["seen"]
    dense, unused, untrained, statistics = findings.remarks()
    assert "left dense, without weight decay: table.weight (15 of 443 parameters)" in dense
    assert "does not use it: old_head.weight (28 of 443 parameters)" in unused
    assert untrained == "no gradient reaches cut.bias, cut.weight, old_head.bias: not trained"
    assert "not recalibrated: seen" in statistics
    assert len(found(Extras()).remarks()) == 3


def test_attention_is_said_to_be_pruned_as_one_layer():
    class Attention(TwoLayers):
        def __init__(self):
            super().__init__()
            self.attention = nn.MultiheadAttention(6, 2, batch_first=True)

        def forward(self, images):
            tokens = images.squeeze(1)
            return super().forward(self.attention(tokens, tokens, tokens)[0])

    (remark,) = found(Attention()).remarks()
    assert "one layer, queries, keys and values: attention.in_proj_weight (108 of" in remark


def test_parameters_without_gradient_are_refused_where_ranks_would_wait_for_them():
    findings = found(Extras())
    two = {"accelerator": "cpu", "devices": 2, "strategy": "ddp"}
    with pytest.raises(UserError, match=r"old_head\.weight.*DDP with unused parameters"):
        check_ranks_can_wait(findings, two)
    check_ranks_can_wait(findings, {**two, "devices": 1})
    check_ranks_can_wait(findings, {**two, "strategy": "ddp_find_unused_parameters_true"})
    check_ranks_can_wait(found(make_network()), two)


def test_a_look_leaves_no_trace():
    network = make_network().train()
    network.dropout = nn.Dropout()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    generator = torch.random.get_rng_state()
    findings = found(network, recalibrates=True)
    assert torch.equal(torch.random.get_rng_state(), generator)
    assert same_bits(dict(network.state_dict()), before)
    assert network.training
    assert all(parameter.grad is None for parameter in network.parameters())
    assert findings.without_gradient == []
    assert findings.remarks() == []


def test_a_look_at_the_network_of_the_digits_takes_less_than_a_second():
    settings = compose_settings([])
    data = build_data(settings)
    network = build_network(settings, data.source)
    began = time.process_time()
    validate(network, data, is_masked=True)
    assert time.process_time() - began < 1


def test_remarks_are_printed_and_recorded_beside_the_sparsity_of_all_parameters(tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        record = train(tmp_path, network=Extras(), method=make_pruning(), remarks=["seen before"])
    assert record.remarks[0] == "seen before"
    assert "left dense" in record.remarks[1]
    assert [line.removeprefix("note: ") for line in caplog.messages] == record.remarks
    assert record.num_parameters == 443
    assert record.overall_sparsity == (record.prunable - record.kept) / 443
    say([])


class OwnNorm(nn.BatchNorm2d):
    """Writes its statistics by itself, as code from before ``momentum=None`` does."""

    def forward(self, images):
        if self.training:
            mean = images.mean((0, 2, 3)).detach()
            self.running_mean.mul_(1 - self.momentum).add_(self.momentum * mean)
        return images - self.running_mean[:, None, None]


def test_statistics_that_cannot_be_computed_anew_are_refused_where_they_would_be():
    network = make_network()
    network.bn1 = OwnNorm(4)
    with pytest.raises(UserError, match=r"cannot be computed anew: TypeError.*batch_norm=interp"):
        found(network, recalibrates=True)
    assert found(network).other_statistics == []


class PooledEarly(nn.Module):
    """Batch norm where each channel has one value per image left."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3)
        self.norm = nn.BatchNorm1d(4)
        self.fc = nn.Linear(4, NUM_CLASSES)

    def forward(self, images):
        return self.fc(self.norm(self.conv(images).mean(dim=(2, 3))))


@pytest.mark.parametrize(
    ("recalibration", "evaluation_batch_size"), [((8, 1), 16), (None, 20), (None, 47)]
)
def test_a_batch_of_one_image_is_refused_where_its_statistics_are_needed(
    recalibration, evaluation_batch_size
):
    """Of 48 and 21 images, batches of 47 and of 20 leave one."""
    data = make_data(evaluation_batch_size=evaluation_batch_size)
    batches = [data.recalibration_batches(*recalibration)] if recalibration else None
    batches = batches or data.val_dataloader()

    with pytest.raises(UserError, match=r"a batch of one image: ValueError: .*choose evaluation"):
        check_batches_of_one(make_network(network_type=PooledEarly), data, batches)
    # More than one value is left of each channel.
    check_batches_of_one(make_network(), data, batches)


def test_batches_of_two_are_taken():
    data = make_data(evaluation_batch_size=16)

    check_batches_of_one(
        make_network(network_type=PooledEarly),
        data,
        [data.recalibration_batches(8, 2), *data.val_dataloader()],
    )


def test_training_batches_of_one_image_are_refused_with_the_remedy():
    with pytest.raises(UserError, match=r"training mode: ValueError: .*; choose batch_size=2"):
        validate(make_network(network_type=PooledEarly), make_data(batch_size=1), is_masked=False)


@pytest.mark.parametrize("policy", ["recalibrated", "batch"])
def test_a_path_asks_for_its_own_batches_before_it_is_fitted(policy):
    data = make_data(evaluation_batch_size=20)
    evaluation = EvaluationSettings(
        batch_norm=policy, num_recalibration_images=4, recalibration_batch_size=1
    )

    assert min(batches.smallest for batches in batches_of_statistics(data, evaluation)) == 1
