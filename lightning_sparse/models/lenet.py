"""LeNet-5 for 28 x 28 images."""

from jaxtyping import Float
from torch import Tensor, nn


class LeNet5(nn.Module):
    """LeNet-5 in the form common in pruning work: 6-16-120-84, ReLU, max pooling, no batch norm.

    After LeCun et al. (1998), with the sizes of the RigL authors' code: with one channel and ten
    classes, 44,190 weights and 236 biases. PyTorch's default initialisation.
    """

    def __init__(self, in_channels: int = 1, num_classes: int = 10) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(in_channels, 6, 5),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(6, 16, 5),
            nn.ReLU(),
            nn.MaxPool2d(2),
        )
        self.classifier = nn.Sequential(
            nn.Flatten(),
            nn.Linear(16 * 4 * 4, 120),
            nn.ReLU(),
            nn.Linear(120, 84),
            nn.ReLU(),
            nn.Linear(84, num_classes),
        )

    def forward(self, images: Float[Tensor, "n c 28 28"]) -> Float[Tensor, "n num_classes"]:
        """Return one logit per class."""
        logits: Tensor = self.classifier(self.features(images))
        return logits
