"""The few errors of this project, split by what can be done about them.

A message is one sentence or two for the person at the terminal: what was wrong, with which value,
and what to do. Anything else that is raised is a bug and shows as one.
"""


class PurchasesError(Exception):
    """Something failed; a person reads the message. The process exits with 1."""

    exit_code = 1


class UsageError(PurchasesError):
    """A setting, an argument or a file was given wrong. The process exits with 2."""

    exit_code = 2


class NotFound(UsageError):
    """What was named is not there."""


class TooLarge(UsageError):
    """More was given than is taken at once."""


class Unavailable(PurchasesError):
    """Broker, database or disk does not answer now; waiting may help."""


class Unrecoverable(PurchasesError):
    """This client or process cannot go on, a new one can: leave, and be started again."""


class Mismatch(PurchasesError):
    """What is stored and what is there are not the same thing (topic, cluster, schema, currency).

    Going on would lose or mix data, so the message names the position and the remedy.
    """
