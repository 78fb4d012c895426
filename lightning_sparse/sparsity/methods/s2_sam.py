"""S2-SAM: gradients a step uphill of the weights, along the last gradient, around a method."""

from dataclasses import dataclass
from typing import final

from typing_extensions import override

from lightning_sparse.errors import UserError
from lightning_sparse.sparsity.around import AbstractAround
from lightning_sparse.sparsity.gradual import AbstractGradual
from lightning_sparse.sparsity.method import AbstractStaticMethod
from lightning_sparse.sparsity.reparameterisation import AbstractReparameterisation, Perturbed


@final
@dataclass(frozen=True, kw_only=True)
class S2SAM(AbstractAround):
    """Sharpness-aware without a second pass: each gradient is taken at w + radius g / |g|.

    By the authors' code of "A Single-Step, Sharpness-Aware Minimization is All You Need to Achieve
    Efficient and Accurate Sparse Training" (NeurIPS 2024), g being the gradient of the step before.
    They keep g from before masking, so that the network is differentiated at a point with weights
    outside of its masks: ``masked`` false. Deviations: biases and normalisation are not perturbed;
    weights that are kept of a step are those that the next batch sees. Masks may not grow. A step
    costs what the method costs, unmasked 3 dense forward passes.

    Attributes:
        radius: Above 0; the authors take 0.05.
        masked: Whether the point lies inside the masks.
        num_steps: Optimizer steps of training; the network ends with the weights themselves.
    """

    radius: float = 0.05
    masked: bool = True
    num_steps: int

    def __post_init__(self) -> None:
        """Check the fields."""
        super().__post_init__()
        if not self.radius > 0:
            raise UserError(f"radius={self.radius!r}: must be a number above 0")
        fits = isinstance(self.method, AbstractStaticMethod | AbstractGradual)
        if not fits or self.method.reparameterisation() is not None:
            raise UserError(
                f"method={type(self.method).__name__}: S2SAM goes around methods that choose masks "
                "before training or prune gradually, and train the network's own weights"
            )

    @override
    def check_length(self, num_steps: int) -> None:
        super().check_length(num_steps)
        if num_steps != self.num_steps:
            raise UserError(
                f"num_steps={self.num_steps}: must be the length of the run, {num_steps} steps"
            )

    @override
    def reparameterisation(self) -> AbstractReparameterisation:
        return Perturbed(radius=self.radius, masked=self.masked, num_steps=self.num_steps)

    @override
    def step_flops(self, step: int, *, dense: float, sparse: float) -> float:
        inside = super().step_flops(step, dense=dense, sparse=sparse)
        return inside if self.masked else 3 * dense
