"""What a parameter of a W&B sweep may be, by W&B's own rules: checked, listed or drawn.

The rules are the JSON schema and the draws of W&B's ``sweeps`` package (github.com/wandb/sweeps,
``config/schema.json`` and ``params.py``), which its server runs. No torch in here.
"""

import math
import random
from collections.abc import Callable, Mapping
from typing import Any

from lightning_sparse.errors import UserError

Parameter = Mapping[str, Any]

_RANGE, _RANGE_Q = ("min", "max"), ("min", "max", "q")
_NORMAL, _NORMAL_Q = ("mu", "sigma"), ("mu", "sigma", "q")

# By distribution, the names it needs and takes.
_NAMES: Mapping[str, tuple[str, ...]] = {
    "constant": ("value",),
    "categorical": ("values",),
    "categorical_w_probabilities": ("values", "probabilities"),
    "int_uniform": _RANGE,
    "uniform": _RANGE,
    "log_uniform": _RANGE,
    "log_uniform_values": _RANGE,
    "inv_log_uniform": _RANGE,
    "inv_log_uniform_values": _RANGE,
    "q_uniform": _RANGE_Q,
    "q_log_uniform": _RANGE_Q,
    "q_log_uniform_values": _RANGE_Q,
    "normal": _NORMAL,
    "log_normal": _NORMAL,
    "q_normal": _NORMAL_Q,
    "q_log_normal": _NORMAL_Q,
    "beta": ("a", "b"),
    "q_beta": ("a", "b", "q"),
}
_DEFAULTS = {"mu": 0.0, "sigma": 1.0, "a": 1.0, "b": 1.0, "q": 1.0}
_AT_LEAST_ZERO = ("sigma", "a", "b")
_IN_A_GRID = ("constant", "categorical", "int_uniform", "q_uniform")


def kind_of(parameter: Parameter) -> str:
    """Return a parameter's distribution: as it says, or the one that its names mean."""
    if "distribution" in parameter:
        return str(parameter["distribution"])
    if "value" in parameter:
        return "constant"
    if "values" in parameter:
        return "categorical_w_probabilities" if "probabilities" in parameter else "categorical"
    ends = [parameter.get("min"), parameter.get("max")]
    return "int_uniform" if all(type(end) is int for end in ends) else "uniform"


def check_parameter(parameter: Any, *, in_grid: bool) -> None:
    """Refuse what W&B would refuse, or would not look at.

    Raises:
        UserError: Saying what is wrong, as the end of a sentence that begins with the name.
    """
    if isinstance(parameter, dict) and "parameters" in parameter:
        raise UserError(": is nested; write nested settings with dots, as training.num_steps")
    ways = {"value", "values", "min", "max", "distribution"}
    if not isinstance(parameter, dict) or not ways & set(parameter):
        raise UserError(f"={parameter}: give value, values, or min and max")
    kind = kind_of(parameter)
    if kind not in _NAMES:
        raise UserError(f".distribution={kind}: choose one of {', '.join(_NAMES)}")
    _check_names(parameter, kind)
    if in_grid and kind not in _IN_A_GRID:
        raise UserError(
            f": a grid needs values, which {kind} does not list; give values, or min, max and q "
            "with distribution: q_uniform"
        )
    if "values" in parameter:
        _check_values(parameter)
    else:
        _check_numbers(parameter, kind)


def _check_names(parameter: Parameter, kind: str) -> None:
    names = set(parameter) - {"distribution"}
    needed = {name for name in _NAMES[kind] if name not in _DEFAULTS}
    if not needed <= names or not names <= set(_NAMES[kind]):
        takes = " and ".join(_NAMES[kind])
        hint = "give value, values, or min and max" if "distribution" not in parameter else ""
        raise UserError(f"={dict(parameter)}: {hint or f'{kind} takes {takes}'}")


def _check_values(parameter: Parameter) -> None:
    values = parameter["values"]
    if not isinstance(values, list) or not values:
        raise UserError(f".values={values}: must be a list")
    if "probabilities" not in parameter:
        return
    chances = parameter["probabilities"]
    if (
        not isinstance(chances, list)
        or len(chances) != len(values)
        or not all(_is_number(chance) and chance >= 0 for chance in chances)
        or not math.isclose(sum(chances), 1, abs_tol=1e-6)
    ):
        raise UserError(
            f".probabilities={chances}: must be as many numbers as values, at least 0 and with "
            "sum 1"
        )


def _check_numbers(parameter: Parameter, kind: str) -> None:
    for name in _NAMES[kind]:
        number = parameter.get(name, _DEFAULTS.get(name))
        if name != "value" and not _is_number(number):
            raise UserError(f".{name}={number!r}: must be a number")
        if name in _AT_LEAST_ZERO and number < 0:
            raise UserError(f".{name}={number}: must be at least 0")
        if name == "q" and number <= 0:
            raise UserError(f".q={number}: must be above 0")
    if "min" in parameter:
        _check_range(parameter, kind)


def _check_range(parameter: Parameter, kind: str) -> None:
    low, high = parameter["min"], parameter["max"]
    if low > high:
        raise UserError(f".min={low}, max={high}: min must be at most max")
    if kind == "int_uniform" and not (isinstance(low, int) and isinstance(high, int)):
        raise UserError(f".min={low}, max={high}: int_uniform draws between integers")
    if kind.endswith("log_uniform_values") and low <= 0:
        raise UserError(f".min={low}: must be above 0, of which there is a logarithm")


def _is_number(value: Any) -> bool:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and math.isfinite(value)


def listed(parameter: Parameter) -> list[Any]:
    """Return all values that a parameter takes in a grid."""
    if "value" in parameter:
        return [parameter["value"]]
    if "values" in parameter:
        return list(parameter["values"])
    low, high = parameter["min"], parameter["max"]
    if kind_of(parameter) == "int_uniform":
        return list(range(low, high + 1))
    step = parameter.get("q", _DEFAULTS["q"])
    # As numpy.arange has it, which leaves out the end.
    return [low + index * step for index in range(max(0, math.ceil((high - low) / step)))]


def ends(parameter: Parameter) -> list[Any]:
    """Return the listed values, or those at the ends of a range, or around a mean."""
    if {"value", "values"} & set(parameter):
        return listed(parameter)
    kind = kind_of(parameter)
    if kind.endswith("beta"):
        return [_transformed(kind, edge, parameter) for edge in (0.0, 1.0)]
    first, second = _shape(kind, parameter)
    edges = [first, second] if "min" in parameter else [first]
    return [_transformed(kind, edge, parameter) for edge in edges]


def draw(parameter: Parameter, generator: random.Random) -> Any:
    """Draw one value, as W&B's random search does."""
    if "value" in parameter:
        return parameter["value"]
    if "values" in parameter:
        chances = parameter.get("probabilities")
        values = parameter["values"]
        return generator.choices(values, chances)[0] if chances else generator.choice(values)
    kind = kind_of(parameter)
    first, second = _shape(kind, parameter)
    if kind == "int_uniform":
        return generator.randint(int(first), int(second))
    family = kind.removesuffix("_values").rpartition("_")[2]
    number = _DRAWS[family](generator, first, second)
    return _transformed(kind, number, parameter)


_DRAWS: Mapping[str, Callable[[random.Random, Any, Any], Any]] = {
    "uniform": random.Random.uniform,
    "normal": random.Random.gauss,
    "beta": random.Random.betavariate,
}


def _shape(kind: str, parameter: Parameter) -> tuple[float, float]:
    """Return the two numbers that a distribution is given by, of the logarithm if it has one."""
    first, second = (parameter.get(name, _DEFAULTS.get(name)) for name in _NAMES[kind][:2])
    assert first is not None
    assert second is not None
    return (math.log(first), math.log(second)) if kind.endswith("_values") else (first, second)


def _transformed(kind: str, number: float, parameter: Parameter) -> Any:
    """Take a drawn number out of its logarithm, and round it to a multiple of ``q``."""
    if "log_" in kind:
        number = math.exp(-number if kind == "inv_log_uniform" else number)
    if not kind.startswith("q_"):
        return number
    step = parameter.get("q", _DEFAULTS["q"])
    return round(number / step) * step
