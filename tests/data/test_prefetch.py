import pytest
import torch

from lightning_sparse.data import prefetch
from lightning_sparse.data.prefetch import one_ahead
from tests.data.test_loader import assert_equal_batches, epochs, order, tensor_loader
from tests.training.problems import make_data

CPU = torch.device("cpu")
ELSEWHERE = torch.device("meta")  # stands for an accelerator


class OnTheHost:
    """Takes the turns that a transfer to a GPU takes, without one."""

    def __init__(self):
        self.turns = []

    def fetch(self, batches):
        batch = next(batches, None)
        self.turns.append("fetch" if batch else "end")
        return batch

    def hand_over(self, batch):
        self.turns.append("hand over")


@pytest.fixture
def transfer(monkeypatch):
    transfer = OnTheHost()
    monkeypatch.setattr(prefetch, "transfer_to", lambda _: transfer)
    return transfer


def numbered(number):
    return torch.full((2,), float(number)), torch.tensor([number])


def test_on_a_cpu_nothing_is_asked_for_in_advance():
    asked = []
    batches = one_ahead((asked.append(i) or numbered(i) for i in range(3)), CPU)
    assert_equal_batches([next(batches)], [numbered(0)])
    assert asked == [0]


def test_the_next_batch_is_under_way_while_one_is_used(transfer):
    seen = []
    for batch in one_ahead(map(numbered, range(3)), ELSEWHERE):
        seen.append(batch)
        transfer.turns.append("use")

    assert_equal_batches(seen, [numbered(i) for i in range(3)])
    assert transfer.turns == [
        "fetch", "fetch", "hand over", "use", "fetch", "hand over", "use", "end", "hand over", "use"
    ]  # fmt: skip


def test_no_batch_gives_none(transfer):
    assert list(one_ahead([], ELSEWHERE)) == []
    assert transfer.turns == ["end"]


def on_its_way():
    loader = tensor_loader()
    loader.device = ELSEWHERE
    return loader


@pytest.mark.parametrize("consumed", [0, 1, 3, 4, 5, 7])
def test_the_position_counts_what_was_given_out_and_not_what_is_under_way(transfer, consumed):
    expected = epochs(tensor_loader(), 3)
    loader, seen = on_its_way(), []
    while len(seen) < consumed:
        for images, labels in loader:
            seen.append((images.clone(), labels.clone()))
            if len(seen) == consumed:
                break

    state = loader.state_dict()
    resumed = on_its_way()
    resumed.load_state_dict(state)
    rest = epochs(resumed, 3)

    assert state["position"] == consumed
    assert transfer.turns.count("fetch") > consumed or consumed in {0, len(order())}
    assert_equal_batches(seen + rest[: len(expected) - consumed], expected)


@pytest.mark.gpu
def test_batches_that_are_fetched_in_advance_are_those_that_are_not():
    data = make_data()
    plain = epochs(data.train_dataloader(), 3)
    loader = data.train_dataloader()
    loader.device = torch.device("cuda", 0)

    ahead = []
    for _ in range(3):
        for images, labels in loader:
            torch.cuda._sleep(10_000_000)  # the work on a batch; copies overtake it
            ahead.append((images * 1, labels * 1))

    assert all(images.is_cuda and labels.is_cuda for images, labels in ahead)
    assert_equal_batches([(images.cpu(), labels.cpu()) for images, labels in ahead], plain)


@pytest.mark.gpu
def test_memory_that_is_used_again_is_read_before_it_is_overwritten():
    memory = torch.empty(1024, 1024, pin_memory=True)

    def batches():
        for number in range(20):
            memory.fill_(number)
            yield memory, torch.tensor([number])

    sums = []
    for images, labels in one_ahead(batches(), torch.device("cuda", 0)):
        torch.cuda._sleep(10_000_000)
        sums.append(((images == labels).all(), labels))

    assert all(bool(is_equal) for is_equal, _ in sums)
    assert [int(number) for _, number in sums] == list(range(20))
