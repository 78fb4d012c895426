"""A small convolutional network with batch or group norm, for claims that a laptop can judge."""

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor, nn


class ConvNet(nn.Module):
    """3x3 convolutions with batch or group norm and ReLU, global average pooling, a linear layer.

    Convolutions are drawn by He et al. (2015) with fan-out, as torchvision draws its ResNets; the
    linear layer by PyTorch's default.
    """

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        widths: Sequence[int] = (12, 24, 48, 48),
        num_groups: int | None = None,
        strides: Sequence[int] = (1, 2, 2),
    ) -> None:
        """Build the network.

        Args:
            in_channels: Channels of the image.
            num_classes: Number of outputs.
            widths: Channels after each convolution.
            num_groups: Groups of channels that group norm normalises, in place of batch norm; must
                divide every width. None for batch norm.
            strides: Of the first convolutions; all others keep the resolution.
        """
        super().__init__()
        layers: list[nn.Module] = []
        all_strides = (*strides, *[1] * len(widths))
        for width_in, width_out, stride in zip(
            (in_channels, *widths), widths, all_strides, strict=False
        ):
            convolution = nn.Conv2d(width_in, width_out, 3, stride=stride, padding=1, bias=False)
            nn.init.kaiming_normal_(convolution.weight, mode="fan_out", nonlinearity="relu")
            norm = (
                nn.BatchNorm2d(width_out)
                if num_groups is None
                else nn.GroupNorm(num_groups, width_out)
            )
            layers += [convolution, norm, nn.ReLU()]
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Linear(widths[-1], num_classes)

    def forward(self, images: Float[Tensor, "n c h w"]) -> Float[Tensor, "n num_classes"]:
        """Return one logit per class."""
        logits: Tensor = self.classifier(self.features(images).mean(dim=(2, 3)))
        return logits
