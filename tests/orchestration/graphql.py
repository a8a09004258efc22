"""Dagster as its UI talks to it: questions and commands over GraphQL."""

import json
import urllib.request
from typing import Any

from tests.orchestration.home import HomeRunner

SELECTOR = {
    "repositoryLocationName": "orchestration.definitions",
    "repositoryName": "__repository__",
}
SENSORS = """
query ($selector: RepositorySelector!) { sensorsOrError(repositorySelector: $selector) {
  ... on Sensors { results { name sensorState { id status ticks(limit: 5) { status } } } }
} }
"""
SCHEDULES = """
query ($selector: RepositorySelector!) { schedulesOrError(repositorySelector: $selector) {
  ... on Schedules { results { name executionTimezone scheduleState { status } } }
} }
"""
BACKFILL = """
mutation ($params: LaunchBackfillParams!) { launchPartitionBackfill(backfillParams: $params) {
  __typename ... on LaunchBackfillSuccess { backfillId } ... on PythonError { message }
} }
"""
RUNS = """
query ($id: String!) { runsOrError(filter: { tags: [{ key: "dagster/backfill", value: $id }] }) {
  ... on Runs { results { runId status } }
} }
"""
PARTITIONS = """
query ($table: String!) { assetNodeOrError(assetKey: { path: [$table] }) {
  ... on AssetNode { partitionKeys }
} }
"""
MATERIALIZATIONS = """
query ($table: String!, $day: String!) { assetNodeOrError(assetKey: { path: [$table] }) {
  ... on AssetNode { assetMaterializations(partitions: [$day]) { runId } }
} }
"""
STOP = "mutation ($id: String!) { stopSensor(id: $id) { __typename } }"
START = "mutation ($s: SensorSelector!) { startSensor(sensorSelector: $s) { __typename } }"


def ask(url: str, query: str, **variables: object) -> dict[str, Any]:
    """Send a query; give its data."""
    body = json.dumps({"query": query, "variables": variables}).encode()
    request = urllib.request.Request(  # noqa: S310 - the webserver of this test
        f"{url}/graphql", body, {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=120) as answer:  # noqa: S310
        answer_data: dict[str, Any] = json.load(answer)
    assert "errors" not in answer_data, answer_data
    data: dict[str, Any] = answer_data["data"]
    return data


def url_of(home: HomeRunner) -> str:
    """Return where the home's webserver listens."""
    return f"http://127.0.0.1:{(home.path / 'dagster' / 'webserver.port').read_text().strip()}"


def sensors(home: HomeRunner) -> dict[str, dict[str, Any]]:
    """Return the state of each sensor; none before the home's webserver answers."""
    try:
        return sensors_at(url_of(home))
    except FileNotFoundError:
        return {}


def sensors_at(url: str) -> dict[str, dict[str, Any]]:
    """Return the state of each sensor; none before the webserver answers."""
    try:
        answer = ask(url, SENSORS, selector=SELECTOR)["sensorsOrError"]
    except (OSError, ValueError):
        return {}
    return {sensor["name"]: sensor["sensorState"] for sensor in answer.get("results", [])}


def partitions(home: HomeRunner, table: str) -> list[str]:
    """Return the partitions of a table; none before the home's webserver answers."""
    try:
        return list(ask(url_of(home), PARTITIONS, table=table)["assetNodeOrError"]["partitionKeys"])
    except (OSError, ValueError, KeyError):
        return []


def materializations(home: HomeRunner, table: str, day: str) -> list[dict[str, str]]:
    """Return the builds of a table's day; none before the home's webserver answers."""
    try:
        answer = ask(url_of(home), MATERIALIZATIONS, table=table, day=day)["assetNodeOrError"]
    except (OSError, ValueError):
        return []
    return list(answer.get("assetMaterializations", ()))


def schedules(home: HomeRunner) -> dict[str, str]:
    """Return the status of each schedule; none before the home's webserver answers."""
    try:
        answer = ask(url_of(home), SCHEDULES, selector=SELECTOR)["schedulesOrError"]
    except (OSError, ValueError):
        return {}
    results = answer.get("results", [])
    return {schedule["name"]: schedule["scheduleState"]["status"] for schedule in results}


def launch_backfill(home: HomeRunner, tables: list[str], days: list[str]) -> str:
    """Start a backfill, as the UI's dialog does; give its id."""
    params = {
        "assetSelection": [{"path": [table]} for table in tables],
        "partitionNames": days,
    }
    result = ask(url_of(home), BACKFILL, params=params)["launchPartitionBackfill"]
    assert "backfillId" in result, result
    return str(result["backfillId"])


def backfill_runs(home: HomeRunner, backfill_id: str) -> set[str]:
    """Return the statuses of a backfill's runs; the daemon sums them up half a minute later."""
    return set(backfill_run_statuses(home, backfill_id).values())


def backfill_run_statuses(home: HomeRunner, backfill_id: str) -> dict[str, str]:
    """Return the status of each run of a backfill, by its id; none if nothing answers."""
    try:
        answer = ask(url_of(home), RUNS, id=backfill_id)["runsOrError"]
    except (OSError, ValueError):
        return {}
    return {str(run["runId"]): str(run["status"]) for run in answer.get("results", [])}
