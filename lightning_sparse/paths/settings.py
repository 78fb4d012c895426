"""Settings of lines and curves, and of how they are measured. No torch in here."""

from dataclasses import dataclass
from typing import Literal, get_args

from lightning_sparse.errors import UserError
from lightning_sparse.fields import (
    ARGUMENT,
    CURVE,
    PATH,
    RECALIBRATED,
    RUN,
    check_ranges_of,
    setting,
)
from lightning_sparse.training.settings import RecipeSettings

BatchNormPolicy = Literal["recalibrated", "recalibrated_plain", "batch", "interpolated", "stored"]

Space = Literal["dense", "start_mask", "end_mask", "union", "intersection"]


FreedOrder = Literal["random", "gradient", "magnitude"]

RayCoordinates = Literal["inside", "outside", "outside_random"]

SpectrumKind = Literal["hessian", "hessian_inside", "gauss_newton", "gauss_newton_inside"]


@dataclass(frozen=True, kw_only=True)
class CurveRecipeSettings(RecipeSettings):
    """How a curve is fitted; on a line the objective is still measured with its weight decay."""

    weight_decay: float = setting(1e-4, at_least=0, decides=(PATH,))


@dataclass(frozen=True, kw_only=True)
class PathSettings:
    """One line or curve.

    Attributes:
        start: The point at t = 0, by name, or as run folder and moment.
        end: The point at t = 1.
        steps_multiplier: Steps of the fit, so many times ``training.num_steps``; None for once.
        space: Where control points may move.
        freed_share: Of what the space's mask leaves out in each layer, so much may be used too;
            None for nothing.
        freed_order: What of it comes first.
        freed_by: The point whose magnitudes order it, if they do.
        search_seed: Another draw of t at every step of the fit; None for the first.
        ray: Go straight down the gradient at the start instead, along its weights inside its mask,
            outside, or as many at random outside; start and end are then one point.
        spectrum: Estimate how the eigenvalues of this matrix are spread at both ends of a fitted
            curve and at its highest point instead, over all prunable weights or ``inside`` the mask
            of its space.
        num_probes: Random directions that this is estimated from.
        num_lanczos_steps: Products with the matrix for each of them.
        training: How a curve is fitted.
    """

    start: str = setting(decides=(ARGUMENT,), is_place=True)
    end: str = setting(decides=(ARGUMENT,), is_place=True)
    steps_multiplier: int | None = setting(example=4, at_least=2, decides=(CURVE,))
    space: Space = setting(choices=get_args(Space), decides=(CURVE,))
    freed_share: float | None = setting(example=0.05, at_least=0, at_most=1, decides=(CURVE,))
    freed_order: FreedOrder = setting(choices=get_args(FreedOrder), decides=(CURVE,))
    freed_by: str = setting(decides=(ARGUMENT,), is_place=True)
    search_seed: int | None = setting(example=1, at_least=1, decides=(CURVE,))
    ray: RayCoordinates | None = setting(
        example="outside", choices=get_args(RayCoordinates), decides=(PATH,)
    )
    spectrum: SpectrumKind | None = setting(
        example="hessian", choices=get_args(SpectrumKind), decides=(CURVE,)
    )
    num_probes: int = setting(at_least=2, decides=(ARGUMENT,))
    num_lanczos_steps: int = setting(at_least=1, decides=(ARGUMENT,))
    training: CurveRecipeSettings = setting(decides=(CURVE,))


@dataclass(frozen=True, kw_only=True)
class EvaluationSettings:
    """Where and how a path is measured.

    Attributes:
        num_points: Equally spaced values of t on [``lowest_t``, ``highest_t``]; 0 and 1 must be
            among them. The default grid is the one of the public interpolation script of the
            paper's first author (google-research/rigl).
        lowest_t: Smallest t; below 0 the path is extrapolated.
        highest_t: Largest t.
        batch_norm: Policy for batch-norm statistics.
        num_recalibration_images: Training images behind recalibrated statistics.
        recalibration_batch_size: Size of the equal batches they come in.
        points_at_once: How many points are held in memory together.
        max_refinements: Rounds of refinement around what the claims judge, at most.
        quiet_rounds: Rounds in a row that must move nothing before refinement rests.
        allow_tf32: Whether to compute in TF32 where the device has it; None: in single precision.
    """

    num_points: int = setting(29, at_least=2)
    lowest_t: float = -0.2
    highest_t: float = 1.2
    batch_norm: BatchNormPolicy = setting("recalibrated", choices=get_args(BatchNormPolicy))
    num_recalibration_images: int = setting(1024, at_least=1, decides=(PATH, RECALIBRATED))
    recalibration_batch_size: int = setting(256, at_least=1, decides=(PATH, RECALIBRATED))
    points_at_once: int = setting(29, at_least=1)
    max_refinements: int = setting(10, at_least=0)
    quiet_rounds: int = setting(2, at_least=1)
    allow_tf32: bool | None = setting(None, null=False, decides=(RUN, PATH))

    def __post_init__(self) -> None:
        """Refuse what cannot be measured, or not be judged afterwards.

        Raises:
            UserError: Naming the setting.
        """
        policies = get_args(BatchNormPolicy)
        if self.batch_norm not in policies:
            raise UserError(
                f"evaluation.batch_norm={self.batch_norm}: choose one of {', '.join(policies)}"
            )
        check_ranges_of(self, "evaluation")
        if not {0.0, 1.0} <= set(self.grid()):
            raise UserError(
                f"evaluation.num_points={self.num_points}: {self.num_points} points on "
                f"[{self.lowest_t}, {self.highest_t}] leave out an end of the path; choose "
                "evaluation.num_points, lowest_t and highest_t so that 0 and 1 are among them"
            )

    def grid(self) -> list[float]:
        """Values of t in increasing order, rounded so that 0 and 1 are hit exactly."""
        span = self.highest_t - self.lowest_t
        return [
            # Zero, not minus zero, which rounding gives from below.
            round(self.lowest_t + span * i / (self.num_points - 1), 10) + 0.0
            for i in range(self.num_points)
        ]


@dataclass(frozen=True, kw_only=True)
class MeasurementSettings(EvaluationSettings):
    """The same with what holds for end points too.

    Attributes:
        batch_size: Images at a time.
        train_subset_size: Training images that are measured; None for all.
    """

    batch_size: int = setting(at_least=1, decides=(RUN, PATH))
    train_subset_size: int | None = setting(example=1024, at_least=1, decides=(RUN, PATH))
