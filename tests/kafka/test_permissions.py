"""What each role must be permitted: found out from nothing, by what the messages ask for."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from streaming.kafka.acls import ROLES, Role, Rule, rules_of
from streaming.settings import Settings
from tests.deployment import Deployment
from tests.docs.pages import ROOT
from tests.in_process import run_here
from tests.kafka.acl_commands import read_line
from tests.kafka.secured import PASSWORD, Secured
from tests.support import wait_until

LACKS = re.compile(r"This user lacks the permissions? (.*?); grant (?:it|them)\.")
RESOURCE = re.compile(
    r"([A-Z_, and]+?) on (?:the (topic|group|transactional id) (\S+?)"
    r"|(topic|group|transactional id)s that begin with (\S+?))(?:, | and (?=[A-Z])|$)"
)
ROUNDS = 6
"""A command asks for all at once, and once more for what it sees only then."""


def asked_for(said: str) -> Iterator[Rule]:
    """Return the rules that a message says are lacking."""
    for sentence in LACKS.findall(said):
        for operations, kind, name, kinds, prefix in RESOURCE.findall(sentence):
            for operation in re.findall("[A-Z_]+", operations):
                yield Rule(kind or kinds, name or prefix, operation, is_prefix=bool(kinds))


class Account:
    """A user of the secured broker, who is granted what the commands ask for."""

    def __init__(self, secured: Secured, home: Path, role: Role, namespace: str) -> None:
        self.role = role
        self.granted: set[Rule] = set()
        file = str(secured.file("python", role))
        self._secured = secured
        self.deployment = Deployment(
            home, secured.secured, namespace, {"PURCHASES_KAFKA_CONFIG": file}
        )

    @property
    def expected_rules(self) -> set[Rule]:
        """The rules of the table."""
        return set(rules_of(self.role, self.deployment.settings))

    def run(self, *arguments: str) -> str:
        """Run a command, granting what it asks for until it succeeds; return what it said then."""
        for _ in range(ROUNDS):
            done = run_here("streaming", arguments, self.deployment.environment)
            assert PASSWORD not in done.stdout + done.stderr
            asked = set(asked_for(done.stderr)) - self.granted
            if not asked:
                assert done.returncode == 0, done.stderr
                return done.stdout
            self._secured.grant(self.role, asked)
            self.granted |= asked
        raise AssertionError(done.stderr)


@pytest.mark.faults
def test_what_the_messages_ask_for_is_what_the_table_lists(
    secured: Secured, tmp_path: Path, namespace: str
) -> None:
    """From no permission at all, each role is granted what it asks for, until all of it works."""
    accounts = {role: Account(secured, tmp_path, role, namespace) for role in ROLES}
    operator, dashboard = accounts["operator"], accounts["dashboard"]
    operator.run("topics", "create", "--alter")
    operator.run("topics", "create")
    accounts["producer"].run(
        "produce", "--rate", "max", "--count", "200", "--bad-share", "0.1", "--seed", "1"
    )
    accounts["processor"].run("process", "--until-caught-up")
    accounts["consumer"].run("analyze", "--until-caught-up")
    for account in (operator, dashboard):
        account.run("verify")
        account.run("dlq", "redrive", "--yes")
        wait_until(lambda: is_answering(account), 60, "the status shows no broker")  # noqa: B023
        account.run("offsets", "list")
    accounts["processor"].run("process", "--until-caught-up")
    operator.run("offsets", "reset", "processor", "--to", "earliest", "--yes")
    for role, account in accounts.items():
        needed = {
            rule for rule in account.expected_rules if not rule.without or role != "dashboard"
        }
        assert account.granted == needed, role


def is_answering(account: Account) -> bool:
    """Return whether the status shows the broker, to which it gives less than a second."""
    status = json.loads(account.deployment.run("status", "--json").stdout)
    return bool(status["broker"]["state"] == "answering")


@pytest.mark.parametrize("role", ROLES)
def test_the_printed_commands_grant_the_table(role: Role, tmp_path: Path) -> None:
    """Each rule for both command lines, with the namespace, and nothing else."""
    environment = {"PURCHASES_HOME": str(tmp_path), "PURCHASES_NAMESPACE": "shop-a"}
    options = ("topics", "acls", "--role", role, "--principal", "User:sa-123456")
    done = run_here("streaming", options, environment)
    assert done.returncode == 0, done.stderr
    lines = [line.split() for line in done.stdout.splitlines() if not line.startswith("#")]
    assert all("User:sa-123456" in words for words in lines)
    for tool in ("confluent", "kafka-acls"):
        granted = [rule for words in lines if words[0] == tool for rule in read_line(words)]
        expected = rules_of(role, Settings(home=tmp_path, namespace="shop-a"))
        assert len(granted) == len(expected)
        assert set(granted) == set(expected)


def test_one_principal_for_all_roles_gets_each_rule_once(tmp_path: Path) -> None:
    """As one process of `purchases up` needs them; without one each role has a user of its own."""
    environment = {"PURCHASES_HOME": str(tmp_path)}
    one = run_here("streaming", ("topics", "acls", "--principal", "User:up"), environment).stdout
    assert len(one.splitlines()) == len(set(one.splitlines()))
    assert one.count("\n# ") == 1
    each = run_here("streaming", ("topics", "acls"), environment).stdout
    assert {f"# User:{role} on Apache Kafka" for role in ROLES} <= set(each.splitlines())


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--role", "king"), "--role king must be one of producer, processor"),
        (("--principal", "sa-1"), "--principal 'sa-1' must be User:NAME"),
        (("--principal", "User:a; rm -r b"), "must be User:NAME"),
    ],
)
def test_what_is_typed_wrong_is_said(options: tuple[str, ...], words: str, tmp_path: Path) -> None:
    """In one sentence, and nothing is printed that a shell would run."""
    done = run_here("streaming", ("topics", "acls", *options), {"PURCHASES_HOME": str(tmp_path)})
    assert (done.returncode, done.stdout) == (2, "")
    assert words in done.stderr


def test_the_docs_have_the_table(tmp_path: Path) -> None:
    """Of each role: topics, groups and ids with their operations, in the table's order."""
    page = (ROOT / "docs" / "how-to" / "connect-a-kafka-cluster.md").read_text()
    rows = re.findall(r"^\| (\w+) \| ([a-z ]+?)s? `(\S+?)` *\| ([A-Z_, ]+) \|$", page, re.MULTILINE)
    documented = [
        (role, kind, name.removesuffix("…"), operation, name.endswith("…"))
        for role, kind, name, operations in rows
        for operation in operations.split(", ")
    ]
    assert documented == [
        (role, rule.kind, rule.name, rule.operation, rule.is_prefix)
        for role in ROLES
        for rule in in_order(rules_of(role, Settings(home=tmp_path)))
    ]


def in_order(rules: list[Rule]) -> list[Rule]:
    """Return rules of one topic, group or id beside each other, as pages and commands have them."""
    first: dict[tuple[str, str], int] = {}
    for number, rule in enumerate(rules):
        first.setdefault((rule.kind, rule.name), number)
    return sorted(rules, key=lambda rule: first[rule.kind, rule.name])
