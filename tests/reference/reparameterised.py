"""Training of weights that the network sees a function of, in a plain loop. No package imports."""

import torch
from torch.func import functional_call


def largest(tensor, number):
    """Mark the largest magnitudes, earlier first among equals."""
    flat = tensor.abs().flatten().tolist()
    order = sorted(range(len(flat)), key=lambda place: (-flat[place], place))
    mask = torch.zeros(len(flat), dtype=torch.bool)
    mask[order[:number]] = True
    return mask.view(tensor.shape)


def train_powers(network, loss_of, batches, *, exponent, masks_after, sgd):
    """Train v with autograd through v |v|^(exponent - 1) inside masks; return what is seen.

    ``masks_after`` maps a step to how many weights of each layer stay from then on.
    """
    names = [name for name, weight in network.named_parameters() if weight.dim() > 1]
    start = {name: tensor.detach().clone() for name, tensor in network.named_parameters()}
    for name in names:
        start[name] = start[name].sign() * start[name].abs() ** (1 / exponent)
    trained = {name: tensor.requires_grad_() for name, tensor in start.items()}
    masks = {name: torch.ones_like(trained[name]) for name in names}
    optimizer = torch.optim.SGD(list(trained.values()), **sgd)

    def seen():
        return {
            name: v * v.abs() ** (exponent - 1) * masks[name] if name in masks else v
            for name, v in trained.items()
        }

    for step, batch in enumerate(batches, start=1):
        optimizer.zero_grad()
        loss_of(lambda inputs: functional_call(network, seen(), inputs), batch).backward()
        optimizer.step()
        for name, number in masks_after.get(step, {}).items():
            masks[name] = largest(trained[name].detach() * masks[name], number).float()
    return {name: tensor.detach() for name, tensor in seen().items()}


def train_top_sets(network, loss_of, batches, *, counts, penalty, sgd):
    """Train the larger of two sets, of which the smaller is seen; both chosen after every step.

    ``counts`` maps each layer to its numbers of seen and of trained weights.
    """
    trained = {name: tensor.detach().clone() for name, tensor in network.named_parameters()}
    velocity = {name: torch.zeros_like(tensor) for name, tensor in trained.items()}
    sets = {}

    def choose():
        for name, (small, large) in counts.items():
            sets[name] = (largest(trained[name], small), largest(trained[name], large))
            velocity[name][~sets[name][1]] = 0

    def seen():
        return {
            name: torch.where(sets[name][0], v, 0.0) if name in sets else v
            for name, v in trained.items()
        }

    choose()
    for batch in batches:
        leaves = {name: tensor.clone().requires_grad_() for name, tensor in seen().items()}
        loss_of(lambda inputs, w=leaves: functional_call(network, w, inputs), batch).backward()
        for name, v in trained.items():
            gradient = leaves[name].grad.clone()
            moves = torch.ones_like(v, dtype=torch.bool)
            if name in sets:
                inner, moves = sets[name]
                density = counts[name][0] / v.numel()
                gradient[inner] += penalty * v[inner]
                ring = moves & ~inner
                gradient[ring] += penalty * v[ring] / density
            velocity[name] = sgd["momentum"] * velocity[name] + gradient + sgd["weight_decay"] * v
            velocity[name][~moves] = 0
            v[moves] -= sgd["lr"] * velocity[name][moves]
        choose()
    return seen()


def largest_of_groups(tensor, number, group):
    """Mark the largest of each group of input channels, walking over outputs and positions."""
    mask = torch.zeros_like(tensor, dtype=torch.bool)
    rows = tensor.reshape(tensor.shape[0], tensor.shape[1], -1)
    marks = mask.view(rows.shape)
    for output in range(rows.shape[0]):
        for position in range(rows.shape[2]):
            for first in range(0, rows.shape[1], group):
                values = rows[output, first : first + group, position]
                marks[output, first : first + group, position] = largest(values, number)
    return mask


def train_refined(network, loss_of, batches, *, groups, decay, sgd):
    """Train everything by gradients of the masked weights, chosen anew after every step.

    ``groups`` says how many of how many stay.
    """
    number, group = groups
    trained = {name: tensor.detach().clone() for name, tensor in network.named_parameters()}
    velocity = {name: torch.zeros_like(tensor) for name, tensor in trained.items()}

    def masks():
        return {
            name: largest_of_groups(v, number, group)
            for name, v in trained.items()
            if v.dim() > 1 and v.shape[1] % group == 0
        }

    def seen():
        chosen = masks()
        return {n: torch.where(chosen[n], v, 0.0) if n in chosen else v for n, v in trained.items()}

    for batch in batches:
        chosen = masks()
        leaves = {name: tensor.clone().requires_grad_() for name, tensor in seen().items()}
        loss_of(lambda inputs, w=leaves: functional_call(network, w, inputs), batch).backward()
        for name, v in trained.items():
            gradient = leaves[name].grad + sgd["weight_decay"] * v
            if name in chosen:
                gradient[~chosen[name]] += decay * v[~chosen[name]]
            velocity[name] = sgd["momentum"] * velocity[name] + gradient
            trained[name] = v - sgd["lr"] * velocity[name]
    return seen()


def train_uphill(network, loss_of, batches, *, masks, uphill, sgd):
    """Train inside masks by gradients at a point uphill, a radius along the last gradient.

    The gradient that is remembered is that of the prunable weights before it is masked; inside the
    masks it is masked before its length is taken.
    """
    radius, masked = uphill["radius"], uphill["masked"]
    weights = {name: tensor.detach().clone() for name, tensor in network.named_parameters()}
    velocity = {name: torch.zeros_like(tensor) for name, tensor in weights.items()}
    for name, mask in masks.items():
        weights[name] *= mask
    last = None
    for batch in batches:
        point = dict(weights)
        if last is not None:
            way = {n: g * masks[n] if masked else g for n, g in last.items()}
            length = sum(float((g.double() ** 2).sum()) for g in way.values()) ** 0.5
            point |= {n: weights[n] + radius / length * g for n, g in way.items()}
        leaves = {name: tensor.clone().requires_grad_() for name, tensor in point.items()}
        loss_of(lambda inputs, w=leaves: functional_call(network, w, inputs), batch).backward()
        last = {name: leaves[name].grad.clone() for name in masks}
        for name, weight in weights.items():
            gradient = leaves[name].grad + sgd["weight_decay"] * weight
            if name in masks:
                gradient = gradient * masks[name]
            velocity[name] = sgd["momentum"] * velocity[name] + gradient
            weights[name] = weight - sgd["lr"] * velocity[name]
    return weights


def train_thresholds(network, loss_of, batches, *, initial, decay, sgd):
    """Train weights and one s a layer with autograd through the soft threshold and torch's SGD.

    Return what is seen, and every s.
    """
    trained = {name: p.detach().clone() for name, p in network.named_parameters()}
    limits = {name: torch.tensor(initial) for name, p in trained.items() if p.dim() > 1}
    everything = [*trained.values(), *limits.values()]
    for tensor in everything:
        tensor.requires_grad_()
    groups = [
        {"params": list(trained.values())},
        {"params": list(limits.values()), "weight_decay": decay},
    ]
    optimizer = torch.optim.SGD(groups, **sgd)

    def seen():
        return {
            name: w.sign() * torch.relu(w.abs() - torch.sigmoid(limits[name]))
            if name in limits
            else w
            for name, w in trained.items()
        }

    for batch in batches:
        optimizer.zero_grad()
        loss_of(lambda inputs: functional_call(network, seen(), inputs), batch).backward()
        optimizer.step()
    return {name: tensor.detach() for name, tensor in seen().items()}, limits
