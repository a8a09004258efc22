"""What the printed commands of `topics acls` grant.

As a program it stands for Confluent's command line, which needs an account: it grants what it is
called with on the secured broker whose plaintext address is in `TESTS_PLAINTEXT`.
"""

import os
import re
import sys
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import cast

from confluent_kafka.admin import AdminClient

from streaming.kafka.acls import Kind, Operation, Rule
from tests.kafka.secured import binding


def read_line(words: Sequence[str]) -> Iterator[Rule]:
    """Return the rules that a printed command grants, of either command line."""
    kinds: dict[str, Kind] = {
        "--topic": "topic",
        "--group": "group",
        "--consumer-group": "group",
        "--transactional-id": "transactional id",
    }
    option = next(word for word in words if word in kinds)
    name = words[words.index(option) + 1]
    values = [after for word, after in pairwise(words) if word in {"--operation", "--operations"}]
    for operation in ",".join(values).split(","):
        snake_case = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", operation).replace("-", "_").upper()
        prefix = words[-1] in {"--prefix", "prefixed"}
        yield Rule(kinds[option], name, cast("Operation", snake_case), is_prefix=prefix)


def grant(words: Sequence[str]) -> None:
    """Grant what a command grants to its principal."""
    user = words[words.index("--principal") + 1].removeprefix("User:")
    admin = AdminClient({"bootstrap.servers": os.environ["TESTS_PLAINTEXT"]})
    for made in admin.create_acls([binding(rule, user) for rule in read_line(words)]).values():
        made.result(60)


if __name__ == "__main__":
    assert sys.argv[1:4] == ["kafka", "acl", "create"]
    grant(sys.argv)
