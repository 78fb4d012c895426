"""Settings of commands that plan many runs; no run's result depends on them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lightning_sparse.fields import setting


@dataclass(frozen=True, kw_only=True)
class SearchSettings:
    """Curves that are fitted again with more steps.

    Attributes:
        times: So many times the experiment's own steps.
        num_seeds: On the first so many report seeds.
    """

    times: Sequence[int]
    num_seeds: int = setting(at_least=0)


@dataclass(frozen=True, kw_only=True)
class ReproduceSettings:
    """Everything that an experiment is made of.

    Attributes:
        dir: Folder under ``runs_dir`` for records, verdicts and report.
        title: Of the report.
        seeds: Report seeds.
        further_seeds: More of them, at the headline sparsity alone.
        sparsities: Shown beside the headline sparsity: end points only.
        num_seeds_of_sparsities: On the first so many seeds; None for all.
        num_processes: Worker processes; None for one per core, or on GPUs as many as fit.
        claims: Names of those whose runs and paths are made; none for all, and what stands beside.
        further_claims: Claims of yours, as dotted names of a `Question` each.
        control_sparsity: Of the positive control in the mask; None for none.
        search: The strength of the search.
    """

    dir: str = setting(is_place=True)
    title: str
    seeds: Sequence[int] = setting(example="[11,12,13]")
    further_seeds: Sequence[int] = setting(example="[14,15]")
    sparsities: Sequence[Any]
    num_seeds_of_sparsities: int | None = setting(example=3, at_least=0)
    num_processes: int | None = setting(example=2, at_least=1)
    claims: Sequence[str] = setting(example="[B,C]")
    further_claims: Sequence[str] = setting(example="[package.module.QUESTION]")
    control_sparsity: float | None = setting(example=0.8)
    search: SearchSettings


@dataclass(frozen=True, kw_only=True)
class LaboratorySettings:
    """What the laboratory asks beside an experiment: PROTOCOL.md, section 11.

    Attributes:
        seeds: Report seeds.
        claims: Names of those that are asked; none for all of them.
        num_seeds_of_shares: On the first so many of them it is asked how many coordinates suffice.
        num_seeds_of_spectra: On the first so many it is shown how the eigenvalues of the curvature
            are spread.
        num_seeds_of_search: On the first so many it is searched inside the mask as B+ asks.
        search_times: Multiples of the steps that this is done with too.
        control: Of what trains on inside the mask, the best on the pilot seeds; None as long as
            it was not looked for, when E is not asked.
        detour: Of the bursts that return to the mask, the better one there; likewise.
    """

    seeds: Sequence[int] = setting(example="[31,32,33]")
    claims: Sequence[str] = setting(example="[E1,E2]")
    num_seeds_of_shares: int = setting(at_least=0)
    num_seeds_of_spectra: int = setting(at_least=0)
    num_seeds_of_search: int = setting(at_least=0)
    search_times: Sequence[int] = setting(example="[4,16]")
    control: str | None = setting(choices=("continued", "cyclic", "jump"))
    detour: str | None = setting(choices=("burst", "burst_fade"))


@dataclass(frozen=True, kw_only=True)
class MethodsSettings:
    """Arms that are set beside each other; seeds, title and processes are those of `reproduce`.

    Attributes:
        dir: Folder under ``runs_dir`` for records, verdicts, table and figure.
        arms: Their names.
        tunes: Whether the pilot chooses first; if not, they are trained as ``tuned`` has them.
    """

    dir: str = setting(is_place=True)
    arms: Sequence[str] = setting(example="[prune,rigl,random]")
    tunes: bool


@dataclass(frozen=True, kw_only=True)
class SweepSettings:
    """How a sweep is run, not what is in it.

    Attributes:
        file: A file's name under ``sweeps/``, or its path.
        seed: Another draw of a random search; None for the first.
        seeds: Every point is run with each, and judged by their mean.
        verb: What typed points are: train, line, path.
        num_processes: None for one per core, or on GPUs as many as fit.
        part: ``I/N`` runs every N-th point from the I-th on.
        id: ``ENTITY/PROJECT/ID`` of a registered sweep.
        num_agents: How many agents ``where=slurm`` submits.
    """

    file: str | None = setting(example="gap", is_place=True)
    seed: int | None = setting(example=7)
    seeds: Sequence[int] = setting(example="[1,2,3]")
    verb: str
    num_processes: int | None = setting(example=2, at_least=1)
    part: str | None = setting(example="2/8")
    id: str | None = setting(example="ENTITY/PROJECT/ID")
    num_agents: int = setting(at_least=1)


@dataclass(frozen=True, kw_only=True)
class PilotSettings:
    """What is tried on the pilot seeds.

    Attributes:
        seeds: They.
        arms: What is tuned; none for the arms of the claims, and curves after them.
        learning_rates: Tried for every arm whose file has no ``trials`` of its own.
        numbers: By arm, another value of a number of its own, tried at the middle one of
            ``learning_rates`` in place of the first of them.
        prune_trials: As many settings for the pruned arm, whose file takes them from here; None: as
            for the others.
        path_learning_rates: Tried for curves in each space.
    """

    seeds: Sequence[int] = setting(example="[1,2,3]")
    arms: Sequence[str] = setting(example="[cyclic,burst]")
    learning_rates: Sequence[float]
    numbers: Mapping[str, Any]
    prune_trials: Sequence[Mapping[str, Any]] | None
    path_learning_rates: Sequence[float]


@dataclass(frozen=True, kw_only=True)
class CurveRates:
    """Learning rates of curves, by the space that they are fitted in."""

    dense: float
    end_mask: float
    start_mask: float
    union: float
    intersection: float


@dataclass(frozen=True, kw_only=True)
class TunedSettings:
    """What was chosen on the pilot seeds.

    Attributes:
        learning_rate: By arm.
        arguments: Of sparse methods, by arm; null: as its file has them.
        path_learning_rate: By space of the curve.
    """

    learning_rate: Mapping[str, float]
    arguments: Mapping[str, Any]
    path_learning_rate: CurveRates
