"""Claims as tables: the verdicts with their numbers, and the rules that gave them."""

from collections.abc import Sequence

from lightning_sparse.analysis.claim import ClaimResult
from lightning_sparse.analysis.triples import Triple, agreement
from lightning_sparse.report.blocks import Badge, Inline, Link, Row, Small, Table, Text
from lightning_sparse.report.findings import Findings
from lightning_sparse.report.style import NONE, VERDICT_SYMBOLS, listed, number, seed_words

_SIZE_WORDS = {3: ("Three", "triples"), 6: ("Six", "sixes")}


def verdict_table(claims: Sequence[ClaimResult], *, has_rules: bool = True) -> Table:
    """Make the table of all verdicts.

    Args:
        claims: Judged claims; parts follow their whole as rows of level 1.
        has_rules: Whether the page has the table of rules, so that claims can link to it.
    """
    columns = ["claim", "what it says", "verdict", "estimate", "95 % interval", "seeds"]
    if _are_of_rules_2(claims):
        columns.append("p (Holm)")
    numeric = frozenset(columns[3:])
    return Table(
        columns=[*columns, "rule"] if has_rules else columns,
        rows=[
            row
            for claim in claims
            for row in (
                _verdict_row(claim, 0, has_rules=has_rules),
                *(_verdict_row(part, 1, has_rules=has_rules) for part in claim.parts),
            )
        ],
        numeric=numeric,
    )


def summary_table(claims: Sequence[ClaimResult]) -> Table:
    """Make the table of one row per claim, without parts, rules and notes."""
    return Table(
        columns=["claim", "what it says", "verdict", "estimate", "95 % interval", "seeds"],
        rows=[
            Row(
                cells=[
                    claim.claim,
                    claim.statement,
                    _verdict_cell(claim),
                    estimate_words(claim),
                    interval_words(claim),
                    str(claim.num_seeds),
                ]
            )
            for claim in claims
        ],
        numeric=frozenset({"estimate", "95 % interval", "seeds"}),
    )


def rules_table(claims: Sequence[ClaimResult], findings: Findings) -> Table:
    """Make the table of decision rules, with the records behind each claim or its parts."""
    return Table(
        columns=["claim", "rule and remarks", "seeds", "records"],
        rows=[
            row
            for claim in claims
            for row in (
                _rule_row(claim, 0, findings),
                *(_rule_row(part, 1, findings) for part in claim.parts),
            )
        ],
    )


def triples_table(claims: Sequence[ClaimResult], triples: Sequence[Triple]) -> Table:
    """Make the table of what three seeds alone would have said, beside what all say."""
    names = [f"seeds {seed_words(triple.seeds)}" for triple in triples]
    return Table(
        columns=["claim", "all seeds", *names],
        rows=[
            Row(
                cells=[
                    claim.claim,
                    [Badge(claim.verdict)],
                    *([Badge(triple.claims[place].verdict)] for triple in triples),
                ]
            )
            for place, claim in enumerate(claims)
        ],
    )


def triples_sentence(claims: Sequence[ClaimResult], triples: Sequence[Triple]) -> str:
    """Count in words how often triples agree with the whole, and how often they contradict it."""
    total, agree, contradict = agreement(claims, triples)
    size, groups = _SIZE_WORDS[len(triples[0].seeds)]
    return (
        f"{size} seeds are what a run has by default. {len(triples)} disjoint {groups} of these "
        f"seeds, each judged by itself: of {total} verdicts {agree} are those of all "
        f"seeds, {contradict} contradict them, and the others differ in what is undecided."
    )


def verdict_sentence(claims: Sequence[ClaimResult]) -> str:
    """Count the verdicts in words.

    Example:
        >>> verdict_sentence([])
        'No claim has been judged yet.'
    """
    if not claims:
        return "No claim has been judged yet."
    verdicts = [claim.verdict for claim in claims]
    counts = [
        f"{verdicts.count(verdict)} {verdict}" for verdict in VERDICT_SYMBOLS if verdict in verdicts
    ]
    return f"Of {len(claims)} claims: {listed(counts)}."


def estimate_words(claim: ClaimResult) -> str:
    """Write the estimate, or a dash where there is none."""
    return NONE if claim.estimate is None else number(claim.estimate)


def interval_words(claim: ClaimResult) -> str:
    """Write the interval, or a dash where there is none."""
    if claim.interval is None:
        return NONE
    return f"{number(claim.interval[0])} to {number(claim.interval[1])}"


def rule_anchor(claim: ClaimResult) -> str:
    """Return the anchor of a claim's row in the table of rules."""
    return f"rule-{claim.claim.replace(':', '').replace(' ', '-')}"


def _verdict_row(claim: ClaimResult, level: int, *, has_rules: bool) -> Row:
    statement: list[Inline] = [claim.statement]
    if level == 0:
        # The parts have the same unit, and their remarks stand beside their records.
        statement.append(Small(f"Estimate: {claim.unit}."))
        statement += [Small(f"Note: {claim.note}.")] if claim.note else []
        statement += [Small(f"To decide it: {claim.outlook}.")] if claim.outlook else []
    cells: list[Text] = [
        claim.claim,
        statement,
        _verdict_cell(claim),
        estimate_words(claim),
        interval_words(claim),
        str(claim.num_seeds),
    ]
    if claim.rules > 1:
        cells.append(NONE if claim.adjusted_p is None else number(claim.adjusted_p, 2))
    name = "details" if level else "rule"
    rule: list[Text] = [[Link(name, f"#{rule_anchor(claim)}", claim.rule)]] if has_rules else []
    return Row(cells=[*cells, *rule], level=level)


def _verdict_cell(claim: ClaimResult) -> list[Inline]:
    badge: list[Inline] = [Badge(claim.verdict)]
    return [*badge, claim.qualifier] if claim.qualifier else badge


def _are_of_rules_2(claims: Sequence[ClaimResult]) -> bool:
    return any(claim.rules > 1 for claim in claims)


_JUDGED = (
    "What was judged in each seed. A: R on the line. B: the least R of all that was searched "
    "inside the mask. C: R of the dense quadratic. Controls: H of the curve. All in nats, as are "
    "C1, D2 and D4, which are differences; D1 and D3 are differences of accuracies."
)


def seeds_table(claims: Sequence[ClaimResult], caption: str = _JUDGED) -> Table:
    """Make the table of what was judged in each seed, one column per claim or part of it.

    Args:
        claims: Judged claims.
        caption: What the numbers of each are.
    """
    judged = [
        shown
        for claim in claims
        for shown in ([*claim.parts] if claim.shows_a_part else [claim, *claim.parts])
        if shown.by_seed
    ]
    seeds = sorted({seed for claim in judged for seed in claim.by_seed})
    columns = [claim.claim for claim in judged]
    return Table(
        columns=["seed", *columns],
        rows=[
            Row(
                [
                    str(seed),
                    *(
                        number(claim.by_seed[seed]) if seed in claim.by_seed else NONE
                        for claim in judged
                    ),
                ]
            )
            for seed in seeds
        ],
        caption=caption,
        numeric=frozenset(columns),
    )


def _rule_row(claim: ClaimResult, level: int, findings: Findings) -> Row:
    remarks: list[Inline] = [Small(f"Remarks: {claim.note}.")] if claim.note else []
    return Row(
        cells=[
            claim.claim,
            # A part is judged by the rule of its whole, which stands above it.
            [claim.statement if level else claim.rule, *remarks],
            ", ".join(map(str, claim.seeds)),
            [] if claim.parts else findings.references(claim.records),
        ],
        anchor=rule_anchor(claim),
        level=level,
    )
