"""Evaluation of ResNet-50 on a GPU in true single precision, against TF32."""

from collections.abc import Callable, Iterator
from functools import partial

from benchmarks.accelerated import forget_compiled, side, under
from benchmarks.pairing import Claim, Ratio, Trial
from benchmarks.workloads import Scale, random_batch, resnet50
from lightning_sparse.training.measurement import measure
from lightning_sparse.training.numerics import true_single_precision


def trials(scale: Scale) -> Iterator[Trial]:
    """At 224 pixels, as often over one batch as an evaluation set has batches."""
    forget_compiled(scale)
    size = scale.choose((256, 224), (2, 16))
    batch = random_batch(*size, scale)
    num_batches = scale.choose(8, 2)
    network = resnet50(scale).eval()

    def evaluation() -> Callable[[], object]:
        return partial(
            measure,
            network,
            [batch] * num_batches,
            penalty=0.0,
            device=scale.device,
        )

    sides = {}
    for name, is_tf32 in {"float32": False, "TF32": True}.items():
        switch = partial(true_single_precision, unless_tf32=is_tf32)
        with switch():
            made = side(f"this project's measurement in {name}", evaluation, scale, 1)
        sides[name] = under(switch, made)
    yield Trial(
        name=f"evaluation of ResNet-50, {num_batches} x {size[0]} x {size[1]} px",
        sides=sides,
        claims=[Claim(statement="float32 / TF32", quantity=Ratio("float32", "TF32"))],
        seconds=20,
    )
