"""The training step of ResNet-50 on a GPU with deterministic algorithms alone, and with any."""

from collections.abc import Callable, Iterator

from benchmarks.accelerated import compiled, deterministic, forget_compiled, side, under
from benchmarks.pairing import Claim, Ratio, Side, Trial
from benchmarks.workloads import Scale, plain_step, random_batch, resnet50


def trials(scale: Scale) -> Iterator[Trial]:
    """Eager and compiled, at 224 pixels."""
    forget_compiled(scale)
    size = scale.choose((256, 224), (2, 16))
    batch = random_batch(*size, scale)

    def eager_step() -> Callable[[], object]:
        return plain_step(resnet50(scale), batch)

    def compiled_step() -> Callable[[], object]:
        return plain_step(compiled(resnet50(scale), scale), batch)

    sides: dict[str, Side] = {}
    for how, build in {"eager": eager_step, "compiled": compiled_step}.items():
        sides[how] = side("any algorithm", build, scale, 10)
        with deterministic():
            alone = side("deterministic algorithms alone", build, scale, 10)
        sides[f"{how}, deterministic"] = under(deterministic, alone)
    yield Trial(
        name=f"deterministic step of ResNet-50, bf16, {size[0]} x {size[1]} px",
        sides=sides,
        claims=[
            Claim(
                statement=f"deterministic / not, {how}",
                quantity=Ratio(f"{how}, deterministic", how),
            )
            for how in ("eager", "compiled")
        ],
        seconds=30,
    )
