"""Which tracker runs are logged to; no result depends on it."""

from dataclasses import dataclass

from lightning_sparse.fields import setting


@dataclass(frozen=True, kw_only=True)
class LoggerSettings:
    """A tracker, and where in it.

    Attributes:
        name: ``none`` or ``wandb``.
        project: Name of the W&B project.
        entity: User or team; None for the account's own choice.
        mode: ``online`` or ``offline``; None for what ``WANDB_MODE`` says.
    """

    name: str
    project: str = "lightning-sparse"
    entity: str | None = setting(None, example="my-team")
    mode: str | None = setting(None, example="offline")
