"""The proxy that the docs show, run: Debian's nginx with TLS before a dashboard."""

import shutil
import ssl
import subprocess
import urllib.request
from pathlib import Path

import trustme

from tests.dashboard.server import answer_to, serve_dashboard
from tests.deployment import Deployment
from tests.support import free_port, wait_until

CONFIG = Path(__file__).parents[2] / "docs" / "deploy" / "nginx.conf"
TOKEN = "0123456789abcdef" * 2
MAIN = """daemon off; worker_processes 1; error_log {here}/error.log; pid {here}/pid;
events {{}}
http {{ access_log off; client_body_temp_path {here}; proxy_temp_path {here};
fastcgi_temp_path {here}; uwsgi_temp_path {here}; scgi_temp_path {here};
{servers} }}
"""


def test_the_proxy_of_the_docs_lets_people_in_over_tls(
    deployment: Deployment, tmp_path: Path
) -> None:
    """They sign in, keep a cookie for TLS, act, and get events as they come."""
    nginx = shutil.which("nginx", path="/usr/sbin:/usr/bin")
    assert nginx, "Debian's nginx is missing: make test installs it"
    issuer, port = trustme.CA(), free_port()
    issuer.issue_cert(
        "purchases.example.com", "127.0.0.1"
    ).private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "own.pem"))
    trust = ssl.create_default_context()
    issuer.configure_trust(trust)
    deployment.more["PURCHASES_DASHBOARD_TOKEN"] = TOKEN
    deployment.more["PURCHASES_DASHBOARD_NAMES"] = "purchases.example.com"
    deployment.more["PURCHASES_DASHBOARD_BEHIND_PROXY"] = "on"
    with serve_dashboard(deployment) as base:
        servers = CONFIG.read_text()
        for shown, used in {
            "443 ssl": f"127.0.0.1:{port} ssl",
            "/etc/ssl/purchases/fullchain.pem": f"{tmp_path}/own.pem",
            "/etc/ssl/purchases/key.pem": f"{tmp_path}/own.pem",
            "http://127.0.0.1:8080": base,
        }.items():
            assert shown in servers
            servers = servers.replace(shown, used)
        (tmp_path / "nginx.conf").write_text(MAIN.format(here=tmp_path, servers=servers))
        proxy = subprocess.Popen([nginx, "-c", tmp_path / "nginx.conf", "-p", tmp_path])
        try:
            _use(f"https://127.0.0.1:{port}", trust)
        finally:
            proxy.terminate()
            proxy.wait(120)


def _use(address: str, trust: ssl.SSLContext) -> None:
    name = {"Host": "purchases.example.com"}

    def answers() -> bool:
        try:
            return answer_to(address, "GET", "/", None, trust, **name).status == 401
        except OSError:
            return False

    wait_until(answers, 30, "the proxy does not answer")
    assert answer_to(address, "GET", "/", trust=trust, Host="evil.example").status == 421
    form = f"token={TOKEN}".encode()
    origin = {"Origin": "https://purchases.example.com"}
    cookie = answer_to(address, "POST", "/login", form, trust, **name, **origin).headers[
        "set-cookie"
    ]
    assert "Secure" in cookie
    session = {"Cookie": cookie.split(";")[0]}
    acted = answer_to(
        address, "POST", "/api/v1/dead-letters/redrive", b"[]", trust, **name, **origin, **session
    )
    assert acted.status == 400
    asked = urllib.request.Request(f"{address}/events", headers={**name, **session})  # noqa: S310
    with urllib.request.urlopen(asked, timeout=120, context=trust) as events:  # noqa: S310 - ours
        assert events.readline().startswith(b"event: ")
