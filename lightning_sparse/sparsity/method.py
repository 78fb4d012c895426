"""What a sparse training method must answer; the callback asks and applies."""

from abc import ABC, abstractmethod

from lightning_sparse.sparsity.masks import Masks, Weights


class AbstractSparseMethod(ABC):
    """Which weights are kept at the start, when that changes, and to what.

    Methods hold hyper-parameters and no state: the same weights, masks and step give the same
    masks on every rank and after every resume. ``step`` is optimizer steps completed.
    """

    @abstractmethod
    def initial_masks(self, weights: Weights) -> Masks:
        """Give the masks that the run starts with, for the prunable start weights.

        Raises:
            UserError: If the method cannot work on these layers.
        """

    @abstractmethod
    def is_due(self, step: int) -> bool:
        """Say whether the masks change after ``step``."""

    @abstractmethod
    def updated_masks(self, weights: Weights, masks: Masks, step: int) -> Masks:
        """Give the masks that hold after ``step``, from those that held before it."""

    @abstractmethod
    def target_sparsity(self, step: int) -> float:
        """Sparsity aimed at after ``step``, a fraction in [0, 1).

        Nominal: the layer policy may leave the measured overall sparsity below it.
        """
