"""Curves by twins of layers, as Garipov et al. 2018 build them: the peer of `PathModule`.

After the design of https://github.com/timgaripov/dnn-mode-connectivity: every layer holds the
parameters of all points of the curve and forms its own at t in the forward pass; the squared norm
of the interpolated weights is summed on the way. Written anew, for any network of these layers.
"""

import copy
from collections.abc import Mapping, Sequence
from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional

from lightning_sparse.paths.curves import Bezier


class CurveLayer(nn.Module):
    """A convolution, batch norm or linear layer whose parameters lie on a curve.

    Args:
        layer: The layer at t = 0.
        points: Its parameters at every control point; the first and the last stay as they are.
    """

    def __init__(self, layer: nn.Module, points: Sequence[Mapping[str, Tensor]]) -> None:
        super().__init__()
        self.layer = [layer]
        self.names = list(points[0])
        for k, point in enumerate(points):
            for name, value in point.items():
                is_free = 0 < k < len(points) - 1
                parameter = nn.Parameter(value.detach().clone(), requires_grad=is_free)
                self.register_parameter(f"{name}_{k}", parameter)
        self.num_points = len(points)
        self.coefficients: Sequence[Tensor] = ()
        self.squared_norm: Tensor | float = 0.0

    def forward(self, inputs: Tensor) -> Tensor:
        """Form the parameters at the current t, and do what the layer does."""
        own = {name: self._at_t(name) for name in self.names}
        self.squared_norm = sum(value.square().sum() for value in own.values())
        layer = self.layer[0]
        weight, bias = own["weight"], own.get("bias")
        if isinstance(layer, nn.Conv2d):
            convolved: Tensor = layer._conv_forward(inputs, weight, bias)  # noqa: SLF001
            return convolved
        if isinstance(layer, nn.Linear):
            return functional.linear(inputs, weight, bias)
        assert isinstance(layer, nn.BatchNorm2d)
        return functional.batch_norm(
            inputs,
            layer.running_mean,
            layer.running_var,
            weight,
            bias,
            layer.training,
            layer.momentum or 0.0,
            layer.eps,
        )

    def _at_t(self, name: str) -> Tensor:
        value: Tensor = self.coefficients[0] * getattr(self, f"{name}_0")
        for k in range(1, self.num_points):
            value = value + self.coefficients[k] * getattr(self, f"{name}_{k}")
        return value


@final
class CurveNetwork(nn.Module):
    """A network made of curve layers.

    Args:
        network: The architecture; of its layers, convolutions, batch norms and linear layers have
            parameters.
        points: State dicts of all control points.
    """

    def __init__(self, network: nn.Module, points: Sequence[Mapping[str, Tensor]]) -> None:
        super().__init__()
        self.network = copy.deepcopy(network)
        self.curve_layers: list[CurveLayer] = []
        for name, layer in list(self.network.named_modules()):
            if isinstance(layer, nn.Conv2d | nn.Linear | nn.BatchNorm2d):
                own = [
                    {key: point[f"{name}.{key}"] for key, _ in layer.named_parameters()}
                    for point in points
                ]
                self.curve_layers.append(CurveLayer(layer, own))
                self.network.set_submodule(name, self.curve_layers[-1])
        self.curve = Bezier(len(points) - 1)

    def forward(self, images: Tensor, t: float) -> tuple[Tensor, Tensor]:
        """Return the logits at ``t``, and the squared norm of all parameters there."""
        basis = torch.tensor(self.curve.basis(t), dtype=torch.float64)
        coefficients = basis.to(images.device, images.dtype).unbind()
        for layer in self.curve_layers:
            layer.coefficients = coefficients
        logits = self.network(images)
        norms = [torch.as_tensor(layer.squared_norm) for layer in self.curve_layers]
        return logits, torch.stack(norms).sum()
