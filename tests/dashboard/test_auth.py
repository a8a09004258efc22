"""What strangers send in headers: it never keeps a visitor with the right token out, or raises."""

from collections.abc import Iterator
from urllib.parse import quote

import pytest

from tests.dashboard.server import answer_to, code_of, serve_dashboard
from tests.deployment import Deployment
from tests.foreign_page import Attack, attack_from_other_origins
from tests.support import Broker, unique_namespace

TOKEN = 'a token; with = and "quotes", ø too'


@pytest.fixture(scope="module")
def guarded(broker: Broker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a dashboard that needs a token."""
    home = tmp_path_factory.mktemp("guarded")
    made = Deployment(home, broker.bootstrap_servers, unique_namespace())
    made.create_topics()
    made.succeed("db", "upgrade")
    made.more["PURCHASES_DASHBOARD_TOKEN"] = TOKEN
    with serve_dashboard(made) as base:
        yield base


def session(base: str) -> str:
    """Return the cookie of a new session."""
    answer = answer_to(base, "GET", f"/?token={quote(TOKEN)}")
    return answer.headers["set-cookie"].split(";")[0]


@pytest.mark.parametrize(
    "other",
    [
        'settings={"shop": 1, "open": true}',
        "filter[shop]=1",
        "city=Köln",
        "note=two words, and a comma",
        "no-equals-sign",
        "=no-name",
        'quoted="never closed',
        "{name}=an-old.one.0",
    ],
)
def test_the_right_cookie_counts_whatever_is_beside_it(guarded: str, other: str) -> None:
    """Other programs on the same host set cookies of their own; no reload takes them away."""
    cookie = session(guarded)
    other = other.replace("{name}", cookie.partition("=")[0])
    assert code_of(f"{guarded}/", Cookie=f"{other}; {cookie}") == 200
    assert code_of(f"{guarded}/", Cookie=f"{cookie}; {other}") == 200
    assert code_of(f"{guarded}/", Cookie=other) == 401


@pytest.mark.parametrize("host", ["[", "[::1", "[1234", "a]b", "[]", "::1", "a:b:c", "[v1.x]:80"])
def test_a_host_that_is_none_is_refused(guarded: str, host: str) -> None:
    """It is answered before any token is asked for, and by no traceback."""
    assert code_of(f"{guarded}/", Host=host) == 421


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:80", "127.0.0.1", "[::1]", "[::1]:8080"])
def test_an_address_of_ones_own_is_served(guarded: str, host: str) -> None:
    """A name in any case, and any IP address, with or without a port."""
    assert code_of(f"{guarded}/", Host=host, Cookie=session(guarded)) == 200


@pytest.mark.parametrize("origin", ["http://[", "null", "", "http://a]b"])
def test_an_origin_that_is_none_is_refused(guarded: str, origin: str) -> None:
    """An action is refused for it, and nothing is raised."""
    url = f"{guarded}/api/v1/verify"
    assert code_of(url, "POST", Origin=origin, Cookie=session(guarded)) == 403


def test_pages_of_other_origins_get_and_do_nothing(quiet_dashboard: str) -> None:
    """Neither by image, frame, form, JSON or WebSocket, nor under a name of their own."""
    attack = Attack("/api/v1/totals", "/api/v1/verify", "{}", "/events")
    statuses, rebound = attack_from_other_origins(quiet_dashboard, attack)
    assert statuses
    assert set(statuses) == {403}
    assert rebound == 421
