"""Which runs and paths the laboratory needs, as far as what is finished tells. No torch in here."""

from collections.abc import Iterator

from lightning_sparse.analysis import spectra
from lightning_sparse.analysis.claims.search_controls import DENSE_ROUTES, IN_MASK_ROUTES
from lightning_sparse.analysis.critical_share import (
    ORDERS,
    SEARCHES,
    SHARES,
    next_share,
    route_to,
)
from lightning_sparse.analysis.experiment import Route
from lightning_sparse.analysis.laboratory import laboratory
from lightning_sparse.analysis.measured_descents import measure_descent
from lightning_sparse.analysis.needs import Needed
from lightning_sparse.analysis.rule_set import RuleSet
from lightning_sparse.analysis.stronger_search import (
    LINE,
    OF_DEGREES,
    leads_down,
    strongest_first,
    with_steps,
)
from lightning_sparse.errors import UserError
from lightning_sparse.pipeline.jobs import unfinished, with_needs
from lightning_sparse.planning import reproduce
from lightning_sparse.records import PathRecord
from lightning_sparse.settings.compose import Composed
from lightning_sparse.settings.jobs import Job
from lightning_sparse.settings.variants import replaced


def rules(settings: Composed) -> RuleSet:
    """Return what is asked, with the choices that were made on the pilot seeds."""
    chosen = settings.laboratory
    return laboratory(control=chosen.control, detour=chosen.detour, claims=chosen.claims)


def plan_all(settings: Composed) -> list[Job]:
    """Plan every run and path that the laboratory needs, as far as can be told by what is finished.

    Raises:
        UserError: If one of its seeds is a pilot seed, or a claim is none or is asked of no seed.
    """
    asked = rules(settings)
    names = {question.name for question in asked.questions}
    chosen = settings.laboratory
    _refuse_claims_of_no_seed(settings, asked)
    searched = chosen.seeds[: chosen.num_seeds_of_search] if "B+" in names else []
    plan = {
        "seeds": chosen.seeds,
        "further_seeds": [],
        "sparsities": [],
        # Controls of B+ alone, which are planned with its searches.
        "control_sparsity": settings.reproduce.control_sparsity if searched else None,
        "search.times": [],
        "claims": [],
    }
    settings = replaced(settings, {f"reproduce.{name}": value for name, value in plan.items()})
    reproduce.check(settings)
    jobs = reproduce.plan_all(settings, asked)
    further = (
        (_plan_shares, chosen.seeds[: chosen.num_seeds_of_shares] if names & {"F1", "F2"} else []),
        (_plan_spectra, chosen.seeds[: chosen.num_seeds_of_spectra] if "G" in names else []),
        (_plan_search, searched),
    )
    for plan_seed, seeds in further:
        for seed in seeds:
            jobs += plan_seed(replaced(settings, {"seed": seed}))
    return list({job.run_id: job for job in jobs}.values())


def _refuse_claims_of_no_seed(settings: Composed, asked: RuleSet) -> None:
    """Refuse a claim that is asked for by name, and of none of the seeds."""
    for question in asked.questions:
        setting = question.counted_by
        if question.name not in settings.laboratory.claims or setting is None:
            continue
        if not getattr(settings.laboratory, setting.partition(".")[2]):
            raise UserError(
                f"laboratory.claims={[*settings.laboratory.claims]}, {setting}=0: "
                f"{question.name} is asked of no seed; say {setting}=6, or leave it out"
            )


def _plan_spectra(settings: Composed) -> Iterator[Job]:
    """Plan the spectra along the sparse curve of one seed, and that curve."""
    plan_route = reproduce.route_planner(settings, [Needed(routes=spectra.ROUTES)])
    yield from with_needs(plan_route(settings, route) for route in spectra.ROUTES)


def _plan_search(settings: Composed) -> Iterator[Job]:
    """Plan what is searched inside the mask in one seed, and what shows that one can search.

    The strongest fits come first, and none after one that leads down.
    """
    times = settings.laboratory.search_times
    routes = with_steps(times)
    controls = (*DENSE_ROUTES, *IN_MASK_ROUTES)
    plan_route = reproduce.route_planner(settings, [Needed(routes=(*routes, *controls))])

    def plan_fit(route: Route) -> Job:
        longer = {"path.steps_multiplier": route.times} if route.times > 1 else {}
        return plan_route(settings, route._replace(times=1), longer)

    yield plan_route(settings, LINE)
    fits = [[plan_fit(route) for route in restarts] for restarts in strongest_first(times)]
    finished = [job for restarts in fits for job in restarts if job.is_finished]
    yield from finished
    if not any(leads_down(measure_descent(_path(job))) for job in finished):
        yield from next(filter(None, map(unfinished, fits)), [])
    of_controls = [plan_route(settings, route) for route in DENSE_ROUTES]
    if (sparsity := settings.reproduce.control_sparsity) is not None:
        lower = {"sparsity": sparsity}
        of_controls += [plan_route(settings, route, lower) for route in IN_MASK_ROUTES]
    yield from with_needs(of_controls)


def _plan_shares(settings: Composed) -> Iterator[Job]:
    """Plan the curves of one seed with shares freed: the given ones, then where they lead."""
    needs = [Needed(routes=(route_to(0.0, ORDERS[0], None), *OF_DEGREES))]
    plan_route = reproduce.route_planner(settings, needs)
    yield from (plan_route(settings, route) for route in OF_DEGREES)
    for order in ORDERS:
        tried: dict[float, list[float]] = {}
        shares, delta = list(SHARES), 0.0
        while shares:
            jobs = {
                share: [plan_route(settings, route_to(share, order, search)) for search in SEARCHES]
                for share in shares
            }
            yield from (job for both in jobs.values() for job in both)
            if unfinished([job for both in jobs.values() for job in both]):
                break
            for share, both in jobs.items():
                measured = [measure_descent(_path(job)) for job in both]
                tried[share] = [one.descent.value for one in measured]
                delta = measured[0].margin
            further = next_share(tried, delta)
            shares = [] if further is None else [further]


def _path(job: Job) -> PathRecord:
    record = job.record()
    assert isinstance(record, PathRecord)
    return record
