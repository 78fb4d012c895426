"""W&B sweep files, read and expanded without W&B: the same points with a server and with none.

Understood are grid and random search over all that W&B lets a parameter be. Grids are expanded by
Hydra, as its multirun does it. What needs the results of earlier points is the server's work:
Bayesian search, and ending runs or sweeps early. No torch in here.
"""

import difflib
import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException

from lightning_sparse.errors import UserError
from lightning_sparse.settings.places import with_literal_place
from lightning_sparse.settings.schema import described, fits
from lightning_sparse.settings.settings_files import read_yaml
from lightning_sparse.settings.shipped import SWEEPS_DIR
from lightning_sparse.settings.sweep_parameters import check_parameter, draw, ends, listed

VERBS = ("train", "line", "path")
METHODS = ("grid", "random", "bayes")
ARGUMENTS = "${args_no_hyphens}"
PROGRAM = "lightning-sparse"

Point = tuple[str, ...]
"""Overrides, for example ``("method=prune", "seed=11")``."""


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """A sweep file.

    Attributes:
        name: Its stem.
        file: Where it was read.
        body: All of it, as W&B takes it.
        verb: Which of our commands a point is.
        overrides: What every point is given before its own values.
        parameters: By name; as in the file.
    """

    name: str
    file: Path
    body: Mapping[str, Any]
    verb: str
    overrides: Point
    parameters: Mapping[str, Mapping[str, Any]]

    @property
    def method(self) -> str:
        """How points are chosen: ``grid``, ``random`` or ``bayes``."""
        return str(self.body["method"])

    def with_overrides(self, overrides: Sequence[str]) -> dict[str, Any]:
        """Return the body with a command that gives every point these overrides too."""
        return {
            **self.body,
            "command": [PROGRAM, self.verb, *self.overrides, *overrides, ARGUMENTS],
        }


def read_sweep(name: str) -> Sweep:
    """Read a file under ``sweeps/`` by its stem, or any by its path.

    Raises:
        UserError: If there is no such file, or it is no sweep of this program.
    """
    known = sorted(file.stem for file in SWEEPS_DIR.glob("*.yaml"))
    file = SWEEPS_DIR / f"{name}.yaml" if name in known else Path(name)
    if not file.is_file():
        raise UserError(
            f"sweep.file={name}: there is no such file; name one of {', '.join(known)}, or a path"
        )
    return parse_sweep(read_yaml(file), file)


def parse_sweep(body: Any, file: Path) -> Sweep:
    """Check the contents of a sweep file.

    Raises:
        UserError: Naming what is missing or unknown.
    """
    if not isinstance(body, dict) or not isinstance(body.get("parameters"), dict):
        raise UserError(f"{file}: no sweep file; it needs a mapping called parameters")
    if body.get("method") not in METHODS:
        raise UserError(f"{file}: method={body.get('method')}: choose one of {', '.join(METHODS)}")
    _check_body(body, file)
    verb, overrides = _command(body.get("command"), file)
    for name, parameter in body["parameters"].items():
        try:
            check_parameter(parameter, in_grid=body["method"] == "grid")
        except UserError as error:
            raise UserError(f"{file}: parameters.{name}{error}") from None
    return Sweep(
        name=file.stem,
        file=file,
        body=body,
        verb=verb,
        overrides=overrides,
        parameters=body["parameters"],
    )


def points(sweep: Sweep, seed: int | None = None) -> list[Point]:
    """Expand a grid, or draw what ``run_cap`` asks for: the same points at every call.

    Args:
        sweep: The file.
        seed: Of a random search: other points for another one. None gives points of their own.

    Raises:
        UserError: If the search needs a server, or a random one does not say how many points.
    """
    if sweep.method == "bayes":
        raise UserError(
            f"{sweep.file}: method=bayes learns from its results, which takes a server (make "
            "sweep, make agent); without one use grid or random"
        )
    _check_without_server(sweep)
    if sweep.method == "random":
        number = sweep.body.get("run_cap")
        if number is None:
            raise UserError(f"{sweep.file}: run_cap={number}: a random search needs a number >= 1")
        return [_drawn(sweep, index, seed) for index in range(number)]
    for name, parameter in sweep.parameters.items():
        for value in listed(parameter):
            _check_single(name, value, sweep.file)
    grid = expand([_choice(name, listed(at)) for name, at in sweep.parameters.items()])
    return grid[: sweep.body.get("run_cap")]


def expand(overrides: Sequence[str]) -> list[Point]:
    """Expand a grid that is written as for Hydra's multirun; the last setting varies fastest.

    By the function of Hydra's own sweeper. Its launchers are not used: they would start every point
    by itself, and the runs that points share, of which they know nothing, once for each.

    Raises:
        UserError: If Hydra does not understand it, or it is no grid.

    Example:
        >>> expand(["method=prune", "seed=21,22", "sparsity=range(0.8,1,0.1)"])[:2]
        [('method=prune', 'seed=21', 'sparsity=0.8'), ('method=prune', 'seed=21', 'sparsity=0.9')]
    """
    try:
        parsed = OverridesParser.create().parse_overrides(list(overrides))
        [expanded] = BasicSweeper.split_arguments(parsed, max_batch_size=None)
    except HydraException as error:
        raise UserError(
            f"{' '.join(overrides)}: {' '.join(str(error).split())}; list the values, for example "
            "seed=21,22"
        ) from error
    return [tuple(point) for point in expanded]


def typed_sweep(verb: str) -> Sweep:
    """Return the sweep whose points are typed instead of read from a file.

    Raises:
        UserError: If its points would be of no kind that there is.
    """
    if verb not in VERBS:
        raise UserError(f"sweep.verb={verb}: choose one of {', '.join(VERBS)}")
    return Sweep(
        name="multirun",
        file=Path("command line"),
        body={"method": "grid"},
        verb=verb,
        overrides=(),
        parameters={},
    )


def corner_points(sweep: Sweep) -> list[Point]:
    """Return points that use every name, and every listed value and end of a range, at least once.

    By which a file is checked whose points only a server knows.
    """
    used = {name: ends(parameter) for name, parameter in sweep.parameters.items()}
    longest = max(map(len, used.values()), default=1)
    return [
        tuple(_override(name, values[index % len(values)]) for name, values in used.items())
        for index in range(longest)
    ]


def _command(command: Any, file: Path) -> tuple[str, Point]:
    if (
        not isinstance(command, list)
        or command[:1] != [PROGRAM]
        or command[-1:] != [ARGUMENTS]
        or command[1:2][0] not in VERBS
    ):
        raise UserError(
            f"{file}: command={command}: must be [{PROGRAM}, VERB, ..., {ARGUMENTS}] with a "
            f"VERB of {', '.join(VERBS)}"
        )
    return str(command[1]), tuple(map(str, command[2:-1]))


def _check_body(body: Mapping[str, Any], file: Path) -> None:
    """Refuse what the server would only warn of, and what no agent of ours follows."""
    for name, value in body.items():
        if name not in _BODY:
            close = difflib.get_close_matches(str(name), _BODY, n=1, cutoff=0.5)
            hint = f"did you mean {close[0]}?" if close else f"W&B knows {', '.join(_BODY)}"
            raise UserError(f"{file}: no sweep has a {name!r}; {hint}")
        if not fits(value, _BODY[name]):
            raise UserError(f"{file}: {name}={value!r}: must be {described(_BODY[name])}")
    if body.get("run_cap", 1) < 1:
        raise UserError(f"{file}: run_cap={body['run_cap']}: must be at least 1")
    if body.get("controller", {}).get("type", "cloud") != "cloud":
        raise UserError(f"{file}: controller: only W&B's server controls; leave it out")
    metric = body.get("metric", {})
    if not isinstance(metric.get("name", ""), str) or metric.get("goal") not in _GOALS:
        raise UserError(f"{file}: metric={metric}: give a name, and a goal, minimize or maximize")
    if body["method"] == "bayes" and "name" not in metric:
        raise UserError(f"{file}: method=bayes needs a metric with a name, by which it learns")


_BODY: Mapping[str, Any] = {
    "apiVersion": str,
    "kind": str,
    "controller": dict,
    "name": str,
    "description": str,
    "entity": str,
    "project": str,
    "program": str,
    "command": list,
    "method": str,
    "metric": dict,
    "parameters": dict,
    "run_cap": int,
    "early_terminate": dict,
}

_GOALS = (None, "minimize", "maximize")


def _check_without_server(sweep: Sweep) -> None:
    """Refuse what the server does while a sweep runs, since leaving it out would go unseen."""
    if "early_terminate" in sweep.body:
        raise UserError(
            f"{sweep.file}: early_terminate stops runs by what they have logged, which takes a "
            "server (make sweep, make agent); without one leave it out"
        )
    if "target" in sweep.body.get("metric", {}):
        raise UserError(
            f"{sweep.file}: metric.target ends a sweep by what was logged, which takes a server "
            "(make sweep, make agent); without one leave it out"
        )


def _drawn(sweep: Sweep, index: int, seed: int | None) -> Point:
    """Draw one point; a pure function of the names of sweep and parameter, the index and seed."""
    stem = sweep.name if seed is None else f"{seed}/{sweep.name}"
    return tuple(
        _override(name, draw(parameter, random.Random(f"{stem}/{name}/{index}")))  # noqa: S311
        for name, parameter in sweep.parameters.items()
    )


def _check_single(name: str, value: Any, file: Path) -> None:
    """Refuse a value that Hydra would make several of, or cannot read."""
    override = _override(name, value)
    try:
        is_sweep = OverridesParser.create().parse_override(override).is_sweep_override()
    except HydraException as error:
        raise UserError(
            f"{file}: parameters.{name}: {override} is nothing that the command line takes; write "
            "a number, a plain word, a list, or a text in quotes within quotes"
        ) from error
    if is_sweep:
        raise UserError(
            f"{file}: parameters.{name}: {override} is several values in one; list them as values"
        )


def _choice(name: str, values: Sequence[Any]) -> str:
    """Write all values of one setting, of which Hydra makes a sweep if they are several."""
    texts = [_override(name, value).partition("=")[2] for value in values]
    return f"{name}={','.join(texts)}"


def _override(name: str, value: Any) -> str:
    """Write one setting."""
    return with_literal_place(f"{name}={_text(value)}")


def _text(value: Any) -> str:
    """Write a value; lists, truth values and null as Hydra reads them."""
    if isinstance(value, str):
        return value or "''"
    return json.dumps(value, separators=(",", ":"))
