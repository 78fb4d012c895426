import pytest

from lightning_sparse.analysis.triples import Triple
from lightning_sparse.errors import UserError
from lightning_sparse.report.readme import markers, update_readme
from tests.report.conftest import HOSTILE

BEGIN, END = markers("digits")


@pytest.fixture
def readme(tmp_path):
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "headline.png").write_bytes(b"picture")
    file = tmp_path / "README.md"
    file.write_text(f"# Title\n\n{BEGIN}\nold results\n{END}\n\nThe rest.\n", encoding="utf-8")
    return file


def update(readme, records, claims, figure="results/headline.png", triples=()):
    update_readme(readme, "digits", records, claims, triples, readme.parent / figure)
    return readme.read_text(encoding="utf-8")


def test_results_replace_what_is_between_the_markers_and_nothing_else(readme, records, claims):
    text = update(readme, records, claims)
    assert text.startswith(f"# Title\n\n{BEGIN}\n\n![")
    assert text.endswith(f"\n\n{END}\n\nThe rest.\n")
    assert "old results" not in text
    assert "](results/headline.png)" in text
    assert "seeds 11 to 13: 42 trained networks and 39 paths." in text


def test_every_claim_has_its_row(readme, records, claims):
    text = update(readme, records, claims)
    for claim in claims:
        (row,) = [line for line in text.splitlines() if line.startswith(f"| {claim.claim} |")]
        assert claim.statement in row
        assert f" {claim.verdict}**" in row


def test_triples_of_seeds_follow_the_claims_where_there_are_some(readme, records, claims):
    without = update(readme, records, claims)
    triple = Triple(seeds=(12, 13, 14), claims=tuple(claims))
    text = update(readme, records, claims, triples=[triple, triple])
    assert "triples" not in without
    assert "| claim | all seeds | seeds 12 to 14 | seeds 12 to 14 |" in text


def test_updating_twice_changes_nothing_more(readme, records, claims):
    assert update(readme, records, claims) == update(readme, records, claims)


def test_names_from_records_are_escaped(readme, records, claims):
    assert HOSTILE.startswith("<script>")
    assert "<script" not in update(readme, records, claims)


def test_two_experiments_stand_side_by_side(readme, records, claims):
    begin, end = markers("other")
    readme.write_text(f"{readme.read_text()}\n{begin}\n{end}\n", encoding="utf-8")

    text = update(readme, records, claims)

    assert text.endswith(f"{END}\n\nThe rest.\n\n{begin}\n{end}\n")


@pytest.mark.parametrize(
    "text",
    ["no markers", f"{BEGIN}", f"{END}\n{BEGIN}", f"{BEGIN}{END}{END}", f"{BEGIN}{BEGIN}{END}"],
)
def test_markers_that_are_missing_doubled_or_swapped_are_refused(readme, records, claims, text):
    readme.write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match="once each and in this order"):
        update(readme, records, claims)
    assert readme.read_text(encoding="utf-8") == text


def test_a_figure_that_is_not_there_or_lies_outside_is_refused(readme, records, claims, tmp_path):
    with pytest.raises(UserError, match="no such file"):
        update(readme, records, claims, figure="results/other.png")
    (tmp_path / "elsewhere").mkdir()
    inner = tmp_path / "elsewhere" / "README.md"
    inner.write_text(f"{BEGIN}{END}", encoding="utf-8")
    with pytest.raises(UserError, match="must lie below"):
        update(inner, records, claims, figure="../results/headline.png")


def test_a_readme_that_is_not_there_is_refused(tmp_path, records, claims):
    with pytest.raises(UserError, match="no file"):
        update_readme(
            tmp_path / "README.md", "digits", records, claims, [], tmp_path / "headline.png"
        )
