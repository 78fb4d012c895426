"""Slow and obvious second implementations of what dynamic methods do. No package imports."""

import math

import numpy as np


def places_by_rank(scores, places):
    """Sort places by falling score, earlier first among equals."""
    return sorted(places, key=lambda place: (-scores[place], place))


def dropped_and_grown(weights, mask, growth, number, *, may_regrow=True):
    """Walk over one layer, given as flat lists; return its new mask."""
    active = [place for place, kept in enumerate(mask) if kept]
    sizes = [abs(weight) for weight in weights]
    kept = places_by_rank(sizes, active)[: len(active) - number]
    taken = kept if may_regrow else active
    free = [place for place in range(len(mask)) if place not in set(taken)]
    grown = places_by_rank(growth, free)[:number]
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
