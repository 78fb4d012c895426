"""A curve as a user writes one: the tests copy this file into packages of hers."""

import math
from dataclasses import dataclass

from lightning_sparse.paths.curves import AbstractCurve


@dataclass(frozen=True)
class SineBump(AbstractCurve):
    """Leaves the straight line between two fixed ends by a sine's half wave."""

    height: float

    @property
    def name(self):
        return f"sine bump {self.height:g} high"

    @property
    def num_points(self):
        return 3

    def basis(self, t):
        bump = self.height * math.sin(math.pi * t)
        return (1 - t - bump / 2, bump, t - bump / 2)
