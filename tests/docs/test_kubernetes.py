"""docs/deploy/kubernetes-hosts: valid resources, names that there are, and Dagster's own loading.

No cluster runs here, so nothing is applied.
"""

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

import pytest
import yaml  # type: ignore[import-untyped]  # comes with Dagster

from streaming.settings import Settings
from tests.docs.test_deploy import DEPLOY, ROOT, runs
from tests.postgres import PostgresServer

HOSTS: Final = DEPLOY / "kubernetes-hosts"
RESOURCES: Final = [
    (path, document)
    for path in sorted(HOSTS.glob("*.yaml"))
    if path.name != "kustomization.yaml"
    for document in yaml.safe_load_all(path.read_text())
]
BASE: Final = yaml.safe_load((HOSTS / "kustomization.yaml").read_text())
GUIDE: Final = (ROOT / "docs" / "how-to" / "run-on-kubernetes.md").read_text()
IMAGE: Final = "registry.example.com/purchases:0.1.0"


def is_valid(resource: dict[str, Any]) -> bool:
    """Return whether a resource fits Kubernetes' schema, and has no field that it does not know."""
    import kubernetes_validate

    latest = kubernetes_validate.latest_version()
    return bool(kubernetes_validate.validate(resource, latest, strict=True))


def values(tree: object, key: str) -> Iterator[Any]:
    """Yield all values of a key, however deep."""
    if isinstance(tree, dict):
        if key in tree:
            yield tree[key]
        tree = list(tree.values())
    for below in tree if isinstance(tree, list) else ():
        yield from values(below, key)


@pytest.mark.parametrize(
    ("path", "resource"),
    RESOURCES,
    ids=[f"{path.stem}-{document['kind']}" for path, document in RESOURCES],
)
def test_a_resource_fits_the_schema_of_kubernetes(path: Path, resource: dict[str, Any]) -> None:
    """No field is mistyped or at the wrong place."""
    assert is_valid(resource), path


def test_the_hosts_have_settings_secrets_and_commands_that_there_are() -> None:
    """Each is a setting, is in the base or in the guide, or is a command."""
    resources = [document for _, document in RESOURCES]
    instance = yaml.safe_load((HOSTS / "instance" / "dagster.yaml").read_text())
    configs = {each["name"] for each in BASE["configMapGenerator"]}
    created = dict(re.findall(r"create secret generic (\S+)((?: \\\n|[^\n])*)", GUIDE))
    secrets = set(created)
    everything = [*resources, instance]
    assert {one["name"] for one in values(everything, "configMapRef")} <= configs
    assert set(instance["run_launcher"]["config"]["env_config_maps"]) <= configs
    assert set(instance["run_launcher"]["config"]["env_secrets"]) <= secrets
    assert {one["name"] for one in values(everything, "secretRef")} <= secrets
    assert set(values(everything, "secretName")) <= secrets
    for reference in values(everything, "secretKeyRef"):
        assert f"={reference['key']}=" in created[reference["name"]].replace("literal", "")
    literals = [one for each in BASE["configMapGenerator"] for one in each.get("literals", ())]
    names = [literal.partition("=")[0] for literal in literals]
    names += [one["name"] for of_container in values(resources, "env") for one in of_container]
    names += re.findall(r"--from-literal=(PURCHASES_\w+)", GUIDE)
    ours = [name.removeprefix("PURCHASES_") for name in names if name.startswith("PURCHASES_")]
    assert {name.lower() for name in ours} <= Settings.model_fields.keys()
    assert {file for each in BASE["configMapGenerator"] for file in each.get("files", ())} == {
        f"instance/{path.name}" for path in (HOSTS / "instance").iterdir()
    }
    for args in (["up"], ["dashboard"]):
        assert args in list(values(resources, "args"))
        assert runs(args)


def test_each_pod_may_do_little() -> None:
    """None is root, writes into its image, or keeps a capability; each says what it needs."""
    pods = [
        document["spec"]["template"]["spec"]
        for _, document in RESOURCES
        if document["kind"] in {"Deployment", "StatefulSet"}
    ]
    assert len(pods) == 5
    for pod in pods:
        (container,) = pod["containers"]
        assert pod["securityContext"]["runAsNonRoot"]
        assert pod["enableServiceLinks"] is False
        assert container["resources"].keys() == {"requests", "limits"}
        security = container["securityContext"]
        assert security["readOnlyRootFilesystem"]
        assert security["capabilities"] == {"drop": ["ALL"]}


@contextmanager
def kubernetes_api() -> Iterator[tuple[str, list[tuple[str, dict[str, Any]]]]]:
    """Serve the address to which a launcher posts its Jobs; return it and what was posted."""
    posted: list[tuple[str, dict[str, Any]]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            posted.append((self.path, json.loads(body)))
            self.send_response(201)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", posted
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def outside_a_cluster(directory: Path, address: str) -> None:
    """Write the instance's configuration; only where the cluster is differs."""
    named = {"name": "cluster"}
    kubeconfig = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "cluster",
        "contexts": [{**named, "context": {"cluster": "cluster", "user": "cluster"}}],
        "clusters": [{**named, "cluster": {"server": address}}],
        "users": [{**named, "user": {}}],
    }
    (directory / "kubeconfig").write_text(yaml.safe_dump(kubeconfig))
    instance = yaml.safe_load((HOSTS / "instance" / "dagster.yaml").read_text())
    instance["run_launcher"]["config"] |= {
        "load_incluster_config": False,
        "kubeconfig_file": str(directory / "kubeconfig"),
    }
    (directory / "dagster.yaml").write_text(yaml.safe_dump(instance))


def test_dagster_loads_the_instance_and_a_run_is_a_valid_job(
    tmp_path: Path, postgres_server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has the image of its code, the settings and secrets, and storage in PostgreSQL."""
    from dagster import DagsterInstance
    from dagster._core.code_pointer import ModuleCodePointer
    from dagster._core.launcher import LaunchRunContext
    from dagster._core.origin import JobPythonOrigin, RepositoryPythonOrigin
    from dagster._core.test_utils import create_run_for_test

    database = postgres_server.create_database()
    url = postgres_server.url(database).replace("+psycopg:", "+psycopg2:")
    monkeypatch.setenv("DAGSTER_STORAGE_URL", url)
    monkeypatch.setenv("DAGSTER_NAMESPACE", "shop")
    code = RepositoryPythonOrigin(
        "/opt/purchases/.venv/bin/python",
        ModuleCodePointer("orchestration.definitions", "defs"),
        container_image=IMAGE,
    )
    with kubernetes_api() as (address, posted):
        outside_a_cluster(tmp_path, address)
        with DagsterInstance.from_config(str(tmp_path)) as instance:
            assert type(instance.run_launcher).__name__ == "K8sRunLauncher"
            assert type(instance.event_log_storage).__name__ == "PostgresEventLogStorage"
            origin = JobPythonOrigin("day_tables", code)
            run = create_run_for_test(instance, "day_tables", job_code_origin=origin)
            instance.run_launcher.launch_run(LaunchRunContext(run, None))
    ((path, job),) = posted
    assert path == "/apis/batch/v1/namespaces/shop/jobs"
    assert is_valid(job)
    pod = job["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert container["image"] == IMAGE
    assert container["command"] == ["/usr/bin/env"]
    assert container["args"][:5] == [code.executable_path, "-m", "dagster", "api", "execute_run"]
    assert pod["serviceAccountName"] == "purchases-runs"
    assert pod["automountServiceAccountToken"] is False
    # No password is in it.
    assert url not in json.dumps(job)
    postgres_server.drop_database(database)
