"""How cost grows: the p of cost = c times size to the power p, over three sizes each."""

from collections.abc import Callable, Iterator, Mapping

from benchmarks.evaluation import Work
from benchmarks.pairing import Claim, Exponent, Side, Trial
from benchmarks.workloads import Scale, plain_step, random_batch, small_resnet, timed, use_cores
from lightning_sparse.data.digits import build_digits


def trials(scale: Scale) -> Iterator[Trial]:
    """The step against width, evaluation against points and against images."""
    use_cores(1)
    batch = random_batch(*scale.choose((16, 32), (2, 8)), Scale(is_tiny=True))
    yield _trial(
        "step against width",
        "bottleneck ResNet of ResNet-50's depth, width multiplier",
        {
            width: plain_step(small_resnet(width), batch)
            for width in scale.choose((0.125, 0.25, 0.5), (0.03125, 0.0625, 0.125))
        },
        scale,
    )
    yield _trial(
        "path evaluation against points",
        "the digits network, points",
        {
            points: Work(build_digits(), 64, num_points=points).together
            for points in scale.choose((8, 15, 29), (8, 15))
        },
        scale,
    )
    yield _trial(
        "path evaluation against images",
        "the digits network, images",
        {
            images: Work(build_digits(), images, num_points=8).together
            for images in scale.choose((128, 256, 512), (8, 16))
        },
        scale,
    )


def _trial(
    name: str, what: str, works: Mapping[float, Callable[[], object]], scale: Scale
) -> Trial:
    return Trial(
        name=name,
        sides={
            str(size): Side(what=f"{what}: {size}", measure=timed(work, scale=scale))
            for size, work in works.items()
        },
        claims=[
            Claim(statement="exponent", quantity=Exponent({str(size): size for size in works}))
        ],
        num_rounds=8,
    )
