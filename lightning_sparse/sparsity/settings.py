"""Settings of pruning. No torch in here."""

from dataclasses import dataclass

from lightning_sparse.fields import ARGUMENT, setting


@dataclass(frozen=True, kw_only=True)
class PruningSettings:
    """When the pruned arm's masks change, in optimizer steps; arguments of its method.

    Attributes:
        start_step: Up to here every weight is kept.
        end_step: From here on the masks stay.
        update_every: Steps between two changes.
    """

    start_step: int = setting(decides=(ARGUMENT,))
    end_step: int = setting(decides=(ARGUMENT,))
    update_every: int = setting(at_least=1, decides=(ARGUMENT,))
