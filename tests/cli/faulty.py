"""Networks of a user's with one fault each, that importing them by name makes known."""

import torch
from torch import nn
from torch.nn import functional


class SeededNet(nn.Module):
    """Seeds its own start weights: all arms begin at the same ones."""

    def __init__(self, num_classes, in_channels):
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(in_channels, 4, 3)
        self.fc = nn.Linear(4, num_classes)

    def forward(self, images):
        return self.fc(self._convolved(images).mean(dim=(2, 3)))

    def _convolved(self, images):
        return self.conv(images)


class StandardisedNet(SeededNet):
    """Convolves with a function of its weight: masks do not act."""

    def _convolved(self, images):
        return functional.conv2d(images, self.conv.weight - self.conv.weight.mean())


class PooledEarlyNet(nn.Module):
    """Normalises one value of each channel and image: a batch of one has no deviation."""

    def __init__(self, num_classes, in_channels):
        super().__init__()
        self.conv = nn.Conv2d(in_channels, 4, 3)
        self.norm = nn.BatchNorm1d(4)
        self.fc = nn.Linear(4, num_classes)

    def forward(self, images):
        return self.fc(self.norm(self.conv(images).mean(dim=(2, 3))))
