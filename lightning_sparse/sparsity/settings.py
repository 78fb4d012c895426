"""Settings of arms and of pruning. No torch in here."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lightning_sparse.fields import ARGUMENT, NOTHING, setting


@dataclass(frozen=True, kw_only=True)
class MethodSettings:
    """One arm: where its weights start, where its masks come from, and what changes them.

    Attributes:
        name: That of its file under ``conf/method/``, which need not say it.
        start: Random stream of the start weights.
        needs_masks: Whether its masks are those of a pruned run.
        rewound: Whether it starts from that run's own weights, at ``rewind_step``.
        sparse_method: ``_target_`` names the class.
        learning_rate: Peak learning rate; where the file says nothing, that of
            ``tuned.learning_rate``.
    """

    name: str
    start: str = setting(choices=("init", "init/scratch"))
    needs_masks: bool
    rewound: bool
    sparse_method: Mapping[str, Any]
    learning_rate: float = setting(decides=NOTHING)


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
