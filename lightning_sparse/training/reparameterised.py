"""Trained weights that the network shows a function of: who holds which, and when."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from lightning_sparse.sparsity.application import reset_state_
from lightning_sparse.sparsity.reparameterisation import AbstractReparameterisation
from lightning_sparse.sparsity.view import SparseView


class TrainedWeights:
    """Holds the trained weights while the network's parameters hold what they stand for.

    Args:
        rule: What they stand for.

    Attributes:
        weights: The trained weights; empty before the fit begins.
        in_network: Whether the network holds them itself, for the optimizer's step.
    """

    def __init__(self, rule: AbstractReparameterisation) -> None:
        self.weights: dict[str, Tensor] = {}
        self.in_network = False
        self._rule = rule

    def begin(self, parameters: Mapping[str, nn.Parameter]) -> None:
        """Take them from the network's start weights, unless a checkpoint gave some."""
        if not self.weights:
            self.weights = self._rule.trained(parameters)
        self.weights = {n: self.weights[n].to(p.device) for n, p in parameters.items()}

    @torch.no_grad()
    def show_(self, parameters: Mapping[str, nn.Parameter], view: SparseView) -> None:
        """Let the network compute with what the trained weights stand for."""
        for name, seen in self._rule.seen(view).items():
            parameters[name].copy_(seen)
        self.in_network = False

    @torch.no_grad()
    def settle_(
        self, parameters: Mapping[str, nn.Parameter], view: SparseView, optimizer: Optimizer
    ) -> None:
        """Zero what the optimizer keeps of weights that a step does not move."""
        fixed = {name: ~mask for name, mask in self._rule.moving(view).items()}
        reset_state_(optimizer, parameters, fixed)

    @torch.no_grad()
    def before_step_(self, parameters: Mapping[str, nn.Parameter], view: SparseView) -> None:
        """Give the optimizer the trained weights that move, and their gradients.

        Others are zero for it, so that neither decay nor momentum gathers on them.
        """
        moving = self._rule.moving(view)
        for name, gradient in self._rule.gradients(view).items():
            parameter = parameters[name]
            if parameter.grad is not None:
                parameter.grad.copy_(gradient * moving[name])
            parameter.copy_(self.weights[name] * moving[name])
        self.in_network = True

    @torch.no_grad()
    def after_step_(self, parameters: Mapping[str, nn.Parameter], view: SparseView) -> None:
        """Take back what the step made of them; others stay as they were."""
        moving = self._rule.moving(view)
        for name, parameter in parameters.items():
            held = self.weights[name]
            held.copy_(torch.where(moving[name], parameter, held))
        self.show_(parameters, view)
