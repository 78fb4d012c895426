"""What the fields of methods and distributions may hold, said in one line where they do not."""

from lightning_sparse.errors import UserError


def check_sparsity(field: str, value: object) -> None:
    """Refuse what is not a fraction in [0, 1), percent above all.

    Raises:
        UserError: Naming the field, its value and the remedy.
    """
    # Exact types: true is an integer to Python, and NumPy's numbers would spoil a checkpoint.
    if not (type(value) is int or type(value) is float) or not 0 <= value < 1:
        raise UserError(
            f"{field}={value!r}: must be a fraction in [0, 1), not percent; try {field}=0.98"
        )


def check_count(field: str, value: object, *, minimum: int) -> None:
    """Refuse what is not an integer of at least ``minimum``.

    Raises:
        UserError: Naming the field, its value and the remedy.
    """
    if type(value) is not int or value < minimum:
        raise UserError(f"{field}={value!r}: must be an integer of at least {minimum}")


def check_window(start_step: int, end_step: int) -> None:
    """Refuse what is no stretch of optimizer steps.

    Raises:
        UserError: Naming the field, its value and the remedy.
    """
    check_count("start_step", start_step, minimum=0)
    check_count("end_step", end_step, minimum=1)
    if end_step <= start_step:
        raise UserError(f"end_step={end_step}: must come after start_step={start_step}")


def check_end(end_step: int, num_steps: int) -> None:
    """Refuse a run that ends before the masks are what they are to be.

    Raises:
        UserError: Naming both.
    """
    if end_step > num_steps:
        raise UserError(
            f"end_step={end_step}: the run ends at step {num_steps}, before the sparsity is "
            "reached; lower it, or train longer"
        )
