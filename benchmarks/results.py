"""docs/benchmarks.md and benchmarks/results.json: what was measured, written down.

What is measured lives in `bench` and `speed`.
"""

from dataclasses import dataclass
from typing import Final

import msgspec

from benchmarks.measure import HEAD, LOOP_STEPS, Figure
from benchmarks.scratch import ROOT

BACKLOG: Final = 1_000_000
RESULTS: Final = ROOT / "benchmarks" / "results.json"
NONE: Final = "Not measured yet."
PAGE: Final = """# Benchmarks

Written by `make bench`, from its figures in `benchmarks/results.json`. Times are wall time, CPU is
that of all threads of the processes; the broker's is not counted. The parts were measured on
different days, on machines that were shared and not equally fast, so compare times with the fixed
loop of the same part ({steps} steps in pure Python; parts that were measured before it came to them
have none), not with another part's or machine's seconds. Bars are for the median.

## Every day

{everyday}

- *The year*: `replay` of the example as recorded, `process` and `analyze`, all started cold at the
  same moment on a running broker, until the last event is in the database.
- *Memory*: the worker's peak resident memory while it works off a backlog of {backlog:,} records.
- *Backfill*: the four day tables of 374 days as one run of Dagster, from STARTED to its end; with
  empty bodies it is what Dagster itself needs, whose 20 s more are the bar.
- *Backfill since then*: the rows of the backfill above are of an earlier release, on a quiet
  machine. `purchases backfill --force` of the year with all its tables took 37.9 s of CPU time
  before decisions [0042](decisions/0042-open-event-log.md),
  [0064](decisions/0064-pieces-of-days.md) and
  [0067](decisions/0067-rows-that-are-equal-stay.md). It took 20.1 and 20.5 s then, and 14.7 and
  15.2 s if the tables are there already, because rows that are equal stay. Reading, computing and
  writing the same first build by polars and SQLite alone takes 9.0 s
  (`python -m benchmarks.backfill polars`), so the ratio is 2.3. Measured at loads of 9 to 25 from
  other programs, where seconds of the clock say little. On two quiet cores the whole command took
  12.4 and 12.6 s if the tables were there already, and 18.5 s for the first build (375 days, once).
  Since then the first build takes a quarter less ([0064](decisions/0064-pieces-of-days.md)). In
  turns on two quiet cores that need twice the time for the fixed loop, the whole command took 27.2
  and 28.3 s in place of 35.7 and 36.1 s. If the tables were there already it took 24.2 and 20.2 s
  in place of 27.3 and 30.9 s.
- *Import*: in a new process, without the interpreter's own start.

## Speed

{speed}

- All work off the same backlog of {backlog:,} generated purchases, in turns, on the embedded broker
  on this machine, with the processor's own settings: read committed, lz4, `linger.ms`,
  transactions. The contenders in Python also have its batches; Kafka Streams commits every 100 ms,
  as it does of itself. The first third of each run is left out as warming up, where not said
  otherwise. A ratio is of two runs of the same round.
- *Raw byte copy*: consume and produce in Python with transactions, nothing decoded.
- *One by one*: the same validation with `json`, `datetime`, `decimal` and `uuid`, as by hand.
- *Kafka Streams*: 4.3.1, `exactly_once_v2`, two threads, `benchmarks/streams/PurchaseStreams.java`.
- *Made → stored*: from the time that `produce` writes into a purchase, before it is sent, to when a
  reader that asks the database every 2 ms first sees its row, but for the first second, in which
  the producer connects; broker, processor, consumer, producer and reader share the machine.

## Storing

{storing}

- The same backlog, published by the processor, from the first record to the last; the first third
  of the consumer's run is left out as warming up.
- *Bare `executemany`*: the consumer's rows in its batches and order into the same schema with its
  indexes, WAL and `synchronous=FULL`, else as SQLite comes, and nothing else: no reading, no
  decoding, no figures, no positions.

## PostgreSQL

{postgres}

- The consumer's writer in one and two processes, on a server of version 18 with `fsync`: 20,000
  events a batch, with random ids, of 3,000 items. *Writers* is their CPU time, *server* that of all
  processes of the server. All share the two cores.
- *`COPY` alone*: the same rows into the same table with its indexes, a commit for each batch: no
  duplicates, no figures, no positions.
- *SQLite*: the same writer and the same rows, into a file.
- *Made → stored*: as under *Speed*, with the database on this server.

## Dagster

{dagster}

- *Sensors*: the function of each, called 100 times as Dagster's code server calls it, where there
  is much: 10,000 days, 8 slots, 300 runs. What the daemon then stores is not in it.
- *Beside a backfill*: made → stored as above, in turns alone and beside backfills of the year, one
  after another.

## A year of ten million events

{history}

- Column files and ledger are made straight, because the stream is not the point; the database has
  no row of an event. Dagster has no part in it. `python -m benchmarks.history 100` measures ten
  times as many, and prints the same rows beside the bars for that size.

## A year of a hundred million events

`python -m benchmarks.history 100`, which `make bench` leaves out: 365 days, 5,000 items, 500,000
customers, 25 million orders. Column files and ledger are made straight, because the stream is not
the point; the database has no row of an event. Measured on two cores that need 0.20 s for the fixed
loop (quick ones 0.11). Nothing was sent through the stream at this size.

| figure | measured | bar |
|---|---|---|
| four tables of each day from the columns, wall; CPU | 75 s; 120 s | ≤ 90 s |
| the same, peak memory | 305 MiB | ≤ 1 GiB |
| the same, audited and written into the database, wall; CPU | 183 s; 205 s | |
| CPU per million after 1.1, 10 and 100 million | 1.16, 1.15, 1.20 s | within 20 % |
| bytes per event, of them the columns that tables need | 32.0, 13.5 | ≤ 35, ≤ 16 |
| History over the year: days, hours, items, countries | 51, 154, 147, 66 ms | ≤ 300 ms |

- Before a frame was read once for them, the four tables took 114 s and 163 s of CPU time there, and
  89 and 99 s of CPU time on a quick machine. The other rows were measured before that.
- `python -m benchmarks.dagster_year 100`: the same year as one backfill in Dagster, and the stream
  beside it.

  | figure | measured | bar |
  |---|---|---|
  | each day built first, wall; CPU | 108 s; 120 s | ≤ 150 s |
  | the same, built again, wall; CPU | 76 s; 96 s | |
  | made → stored at 2,000 events/s alone, p50; p99 | 34 ms; 94 ms | |
  | the same beside that backfill | 44 ms; 155 ms | p99 ≤ 300 ms |

  Measured with nothing else on the machine. Beside other work, at a load of 5 and of 8, the p99
  beside that backfill was 350 and 1,051 ms.
- A hundred million in rows were not measured.
- Dagster is in none of the rows above. A day costs 15 ms of CPU time besides, however few events it
  has.
- The ranking reads [months](decisions/0057-months-of-items.md), and some days at both ends.

## Today by adding

`python -m benchmarks.today [MINUTES] [empty]`, which `make bench` leaves out. Today has 10 million
events of 4,000 customers: 9.5 million are made straight into column files, and the others are rows.
Then `up` stores 2,000 purchases a second, and builds today. Measured on two cores that need 0.20 s
for the fixed loop (quick ones 0.11), with tests at the lowest priority beside the stream.

| figure | measured | bar |
|---|---|---|
| 70,000 new events added, wall; CPU | 2.4 s; 2.6 s | ≤ 5 s |
| the same, peak memory | 257 MiB | ≤ 400 MiB |
| all 9.93 million computed, wall; CPU | 9.6 s; 13.7 s | ≤ 15 s |
| the same, peak memory | 710 MiB | ≤ 800 MiB |
| 2,000 events/s from an empty day: tables behind by at most, minutes 0 to 70 | 97 s | ≤ 120 s |
| the same, minutes 71 to 73 | 233 s | ≤ 120 s: missed, mended since |
| the same, minutes 74 to 77, 9.2 million events | 72 s | ≤ 120 s |
| 2,000 events/s from 10 to 12.3 million, 19 minutes | 104 s | ≤ 120 s |
| a build then, CPU | 1.9 to 4.1 s | |

- *Behind*: since when an event is stored that a table lacks, looked at every second.
- *Minutes 71 to 73*: the small files of today were joined. A joined file has newer events than the
  last build, so all of today was computed: 10.1 s of CPU time, after which the next build waited
  202 s. They are joined when the day is over now. The 19 minutes are with that.
- Two hours at one go were not run with that.
- A build of all events still makes the next one wait: after an erasure, a later winner, or a
  million new events.

## The dashboard

{dashboard}

- Broker, processor, consumer, producer, dashboard, readers and browser share the machine.
- *Open dashboards*: connections that read its events; the CPU is the server's.
- *Sent → on the dashboard*: from before a purchase is handed to Kafka's client to when the
  dashboard's text in Chromium counts it, beside 2,000 others a second.

## `verify`

{verify}

- *First*: a whole command from the start; *again*: with nothing new. The CPU is that of its
  processes. `python -m benchmarks.verify` measures 14 million: on a quick machine the first took
  78 s (147 CPU s; bar 90 s), and again 10.6 s (20 CPU s; bar 10 s) before the digests that it again
  computes were cut by a third. On two cores that need 1.8 times as long for the fixed loop the
  first takes 106 s now (200 CPU s), and again 13.2 s (21 CPU s): by the first one's CPU time they
  are 1.36 times as slow at this, so again would take 9.7 s on the quick one (worked out). More is
  in [0061](decisions/0061-partitions-side-by-side.md).

## Where the time goes

Shares of each worker's CPU over a backlog of 800,000, of another run than the tables: threads by
`perf`, the main thread by `py-spy --native`. They hold to about two points.

| part | processor | consumer |
|---|---|---|
| librdkafka's own threads: fetch, decompress, compress, send | 34 % | 3 % |
| calls of the client: take messages, hand them over, commit | 20 % | 11 % |
| decode (msgspec) | 4 % | 6 % |
| encode (msgspec) | 3 % | |
| SQLite: bind, insert, commit | | 39 % |
| Python's garbage collector | 5 % | 9 % |
| the rest of Python | 34 % | 32 % |

- *Processor*: over half is Kafka's client, which the raw byte copy has too. The rest of Python is
  the rules of a purchase and the objects on the way; the regular expressions for time and id are
  9 % of the whole.
- *A compiled part*: the four modules of the short way (`transform`, `plain`, `values`, `record`)
  compiled by Cython as they stand cost as much as before, 2.9 µs a record in both cases: the time
  is in making objects, `re`, `datetime` and msgspec, which are C already. Only a function in C from
  record to record would save more: 2.2 CPU s per million at the very most, as msgspec's decode
  alone is 0.7 µs of the 2.9. That bound is worked out, not measured.
- *Consumer*: SQLite is the largest part, and bare `executemany` has it too. The rest of Python
  makes rows, adds up the figures per item and day, and counts positions.
- *Garbage collector*: it looked through the messages and rows of each batch and found nothing.
  Since these shares were taken workers keep it from that, which saves the consumer 6 % of its CPU.
- *What is left*: what a record costs the processor beyond the raw copy, about three fifths of its
  CPU, is to be read, judged and written. Bare `executemany` is SQLite alone; the consumer's other
  half is one thread of Python that reads Kafka, makes rows and adds up figures, most of it in
  making and freeing objects, and it uses its core to the full. Since the shares above were taken
  it inserts hundreds of rows with one statement, without a savepoint, adds up per item and day at
  once, and gives SQLite more cache and 64 MB of WAL, which alone is a tenth more rows/s; 20,000
  records in a batch instead of 10,000, and 400 rows in a statement instead of 100, are another.
- *Since the checks for hostile records* both apps cost what they did in the release before. In
  turns with it, on two cores with a load of 10 to 19, the processor took 5.85 CPU s per million
  instead of 5.89 (medians of four rounds; ratios 0.97 to 1.03), the consumer 7.74 instead of 7.94
  (ratios 0.94 to 1.01). msgspec compares bounds, currency and topic while it decodes, which
  cannot be measured beside the decoding. The clock is looked at after 16 KiB, not each record.
- *Tried and left out*: tables of all groups of three digits for the six decimals of a time. Alone
  they take a sixth less than reading the digits. In the processor they took a tenth of all its CPU
  more, because they push other things out of its caches.
- *Tried and left out*: a thread that writes while the first one reads. It gave a tenth more rows/s
  (in the median 51,600 instead of 47,000, four rounds in turns) for a seventh more CPU and 17 MiB,
  and that only with all of a batch's figures in a few statements, as each statement hands over the
  interpreter's lock, and with that lock asked for every 0.2 ms. The next step would be a process
  that decodes beside the one that writes. Other cuts of the processor's short way, in one function
  or in columns of a hundred records, cost as much as it does now.
"""


@dataclass(frozen=True)
class Part:
    """The figures of one part of the benchmarks, and on what machine they were measured."""

    machine: str
    figures: list[Figure]


Results = dict[str, Part]


def read_results() -> Results:
    """Read what was measured last; nothing where that was never."""
    return msgspec.json.decode(RESULTS.read_bytes(), type=Results) if RESULTS.exists() else {}


def write_results(results: Results) -> None:
    """Write what was measured."""
    RESULTS.write_bytes(msgspec.json.format(msgspec.json.encode(results), indent=1) + b"\n")


def page(results: Results) -> str:
    """Return the page of what was measured."""
    tables = {name: _table(part) for name, part in results.items()}
    return PAGE.format(
        everyday=tables.get("everyday", NONE),
        speed=tables.get("speed", NONE),
        storing=tables.get("storing", NONE),
        postgres=tables.get("postgres", NONE),
        dagster=tables.get("dagster", NONE),
        dashboard=tables.get("dashboard", NONE),
        history=tables.get("history", NONE),
        verify=tables.get("verify", NONE),
        steps=f"{LOOP_STEPS:,}",
        backlog=BACKLOG,
    )


def _table(part: Part) -> str:
    rows = (figure.row() for figure in part.figures)
    return "\n".join([f"Measured on {part.machine}.", "", HEAD, *rows])
