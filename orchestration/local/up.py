"""`up`: runs broker, apps, Dagster and dashboard of a home, until a signal ends it."""

import signal
import sys
import time
from collections import deque
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Final

from rich.live import Live

from orchestration.local.app_keeper import AppKeeper
from orchestration.local.demo import DemoProducer
from orchestration.local.down import end_leftovers
from orchestration.local.live_view import LiveView, render
from orchestration.local.services import Services
from streaming.apps import APPS
from streaming.broker.embedded import stop_broker
from streaming.broker.keeper import BrokerKeeper
from streaming.cli.console import PrintableConsole
from streaming.dashboard.access import read_access, sign_in_hint
from streaming.errors import PurchasesError, UsageError
from streaming.kafka.acls import app_rules
from streaming.kafka.bootstrap import bootstrap_servers
from streaming.kafka.names import Names
from streaming.kafka.open_listener import start_embedded_broker
from streaming.kafka.preflight import preflight
from streaming.kafka.recorded_settings import require_recorded_settings
from streaming.kafka.topics import create_topics
from streaming.settings import PREFIX, Settings, load_settings
from streaming.status.hosts import require_free_name
from streaming.status.slots import read_app
from streaming.store.connection import read_store
from streaming.store.live_totals import live_figures, refusals, top_items
from streaming.store.preparation import prepare_store
from streaming.system.deadline import Deadline
from streaming.system.home import Home
from streaming.system.lease import acquire, holder
from streaming.system.logs import RateLimitedLogger, configure_logs, get_logger
from streaming.system.privacy import keep_private
from streaming.system.shutdown import stop_on_signals, stop_signals
from streaming.units import decimal_text

CHILDREN_STOP_SECONDS: Final = 5.0
BROKER_STOP_SECONDS: Final = 4.0
"""One after the other: less than the ten seconds in which `up` promises to end."""
STEP_SECONDS: Final = 0.1
"""How soon an ended child is noticed."""
VIEW_SECONDS: Final = 1.0
LOG_SECONDS: Final = 10.0
"""Without a terminal: 8,640 lines a day."""
RATE_VIEWS: Final = 5
"""The rate is of so many seconds: it follows a change, and does not flicker."""
TOP_ITEMS: Final = 10


def run_up(*, demo: bool) -> None:
    """Run everything until SIGTERM, Ctrl-C or a closed terminal, then end all of it within ten s.

    Raises `UsageError` for a demonstration on another than the embedded broker, and
    `PurchasesError` if another `up` has this home or a part does not start.
    """
    settings = load_settings()
    if demo and not settings.embedded_broker:
        raise UsageError(
            "--demo writes a year of example purchases, so it needs the embedded broker:"
            f" unset {PREFIX}BOOTSTRAP_SERVERS and {PREFIX}KAFKA_CONFIG."
        )
    access = read_access(settings)
    configure_logs(host=settings.host)
    if hint := sign_in_hint(settings, access):
        _report(hint)
    # Until `_watch` handles signals, all end the start as Ctrl-C does: through what is entered
    # below.
    for number in stop_signals():
        signal.signal(number, signal.default_int_handler)
    # It ends in reverse: first no more signals, then the children, the broker, and the lease of the
    # home.
    with ExitStack() as ending:
        # First, so that of two starts at once one ends here, before it touches anything of the
        # home.
        _take_home(settings, ending)
        if settings.embedded_broker:
            # Before the start, because an interrupted start may leave a broker too.
            ending.callback(stop_broker, settings.home, BROKER_STOP_SECONDS)
        children = Children()
        ending.callback(children.stop)
        _start(settings, children)
        if settings.embedded_broker:
            children.keeper = BrokerKeeper(settings)
        if demo:
            children.demo = DemoProducer(settings)
        children.services = Services(settings)
        ending.callback(_ignore_signals)
        _watch(settings, children)


@dataclass
class Children:
    """The parts that `up` runs: services, apps, the broker's keeper, the demonstration."""

    services: Services | None = None
    apps: AppKeeper | None = None
    keeper: BrokerKeeper | None = None
    demo: DemoProducer | None = None

    def step(self) -> None:
        """Let each part start what has ended, and renew what it must."""
        for part in self._parts():
            part.step()

    def stop(self) -> None:
        """Ask all parts to stop, then wait for each within one common deadline."""
        for part in self._parts():
            part.ask_to_stop()
        deadline = Deadline.after(CHILDREN_STOP_SECONDS)
        for part in self._parts():
            part.stop(deadline.left(least=0.1))

    def _parts(self) -> list[Services | AppKeeper | BrokerKeeper | DemoProducer]:
        """Return the parts in the order in which they stop."""
        # Dagster first: its sensors would start the apps again.
        parts = (self.services, self.demo, self.apps, self.keeper)
        return [part for part in parts if part is not None]


def _take_home(settings: Settings, ending: ExitStack) -> None:
    keep_private(settings.home)
    path = Home(settings.home).up_lease
    lease = acquire(path)
    if lease is None:
        raise PurchasesError(
            f"`up` runs in {settings.home} already, as process {holder(path)};"
            " end it with `purchases down`."
        )
    ending.enter_context(lease)
    end_leftovers(settings.home)


def _start(settings: Settings, children: Children) -> None:
    if settings.embedded_broker:
        start_embedded_broker(settings, _report)
    # Without topics, which may not exist yet: does the cluster answer at all?
    preflight(settings)
    # Before the store, whose first start would record what the processor then refuses.
    require_recorded_settings(settings)
    create_topics(settings, bootstrap_servers(settings))
    deployment_id = prepare_store(settings)
    # After the first start made the table in which hosts say their names.
    require_free_name(settings)
    groups = [Names.of(settings).analytics_group(deployment_id)]
    for note in preflight(settings, app_rules(settings, groups)).notes:
        _report(note)
    # Last, so that a start that fails has started no worker.
    children.apps = AppKeeper(settings)


def _watch(settings: Settings, children: Children) -> None:
    """Step the children, and show the figures: a live view, or a log line every ten seconds.

    A database that cannot be read costs the figures, not the children.
    """
    console = PrintableConsole()
    with stop_on_signals() as stop, ExitStack() as displays:
        live = None
        if console.is_terminal:
            live = displays.enter_context(Live(console=console, auto_refresh=False, screen=False))
        every = VIEW_SECONDS if live else LOG_SECONDS
        rates: deque[tuple[float, int]] = deque(maxlen=RATE_VIEWS if live else 2)
        due, limited = time.monotonic(), RateLimitedLogger()
        while not stop.wait(STEP_SECONDS):
            children.step()
            if time.monotonic() >= due:
                # By a fixed step, so that the pace does not drift by the time that a view takes.
                due += every
                try:
                    view = read_view(settings, children, rates)
                except PurchasesError as error:
                    limited.warning("figures_not_read", error=str(error))
                    continue
                if live:
                    live.update(render(view), refresh=True)
                else:
                    get_logger().info("progress", **view.fields())


def read_view(settings: Settings, children: Children, rates: deque[tuple[float, int]]) -> LiveView:
    """Read the figures of the live view; `rates` keeps (monotonic s, events) of the last views."""
    with read_store(settings) as store:
        figures = live_figures(store)
        reasons = refusals(store)
        top = top_items(store, TOP_ITEMS)
    workers = [worker for app in APPS for worker in read_app(settings, app)[1]]
    rates.append((time.monotonic(), figures.events))
    seconds = rates[-1][0] - rates[0][0]
    return LiveView(
        activity=children.demo.activity if children.demo else "",
        dagster=children.services.dagster_url if children.services else "",
        page=children.services.dashboard_url if children.services else "",
        currency=settings.currency,
        stored=figures.events,
        refused=figures.refused,
        top_reason=next(iter(reasons), None),
        items_sold=figures.items_sold,
        net_revenue=decimal_text(figures.net_revenue_micros),
        events_per_second=(rates[-1][1] - rates[0][1]) / seconds if seconds else 0.0,
        lag_records=sum(worker.lag_records for worker in workers),
        lag_seconds=max((worker.lag_seconds for worker in workers), default=0.0),
        top=[(item.item, item.items_sold) for item in top],
        workers=workers,
        notices=children.apps.notices() if children.apps else [],
    )


def _ignore_signals() -> None:
    """Ignore what asks to stop, so that a second Ctrl-C does not interrupt the end."""
    for number in stop_signals():
        signal.signal(number, signal.SIG_IGN)


def _report(line: str) -> None:
    sys.stderr.write(f"{line}\n")
