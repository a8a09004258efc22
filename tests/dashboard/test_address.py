"""The dashboard's address is a link that opens."""

from streaming.dashboard.address import dashboard_url
from tests.dashboard.server import code_of
from tests.databases import home_settings
from tests.deployment import Deployment
from tests.support import wait_until


def test_the_link_to_an_ipv6_address_opens(deployment: Deployment) -> None:
    """An IPv6 address stands in brackets, so that its colons are not the port's."""
    deployment.more["PURCHASES_DASHBOARD_HOST"] = "::1"
    settings = home_settings(deployment.home, dashboard_host="::1")
    with deployment.running("dashboard"):
        wait_until(lambda: dashboard_url(settings), 60, "the dashboard has no address")
        url = dashboard_url(settings)
        assert url.startswith("http://[::1]:")
        wait_until(lambda: code_of(url) == 200, 60, f"{url} does not open")
