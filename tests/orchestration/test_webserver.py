"""Dagster's webserver behind our access control; without code, because the code does not matter."""

from collections.abc import Iterator
from contextlib import contextmanager

from dagster import DagsterInstance
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import EmptyWorkspaceTarget

from streaming.dashboard.access import read_access
from streaming.settings import Settings
from tests.dashboard.server import (
    HANDSHAKE,
    answer_to,
    answer_to_nobody,
    code_of,
    serve_app,
    upgrade,
)
from tests.store.users import only_root

TOKEN = "0123456789abcdef" * 2
VERSION = "/graphql?query={version}"


@contextmanager
def webserver(instance: DagsterInstance, settings: Settings) -> Iterator[str]:
    """Serve Dagster's UI in this process; yield its address."""
    # Here, because it takes a second, and each test process imports each test module.
    from orchestration.local.webserver import build_webserver

    with (
        WorkspaceProcessContext(instance, EmptyWorkspaceTarget()) as context,
        serve_app(build_webserver(settings, context)) as base,
    ):
        yield base


def test_dagster_asks_for_the_token_and_takes_the_dashboards_session(
    instance: DagsterInstance, settings: Settings
) -> None:
    """One token, one session: cookies are those of a host, whatever its ports."""
    guarded = settings.model_copy(update={"dashboard_token": TOKEN})
    sessions = read_access(guarded).sessions
    with webserver(instance, guarded) as base:
        assert code_of(f"{base}/") == 401
        assert code_of(f"{base}/graphql", "POST") == 401
        assert code_of(f"{base}/", Authorization=f"Bearer {TOKEN}") == 200
        assert code_of(f"{base}/", Cookie=f"{sessions.cookie}={sessions.start(2)}") == 200
        assert upgrade(base) == 403
        assert upgrade(base, Authorization=f"Bearer {TOKEN}") == 101
        form = f"token={TOKEN}&path=/assets/daily_sales?view=checks".encode()
        signed_in = answer_to(base, "POST", "/login", form)
        assert (signed_in.status, signed_in.headers["location"]) == (
            303,
            "/assets/daily_sales?view=checks",
        )


def test_with_an_action_token_dagster_asks_for_that(
    instance: DagsterInstance, settings: Settings
) -> None:
    """Its pages offer actions everywhere, so that whoever may only read stays outside."""
    tokens = {"dashboard_token": TOKEN, "dashboard_action_token": TOKEN[::-1]}
    with webserver(instance, settings.model_copy(update=tokens)) as base:
        assert code_of(f"{base}/", Authorization=f"Bearer {TOKEN}") == 403
        assert code_of(f"{base}/", Authorization=f"Bearer {TOKEN[::-1]}") == 200


@only_root
def test_without_a_token_another_user_of_the_machine_is_refused(
    instance: DagsterInstance, settings: Settings
) -> None:
    """For HTTP and WebSockets: Dagster's UI runs code."""
    with webserver(instance, settings) as base:
        assert code_of(f"{base}{VERSION}", "POST") == 200
        for method, path in (("POST", VERSION), ("GET", "/"), ("GET", "/server_info")):
            assert answer_to_nobody(base, method, path).status == 403
        assert upgrade(base) == 101
        assert answer_to_nobody(base, "GET", "/graphql", HANDSHAKE).status == 403


def test_another_origin_and_another_name_are_refused(
    instance: DagsterInstance, settings: Settings
) -> None:
    """For HTTP and WebSockets, malformed ones too, which were tracebacks; a program has neither."""
    with webserver(instance, settings) as base:
        for host in ("[", "a]b", "evil.example", ""):
            assert code_of(f"{base}/", Host=host) == 421
            assert upgrade(base, Host=host) == 403
        for origin in ("http://[", "null", "", "http://127.0.0.1:1"):
            assert code_of(f"{base}{VERSION}", "POST", Origin=origin) == 403
            assert upgrade(base, Origin=origin) == 403
        assert upgrade(base) == 101
        assert upgrade(base, Origin=base) == 101


def test_no_address_executes_a_query(instance: DagsterInstance, settings: Settings) -> None:
    """Or an image of any page could change Dagster if a browser does not tell who loads it."""
    with webserver(instance, settings) as base:
        assert code_of(f"{base}{VERSION}") == 405
        assert code_of(f"{base}{VERSION}", "POST") == 200
        assert code_of(f"{base}/graphql", Accept="text/html,*/*") == 200
