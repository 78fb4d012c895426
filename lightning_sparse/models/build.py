"""Make a network whose start weights are a function of the seed alone."""

import inspect
from collections.abc import Callable
from typing import Any, Literal, Protocol, runtime_checkable

import torch
from torch import nn

from lightning_sparse.errors import UserError
from lightning_sparse.streams import stream_generator


@runtime_checkable
class ImageClasses(Protocol):
    """What a network must know of a data set."""

    @property
    def num_classes(self) -> int:
        """Number of classes."""

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Channels, height and width."""


def build_model(
    constructor: Callable[..., nn.Module],
    source: ImageClasses,
    seed: int,
    stream: Literal["init", "init/scratch"],
) -> nn.Module:
    """Call ``constructor``, with all its random draws taken from (``seed``, ``stream``).

    The network then sees one empty image, so that one that does not fit the data is refused here
    and not in the middle of something longer. The global generator is left as it was.

    Args:
        constructor: A module class, a function that returns a module, or a `functools.partial` of
            either. It gets ``in_channels`` and ``num_classes`` if its signature names them, and
            ``num_classes`` if it takes any keyword, as torchvision's constructors do; what a
            partial already holds is left alone.
        source: The data set that the network is for.
        seed: The run's seed.
        stream: ``init/scratch`` for the scratch arm, ``init`` for all others.

    Raises:
        UserError: If the network does not accept the images or does not return one logit per class.
    """
    with torch.random.fork_rng(devices=[]):
        torch.random.set_rng_state(stream_generator(seed, stream).get_state())
        network = constructor(**_arguments_from_source(constructor, source))
        _check_fit(network, source)
    return network


def _arguments_from_source(
    constructor: Callable[..., nn.Module], source: ImageClasses
) -> dict[str, Any]:
    parameters = inspect.signature(constructor).parameters
    given = getattr(constructor, "keywords", {})
    takes_any = any(item.kind is item.VAR_KEYWORD for item in parameters.values())
    offered = {"in_channels": source.image_shape[0], "num_classes": source.num_classes}
    return {
        name: value
        for name, value in offered.items()
        if name not in given and (name in parameters or (takes_any and name == "num_classes"))
    }


def _check_fit(network: nn.Module, source: ImageClasses) -> None:
    was_training = network.training
    try:
        with torch.no_grad():
            logits = network.eval()(torch.zeros(1, *source.image_shape))
    except (RuntimeError, ValueError, TypeError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(
            f"model {type(network).__name__} does not accept images of shape {source.image_shape} "
            f"({reason}); choose another model or data"
        ) from error
    network.train(was_training)
    if tuple(logits.shape) != (1, source.num_classes):
        raise UserError(
            f"model {type(network).__name__} returns shape {tuple(logits.shape)} for one image; "
            f"expected (1, {source.num_classes}), one logit per class: set "
            f"model.num_classes={source.num_classes}"
        )
