"""Which runs and paths a whole experiment needs, by what its claims ask of it. No torch in here."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lightning_sparse.analysis.experiment import Route
from lightning_sparse.analysis.judge import rule_set
from lightning_sparse.analysis.needs import Arms, Needed, arms_of, ordered
from lightning_sparse.analysis.rule_set import RuleSet
from lightning_sparse.errors import UserError
from lightning_sparse.planning.runs import plan_path, plan_training
from lightning_sparse.records import Record
from lightning_sparse.settings.arms import unmasked
from lightning_sparse.settings.compose import Composed
from lightning_sparse.settings.jobs import Job
from lightning_sparse.settings.objects import build_curve, build_question
from lightning_sparse.settings.shipped import choices
from lightning_sparse.settings.variants import replaced, with_arm, with_curve

PlanRoute = Callable[..., Job]


Values = Mapping[str, Any]


def plan_all(settings: Composed, rules: RuleSet | None = None) -> list[Job]:
    """Plan every run and path that the claims need, for every report seed, each once.

    Args:
        settings: As composed.
        rules: What is asked; None for the rules of the experiment and the claims that it adds.
    """
    plan = settings.reproduce
    headline = settings.sparsity
    wanted = _wanted(settings, rules or asked(settings))
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
    if route.spectrum is not None:
        values = {**values, "path.spectrum": route.spectrum}
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


def asked(settings: Composed, records: Sequence[Record] = ()) -> RuleSet:
    """Return what is asked of an experiment: its rules, and the claims that it adds.

    Args:
        settings: As composed.
        records: What was measured already, by rules that are kept; none before the first run.

    Raises:
        UserError: If one of the added is no claim, or does not fit the others.
    """
    added = [build_question(name) for name in settings.reproduce.further_claims]
    return rule_set(settings.report.rules if records else None, records, added)


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
