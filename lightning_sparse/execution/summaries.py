"""What a record says, in words for the terminal; the sparsity always as integers too."""

from lightning_sparse.analysis.spectra import extremes
from lightning_sparse.records import PathRecord, Record, RunRecord
from lightning_sparse.rises import barriers, descent, largest_rise


def in_short(record: Record) -> str:
    """Return a few words, for a line among many."""
    if isinstance(record, RunRecord):
        return (
            f"{counts(record)}, training loss {record.train.loss:.4f}, "
            f"test accuracy {record.test.accuracy:.4f}"
        )
    ts, losses = _losses(record)
    return (
        f"descent {descent(ts, losses).value:z.4f}, rise {largest_rise(ts, losses).value:z.4f}, "
        f"barrier {barriers(ts, losses).worse_end:z.4f} nats"
    )


def counts(run: RunRecord) -> str:
    """Return kept and prunable weights.

    Example:
        ``kept 734 of 23,824 weights``
    """
    return f"kept {run.kept:,} of {run.prunable:,} weights"


def of_all_parameters(run: RunRecord) -> str:
    """Return the sparsity of all parameters where much of the network cannot be pruned."""
    overall = run.overall_sparsity
    if overall is None or run.measured_sparsity - overall < _WORTH_SAYING:
        return ""
    return f"{overall:.4f} of all {run.num_parameters:,} parameters, "


_WORTH_SAYING = 0.01


def describe_run(run: RunRecord) -> str:
    """Return what a person asks of one trained end point."""
    return (
        f"{run.method}: sparsity {run.measured_sparsity:.4f} "
        f"(kept {run.kept:,} of {run.prunable:,} prunable weights, "
        f"{of_all_parameters(run)}nominal {run.target_sparsity:g})\n"
        f"training loss {run.train.loss:.4f} nats, training accuracy {run.train.accuracy:.4f}, "
        f"test accuracy {run.test.accuracy:.4f} ({run.test.num_images} images)"
    )


def describe_path(path: PathRecord, start: RunRecord, end: RunRecord) -> str:
    """Return what a person asks of one line or curve, with the sparsity of both ends."""
    ts, losses = _losses(path)
    down, rise, over = descent(ts, losses), largest_rise(ts, losses), barriers(ts, losses)
    return (
        f"{path.start_point} ({counts(start)}) to {path.end_point} ({counts(end)})\n"
        f"descent: rises by {down.value:z.4f} nats at most before the training loss is as good as "
        "at the end\n"
        f"largest rise of the training loss {rise.value:z.4f} nats, from t = {rise.from_t:zg} to "
        f"t = {rise.to_t:zg}\n"
        f"barrier over the chord {over.chord:z.4f}, over the worse end {over.worse_end:z.4f} nats; "
        f"length {path.length:.2f}, distance {path.distance:.2f}" + _spectra(path)
    )


def _spectra(path: PathRecord) -> str:
    """Say in a line each between which eigenvalues the spectra along a curve lie."""
    matrix = (path.spectrum or "").replace("_", "-").replace("-inside", " inside the mask")
    found = ((spectrum.t, *extremes(spectrum)) for spectrum in path.spectra or ())
    return "".join(
        f"\n{matrix}: eigenvalues from {low:.4g} to {high:.4g} at t = {t:zg}"
        for t, low, high in found
    )


def _losses(path: PathRecord) -> tuple[list[float], list[float]]:
    return [point.t for point in path.points], [point.train.loss for point in path.points]
