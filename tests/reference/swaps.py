"""Slow and obvious second implementations of what dynamic methods do. No package imports."""

import math

import numpy as np


def places_by_rank(scores, places):
    """Sort places by falling score, earlier first among equals."""
    return sorted(places, key=lambda place: (-scores[place], place))


def dropped_and_grown(weights, mask, growth, number, *, may_regrow=True, num_grown=None):
    """Walk over one layer, given as flat lists; return its new mask.

    As many are grown as dropped, unless ``num_grown`` says otherwise.
    """
    active = [place for place, kept in enumerate(mask) if kept]
    sizes = [abs(weight) for weight in weights]
    kept = places_by_rank(sizes, active)[: len(active) - number]
    taken = kept if may_regrow else active
    free = [place for place in range(len(mask)) if place not in set(taken)]
    grown = places_by_rank(growth, free)[: number if num_grown is None else num_grown]
    new = {*kept, *grown}
    return [place in new for place in range(len(mask))]


def rigl_clock(*, begin, end, every, num_batches):
    """Walk batch by batch with RigL's two counters; return batch and global step of each update.

    A batch that updates the masks makes no step, so the global step stands still.
    """
    global_step, last_update, updates = 0, -every if begin == 0 else begin - every, {}
    for batch in range(1, num_batches + 1):
        if begin <= global_step <= end and last_update + every <= global_step:
            last_update = updates[batch] = global_step
        else:
            global_step += 1
    return updates


def rigl_number(num_ones, *, fraction, step, begin, end):
    """Truncate in single precision."""
    drop = fraction / 2 * (1 + math.cos((step - begin) / (end - begin) * math.pi))
    return math.trunc(float(np.float32(num_ones) * np.float32(drop)))


def itop_number(num_ones, *, fraction, last, step, end):
    """Round up what an annealed rate comes to."""
    rate = last + (fraction - last) * (1 + math.cos(math.pi * step / end)) / 2
    return math.ceil(round(rate * num_ones, 9))


def averaged(gradients, factor=0.9):
    """Average the gradients of one layer, given as flat lists one a step, in double precision."""
    average = [0.0] * len(gradients[0])
    for gradient in gradients:
        average = [factor * a + (1 - factor) * g for a, g in zip(average, gradient, strict=True)]
    return average


def importance(averages, masks):
    """Give each layer's part of the mean magnitudes over active places."""
    means = {
        name: math.fsum(abs(a) for a, kept in zip(average, masks[name], strict=True) if kept)
        / sum(masks[name])
        for name, average in averages.items()
    }
    return {name: mean / math.fsum(means.values()) for name, mean in means.items()}


def momentum_removed(kept, prunable, part, num_layers, rate):
    """Count what one layer of sparse momentum removes."""
    sparsity = (prunable - kept) / prunable
    if sparsity < 0.2 and part > 1 / num_layers:
        rate = min(rate, sparsity)
    return math.ceil(round(rate * kept, 9))


def handed_out(total, parts, limits):
    """Hand out by quota, and what is left one by one to whoever lacks most; full ones pass on."""
    given = [0] * len(parts)
    while sum(given) < total:
        missing = total - sum(given)
        able = [i for i in range(len(parts)) if given[i] < limits[i]]
        weight = sum(parts[i] for i in able)
        quotas = {i: missing * parts[i] / weight for i in able}
        got = {i: math.floor(quota) for i, quota in quotas.items()}
        while sum(got.values()) < missing:
            got[max(able, key=lambda i: (quotas[i] - got[i], -i))] += 1
        for i in able:
            given[i] = min(limits[i], given[i] + got[i])
    return given


def granet_kept(total, *, first, last, number, units):
    """Count by integers what stays at unit ``number`` of ``units``; sparsities in thousandths."""
    left = max(units - number, 0)
    zeros = last * units**3 + (first - last) * left**3  # in thousandths of a cube
    return total * (1000 * units**3 - zeros) // (1000 * units**3)


def below(weights, mask, threshold):
    """Count kept places of a flat list that are smaller than a threshold."""
    return sum(kept and abs(weight) < threshold for weight, kept in zip(weights, mask, strict=True))


def next_threshold(threshold, number, aim, tolerance):
    """Double where too little went, halve where too much did."""
    if number < aim - tolerance * aim:
        return 2 * threshold
    return threshold / 2 if number > aim + tolerance * aim else threshold
