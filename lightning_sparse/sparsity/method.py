"""What a sparse training method must answer; the callback asks and applies."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, Literal, final

from lightning_sparse.sparsity.masks import Masks, Weights
from lightning_sparse.sparsity.reparameterisation import AbstractReparameterisation
from lightning_sparse.sparsity.view import SparseView

Momentum = Literal["zero", "keep"]


class AbstractSparseMethod(ABC):
    """Which weights are kept at the start, when that changes, and to what.

    Methods hold hyper-parameters and no state of their own: what they must remember goes into
    ``view.state``. The same view gives the same masks on every rank and after every resume; random
    numbers come from ``view.generator``. ``step`` is optimizer steps completed.

    What is below the abstract methods has an answer that most methods leave as it is.

    Attributes:
        is_sparse: Whether it ever removes a weight.
        replaces_update: Whether a due change of masks takes the place of the optimizer's step, as
            in RigL: the weights then stay as they are, but for those that are masked. Otherwise it
            comes after the step.
        removed_momentum: What becomes of what the optimizer keeps of a weight that is removed:
            ``zero``, or ``keep``, which lets it decay and has the weights masked after every step.
        new_momentum: What a weight that is grown begins with: ``zero``, or ``keep`` for what is
            left of its own, which is something only if that of removed weights is kept.
        moves_weights: Whether `moved_weights` is asked after every step of the optimizer.
    """

    is_sparse: bool = True
    replaces_update: bool = False
    removed_momentum: Momentum = "zero"
    new_momentum: Momentum = "zero"
    moves_weights: bool = False

    @abstractmethod
    def initial_masks(self, view: SparseView) -> Masks:
        """Give the masks that the run starts with.

        Raises:
            UserError: If the method cannot work on these layers.
        """

    @abstractmethod
    def is_due(self, step: int) -> bool:
        """Say whether the masks change after ``step``; asked once for every step."""

    @abstractmethod
    def updated_masks(self, view: SparseView) -> Masks:
        """Give the masks that hold after ``view.step``, from those that held before it.

        ``view.masks`` itself means that nothing changes, and costs nothing.
        """

    @abstractmethod
    def target_sparsity(self, step: int) -> float:
        """Sparsity aimed at after ``step``, a fraction in [0, 1).

        Nominal: the layer policy may leave the measured overall sparsity below it.
        """

    def start_weights(self, weights: Weights, masks: Masks) -> Weights | None:
        """Give other start weights for the initial masks; None: those that there are."""
        return None

    def moved_weights(self, view: SparseView, rates: Mapping[str, float]) -> Weights:
        """Give other weights in place of those that the optimizer's step has made.

        Args:
            view: After the step, whose ``gradients`` are those that the optimizer has had: masked,
                and clipped.
            rates: Learning rate of each weight in that step.
        """
        return view.weights

    def check_length(self, num_steps: int) -> None:  # noqa: B027 (most have nothing to look at)
        """Look before the first step whether a run of so many steps does what the method says.

        Raises:
            UserError: If it does not, for example because nothing would ever change.
        """

    def observations(self, state: Mapping[str, Any]) -> Mapping[str, float]:
        """Say what can be seen of the method's state at a look; it goes into the history.

        Args:
            state: As in ``view.state``.
        """
        return {}

    def needs_gradients(self, step: int) -> bool:
        """Say whether `updated_masks` reads ``view.gradients`` after ``step``.

        The gradients are kept from masking at these steps alone, and counted as dense in the cost
        of training.
        """
        return False

    def step_flops(self, step: int, *, dense: float, sparse: float) -> float:
        """Operations per image of the training step that ends at ``step``.

        One forward pass, and two of the same cost backward: for the gradients of activations, and
        for those of weights, which are dense where they are needed unmasked (Evci et al. 2020,
        appendix H).

        Args:
            step: As in `is_due`.
            dense: Operations of one forward pass without masks.
            sparse: Those with the masks in force.
        """
        return 2 * sparse + (dense if self.needs_gradients(step) else sparse)

    def reparameterisation(self) -> AbstractReparameterisation | None:
        """Say which function of the trained weights the network computes with; None: themselves.

        With one, ``view.weights`` are the trained weights everywhere.
        """
        return None


class AbstractStaticMethod(AbstractSparseMethod):
    """Masks that are chosen before the first step and never change."""

    @final
    def is_due(self, step: int) -> bool:
        """Never."""
        return False

    @final
    def updated_masks(self, view: SparseView) -> Masks:
        """Leave the masks as they are."""
        return view.masks
