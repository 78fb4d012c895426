"""Make a network whose start weights are a function of the seed alone."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from lightning_sparse.errors import UserError, theirs
from lightning_sparse.models.memory import settle_memory_
from lightning_sparse.streams import StartStream, global_generators_of


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
    stream: StartStream,
) -> nn.Module:
    """Call ``constructor``, with all its random draws taken from (``seed``, ``stream``).

    The network then sees one empty image, so that one that does not fit the data is refused here
    and not in the middle of something longer. The global generators are left as they were.

    Args:
        constructor: A module class, a function that returns a module, or a `functools.partial` of
            either. It gets ``in_channels`` and ``num_classes`` if its signature names them, and
            ``num_classes`` if it takes any keyword, as torchvision's constructors do; what a
            partial already holds is left alone.
        source: The data set that the network is for.
        seed: The run's seed.
        stream: ``init/scratch`` for the scratch arm, ``init`` for all others.

    Raises:
        UserError: If the constructor fails, or the network does not accept the images, does not
            return one logit per class, cannot be saved, or has parameters that share memory.
    """
    with global_generators_of(seed, stream):
        with theirs(f"model {_name_of(constructor)} cannot be built"):
            network = constructor(**_arguments_from_source(constructor, source))
        _check_fit(network, source)
    settle_memory_(network)
    _check_state(network)
    return network


def check_logits(output: object, num_images: int, num_classes: int, name: str) -> None:
    """See that a network returned one row of logits per image.

    Args:
        output: What it returned.
        num_images: How many images it was given.
        num_classes: Number of classes.
        name: Of the network, and how it was called, for the message.

    Raises:
        UserError: If it is something else.
    """
    if not isinstance(output, Tensor):
        raise UserError(
            f"model {name} returns {_described(output)}; expected one tensor of logits, in "
            "training as in evaluation: wrap the model in one that returns its logits alone"
        )
    shape = tuple(output.shape)
    if shape != (num_images, num_classes):
        images = "one image" if num_images == 1 else f"{num_images} images"
        raise UserError(
            f"model {name} returns shape {shape} for {images}; expected "
            f"{(num_images, num_classes)}, one logit per class: set model.num_classes={num_classes}"
        )
    if not output.is_floating_point():
        raise UserError(f"model {name} returns {output.dtype}; expected floating-point logits")


def _described(output: object) -> str:
    kind = type(output).__name__
    if isinstance(output, Mapping):
        return f"a {kind} with {', '.join(map(repr, output))}"
    if isinstance(output, Sequence):
        return f"a {kind} of {len(output)}"
    return kind


def _name_of(constructor: Callable[..., nn.Module]) -> str:
    function = getattr(constructor, "func", constructor)
    return str(getattr(function, "__qualname__", function))


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
    name = type(network).__name__
    with (
        theirs(
            f"model {name} does not accept images of shape {source.image_shape}",
            "choose another model or data",
        ),
        torch.no_grad(),
    ):
        logits = network.eval()(torch.zeros(1, *source.image_shape))
    network.train(was_training)
    check_logits(logits, 1, source.num_classes, name)


def _check_state(network: nn.Module) -> None:
    """Refuse a state dict that safetensors cannot hold: a pickle could run a stranger's code."""
    for name, value in network.state_dict().items():
        if not isinstance(value, Tensor):
            raise UserError(
                f"model {type(network).__name__}: {name!r} in its state dict is a "
                f"{type(value).__name__}, and only tensors are saved; keep it in a buffer, or "
                "leave get_extra_state out"
            )
