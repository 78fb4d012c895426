import io

from rich.console import Console

from lightning_sparse.report.claims_tables import estimate_words, interval_words
from lightning_sparse.report.style import VERDICT_SYMBOLS
from lightning_sparse.report.terminal import print_claims


def printed(claims, width=140):
    console = Console(file=io.StringIO(), width=width)
    print_claims(claims, console)
    return console.file.getvalue().splitlines()


def test_every_claim_and_part_is_a_line_with_its_verdict_and_numbers(claims):
    lines = [" ".join(line.split()) for line in printed(claims)]
    for result in (result for claim in claims for result in (claim, *claim.parts)):
        (line,) = [
            line for line in lines if line.startswith(f"{result.claim} {result.statement[:9]}")
        ]
        assert f"{VERDICT_SYMBOLS[result.verdict]} {result.verdict} " in line
        assert line.endswith(f"{estimate_words(result)} {interval_words(result)} 3")


def test_the_last_line_counts_the_verdicts(claims):
    verdicts = [claim.verdict for claim in claims]
    assert set(verdicts) == {"supported", "undecided"}
    expected = (
        f"Of 9 claims: {verdicts.count('supported')} supported and "
        f"{verdicts.count('undecided')} undecided."
    )
    assert printed(claims)[-1] == expected


def test_a_narrow_terminal_keeps_verdicts_whole(claims):
    lines = printed(claims, width=80)
    assert max(map(len, lines)) <= 80
    assert sum("✓ supported" in line for line in lines) >= 1
