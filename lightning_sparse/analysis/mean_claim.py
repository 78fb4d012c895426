"""A claim about the mean over seeds, decided by Student's t interval: rules 2."""

import dataclasses

from lightning_sparse.analysis.claim import Claim, ClaimResult, Evidence
from lightning_sparse.analysis.statistics import t_test

_MEAN_RULE = (
    "Supported if the 95 % Student t interval over seeds lies wholly {side} 0, contradicted if it "
    "lies wholly on the other side, else undecided."
)


def judge_mean(claim: Claim, evidence: Evidence) -> ClaimResult:
    """Decide on the mean over seeds, as rules 1 do, in the words of rules 2."""
    claim = dataclasses.replace(
        claim, rule=f"{claim.rule} {_MEAN_RULE.format(side=claim.side)}", refuted="contradicted"
    )
    return dataclasses.replace(
        claim.judge(evidence),
        rules=2,
        by_seed=dict(sorted(evidence.values.items())),
        p=t_test(list(evidence.values.values())),
    )
