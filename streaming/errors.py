"""The errors of this project, split by what can be done about them.

A message is one or two sentences for the person at the terminal: what was wrong, with which value,
and what to do. Any other exception is a bug, and shows with its traceback.
"""


class PurchasesError(Exception):
    """A failure whose message a person reads. The process exits with 1."""

    exit_code = 1


class UsageError(PurchasesError):
    """An invalid setting, argument or file. The process exits with 2."""

    exit_code = 2


class NotFound(UsageError):
    """A named thing that does not exist."""


class TooLarge(UsageError):
    """An input that is larger than its limit."""


class Unavailable(PurchasesError):
    """A broker, database or disk that does not answer now; waiting may help."""


class Unrecoverable(PurchasesError):
    """A client or process that cannot continue, while a new one can: leave and start again."""


class Mismatch(PurchasesError):
    """A stored identity that differs from the present one (topic, cluster, schema, currency).

    To continue would lose or mix data, so the message names the position and the remedy.
    """
