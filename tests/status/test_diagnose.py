"""What a status says is wrong, from records alone."""

from dataclasses import dataclass

import msgspec
import pytest
from msgspec import Struct, structs

from streaming.runtime.counters import Rates, RecentRecords, WorkerPosition
from streaming.runtime.crash_loop import SlotRestarts
from streaming.runtime.status_file import WorkerStatus
from streaming.status.contents import list_unknown_fields, sum_prices, sum_refusals
from streaming.status.diagnose import FINE, status_of_app, with_problems
from streaming.status.model import (
    AppStatus,
    Broker,
    DatabaseStatus,
    Disk,
    PartitionStatus,
    PriceShare,
    Problem,
    Section,
    SlotStatus,
    Status,
    UnknownField,
)
from streaming.status.slots import SlotReport, slot_state, slot_status, worst_state
from tests.docs.pages import ROOT

NOW = 1_000_000.0
GIB = 2**30


def worker(state: str = "running", age: float = 1, **more: object) -> WorkerStatus:
    """Return the file of a worker that wrote `age` seconds ago."""
    written = WorkerStatus("processor", 0, 7, state=state, started_at=NOW - 100)
    return structs.replace(written, updated_at=NOW - age, **more)


@dataclass(frozen=True)
class Case:
    """Who holds the lease, what was written, what the supervisor says, and the state it makes."""

    state: str
    pid: int | None = 7
    written: WorkerStatus | None = None
    supervised: SlotRestarts | None = None
    detail: str = ""


CASES = [
    Case("running", written=worker()),
    Case("caught_up", written=worker("caught_up")),
    Case("behind", written=worker(lag_seconds=30.0)),
    Case("paused", written=worker("paused", detail="broker"), detail="broker"),
    Case("silent", written=worker(age=20), detail="no heartbeat for 20 s"),
    Case("starting"),
    Case("starting", written=structs.replace(worker(), pid=8)),
    Case("starting", pid=None, supervised=SlotRestarts(0, last_error="gone"), detail="gone"),
    Case("stopped", pid=None, written=worker("stopped")),
    Case("stopped", pid=None, written=worker("running")),
    Case("failed", pid=None, written=worker("failed", detail="why"), detail="why"),
    Case(
        "standby",
        written=worker("standby", detail="of b"),
        supervised=SlotRestarts(0, failing=True, last_error="it dies"),
        detail="of b",
    ),
    Case(
        "failing",
        written=structs.replace(worker("paused"), started_at=NOW - 5),
        supervised=SlotRestarts(0, failing=True, last_error="it dies"),
        detail="it dies",
    ),
    Case(
        "failing",
        written=worker(),
        supervised=SlotRestarts(0, failing=True, last_error="it dies"),
        detail="it dies",
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.state)
def test_a_slot_is_what_its_lease_and_its_file_say_together(case: Case) -> None:
    """A file without its process is never believed, a process without a file only starts."""
    state = slot_state(case.pid, case.written, case.supervised, NOW)
    assert state == (case.state, case.detail)


def report(written: WorkerStatus, pid: int | None = 7, slot: int = 0) -> SlotReport:
    """Return what the one host sees of a slot without a supervisor."""
    return SlotReport(host="", slot=slot, at=NOW, pid=pid, worker=written)


def test_a_stale_file_gives_no_figures() -> None:
    """The counters of a dead process are not shown as if somebody worked."""
    written = worker(
        records=500, rates=Rates(records=9.0), positions=[WorkerPosition("t", 0, 1, 2)]
    )
    assert slot_status("processor", report(written)).records_in == 500
    dead = slot_status("processor", report(written, pid=None))
    assert (dead.records_in, dead.in_per_second, dead.partitions) == (0, 0.0, ())
    assert dead.heartbeat_seconds is None


def test_a_state_of_a_newer_version_is_the_worst() -> None:
    """What is not known is not taken for fine."""
    slots = [
        slot_status("processor", report(worker(state), slot=n))
        for n, state in enumerate(("running", "new"))
    ]
    assert worst_state(slots) == "new"


def slot(state: str, detail: str = "", pid: int | None = 7) -> SlotStatus:
    """Return a slot in a state."""
    made = slot_status("processor", report(worker()))
    return structs.replace(made, state=state, detail=detail, pid=pid)


def app(name: str, *slots: SlotStatus, **more: object) -> AppStatus:
    """Return an app with slots."""
    given = {
        "app": name,
        "state": "running",
        "supervisor_pid": 1,
        "in_per_second": 0.0,
        "out_per_second": 0.0,
        "refused_per_second": 0.0,
        "duplicates_per_second": 0.0,
        "lag_records": 0,
        "lag_seconds": 0.0,
        "hidden_records": 0,
        "closing_per_second": 0.0,
        "seconds_to_drain": 0.0,
        "committed_at": None,
        "slots": slots or (slot("running"),),
        **more,
    }
    return msgspec.convert(given, AppStatus)


def status(**more: object) -> Status:
    """Return a status of a healthy deployment, but for what is given."""
    healthy = Status(
        healthy=False,
        verdict="",
        problems=(),
        as_of="2011-01-01T00:00:00Z",
        home="/home",
        broker=Broker("answering", "localhost:9092", ""),
        database=DatabaseStatus("ok", "", "/home/purchases.db", 1, 0, 0, 0, 1),
        apps=(app("processor"), app("analytics")),
        partitions=(),
        refusals=sum_refusals([], 0.05),
        prices=sum_prices([]),
        unknown_fields=(),
        disk=Disk(GIB, None, None),
        sections={},
    )
    return structs.replace(healthy, **more)


def refusing_worker(records: int, number: int) -> WorkerStatus:
    """Return a worker that refused a number of the last records."""
    seen = RecentRecords(records, number, 0, {"invalid_price": number}, {"till 7": number})
    return worker(recent=seen)


def test_prices_and_unknown_fields_are_summed_over_the_workers() -> None:
    """A field is one line whichever worker read it, with the field that was meant."""
    one = worker(recent=RecentRecords(100, 20, 40), unknown_fields={"price": 3, "till": 1})
    two = worker(recent=RecentRecords(20, 0, 10), unknown_fields={"till": 9})
    assert sum_prices([one, two]) == PriceShare(100, 50, 0.5)
    assert sum_prices([]) == PriceShare(0, 0, 0.0)
    assert list_unknown_fields([one, two]) == (
        UnknownField("till", 10, None),
        UnknownField("price", 3, "unit_price"),
    )


def test_nothing_wrong_is_healthy() -> None:
    """Only then the health check passes."""
    judged = with_problems(status())
    assert (judged.healthy, judged.verdict, judged.problems) == (True, FINE, ())


OPEN = PartitionStatus("processor", "purchases", 0, 1, 1, 0, 0.0, 5, 80.0)


@pytest.mark.parametrize(
    ("code", "wrong", "said"),
    [
        ("broker_down", {"broker": Broker("down", None, "No broker runs")}, "No broker"),
        (
            "topic_missing",
            {"broker": Broker("topic_missing", "b:9092", "The topic analytics is missing")},
            "The topic analytics",
        ),
        (
            "database_unreadable",
            {"database": DatabaseStatus("unreadable", "no file", "/x", *[None] * 5)},
            "no file",
        ),
        ("disk_full", {"disk": Disk(1024, None, None)}, "256 MiB"),
        ("disk_soon_full", {"disk": Disk(GIB, 1, 1.5)}, "1.5 days"),
        (
            "processor_stopped",
            {"apps": (app("processor", slot("failed", "why", None)), app("analytics"))},
            "why",
        ),
        ("crash_loop", {"apps": (app("processor", slot("failing", "it dies")),)}, "it dies"),
        (
            "worker_down",
            {"apps": (app("processor", slot("running"), slot("stopped", pid=None)),)},
            "processor-0",
        ),
        ("worker_silent", {"apps": (app("analytics", slot("silent", "no heartbeat")),)}, "stuck"),
        ("paused", {"apps": (app("analytics", slot("paused", "database")),)}, "database"),
        (
            "unsafe_topic",
            {"broker": Broker("answering", "b:9092", "", ("compression.type is producer",))},
            "compression.type is producer",
        ),
        (
            "topic_compacted",
            {
                "broker": Broker(
                    "answering", "b:9092", "", compacted_topics=("purchases", "analytics")
                )
            },
            "compacts purchases and analytics",
        ),
        (
            "unverified_broker",
            {
                "broker": Broker(
                    "answering",
                    "b:9092",
                    "",
                    unverified_options=("enable.ssl.certificate.verification is false",),
                )
            },
            "enable.ssl.certificate.verification is false",
        ),
        (
            "unread_soon_deleted",
            {"partitions": (structs.replace(OPEN, hidden_seconds=0.0, unread_share=0.81),)},
            "81% of what Kafka keeps",
        ),
        (
            "dead_letters_soon_deleted",
            {"broker": Broker("answering", "b:9092", "", dead_letter_share=0.93)},
            "fill 93%",
        ),
        ("open_transaction", {"partitions": (OPEN,)}, "purchases-0"),
        (
            "falling_behind",
            {"apps": (app("analytics", lag_records=7_000, lag_seconds=90.0),)},
            "7,000 records",
        ),
        ("refusals", {"refusals": sum_refusals([refusing_worker(1_000, 60)], 0.05)}, "till 7"),
    ],
)
def test_each_problem_has_its_code_a_sentence_and_a_remedy(
    code: str, wrong: dict[str, object], said: str
) -> None:
    """One thing wrong gives one problem, which names it."""
    judged = with_problems(status(**wrong))
    assert [problem.code for problem in judged.problems] == [code]
    assert said in judged.problems[0].sentence
    assert judged.problems[0].remedy
    assert not judged.healthy
    assert f"`{code}`" in (ROOT / "docs" / "status.md").read_text()


def test_standing_by_and_catching_up_are_no_problems() -> None:
    """They are what should happen."""
    closing = app(
        "analytics",
        slot("behind"),
        slot("standby", "of host b"),
        lag_records=7_000,
        lag_seconds=90.0,
        closing_per_second=100.0,
    )
    assert with_problems(status(apps=(app("processor"), closing))).healthy
    beside = structs.replace(closing, slots=(slot("standby", "of b"),), closing_per_second=0.0)
    assert with_problems(status(apps=(app("processor"), beside))).healthy


def test_a_few_refused_records_exceed_nothing() -> None:
    """One bad record out of two is no share yet."""
    assert not sum_refusals([refusing_worker(2, 1)], 0.05).exceeded
    assert sum_refusals([refusing_worker(10, 1), refusing_worker(10, 1)], 0.05).exceeded


@pytest.mark.parametrize(
    "record",
    [Status, Broker, DatabaseStatus, AppStatus, SlotStatus, PartitionStatus, Disk, Section],
    ids=lambda r: r.__name__,
)
def test_every_field_of_the_json_is_documented(record: type[Struct]) -> None:
    """Programs rely on docs/status.md."""
    page = (ROOT / "docs" / "status.md").read_text()
    for name in record.__struct_fields__:
        assert f"`{name}`" in page, name


UNREADABLE = DatabaseStatus("unreadable", "no file", "/x", *[None] * 5)
FAILED = Section({}, (Problem("build_failed", "it failed", "look"),))
SILENT = Section({}, (Problem("registry_down", "it does not answer", "start it"),))


def test_a_home_of_one_app_is_healthy_without_the_other() -> None:
    """On a host that only processes there is no consumer, and so no database."""
    stopped = app("analytics", slot("stopped", pid=None))
    alone = status(
        apps=(app("processor"), stopped),
        partitions=(OPEN, structs.replace(OPEN, app="analytics", topic="analytics")),
        database=UNREADABLE,
        sections={"tables": FAILED, "registry": SILENT},
    )
    whole = structs.replace(alone, partitions=())
    codes = {"database_unreadable", "analytics_stopped", "build_failed"}
    assert {problem.code for problem in with_problems(whole).problems} == codes | {"registry_down"}
    processor = with_problems(status_of_app(whole, "processor"))
    assert [problem.code for problem in processor.problems] == ["registry_down"]
    assert with_problems(structs.replace(processor, sections={})).healthy
    assert [one.topic for one in status_of_app(alone, "processor").partitions] == ["purchases"]
    assert {
        problem.code for problem in with_problems(status_of_app(whole, "analytics")).problems
    } == codes
