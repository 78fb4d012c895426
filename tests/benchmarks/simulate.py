"""Sides whose true cost is known: a clock that they push on, noise, and stalls of the machine."""

import random

from benchmarks.pairing import Claim, Ratio, Side, Trial


class Machine:
    """A simulated machine: what runs on it takes true cost times noise."""

    def __init__(self, seed, *, noise=0.02, stalls=0.05, drift=0.0):
        self.random = random.Random(seed)
        self.now = 0.0
        self.noise, self.stalls, self.drift = noise, stalls, drift

    def clock(self):
        return self.now

    def side(self, seconds):
        def measure():
            cost = seconds * self.random.lognormvariate(0, self.noise)
            cost *= 1 + self.drift * self.now
            if self.random.random() < self.stalls:
                cost *= 3
            self.now += cost
            return cost

        return Side(what="simulated", measure=measure)


def trial(machine, ratio, *, bar=1.01, seconds=30.0, slack=0.005, **changes):
    return Trial(
        name="simulated",
        sides={"ours": machine.side(0.1 * ratio), "theirs": machine.side(0.1)},
        claims=[
            Claim(statement="ours / theirs", quantity=Ratio("ours", "theirs"), bar=bar, slack=slack)
        ],
        seconds=seconds,
        **changes,
    )
