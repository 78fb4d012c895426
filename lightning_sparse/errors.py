"""The one exception that reaches the user as a sentence instead of a traceback."""


class UserError(Exception):
    """Something the user asked for cannot be done, and the message says how to mend it.

    The command line prints the message alone and exits with status 2. Raise it for what the user
    can mend (a field, a file, a missing data set); let every other exception keep its traceback.
    A good message names the field, its value and the remedy::

        raise UserError(f"sparsity={value}: must lie in [0, 1); try sparsity=0.98")
    """
