"""The whole Hessian and the whole Gauss-Newton matrix of a small network, by autograd."""

import torch
from torch.autograd.functional import hessian, jacobian
from torch.func import functional_call

from lightning_sparse.models.prunable import prunable_weights


def exact_matrices(network, batches):
    """Return both, of the mean cross-entropy in all prunable weights, in double precision."""
    network = network.double()
    weights = prunable_weights(network)
    sizes = [weight.numel() for weight in weights.values()]
    start = torch.cat([weight.detach().reshape(-1) for weight in weights.values()])
    images, labels = (torch.cat(parts) for parts in zip(*batches, strict=True))

    def logits(vector):
        parts = vector.split(sizes)
        named = {n: part.view(w.shape) for part, (n, w) in zip(parts, weights.items(), strict=True)}
        return functional_call(network, named, (images.double(),))

    def loss(vector):
        return torch.nn.functional.cross_entropy(logits(vector), labels)

    of_weights, shares = jacobian(logits, start), logits(start).softmax(dim=1)
    of_logits = torch.diag_embed(shares) - shares[:, :, None] * shares[:, None, :]
    gauss_newton = torch.einsum("nci,ncd,ndj->ij", of_weights, of_logits, of_weights) / len(images)
    found = hessian(loss, start).detach().numpy(), gauss_newton.detach().numpy()
    network.float()
    return found
