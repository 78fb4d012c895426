"""Settings of arms and of pruning. No torch in here."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, get_args

from lightning_sparse.fields import ARGUMENT, setting
from lightning_sparse.records import MethodName


@dataclass(frozen=True, kw_only=True)
class MethodSettings:
    """One arm: where its weights start, where its masks come from, and what changes them.

    Attributes:
        name: Its name, which is that of its file under ``conf/method/``.
        start: Random stream of the start weights.
        needs_masks: Whether its masks are those of a pruned run.
        rewound: Whether it starts from that run's own weights, at ``rewind_step``.
        sparse_method: ``_target_`` names the class.
    """

    name: str = setting(choices=get_args(MethodName))
    start: str = setting(choices=("init", "init/scratch"))
    needs_masks: bool
    rewound: bool
    sparse_method: Mapping[str, Any]


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
