"""Asks a method, or whatever takes a view, before the first step of a real fit."""

import copy
from dataclasses import dataclass, field

from lightning_sparse.sparsity.masks import full_masks
from lightning_sparse.sparsity.method import AbstractStaticMethod
from lightning_sparse.training.classifier_module import ClassifierModule
from lightning_sparse.training.sparsity_callback import SparsityCallback
from lightning_sparse.training.trainer import fit, quiet_trainer
from tests.training.problems import make_data, make_settings


@dataclass(frozen=True)
class Asks(AbstractStaticMethod):
    """Keeps what the question was answered with."""

    question: object
    answers: list = field(default_factory=list)

    def initial_masks(self, view):
        self.answers.append(self.question(view))
        return full_masks(view.weights)

    def target_sparsity(self, step):
        return 0.0


def asked(question, network, *, module=None, seed=1):
    """Return what ``question`` answers at the start of a fit of a copy of ``network``."""
    method = Asks(question)
    data = make_data()
    module = module or ClassifierModule(copy.deepcopy(network), make_settings(num_steps=1))
    sparsity = SparsityCallback(
        method, network="network", seed=seed, probe_batches=data.probe_batches
    )
    trainer = quiet_trainer(1, [sparsity], {"accelerator": "cpu", "devices": 1})
    fit(trainer, module, data, 1)
    return method.answers[0]
