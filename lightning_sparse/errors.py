"""The one exception that reaches the user as a sentence instead of a traceback, and its form."""


class UserError(Exception):
    """Something the user asked for cannot be done, and the message says how to mend it.

    The command line prints the message alone and exits with status 2. Raise it for what the user
    can mend (a field, a file, a missing data set); let every other exception keep its traceback.
    A good message names the field, its value and the remedy::

        raise UserError(f"sparsity={value}: must lie in [0, 1); try sparsity=0.98")
    """


def as_line(text: str) -> str:
    r"""Return ``text`` as one line that is safe to show: nothing in it can steer a terminal.

    Messages quote file names and records, which may be a stranger's.

    Example:
        >>> as_line("two\n  lines, \x1b[31mred")
        'two lines, \\x1b[31mred'
    """
    joined = " ".join(text.split())
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in joined)
