"""ResNet-50 v1.5 as torchvision has it, and its topology in other widths and for small images."""

from collections.abc import Sequence
from typing import final

from jaxtyping import Float
from torch import Tensor, nn
from torchvision.models import resnet50
from torchvision.models.resnet import Bottleneck

_RGB_CHANNELS = 3
_STAGE_PLANES = (64, 128, 256, 512)


def build_resnet50(num_classes: int = 1000, in_channels: int = _RGB_CHANNELS) -> nn.Module:
    """Build torchvision's ResNet-50 v1.5 (stride in the 3x3 convolution), untouched.

    The last batch-norm scale of each block starts at zero (Goyal et al. 2017, arXiv 1706.02677).
    Only with other than three channels is the first convolution another one.
    """
    network: nn.Module = resnet50(num_classes=num_classes, zero_init_residual=True)
    if in_channels != _RGB_CHANNELS:
        network.conv1 = nn.Conv2d(in_channels, 64, 7, stride=2, padding=3, bias=False)
        _initialise(network.conv1)
    return network


@final
class BottleneckResNet(nn.Module):
    """ResNet of torchvision's bottleneck blocks whose channel counts all scale with one factor.

    With ``width_multiplier=1``, the standard stem and three channels it is torchvision's ResNet-50:
    same names, shapes and function, so state dicts go both ways. The last batch-norm scale of each
    block starts at zero.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int = _RGB_CHANNELS,
        *,
        width_multiplier: float = 1.0,
        small_images: bool = True,
        stem_stride: int | None = None,
        layers: Sequence[int] = (3, 4, 6, 3),
    ) -> None:
        """Build the network.

        Args:
            num_classes: Number of outputs.
            in_channels: Channels of the image.
            width_multiplier: Scales every number of channels, rounded.
            small_images: Whether the stem keeps the resolution (one 3x3 convolution with stride 1,
                for images of up to about 64 pixels) instead of dividing it by four.
            stem_stride: Stride of the stem's convolution, if it is another one: 2 divides the
                resolution of small images by two, and the cost of the network by four.
            layers: Blocks per stage; (3, 4, 6, 3) is ResNet-50, with 53 convolutions.
        """
        super().__init__()
        planes = [max(1, round(width_multiplier * standard)) for standard in _STAGE_PLANES]
        kernel_size, stride = (3, 1) if small_images else (7, 2)
        stride = stride if stem_stride is None else stem_stride
        self.conv1 = nn.Conv2d(
            in_channels, planes[0], kernel_size, stride, padding=kernel_size // 2, bias=False
        )
        self.bn1 = nn.BatchNorm2d(planes[0])
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.Identity() if small_images else nn.MaxPool2d(3, stride=2, padding=1)
        self.layer1 = _stage(planes[0], planes[0], layers[0], stride=1)
        self.layer2 = _stage(planes[0] * Bottleneck.expansion, planes[1], layers[1], stride=2)
        self.layer3 = _stage(planes[1] * Bottleneck.expansion, planes[2], layers[2], stride=2)
        self.layer4 = _stage(planes[2] * Bottleneck.expansion, planes[3], layers[3], stride=2)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(planes[3] * Bottleneck.expansion, num_classes)
        self.apply(_initialise)

    def forward(self, images: Float[Tensor, "n c h w"]) -> Float[Tensor, "n num_classes"]:
        """Return one logit per class."""
        stem = self.maxpool(self.relu(self.bn1(self.conv1(images))))
        features = self.layer4(self.layer3(self.layer2(self.layer1(stem))))
        logits: Tensor = self.fc(self.avgpool(features).flatten(1))
        return logits


def _stage(in_channels: int, planes: int, num_blocks: int, *, stride: int) -> nn.Sequential:
    out_channels = planes * Bottleneck.expansion
    shortcut = nn.Sequential(
        nn.Conv2d(in_channels, out_channels, 1, stride=stride, bias=False),
        nn.BatchNorm2d(out_channels),
    )
    first = Bottleneck(in_channels, planes, stride, shortcut)
    return nn.Sequential(first, *(Bottleneck(out_channels, planes) for _ in range(num_blocks - 1)))


def _initialise(module: nn.Module) -> None:
    """Draw as torchvision does; `apply` reaches a block after the layers in it."""
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    elif isinstance(module, Bottleneck):
        nn.init.zeros_(module.bn3.weight)
