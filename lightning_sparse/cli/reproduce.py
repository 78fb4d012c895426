"""``lightning-sparse reproduce``: train, connect, judge and report everything. No torch in here."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.console import Console

from lightning_sparse.cli import report
from lightning_sparse.cli.batches import num_nodes
from lightning_sparse.cli.compose import Settings, with_curve, with_values
from lightning_sparse.cli.planning import plan_path, plan_training
from lightning_sparse.cli.session import one_device_each, places
from lightning_sparse.cli.worker import run_job
from lightning_sparse.errors import UserError
from lightning_sparse.pipeline.jobs import Job, unfinished
from lightning_sparse.pipeline.locks import held
from lightning_sparse.pipeline.runner import run_jobs
from lightning_sparse.records import to_json
from lightning_sparse.storage import write_text_atomic


def run(settings: Settings) -> None:
    """Make every run and path that is missing, then judge and report on all of them."""
    check(settings)
    console = Console()
    given, settings = settings, one_device_each(settings)
    jobs = plan_all(settings)
    _check_ranks(settings, jobs)
    folder = report.report_dir(settings)
    with held(folder / ".lock", _refuse):
        run_jobs(jobs, run_job, places=places(given, console), console=console)
        lines = [to_json(job.record()) for job in jobs]
        write_text_atomic(folder / report.RECORDS_FILE, "\n".join(lines) + "\n")
        report.run(settings)


def plan_all(settings: Settings) -> list[Job]:
    """Plan every run and path of the experiment, for every report seed, each once."""
    plan = settings["reproduce"]
    headline = settings["sparsity"]
    with_all = plan["seeds"][: plan["num_seeds_of_sparsities"]]
    seeds = [
        (seed, [headline, *plan["sparsities"]] if seed in with_all else [headline])
        for seed in [*plan["seeds"], *plan["further_seeds"]]
    ]
    jobs = [
        job
        for seed, sparsities in seeds
        for job in _plan_seed(with_values(settings, [f"seed={seed}"]), sparsities)
    ]
    for seed, _ in seeds[: plan["search"]["num_seeds"]]:
        jobs += _plan_search(with_values(settings, [f"seed={seed}"]))
    return list({job.run_id: job for job in jobs}.values())


def _plan_seed(settings: Settings, sparsities: Sequence[float]) -> Iterator[Job]:
    plan = settings["reproduce"]
    yield plan_training(with_values(settings, ["method=dense"]))
    yield plan_training(with_values(settings, ["method=dense", "method.start=init/scratch"]))
    for sparsity in sparsities:
        for method in ("prune", "scratch", "lottery"):
            yield plan_training(with_values(settings, [f"method={method}", f"sparsity={sparsity}"]))
    for ends in plan["lines"]:
        yield _plan_along(settings, {"curve": "line", **ends})
    for ends in plan["curves"]:
        yield _plan_along(settings, ends)
    if plan["control_sparsity"] is not None:
        yield from _plan_control(with_values(settings, [f"sparsity={plan['control_sparsity']}"]))


def _plan_control(settings: Settings) -> Iterator[Job]:
    """Plan the positive control in the mask: the same two solutions where there is more room."""
    for method in ("prune", "scratch"):
        yield plan_training(with_values(settings, [f"method={method}"]))
    ends = {"start": "scratch:end", "end": "prune:end"}
    yield _plan_along(settings, {**ends, "curve": "line"})
    yield _plan_along(settings, {**ends, "curve": "quadratic", "space": "end_mask"})


def _plan_search(settings: Settings) -> Iterator[Job]:
    """Plan the curves that show what a search with more steps would have found."""
    search = settings["reproduce"]["search"]
    for times in search["times"]:
        for curve in search["curves"]:
            longer = {**curve, "steps_multiplier": times}
            yield _plan_along(settings, longer)


def _plan_along(settings: Settings, path: Mapping[str, Any]) -> Job:
    """Plan a path of a list of the settings: ``curve`` is a file of ``conf/curve/``."""
    others = [f"path.{name}={value}" for name, value in path.items() if name != "curve"]
    if "curve" in path:
        return plan_path(with_curve(settings, path["curve"], others))
    return plan_path(with_values(settings, others))


def _check_ranks(settings: Settings, jobs: list[Job]) -> None:
    """Refuse to train on several ranks from here, where every run is one process beside others."""
    trainer = settings["trainer"]
    if (trainer.get("devices", 1), num_nodes(trainer)) != (1, 1) and unfinished(jobs):
        raise UserError(
            f"trainer.devices={trainer.get('devices', 1)}, trainer.num_nodes={num_nodes(trainer)}: "
            "reproduce runs each job in one process; submit them with slurm-reproduce, or say "
            "trainer.devices=1 (on one machine with GPUs, a recipe without global_batch_size has "
            "one run on each)"
        )


def _refuse(owner: str) -> None:
    raise UserError(
        f"{owner} makes or reports on this experiment already; wait for it, stop it, or "
        "choose another folder with reproduce.dir=..."
    )


def check(settings: Settings) -> None:
    """Refuse what belongs to a single run, and seeds that the settings were tuned on."""
    if settings["mask_source"] is not None:
        raise UserError(
            f"mask_source={settings['mask_source']}: is for single runs; reproduce trains a pruned "
            "run for every seed and sparsity, so leave it out"
        )
    plan = settings["reproduce"]
    control = plan["control_sparsity"]
    if control is not None and control >= settings["sparsity"]:
        raise UserError(
            f"reproduce.control_sparsity={control}: must lie below sparsity="
            f"{settings['sparsity']}, where there is more room inside the mask; null for none"
        )
    for name in ("seeds", "further_seeds"):
        _check_seeds(name, plan[name], settings["pilot"]["seeds"])
    if not plan["seeds"]:
        raise UserError(f"reproduce.seeds={plan['seeds']}: name at least one")


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
