"""Who may use the dashboard: tokens, rights, sessions, names, encryption."""

import json
import os
import socket
import ssl
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import trustme
from itsdangerous import TimestampSigner

from streaming.dashboard.access import Right, read_access
from streaming.dashboard.address import dashboard_url
from streaming.dashboard.app import Extension, build_dashboard
from streaming.dashboard.sessions import SALT, SESSION_SECONDS
from streaming.errors import UsageError
from streaming.settings import Settings
from tests.browser import browser
from tests.dashboard.server import answer_to, answer_to_nobody, code_of, serve_app
from tests.deployment import Deployment
from tests.store.users import only_root
from tests.support import wait_until

TOKEN, ACTION_TOKEN = "0123456789abcdef" * 2, "fedcba9876543210" * 2


@contextmanager
def dashboard(settings: Settings, **more: object) -> Iterator[str]:
    """Serve the dashboard in this process; yield its address."""
    changed = settings.model_copy(update=more)
    settings.home.mkdir(exist_ok=True)
    _, app = build_dashboard(changed, read_access(changed), Extension())
    with serve_app(app) as base:
        yield base


def sign_in(base: str, token: str, path: str = "/") -> str:
    """Return the Set-Cookie header that the form is answered with; empty if it is refused."""
    answer = answer_to(base, "POST", "/login", f"token={token}&path={path}".encode())
    assert answer.status in {303, 401}
    assert answer.status == 401 or answer.headers["location"] == "/"
    return answer.headers.get("set-cookie", "")


def test_a_session_is_not_the_token_and_ends_when_its_owner_signs_out(settings: Settings) -> None:
    """A copy of the cookie ends with it, in every process of the home."""
    with dashboard(settings, dashboard_token=TOKEN, dashboard_port=8123) as base:
        assert answer_to(base, "GET", "/", Accept="text/html").status == 401
        assert not sign_in(base, TOKEN[::-1])
        header = sign_in(base, TOKEN)
        cookie = header.split(";")[0]
        assert cookie.startswith("purchases_session_8123=")
        assert TOKEN not in header
        assert f"Max-Age={SESSION_SECONDS}" in header
        assert "secure" not in header.lower()
        other = sign_in(base, TOKEN).split(";")[0]
        assert code_of(f"{base}/", Cookie=cookie) == 200
        assert answer_to(base, "POST", "/logout", Cookie=cookie).status == 303
        assert code_of(f"{base}/", Cookie=cookie) == 401
        assert code_of(f"{base}/", Cookie=other) == 200
    with dashboard(settings, dashboard_token=TOKEN, dashboard_port=8123) as base:
        assert code_of(f"{base}/", Cookie=cookie) == 401
        assert code_of(f"{base}/", Cookie=other) == 200
    with dashboard(settings, dashboard_token=TOKEN[::-1], dashboard_port=8123) as base:
        assert code_of(f"{base}/", Cookie=other) == 401


@pytest.mark.parametrize("path", ["//evil.example", "/\\evil.example", "https://evil.example"])
def test_who_signs_in_stays_on_this_server(settings: Settings, path: str) -> None:
    """A path that a browser takes for another host leads to this one."""
    with dashboard(settings, dashboard_token=TOKEN) as base:
        form = f"token={TOKEN}&path={path}".encode()
        location = answer_to(base, "POST", "/login", form).headers["location"]
        assert not urlsplit(location).netloc
        assert answer_to(base, "GET", f"//evil.example/?token={TOKEN}").headers["location"] in {
            "/evil.example/",
            "/",
        }


class Past(TimestampSigner):
    """Signs as the dashboard did more than a session ago."""

    def get_timestamp(self) -> int:
        """Return the time of a process whose sessions have expired."""
        return int(time.time()) - SESSION_SECONDS - 1


def test_a_person_signs_in_and_out_in_a_browser(settings: Settings) -> None:
    """With a wrong token and a right one; the way leads on; a page's script has no session."""
    with (
        dashboard(settings, dashboard_token=TOKEN, dashboard_port=8123) as base,
        browser(f"{base}/?day=1") as (page, _, _),
    ):

        def sign_in(token: str) -> None:
            page.get_by_label("Token").fill(token)
            page.get_by_role("button", name="Sign in").click()

        sign_in(TOKEN[::-1])
        page.get_by_text("This token is not known here.").wait_for()
        assert page.get_by_label("Token").input_value() == ""
        sign_in(TOKEN)
        page.get_by_role("button", name="Sign out").wait_for()
        assert page.url == f"{base}/?day=1"
        assert TOKEN not in page.content()
        assert page.evaluate("document.cookie") == ""
        page.get_by_role("button", name="Sign out").click()
        page.get_by_label("Token").wait_for()
        assert not page.context.cookies()
        page.go_back()
        page.reload()
        page.get_by_label("Token").wait_for()

        sign_in(TOKEN)
        page.get_by_role("button", name="Sign out").wait_for()
        (cookie,) = page.context.cookies()
        key = read_access(settings.model_copy(update={"dashboard_token": TOKEN})).sessions.key
        expired = Past(key, SALT).sign("0123-2").decode()
        page.context.add_cookies([{"name": cookie["name"], "value": expired, "url": base}])
        page.reload()
        page.get_by_label("Token").wait_for()
        sign_in(TOKEN)
        page.get_by_role("button", name="Sign out").wait_for()


def test_a_session_expires_and_cannot_be_forged(settings: Settings) -> None:
    """By its time, which is signed with the right."""
    sessions = read_access(settings.model_copy(update={"dashboard_token": TOKEN})).sessions

    assert sessions.read(sessions.start(Right.READ)) == Right.READ
    assert not sessions.read(Past(sessions.key, SALT).sign("0123-2").decode())
    assert not sessions.read(TimestampSigner("another", SALT).sign("0123-2").decode())
    assert not sessions.read(sessions.start(Right.READ).replace("-1.", "-2."))
    assert not sessions.read("ø")


def test_ended_sessions_are_kept_until_they_would_have_expired(settings: Settings) -> None:
    """Then the file forgets them, so that it does not grow forever."""
    sessions = read_access(settings.model_copy(update={"dashboard_token": TOKEN})).sessions
    settings.home.mkdir()
    sessions.ended.write_text("0123 1\nhalf a line\n")
    sessions.end(sessions.start(Right.READ))
    sessions.forget_expired()
    (left,) = sessions.ended.read_text().splitlines()
    assert int(left.split()[1]) > time.time()


def test_an_action_needs_the_action_token(settings: Settings) -> None:
    """Whoever may only read gets 403, and the name of the setting that acts."""
    verify = "/api/v1/dead-letters/redrive"
    with dashboard(
        settings, dashboard_token=TOKEN, dashboard_action_token=ACTION_TOKEN, dashboard_port=8123
    ) as base:
        reads, acts = (sign_in(base, token).split(";")[0] for token in (TOKEN, ACTION_TOKEN))
        assert answer_to(base, "POST", verify).status == 401
        assert answer_to(base, "POST", verify, Authorization=f"Bearer {TOKEN}").status == 403
        assert answer_to(base, "POST", verify, Cookie=reads).status == 403
        assert answer_to(base, "POST", "/api/v1/purchases", b"{}", Cookie=reads).status == 403
        for asks in ("topics/peek", "purchases/path", "purchases/test", "sql"):
            assert answer_to(base, "POST", f"/api/v1/{asks}", b"{}", Cookie=reads).status == 403
        assert answer_to(base, "GET", "/", Cookie=reads).status == 200
        # What it does not understand, but would do.
        assert answer_to(base, "POST", verify, b"[]", Cookie=acts).status == 400
        bearer = f"Bearer {ACTION_TOKEN}"
        assert answer_to(base, "POST", verify, b"[]", Authorization=bearer).status == 400
    with dashboard(settings, dashboard_action_token=ACTION_TOKEN) as base:
        assert code_of(f"{base}/") == 200
        assert answer_to(base, "POST", verify, b"[]").status == 403
        assert answer_to(base, "POST", verify, b"[]", Authorization=bearer).status == 400


@only_root
def test_without_a_token_another_user_of_the_machine_gets_and_does_nothing(
    settings: Settings,
) -> None:
    """Nor with a session signed with what an outsider could guess; a token lets him in."""
    redrive = "/api/v1/dead-letters/redrive"
    with dashboard(settings, dashboard_port=8123, http_in=True) as base:
        assert answer_to(base, "POST", redrive, b"[]").status == 400
        for path in (
            *("/", "/metrics", "/api/v1/totals", "/events", "/static/format.js", "/nowhere"),
            *("/openapi.json", "/asyncapi.json"),
        ):
            refused = answer_to_nobody(base, "GET", path)
            assert (refused.status, "set-cookie" in refused.headers) == (403, False), path
        for path in (redrive, "/api/v1/verify", "/api/v1/purchases"):
            assert answer_to_nobody(base, "POST", path).status == 403
        assert answer_to_nobody(base, "GET", "/?token=None").status == 403
        assert answer_to_nobody(base, "POST", "/login").status == 401
        for key in ("None\nNone", ""):
            forged = TimestampSigner(key, SALT).sign("0123-2").decode()
            cookie = {"Cookie": f"purchases_session_8123={forged}"}
            assert answer_to_nobody(base, "GET", "/", cookie).status == 403
    with dashboard(settings, dashboard_action_token=ACTION_TOKEN) as base:
        assert answer_to(base, "GET", "/").status == 200
        assert answer_to_nobody(base, "GET", "/").status == 401
        bearer = {"Authorization": f"Bearer {ACTION_TOKEN}"}
        assert answer_to_nobody(base, "GET", "/", bearer).status == 200
    with dashboard(settings, dashboard_token=TOKEN) as base:
        # One's own user too: a proxy may be that user's.
        assert answer_to(base, "GET", "/").status == 401
        bearer = {"Authorization": f"Bearer {TOKEN}"}
        assert answer_to_nobody(base, "GET", "/", bearer).status == 200


def test_a_server_that_cannot_tell_users_apart_lets_nobody_in(settings: Settings) -> None:
    """Without a token; such as where the system does not know who is at the other end."""
    access = read_access(settings)
    assert access.right_of_user(os.geteuid()) == access.right_of_user(0) == Right.ACT
    assert access.right_of_user(None) == Right.NOTHING


def test_where_the_system_tells_of_nobody_a_token_is_kept_in_the_home(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on other systems than Linux. Only the owner reads the file, and each start the same."""
    monkeypatch.delattr(socket, "AF_NETLINK")
    token = read_access(settings).token
    kept = settings.home / "dashboard.token"
    assert kept.read_text() == token == read_access(settings).token
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    with dashboard(settings) as base:
        assert answer_to(base, "GET", "/", Accept="text/html").status == 401
        assert sign_in(base, str(token))


def test_it_answers_to_the_names_of_the_settings(settings: Settings) -> None:
    """In any case, and to no other name."""
    with dashboard(settings, dashboard_names="Shop.example,figures") as base:
        assert code_of(f"{base}/", Host="shop.EXAMPLE:443") == 200
        assert code_of(f"{base}/", Host="figures") == 200
        assert code_of(f"{base}/", Host="evil.shop.example") == 421


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"dashboard_host": "0.0.0.0"}, "DASHBOARD_TOKEN"),
        ({"dashboard_host": "shop.example"}, "DASHBOARD_TOKEN"),
        ({"dashboard_token": "short"}, "DASHBOARD_TOKEN has 5 characters"),
        ({"dashboard_action_token": "short"}, "DASHBOARD_ACTION_TOKEN has 5 characters"),
        ({"dashboard_token": TOKEN, "dashboard_action_token": TOKEN}, "are the same"),
        ({"dashboard_host": "::", "dashboard_token": TOKEN}, "plain text"),
        ({"dashboard_behind_proxy": True}, "BEHIND_PROXY=on opens"),
        ({"dashboard_behind_proxy": True, "dashboard_action_token": TOKEN}, "BEHIND_PROXY=on open"),
        ({"dashboard_certificate": Path("/nowhere.pem")}, "nowhere.pem cannot be used: No such"),
    ],
)
def test_it_does_not_start_open_to_others(wrong: dict[str, object], named: str) -> None:
    """Without a token, or with one in plain text; the setting is named."""
    settings = Settings(home=Path("nowhere")).model_copy(update=wrong)
    with pytest.raises(UsageError, match=named):
        read_access(settings)


@pytest.mark.parametrize(
    "right",
    [
        {"dashboard_host": "::1"},
        {"dashboard_host": "127.0.0.1", "dashboard_action_token": TOKEN},
        {"dashboard_host": "::", "dashboard_token": TOKEN, "dashboard_behind_proxy": True},
    ],
)
def test_it_starts_closed_to_others(right: dict[str, object]) -> None:
    """On loopback, or with a token behind a proxy."""
    read_access(Settings(home=Path("nowhere")).model_copy(update=right))


def test_with_a_certificate_it_speaks_tls_and_logs_who_acts(
    deployment: Deployment, tmp_path: Path
) -> None:
    """The cookie is then for TLS only; the log has refused tokens and actions, and no token."""
    issuer = trustme.CA()
    own = issuer.issue_cert("shop.example", "127.0.0.1")
    own.private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "own.pem"))
    deployment.more["PURCHASES_DASHBOARD_TOKEN"] = TOKEN
    deployment.more["PURCHASES_DASHBOARD_CERTIFICATE"] = str(tmp_path / "own.pem")
    trust = ssl.create_default_context()
    issuer.configure_trust(trust)
    settings = deployment.settings

    def answers() -> bool:
        try:
            return answer_to(dashboard_url(settings), "GET", "/", trust=trust).status == 401
        except OSError:
            return False

    with deployment.running("dashboard"):
        wait_until(answers, 60, "the dashboard does not answer")
        base = dashboard_url(settings)
        wrong = answer_to(base, "GET", "/", trust=trust, Authorization=f"Bearer {ACTION_TOKEN}")
        assert wrong.status == 401
        signed_in = answer_to(base, "POST", "/login", f"token={TOKEN}".encode(), trust)
        cookie = signed_in.headers["set-cookie"]
        assert "Secure" in cookie
        own_cookie = cookie.split(";")[0]
        acted = answer_to(base, "POST", "/api/v1/verify", b"{}", trust, Cookie=own_cookie)
    log = (deployment.home / "dashboard.log").read_text()
    lines = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
    logged = {line["event"]: line for line in lines}
    assert (logged["login_refused"]["client"], logged["login_refused"]["refused"]) == (
        "127.0.0.1",
        1,
    )
    action = logged["action"]
    assert (action["action"], action["client"]) == ("verify", "127.0.0.1")
    assert action["status"] == acted.status != 401
    assert not [secret for secret in (TOKEN, ACTION_TOKEN, own_cookie[-20:]) if secret in log]


def test_the_address_has_the_name_of_the_certificate(settings: Settings) -> None:
    """The first of the names; a browser would refuse an address that the certificate lacks."""
    more = {"dashboard_names": "shop.example,b.example", "dashboard_port": 8443}
    named = settings.model_copy(update=more)
    assert dashboard_url(named) == "http://127.0.0.1:8443"
    certified = named.model_copy(update={"dashboard_certificate": Path("own.pem")})
    assert dashboard_url(certified) == "https://shop.example:8443"
