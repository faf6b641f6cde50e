"""What is under `deploy/` for systemd and Kubernetes runs one worker, guards it and starts it again as it should."""

from __future__ import annotations

import shlex
from contextlib import closing
from http.client import HTTPConnection
from typing import Any

import pytest
from click import Context
from project_tree import ROOT
from ruamel.yaml import YAML

from streamer.commands.service.run import GRACE_S, run
from streamer.config import load_config
from streamer.errors import GapError, InDoubtError, UsageError
from streamer.telemetry.metrics import Metrics

DEPLOY = ROOT / "deploy"
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")


def yaml(path: str) -> Any:
    return YAML(typ="safe").load((ROOT / path).read_text(encoding="utf-8"))


def parsed(arguments: list[str]) -> dict[str, Any]:
    """The options of a `driftline run` as the command itself reads them."""
    assert arguments[0] == "run"
    with Context(run) as parent:
        return run.make_context("run", arguments[1:], parent=parent).params


@pytest.fixture(scope="module")
def unit() -> dict[str, dict[str, list[str]]]:
    """Section -> key -> values, in order, of the systemd unit."""
    sections: dict[str, dict[str, list[str]]] = {}
    for line in (DEPLOY / "systemd" / "driftline.service").read_text(encoding="utf-8").splitlines():
        if line.startswith("["):
            section = sections.setdefault(line.strip("[]"), {})
        elif line and not line.startswith("#"):
            key, _, value = line.partition("=")
            section.setdefault(key, []).append(value)
    return sections


def test_systemd_starts_one_worker(unit):
    """It runs a command line that the command understands, without a parent in between."""
    (line,) = unit["Service"]["ExecStart"]
    program, *arguments = shlex.split(line)
    assert program.endswith("/bin/driftline")
    assert parsed(arguments).items() >= {"no_supervise": True, "workers": None, "progress_fd": None}.items()


def test_systemd_starts_it_again_where_that_helps(unit):
    """Always, but not after what a new start can't cure; and however often, as an outage may be long."""
    service = unit["Service"]
    assert service["Restart"] == ["always"]
    assert service["RestartForceExitStatus"] == [str(InDoubtError.exit_code)]
    assert service["RestartPreventExitStatus"] == [f"{UsageError.exit_code} {GapError.exit_code}"]
    assert unit["Unit"]["StartLimitIntervalSec"] == ["0"]


def test_systemd_guards_it(unit):
    """It is an ordinary user that can write its cache alone, and may compile kernels."""
    guards = ["DynamicUser", "NoNewPrivileges", "ProtectHome", "PrivateTmp", "PrivateDevices", "RestrictNamespaces"]
    assert [guard for guard in guards if unit["Service"].get(guard) != ["yes"]] == []
    assert unit["Service"]["ProtectSystem"] == ["strict"]
    assert unit["Service"]["CapabilityBoundingSet"] == [""]
    assert "MemoryDenyWriteExecute" not in unit["Service"]
    (folder,) = unit["Service"]["CacheDirectory"]
    assert f"NUMBA_CACHE_DIR=%C/{folder}/numba" in unit["Service"]["Environment"]


@pytest.fixture(scope="module")
def pod() -> dict[str, Any]:
    stateful_set = yaml("deploy/kubernetes/statefulset.yaml")
    assert (stateful_set["apiVersion"], stateful_set["kind"]) == ("apps/v1", "StatefulSet")
    return stateful_set["spec"]["template"]["spec"]


@pytest.fixture(scope="module")
def container(pod) -> dict[str, Any]:
    (container,) = pod["containers"]
    return container


def test_a_pod_is_the_worker_of_its_index(container):
    """The ordinal comes from the pod's index, by way of a variable, into an option that the command understands."""
    (variable,) = container["env"]
    assert variable["valueFrom"] == {"fieldRef": {"fieldPath": "metadata.labels['apps.kubernetes.io/pod-index']"}}
    assert f"$({variable['name']})" in container["args"]
    options = parsed([each.replace(f"$({variable['name']})", "7") for each in container["args"]])
    assert (options["no_supervise"], options["worker"]) == (True, 7)
    (config,) = [mount["mountPath"] for mount in container["volumeMounts"] if mount["name"] == "config"]
    assert options["config_file"].startswith(config + "/")


def test_a_pod_is_asked_what_it_answers(container):
    """Probes go to the port that the image serves metrics at, and to paths that are there."""
    (port,) = container["ports"]
    assert f"DRIFTLINE_METRICS__PORT={port['containerPort']}" in DOCKERFILE
    probes = {name: container[name]["httpGet"] for name in ("startupProbe", "livenessProbe", "readinessProbe")}
    assert {probe["port"] for probe in probes.values()} == {port["name"]}
    assert (probes["livenessProbe"]["path"], probes["readinessProbe"]["path"]) == ("/healthz", "/readyz")
    endpoint = Metrics().serve("127.0.0.1", 0)
    try:
        for probe in probes.values():
            with closing(HTTPConnection(endpoint.host, endpoint.port, timeout=10)) as client:
                client.request("GET", probe["path"])
                assert client.getresponse().status in {200, 503}
    finally:
        endpoint.stop()


def test_a_pod_is_an_ordinary_user(pod, container):
    """The image's own user, without privileges, on a root that can't be written; cache, state and /tmp can."""
    (uid, gid) = [line.split()[1] for line in DOCKERFILE.splitlines() if line.startswith("USER ")][-1].split(":")
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert (pod["securityContext"]["runAsUser"], pod["securityContext"]["runAsGroup"]) == (int(uid), int(gid))
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    writable = {mount["mountPath"] for mount in container["volumeMounts"] if not mount.get("readOnly")}
    assert writable == {"/tmp", "/var/cache/driftline", "/var/lib/driftline"}  # noqa: S108 -- in a container
    assert "NUMBA_CACHE_DIR=/var/cache/driftline/numba" in DOCKERFILE
    volumes = {volume["name"] for volume in pod["volumes"]} | {"state"}  # claimed for each pod
    assert {mount["name"] for mount in container["volumeMounts"]} == volumes


def test_pods_are_found():
    """The service selects the pods that the set makes, under the name by which the set knows it."""
    stateful_set, service = yaml("deploy/kubernetes/statefulset.yaml"), yaml("deploy/kubernetes/service.yaml")
    labels = stateful_set["spec"]["template"]["metadata"]["labels"]
    assert stateful_set["spec"]["selector"]["matchLabels"] == labels == service["spec"]["selector"]
    assert stateful_set["spec"]["serviceName"] == service["metadata"]["name"]
    (container,) = stateful_set["spec"]["template"]["spec"]["containers"]
    assert [port["targetPort"] for port in service["spec"]["ports"]] == [port["name"] for port in container["ports"]]
    assert container["image"] == yaml("docker-compose.yml")["services"]["driftline"]["image"]


def test_there_is_time_for_the_last_commit(unit, pod):
    """Whoever stops a worker waits longer than a commit may take, and whoever stops the parent waits longer than it."""
    commit_s = load_config(str(DEPLOY / "driftline.yaml"), environ={}).commit.deadline_s
    assert int(unit["Service"]["TimeoutStopSec"][0]) > commit_s
    assert pod["terminationGracePeriodSeconds"] > commit_s
    assert commit_s < GRACE_S
    assert int(yaml("docker-compose.yml")["services"]["driftline"]["stop_grace_period"].removesuffix("s")) > GRACE_S


def test_the_kustomize_base_is_whole():
    """It lists each file of its folder, and what selects pods selects those of the stateful set, by its own port."""
    folder = ROOT / "deploy" / "kubernetes"
    listed = set(yaml("deploy/kubernetes/kustomization.yaml")["resources"])
    assert listed == {path.name for path in folder.glob("*.yaml")} - {"kustomization.yaml"}
    pod = yaml("deploy/kubernetes/statefulset.yaml")["spec"]["template"]
    labels = pod["metadata"]["labels"]
    (port,) = pod["spec"]["containers"][0]["ports"]
    disruption, network = yaml("deploy/kubernetes/disruption.yaml"), yaml("deploy/kubernetes/network.yaml")
    (monitoring,) = yaml("deploy/kubernetes/monitoring/kustomization.yaml")["resources"]
    monitor = yaml(f"deploy/kubernetes/monitoring/{monitoring}")["spec"]
    for selector in (disruption["spec"]["selector"], network["spec"]["podSelector"], monitor["selector"]):
        assert selector["matchLabels"].items() <= labels.items()
    assert network["spec"]["ingress"] == [{"ports": [{"protocol": "TCP", "port": port["name"]}]}]
    assert [one["port"] for one in monitor["podMetricsEndpoints"]] == [port["name"]]
