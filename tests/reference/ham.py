"""The multiplying step of HAM, weight by weight. No package imports."""

import math


def multiplied(weight, gradient, *, rate, alpha, beta):
    """Step one weight, a number."""
    sign = (weight > 0) - (weight < 0)
    return weight * math.exp(min(5.0, max(-5.0, rate * (-alpha * sign * gradient - beta))))
