"""Names that steer a terminal: no command prints one, and the logs do not either."""

import io
import json
import re
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from confluent_kafka import Producer
from rich.text import Text

from streaming.cli.console import PrintableConsole
from streaming.formatting import printable_json, printable_text
from streaming.system.logs import configure_logs, get_logger
from tests.deployment import Deployment
from tests.docs.cli_reference import commands

HOSTILE = "\x1b]0;owned\x07\x1b[2J\x9b2J\x7f\u202egnp\u2028tea\U000e0041\r\nFORGED"
"""A window's title, an erased screen, by C1 too, a turned direction, a hidden tag, a line of its
own."""
COLOURS = re.compile(r"\x1b\[[0-9;]*m")
"""What rich draws by itself."""
LINES = (
    "topics create --json",
    "topics list",
    "topics list --json",
    "topics acls",
    "topics peek purchases",
    "topics peek purchases --key {hostile} --json",
    "topics peek {hostile} --offset {hostile}",
    "schemas show",
    "schemas show {hostile}",
    "schemas register",
    "schemas check --json",
    "produce --rate max --count 1 --json",
    "db upgrade --json",
    "status",
    "status --json",
    "totals",
    "totals --json",
    "sql query {select}",
    "sql query {select} --format csv",
    "sql query {select} --format json",
    "sql query {hostile}",
    "sql drop {hostile}",
    "verify",
    "verify --json",
    "dlq list",
    "dlq list --json",
    "dlq show {dead_letter}",
    "dlq show {dead_letter} --json",
    "dlq redrive --key {hostile}",
    "dlq redrive --json",
    "dlq drop {dead_letter} --because {hostile} --yes",
    "dlq drop {dead_letter} --because {hostile} --json",
    "export-customer {hostile}",
    "export-customer {hostile} --format csv",
    "export-customer nobody-{hostile}",
    "erase --user {hostile}",
    "erase --order nobody-{hostile}",
    "forget-host {hostile}",
    "offsets list",
    "offsets list --json",
    "offsets reset {hostile} --to earliest",
    "replay {file}",
    "replay {hostile}.csv",
    "export {hostile}",
    "backfill --from {hostile} --to {hostile}",
    "db backup --json",
    "db rebuild --json",
    "db columns rebuild --json",
    "db restore {hostile}",
    "db move --to {hostile}",
    "doctor",
    "doctor --json",
    "logs processor",
    "logs {hostile}",
    "open {hostile}",
    "reset",
    "broker start",
    "broker stop",
    "broker status --json",
)
SELECT = f'SELECT item, description AS "{HOSTILE}" FROM analytics_event'
"""All columns and names of a question are others' texts."""
DRAWN = ("status", "dlq list")
"""Tables, which a terminal gets in colours."""
NOT_RUN = {
    "purchases process": "it prints its log alone",
    "purchases analyze": "it prints its log alone",
    "purchases env": "it prints paths of this host, exactly, because a shell evaluates them",
    "purchases up": "its view is drawn on the console, and ends with Ctrl-C",
    "purchases down": "it would end the processes of others, and prints no name of anybody",
    "purchases dashboard": "it prints its address, and logs, until Ctrl-C",
}


def send_hostile(deployment: Deployment) -> None:
    """Send a purchase all of whose texts are hostile, and one that is refused."""
    producer = Producer({"bootstrap.servers": deployment.bootstrap_servers})
    now = datetime.now(UTC).isoformat()
    good = {"item": HOSTILE, "quantity": 1_000_000, "unit_price": "0.01", "timestamp": now}
    good |= dict.fromkeys(("user", "order_id", "description", "country"), HOSTILE)
    for value in (good, good | {"unit_price": HOSTILE}, good | {HOSTILE: HOSTILE}):
        producer.produce(
            deployment.topic("purchases"),
            json.dumps(value, ensure_ascii=False).encode(),
            HOSTILE.encode(),
            headers=[(HOSTILE, HOSTILE.encode())],
        )
    assert producer.flush(60) == 0


def test_no_command_prints_what_steers_a_terminal(deployment: Deployment) -> None:
    """Piped and drawn in colours: each character prints, and no line is another's."""
    assert {name for name, _ in commands()} - NOT_RUN.keys() == set(names_of(LINES))
    whole = deployment.whole()
    send_hostile(whole)
    whole.process()
    whole.analyze()
    file = whole.home / "sales.csv"
    file.write_text(f'"{HOSTILE}",item\n1,2\n')
    words = {"hostile": HOSTILE, "file": str(file), "dead_letter": "", "select": SELECT}
    for more, lines in (({}, LINES), ({"FORCE_COLOR": "1", "COLUMNS": "200"}, DRAWN)):
        for line in lines:
            if "{dead_letter}" in line:
                partition, offset = whole.rows(
                    "SELECT origin_partition, origin_offset FROM dead_letter"
                )[0]
                words["dead_letter"] = f"{partition}:{offset}"
            arguments = [word.format(**words) for word in line.split()]
            done = replace(whole, more=more).run(*arguments)
            said = COLOURS.sub("", done.stdout + done.stderr)
            wrong = {c for c in said if not c.isprintable()} - {"\n"}
            assert not wrong, (line, said)
            assert "\nFORGED" not in said, (line, said)
    assert whole.count("analytics_event") > 0
    assert HOSTILE in {item for (item,) in whole.rows("SELECT item FROM analytics_event")}
    popular = json.loads(whole.succeed("totals", "--json"))["most_popular_item"]["item"]
    assert popular == HOSTILE


def names_of(lines: tuple[str, ...]) -> Iterator[str]:
    """Yield the names of the commands that the lines run."""
    names = {name for name, _ in commands()}
    for line in lines:
        words = f"purchases {line}".split()
        yield next(name for n in (4, 3, 2) if (name := " ".join(words[:n])) in names)


def test_a_console_draws_no_escape_of_others() -> None:
    """Also if a renderer forgot to escape it; colours of its own stay."""
    file = io.StringIO()
    console = PrintableConsole(file=file, force_terminal=True, width=200)
    console.print(Text(HOSTILE, style="red"))
    drawn = file.getvalue()
    assert "\x1b[31m" in drawn
    assert all(c.isprintable() or c == "\n" for c in COLOURS.sub("", drawn))


def test_a_log_on_a_terminal_prints_no_escape_of_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a broker, a file or an error says; in JSON it is escaped anyhow."""

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    for stream in (Terminal(), io.StringIO()):
        monkeypatch.setattr(sys, "stderr", stream)
        configure_logs()
        error = ValueError(HOSTILE)
        get_logger().warning("kafka_error", error=HOSTILE, listed=[HOSTILE], exc_info=error)
        said = COLOURS.sub("", stream.getvalue())
        assert "kafka_error" in said
        assert {c for c in said if not c.isprintable()} <= {"\n"}, said


def test_escaped_json_says_the_same() -> None:
    """Every character comes back, beyond the first 65,536 too."""
    text = json.dumps({"item": HOSTILE + "🫖é"}, ensure_ascii=False)
    assert json.loads(printable_json(text)) == json.loads(text)
    assert printable_json(text).isprintable()
    assert printable_text("🫖 tea, 5 £") == "🫖 tea, 5 £"
