"""A small convolutional network with batch norm, for claims that a laptop can judge."""

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor, nn


class ConvNet(nn.Module):
    """3x3 convolutions with batch norm and ReLU, global average pooling, one linear layer.

    The second and the third convolution halve the resolution, all others keep it. Convolutions are
    drawn by He et al. (2015) with fan-out, as torchvision draws its ResNets; the linear layer by
    PyTorch's default.
    """

    def __init__(
        self, in_channels: int, num_classes: int, widths: Sequence[int] = (12, 24, 48, 48)
    ) -> None:
        """Build the network.

        Args:
            in_channels: Channels of the image.
            num_classes: Number of outputs.
            widths: Channels after each convolution.
        """
        super().__init__()
        layers: list[nn.Module] = []
        for position, (width_in, width_out) in enumerate(
            zip((in_channels, *widths), widths, strict=False)
        ):
            stride = 2 if position in {1, 2} else 1
            convolution = nn.Conv2d(width_in, width_out, 3, stride=stride, padding=1, bias=False)
            nn.init.kaiming_normal_(convolution.weight, mode="fan_out", nonlinearity="relu")
            layers += [convolution, nn.BatchNorm2d(width_out), nn.ReLU()]
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Linear(widths[-1], num_classes)

    def forward(self, images: Float[Tensor, "n c h w"]) -> Float[Tensor, "n num_classes"]:
        """Return one logit per class."""
        logits: Tensor = self.classifier(self.features(images).mean(dim=(2, 3)))
        return logits
