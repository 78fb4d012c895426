"""Slow and obvious second implementation of a curve through one small network.

Parameter by parameter, point by point, layer by layer. No package imports.
"""

import itertools

import torch
from torch.nn import functional


def de_casteljau(points, t):
    """Interpolate neighbours again and again until one point, a dictionary, is left."""
    while len(points) > 1:
        points = [
            {name: (1 - t) * here[name] + t * there[name] for name in here}
            for here, there in itertools.pairwise(points)
        ]
    return points[0]


def normalised(x, weight, bias, mean, variance):
    mean, variance, weight, bias = (v.view(1, -1, 1, 1) for v in (mean, variance, weight, bias))
    return weight * (x - mean) / (variance + 1e-5).sqrt() + bias


def batch_statistics(x):
    """Mean and biased variance of each channel."""
    mean = x.mean(dim=(0, 2, 3))
    return mean, ((x - mean.view(1, -1, 1, 1)) ** 2).mean(dim=(0, 2, 3))


def tiny_net(weights, images, statistics=None):
    """`tests.training.problems.TinyNet`, with given statistics or else those of the batch.

    Returns:
        Logits, and for each batch norm the mean and the *unbiased* variance of what came in.
    """
    seen, x = {}, images
    for number, stride in ((1, 1), (2, 2)):
        x = functional.conv2d(x, weights[f"conv{number}.weight"], stride=stride, padding=1)
        mean, variance = batch_statistics(x)
        count = x.numel() / x.shape[1]
        seen[f"bn{number}"] = (mean, variance * count / (count - 1))
        used = statistics[f"bn{number}"] if statistics else (mean, variance)
        x = normalised(x, weights[f"bn{number}.weight"], weights[f"bn{number}.bias"], *used)
        x = x.clamp(min=0)
    return x.mean(dim=(2, 3)) @ weights["fc.weight"].T + weights["fc.bias"], seen


def recalibrated_statistics(weights, batches):
    """Mean over batches of their means and unbiased variances."""
    seen = [tiny_net(weights, images)[1] for images, _ in batches]
    return {
        name: tuple(torch.stack([one[name][i] for one in seen]).mean(0) for i in (0, 1))
        for name in seen[0]
    }


def objective(points, t, batch, *, label_smoothing, weight_decay):
    """Smoothed cross-entropy, and half the decay times the squares of the interpolated weights."""
    images, labels = batch
    weights = de_casteljau(points, t)
    log_probabilities = functional.log_softmax(tiny_net(weights, images)[0], dim=1)
    num_classes = log_probabilities.shape[1]
    targets = (1 - label_smoothing) * functional.one_hot(labels, num_classes)
    targets = targets + label_smoothing / num_classes
    penalty = sum(
        (weights[name] ** 2).sum() for name in ("conv1.weight", "conv2.weight", "fc.weight")
    )
    return -(targets * log_probabilities).sum(1).mean() + 0.5 * weight_decay * penalty
