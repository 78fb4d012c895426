"""The words of the report, for a reader who has seen none of the code."""

from collections.abc import Sequence

from lightning_sparse.arms import Arm

_FIRST = (
    ("mask", "For every prunable weight, whether it is kept. Weights that are not kept are zero."),
    (
        "sparsity",
        "The fraction of prunable weights (of convolutions and linear layers) that the mask "
        "removes. Nominal is what was asked for; some layers may be pruned less by policy, so the "
        "overall sparsity, counted from the masks, can be lower.",
    ),
)

_OF_PATHS = (
    (
        "path, t",
        "A line or curve through weight space; t runs from 0 at its start to 1 at its end. A "
        "quadratic curve has one point between its ends that is trained, a cubic one has two.",
    ),
    (
        "inside the mask, dense space",
        "Where the trained points of a curve may lie: among the networks that the mask allows, or "
        "anywhere. The ends are the same.",
    ),
    (
        "loss, objective",
        "Loss is the mean cross-entropy in nats on a fixed subset of the training images, without "
        "augmentation, label smoothing or regulariser. The objective adds weight decay to it, as "
        "half its factor times the squared norm of the weights.",
    ),
)

TERMS_OF_RULES_1 = (
    (
        "largest rise",
        "The most that the loss goes up along a path between any point and a later one, for t in "
        "[0, 1]. It is zero exactly when the loss never goes up.",
    ),
    (
        "tolerance (tol)",
        "The smallest rise that counts: two standard errors of the loss, and at least 1 % of the "
        "difference between the losses of the two ends.",
    ),
    (
        "barrier",
        "Another way to measure a hump, from the literature: the most that the loss lies over the "
        "straight line between the losses of the ends, over their mean, or over the larger one.",
    ),
    (
        "batch-norm statistics",
        "A network between two others has no statistics of its own. Recalibrated ones are computed "
        "afresh from training images at every point of a path.",
    ),
    (
        "95 % interval",
        "Student's t interval over seeds; comparisons are paired by seed. Rises are compared as "
        "logarithms, so their estimates are ratios and 1 means equal.",
    ),
    (
        "verdict",
        "Supported if the whole interval is on the claimed side, not supported if it is wholly on "
        "the other side, else undecided.",
    ),
)

TERMS_OF_RULES_2 = (
    (
        "margin (delta)",
        "The smallest rise that counts: 1 % of ln(number of classes), in nats. It is the same for "
        "every path, and noise does not widen it.",
    ),
    (
        "descent (R)",
        "How far the loss has to climb on the way from the start of a path until it has come down "
        "to that of the end: the largest rise up to the first point that is as good as the end. "
        "What lies below that level does not count.",
    ),
    (
        "rise (M)",
        "The most that the loss goes up along a path between any point and a later one, for t in "
        "[0, 1].",
    ),
    (
        "barrier (H)",
        "The most that the loss on a path lies above the worse of its ends; for paths between "
        "equals.",
    ),
    (
        "no gap",
        "A seed whose start is not worse than its end by more than delta: there is nothing to "
        "bridge, and it fails claims about bridges.",
    ),
    (
        "batch-norm statistics",
        "A network between two others has no statistics of its own. Recalibrated ones are computed "
        "afresh at every point of a path, from training images that are varied as in training.",
    ),
    (
        "95 % interval",
        "Of a share of seeds Clopper and Pearson's exact interval, of a mean Student's t interval "
        "over seeds; comparisons are paired by seed.",
    ),
    (
        "p (Holm)",
        "The two-sided p of the test that the interval belongs to, adjusted by Holm's method for "
        "all claims of the table.",
    ),
    (
        "verdict",
        "Supported if the whole interval is on the claimed side, contradicted if it is wholly on "
        "the other side, else undecided. Undecided: search too weak, if a positive control did "
        "not pass; undecided: measured too coarsely, if the images measured are too few.",
    ),
)


def glossary(arms: Sequence[Arm], of_rules: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return all terms with their meanings.

    Args:
        arms: Those that are shown, as their files define them.
        of_rules: What is measured under a set of rules.
    """
    own = [(arm.words, arm.definition) for arm in arms if arm.definition and not arm.repeats]
    again = "".join(f"; {arm.name} is {arm.definition}" for arm in arms if arm.repeats)
    points = (
        "start, solution",
        "The weights of an arm before and after training, written as scratch:start and scratch:end "
        f"for example{again}.",
    )
    return [*_FIRST, *own, points, *_OF_PATHS, *of_rules]
