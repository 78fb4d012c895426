import pytest

from lightning_sparse.errors import UserError
from lightning_sparse.points import Point, parse_point

LETTERS = {
    "D-start": "dense:start",
    "D-end": "dense:end",
    "D2-end": "dense2:end",
    "P-end": "prune:end",
    "S-start": "scratch:start",
    "L-end": "lottery:end",
}


@pytest.mark.parametrize(
    ("text", "point"),
    [
        ("scratch:end", Point("scratch", "end")),
        ("rigl:start", Point("rigl", "start")),
        ("prune:100", Point("prune", 100)),
        ("prune:0", Point("prune", 0)),
        ("runs/NAME:end", Point("runs/NAME", "end")),
        ("/a b/c:d:7", Point("/a b/c:d", 7)),
    ],
)
def test_a_point_is_a_run_and_a_moment_and_is_written_as_it_was_read(text, point):
    assert parse_point(text) == point
    assert str(point) == text


@pytest.mark.parametrize(("letters", "today"), LETTERS.items())
def test_the_letters_of_earlier_versions_are_the_points_they_were(letters, today):
    assert str(parse_point(letters)) == today
    assert parse_point(today).letters == letters


@pytest.mark.parametrize(
    "text", ["", "scratch", ":end", "scratch:", "scratch:middle", "prune:-1", "prune:1.5", "X-end",
             "prune:\N{ARABIC-INDIC DIGIT ONE}", "S-100"],
)  # fmt: skip
def test_what_names_no_run_or_no_moment_is_refused_with_an_example(text):
    with pytest.raises(UserError, match="is no point; write an arm or a run folder, and a moment"):
        parse_point(text)


def test_an_arm_of_today_has_no_letters():
    assert parse_point("rigl:end").letters is None
