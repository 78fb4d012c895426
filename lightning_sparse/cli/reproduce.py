"""``lightning-sparse reproduce``: train, connect, judge and report everything. No torch in here."""

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console

from lightning_sparse.analysis.experiment import Route
from lightning_sparse.analysis.needs import Arms, Needed, arms_of, ordered
from lightning_sparse.analysis.rule_set import RuleSet
from lightning_sparse.cli import report
from lightning_sparse.cli.arms import unmasked
from lightning_sparse.cli.batches import num_nodes
from lightning_sparse.cli.compose import Composed
from lightning_sparse.cli.objects import build_curve
from lightning_sparse.cli.planning import plan_path, plan_training
from lightning_sparse.cli.session import one_device_each, places
from lightning_sparse.cli.shipped import choices
from lightning_sparse.cli.variants import replaced, with_arm, with_curve
from lightning_sparse.cli.worker import look_at, run_job
from lightning_sparse.errors import UserError
from lightning_sparse.pipeline.jobs import Job, unfinished
from lightning_sparse.pipeline.locks import held
from lightning_sparse.pipeline.runner import run_jobs
from lightning_sparse.records import to_json
from lightning_sparse.storage import write_text_atomic

PlanRoute = Callable[..., Job]
Values = Mapping[str, Any]


def run(settings: Composed) -> None:
    """Make every run and path that is missing, then judge and report on all of them."""
    check(settings)
    console = Console()
    given, settings = settings, one_device_each(settings)
    jobs = plan_all(settings)
    check_ranks(settings, jobs)
    folder = report.report_dir(settings)
    with held(folder / ".lock", refuse):
        run_jobs(
            jobs,
            run_job,
            places=places(given, console),
            console=console,
            first=functools.partial(look_at, jobs),
        )
        lines = [to_json(job.record()) for job in jobs]
        write_text_atomic(folder / report.RECORDS_FILE, "\n".join(lines) + "\n")
        report.run(settings)


def plan_all(settings: Composed, rules: RuleSet | None = None) -> list[Job]:
    """Plan every run and path that the claims need, for every report seed, each once.

    Args:
        settings: As composed.
        rules: What is asked; None for the rules of the experiment and the claims that it adds.
    """
    plan = settings.reproduce
    headline = settings.sparsity
    wanted = _wanted(settings, rules or report.asked(settings))
    with_all = plan.seeds[: plan.num_seeds_of_sparsities]
    seeds = [
        (seed, [headline, *plan.sparsities] if seed in with_all else [headline])
        for seed in [*plan.seeds, *plan.further_seeds]
    ]
    jobs = [
        job
        for seed, sparsities in seeds
        for job in _plan_seed(replaced(settings, {"seed": seed}), sparsities, wanted)
    ]
    for seed, _ in seeds[: plan.search.num_seeds]:
        jobs += _plan_search(replaced(settings, {"seed": seed}), wanted)
    return list({job.run_id: job for job in jobs}.values())


@dataclass(frozen=True, kw_only=True)
class _Wanted:
    """What is made for every seed.

    Attributes:
        needs: Of the claims.
        arms: That these need at the headline sparsity.
        control_arms: That they need at the sparsity of the control.
        plan_route: Plans a path.
    """

    needs: Sequence[Needed]
    arms: Arms
    control_arms: Arms
    plan_route: PlanRoute


def _wanted(settings: Composed, rules: RuleSet) -> _Wanted:
    needs = rules.needs_of(settings.reproduce.claims)
    without_masks = unmasked(settings)
    return _Wanted(
        needs=needs,
        arms=arms_of(needs, without_masks),
        control_arms=arms_of(needs, without_masks, "control"),
        plan_route=route_planner(settings, needs),
    )


def _plan_seed(settings: Composed, sparsities: Sequence[float], wanted: _Wanted) -> Iterator[Job]:
    """Plan one seed at all of the sparsities, of which the first is the headline's."""
    arms = wanted.arms
    for arm in arms.dense:
        yield _plan_arm(settings, arm)
    for sparsity in sparsities:
        only_here = arms.joined if sparsity == settings.sparsity else ()
        for arm in (*arms.compared, *only_here):
            yield _plan_arm(settings, arm, {"sparsity": sparsity})
    routes = ordered(needed for needed in wanted.needs if needed.is_in_every_seed)
    for route in sorted(routes, key=lambda route: route.is_fitted):
        yield wanted.plan_route(settings, route)
    if settings.reproduce.control_sparsity is not None:
        yield from _plan_control(settings, wanted)


def _plan_control(settings: Composed, wanted: _Wanted) -> Iterator[Job]:
    """Plan the positive control in the mask, at the sparsity that leaves it more room."""
    control = {"sparsity": settings.reproduce.control_sparsity}
    for arm in wanted.control_arms.joined:
        yield _plan_arm(settings, arm, control)
    for route in ordered(needed for needed in wanted.needs if needed.at == "control"):
        yield wanted.plan_route(settings, route, control)


def _plan_search(settings: Composed, wanted: _Wanted) -> Iterator[Job]:
    """Plan the curves that show what a search with more steps would have found."""
    routes = ordered(needed for needed in wanted.needs if needed.seeds == "search")
    for times in settings.reproduce.search.times:
        for route in routes:
            yield wanted.plan_route(settings, route, {"path.steps_multiplier": times})


def _plan_arm(settings: Composed, arm: str, others: Values | None = None) -> Job:
    return plan_training(with_arm(settings, arm, others))


def route_planner(settings: Composed, needs: Sequence[Needed]) -> PlanRoute:
    """Return what plans a path that a claim names; the files of all curves are found once.

    Raises:
        UserError: If no file in ``conf/curve/`` has the shape of a curve.
    """
    files = {route.curve: curve_file(settings, route) for route in ordered(needs)}
    spaces = {"sparse": {"path.space": "end_mask"}, "dense": {"path.space": "dense"}, "line": {}}

    def plan_route(settings: Composed, route: Route, others: Values | None = None) -> Job:
        ends = {"path.start": route.start, "path.end": route.end}
        values = {**ends, **spaces[route.space], **_of_fit(route), **(others or {})}
        return plan_path(with_curve(settings, files[route.curve], values))

    return plan_route


def _of_fit(route: Route) -> Values:
    """Return what a route says of its fit beside curve and space."""
    values: dict[str, Any] = {} if route.ray is None else {"path.ray": route.ray}
    if route.share is not None:
        values = {"path.freed_share": route.share, "path.freed_order": route.order}
    return values if route.search is None else {**values, "path.search_seed": route.search}


def curve_file(settings: Composed, route: Route) -> str:
    """Return the file in ``conf/curve/`` whose curve records call as the route does."""
    files = choices("curve")
    likely = {"straight line": "line"}.get(route.curve, route.curve.removesuffix(" curve"))
    for name in sorted(files, key=lambda name: name != likely):
        if build_curve(with_curve(settings, name).curve).name == route.curve:
            return name
    raise UserError(
        f"a claim needs the {route.name}, and no file in conf/curve/ makes a {route.curve}; add "
        f"one to {', '.join(files)}"
    )


def check_ranks(settings: Composed, jobs: Sequence[Job]) -> None:
    """Refuse to train on several ranks from here, where every run is one process beside others."""
    trainer = settings.trainer
    if (trainer.get("devices", 1), num_nodes(trainer)) != (1, 1) and unfinished(jobs):
        raise UserError(
            f"trainer.devices={trainer.get('devices', 1)}, trainer.num_nodes={num_nodes(trainer)}: "
            "reproduce runs each job in one process; submit them with slurm-reproduce, or say "
            "trainer.devices=1 (on one machine with GPUs, a recipe without global_batch_size has "
            "one run on each)"
        )


def refuse(owner: str) -> None:
    """Refuse to write into a folder that another command writes into.

    Raises:
        UserError: Always.
    """
    raise UserError(
        f"{owner} makes or reports on this experiment already; wait for it, stop it, or "
        "choose another folder with reproduce.dir=..."
    )


def check(settings: Composed) -> None:
    """Refuse what belongs to a single run, and seeds that the settings were tuned on."""
    if settings.mask_source is not None:
        raise UserError(
            f"mask_source={settings.mask_source}: is for single runs; reproduce trains a pruned "
            "run for every seed and sparsity, so leave it out"
        )
    plan = settings.reproduce
    control = plan.control_sparsity
    if control is not None and control >= settings.sparsity:
        raise UserError(
            f"reproduce.control_sparsity={control}: must lie below sparsity="
            f"{settings.sparsity}, where there is more room inside the mask; null for none"
        )
    _check_seeds("seeds", plan.seeds, settings.pilot.seeds)
    _check_seeds("further_seeds", plan.further_seeds, settings.pilot.seeds)
    if not plan.seeds:
        raise UserError(f"reproduce.seeds={plan.seeds}: name at least one")


def _check_seeds(name: str, seeds: Sequence[Any], pilot_seeds: Sequence[int]) -> None:
    for seed in seeds:
        if not isinstance(seed, int) or isinstance(seed, bool) or seed < 0:
            raise UserError(f"reproduce.{name}={seeds}: must be integers, at least 0")
    if len(set(seeds)) != len(seeds):
        raise UserError(f"reproduce.{name}={seeds}: name each seed once")
    pilot = sorted(set(seeds) & set(pilot_seeds))
    if pilot:
        raise UserError(
            f"reproduce.{name}={seeds}: {pilot} are pilot seeds, which settings were tuned on; "
            "choose others, for example SEEDS=11,12,13"
        )
