import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from lightning_sparse.decoding import decoded, decoded_with_nulls, plain
from lightning_sparse.errors import UserError


@dataclass(frozen=True, kw_only=True)
class Group:
    rate: float
    steps: Sequence[int]
    limit: float = 1.0

    def __post_init__(self):
        if self.rate <= 0:
            raise UserError(f"rate={self.rate}: must be above 0")


@dataclass(frozen=True, kw_only=True)
class Tree:
    group: Group
    chosen: Mapping[str, Any]
    name: str | None


SAID = {"group": {"rate": 1, "steps": [1, 2], "limit": 2}, "chosen": {"size": 3}, "name": None}


def test_values_come_back_as_they_were_said():
    assert json.dumps(plain(decoded(Tree, SAID))) == json.dumps(SAID)


def test_what_is_not_said_is_the_default_or_one_line():
    tree = decoded(Tree, {**SAID, "group": {"rate": 1, "steps": []}})
    assert tree.group == Group(rate=1, steps=[], limit=1.0)
    with pytest.raises(UserError, match=r"^group\.steps: is not given"):
        decoded(Tree, {**SAID, "group": {"rate": 1}})


def test_what_is_no_setting_stands_beside_them():
    @dataclass(frozen=True, kw_only=True)
    class Composed(Tree):
        words: tuple[str, ...]

    tree = decoded(Composed, SAID, words=("name=null",))
    assert tree.words == ("name=null",)
    assert plain(tree, Tree) == SAID


def test_what_another_version_lacks_is_null_and_nothing_is_checked():
    tree = decoded_with_nulls(Tree, {"group": {"rate": -1}, "more": 1})
    assert (tree.group.rate, tree.group.steps, tree.chosen) == (-1, None, None)
    assert decoded_with_nulls(Tree, {}).group is None
