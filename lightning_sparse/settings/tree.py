"""Every setting there is: one tree of frozen dataclasses, each declared by the room that uses it.

Names, types, least values and choices that commands and files are checked by follow from it.
"""

import functools
import operator
import types
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from lightning_sparse.arms import MethodSettings
from lightning_sparse.cluster.settings import SlurmSettings, Where
from lightning_sparse.decoding import plain
from lightning_sparse.exchange.settings import ExportSettings, PublishedSettings
from lightning_sparse.fields import (
    ARGUMENT,
    NOTHING,
    PATH,
    REWOUND,
    RUN,
    Traits,
    setting,
    traits_of,
)
from lightning_sparse.paths.settings import MeasurementSettings, PathSettings
from lightning_sparse.report.settings import ReportSettings
from lightning_sparse.settings.plans import (
    LaboratorySettings,
    MethodsSettings,
    PilotSettings,
    ReproduceSettings,
    SweepSettings,
    TunedSettings,
)
from lightning_sparse.sparsity.settings import PruningSettings
from lightning_sparse.tracking.settings import LoggerSettings
from lightning_sparse.training.settings import CheckpointSettings, RecipeSettings


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What ``conf/config.yaml`` and its groups set, where the meaning of each stands.

    A mapping is open: below it stand the arguments of what is chosen, which alone knows them.
    """

    experiment_name: str
    runs_dir: str = setting(decides=NOTHING, is_place=True)
    where: Where = setting(decides=NOTHING, choices=get_args(Where))
    seed: int = setting(at_least=0)
    sparsity: float = setting(decides=(ARGUMENT,))
    mask_source: str | None = setting(decides=(ARGUMENT,), example="runs/NAME", is_place=True)
    rewind_step: int = setting(at_least=0, decides=(REWOUND,))
    capture_steps: Sequence[Any] = setting(decides=(RUN,))
    recalibrate_batch_norm: str | None = setting(
        choices=("augmented", "plain"), example="augmented", decides=(RUN,)
    )
    batch_size: int = setting(at_least=1)
    global_batch_size: int | None = setting(decides=(ARGUMENT,), example=4096, at_least=1)
    compile: bool | None = setting(null=False, example="true")
    deterministic: bool | None
    num_threads: int = setting(at_least=1)
    channels_last: bool
    log_every_steps: int | None = setting(decides=NOTHING, example=100, at_least=1)
    num_workers: int = setting(decides=NOTHING, is_recorded=True, at_least=0)
    run_learning_rate: float | None = setting(decides=NOTHING, example=0.1)
    training_steps_multiplier: float | None = setting(decides=NOTHING, example=5)
    data: Mapping[str, Any]
    model: Mapping[str, Any]
    distribution: Mapping[str, Any] = setting(decides=(ARGUMENT,))
    curve: Mapping[str, Any] = setting(decides=(PATH,))
    method: MethodSettings = setting(decides=(RUN,))
    training: RecipeSettings = setting(decides=(RUN,))
    pruning: PruningSettings
    path: PathSettings
    evaluation: MeasurementSettings = setting(decides=(PATH,))
    checkpoint: CheckpointSettings
    tuned: TunedSettings = setting(decides=NOTHING)
    reproduce: ReproduceSettings = setting(decides=NOTHING)
    laboratory: LaboratorySettings = setting(decides=NOTHING)
    methods: MethodsSettings = setting(decides=NOTHING)
    export: ExportSettings = setting(decides=NOTHING)
    published: PublishedSettings
    report: ReportSettings = setting(decides=NOTHING)
    sweep: SweepSettings = setting(decides=NOTHING)
    pilot: PilotSettings = setting(decides=NOTHING)
    logger: LoggerSettings = setting(decides=NOTHING)
    slurm: SlurmSettings = setting(decides=NOTHING)
    trainer: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Leaf:
    """One setting of a tree.

    Attributes:
        name: Dotted.
        type: Its annotation, as YAML has it.
        traits: What it says of itself.
        decides: Which results depend on it, as it or the nearest group around it says.
    """

    name: str
    type: Any
    traits: Traits
    decides: frozenset[str]

    @property
    def is_open(self) -> bool:
        """Whether arguments of something that is chosen stand below it."""
        return Mapping[str, Any] in (self.type, *get_args(self.type))


def as_plain(settings: Settings) -> dict[str, Any]:
    """Return all settings as a mapping, in the order of their declarations."""
    return plain(settings, Settings)


def recorded(settings: Settings) -> dict[str, Any]:
    """Return the settings that a record keeps: neither places nor plans for other runs."""
    kept: dict[str, Any] = {}
    for leaf in leaves_of(Settings):
        if leaf.decides or leaf.traits.is_recorded:
            *groups, name = leaf.name.split(".")
            part, value = kept, settings
            for group in groups:
                part, value = part.setdefault(group, {}), getattr(value, group)
            part[name] = getattr(value, name)
    return kept


def deciding(result: str, *, apart: Collection[str] = ()) -> tuple[str, ...]:
    """Return the names of what a result depends on: a group's where all that is in it decides.

    Args:
        result: `RUN`, for example.
        apart: Names at the top that are left out.
    """
    found: dict[str, list[Leaf]] = {}
    for leaf in leaves_of(Settings):
        found.setdefault(leaf.name.partition(".")[0], []).append(leaf)
    names: list[str] = []
    for top in found.keys() - set(apart):
        own = [leaf.name for leaf in found[top] if result in leaf.decides]
        names += [top] if len(own) == len(found[top]) else own
    return tuple(sorted(names))


def leaves_of(
    tree: type, prefix: str = "", decides: frozenset[str] = frozenset({RUN, PATH})
) -> Iterator[Leaf]:
    """Yield every setting that a tree of dataclasses declares, in order."""
    hints = get_type_hints(tree)
    for item in fields(tree):
        name, traits = f"{prefix}{item.name}", traits_of(item)
        own = decides if traits.decides is None else frozenset(traits.decides)
        if is_dataclass(hints[item.name]):
            yield from leaves_of(hints[item.name], f"{name}.", own)
        else:
            yield Leaf(name=name, type=_plain(hints[item.name]), traits=traits, decides=own)


def _plain(declared: Any) -> Any:
    """Return a type as YAML has it: lists and texts."""
    origin, arguments = get_origin(declared), get_args(declared)
    if origin in {types.UnionType, Union}:  # the latter where one of them is a Literal
        declared = functools.reduce(operator.or_, map(_plain, arguments))
    elif origin is Literal:
        declared = str
    elif origin is Sequence:
        declared = list if arguments == (Any,) else types.GenericAlias(list, _items(arguments))
    return declared


def _items(arguments: Sequence[Any]) -> Any:
    """Return the items of a list as YAML has them."""
    return tuple(dict if get_origin(item) is Mapping else item for item in arguments)
