"""A network that steps fast, without annotations that are checked, and traced, at run time."""

from torch import nn


class NarrowNet(nn.Module):
    """A convolution, a residual block that begins as nothing, and a linear layer."""

    def __init__(self, num_classes, in_channels):
        super().__init__()
        self.stem = nn.Conv2d(in_channels, 6, 3, stride=2, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(6)
        self.block = nn.Conv2d(6, 6, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(6)
        self.fc = nn.Linear(6, num_classes)
        nn.init.zeros_(self.bn2.weight)

    def forward(self, images):
        hidden = self.bn1(self.stem(images)).relu()
        hidden = (hidden + self.bn2(self.block(hidden))).relu()
        return self.fc(hidden.mean(dim=(2, 3)))
