import pytest

from lightning_sparse.errors import UserError
from lightning_sparse.settings.compose import compose_settings


def accumulated(*overrides):
    settings = compose_settings(["experiment=imagenet", *overrides])
    return settings.trainer["accumulate_grad_batches"]


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        ((), 2),
        (("trainer.num_nodes=2",), 1),
        (("trainer.devices=1",), 16),
        (("trainer.devices=[3]",), 16),
        (("trainer.devices=4", "batch_size=128"), 8),
        (("trainer.devices=1", "trainer.accumulate_grad_batches=16"), 16),
    ],
)
def test_accumulation_follows_from_the_images_per_step(overrides, expected):
    assert accumulated(*overrides) == expected


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ("trainer.accumulate_grad_batches=4",),
            r"batch_size=256 x trainer\.devices=8 x trainer\.num_nodes=1 x "
            r"trainer\.accumulate_grad_batches=4 is 8,192 images per optimizer step, and the "
            r"recipe's global_batch_size=4,096 is another: say batch_size=256 and leave",
        ),
        (("batch_size=300",), r"is 2,400 images .*: say batch_size=256 and leave"),
        (("trainer.num_nodes=4",), r"is 8,192 images .* is less: say batch_size=128, or use fewer"),
        (("trainer.devices=6",), r"cannot be shared by 6 devices: choose a number that divides it"),
        (("trainer.devices=auto",), r"trainer\.devices=auto: .* say how many there are"),
        (("trainer.devices=-1",), r"trainer\.devices=-1: .* say how many there are"),
        (("global_batch_size=0",), r"global_batch_size=0: must be at least 1"),
    ],
)
def test_another_number_of_images_per_step_is_refused_with_the_arithmetic(overrides, message):
    with pytest.raises(UserError, match=message):
        accumulated(*overrides)


def test_without_a_recipe_any_number_will_do():
    settings = compose_settings(["trainer.devices=3", "+trainer.accumulate_grad_batches=5"])
    assert settings.trainer["accumulate_grad_batches"] == 5
    assert "accumulate_grad_batches" not in compose_settings([]).trainer
