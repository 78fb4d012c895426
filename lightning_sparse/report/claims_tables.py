"""Claims as tables: the verdicts with their numbers, and the rules that gave them."""

from collections.abc import Sequence

from lightning_sparse.analysis.claim import ClaimResult
from lightning_sparse.analysis.triples import Triple
from lightning_sparse.report.blocks import Badge, Inline, Link, Row, Small, Table, Text
from lightning_sparse.report.findings import Findings
from lightning_sparse.report.style import NONE, VERDICT_SYMBOLS, listed, number, seed_words


def verdict_table(claims: Sequence[ClaimResult], *, has_rules: bool = True) -> Table:
    """Make the table of all verdicts.

    Args:
        claims: Judged claims; parts follow their whole as rows of level 1.
        has_rules: Whether the page has the table of rules, so that claims can link to it.
    """
    columns = ["claim", "what it says", "verdict", "estimate", "95 % interval", "seeds"]
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
    verdicts = [
        (claim.verdict, triple.claims[place].verdict)
        for place, claim in enumerate(claims)
        for triple in triples
    ]
    agree = sum(whole == part for whole, part in verdicts)
    contradict = sum({whole, part} == {"supported", "not supported"} for whole, part in verdicts)
    return (
        f"Three seeds are what a run has by default. {len(triples)} disjoint triples of these "
        f"seeds, each judged by itself: of {len(verdicts)} verdicts {agree} are those of all "
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
    cells: list[Text] = [
        claim.claim,
        statement,
        [Badge(claim.verdict)],
        estimate_words(claim),
        interval_words(claim),
        str(claim.num_seeds),
    ]
    name = "details" if level else "rule"
    rule: list[Text] = [[Link(name, f"#{rule_anchor(claim)}", claim.rule)]] if has_rules else []
    return Row(cells=[*cells, *rule], level=level)


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
