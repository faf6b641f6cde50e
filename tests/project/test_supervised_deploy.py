"""What is under `deploy/` for systemd and Kubernetes runs one worker, guards it and starts it again as it should."""

from __future__ import annotations

import copy
import shlex
import shutil
import subprocess
import sys
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
from click import Command, Context
from project_tree import ROOT
from promtool import promtool
from ruamel.yaml import YAML

from streamer.commands.service.launch import PORT as LAUNCH_PORT
from streamer.commands.service.launch import launch
from streamer.commands.service.notify import PORT as NOTIFY_PORT
from streamer.commands.service.notify import notify
from streamer.commands.service.run import GRACE_S, run
from streamer.commands.views.ui import ui
from streamer.config import load_config
from streamer.errors import GapError, InDoubtError, UsageError
from streamer.telemetry.health import HANGS_AFTER_S
from streamer.telemetry.metrics import Metrics

DEPLOY = ROOT / "deploy"
KUBERNETES = DEPLOY / "kubernetes"
OF_OPERATORS = {"kustomize.config.k8s.io/v1beta1", "monitoring.coreos.com/v1", "keda.sh/v1alpha1"}
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")


def yaml(path: str) -> Any:
    return YAML(typ="safe").load((ROOT / path).read_text(encoding="utf-8"))


def parsed(arguments: list[str]) -> dict[str, Any]:
    """The options of a command of ours, as it reads them itself."""
    command = COMMANDS[arguments[0]]
    with Context(command) as parent:
        return command.make_context(arguments[0], arguments[1:], parent=parent).params


UNITS = sorted((DEPLOY / "systemd").glob("*.service"))
COMMANDS: dict[str, Command] = {"run": run, "launch": launch, "notify": notify, "ui": ui}


def sections_of(path: Path) -> dict[str, dict[str, list[str]]]:
    """Section -> key -> values, in order, of a systemd unit."""
    sections: dict[str, dict[str, list[str]]] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("["):
            section = sections.setdefault(line.strip("[]"), {})
        elif line and not line.startswith("#"):
            key, _, value = line.partition("=")
            section.setdefault(key, []).append(value)
    return sections


@pytest.fixture(scope="module")
def unit() -> dict[str, dict[str, list[str]]]:
    """The unit of a worker."""
    return sections_of(DEPLOY / "systemd" / "driftline.service")


def test_systemd_starts_one_worker(unit):
    """It runs a command line that the command understands, without a parent in between."""
    (line,) = unit["Service"]["ExecStart"]
    program, *arguments = shlex.split(line)
    assert program.endswith("/bin/driftline")
    assert parsed(arguments).items() >= {"no_supervise": True, "workers": None, "progress_fd": None}.items()


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.stem)
def test_systemd_accepts_the_unit(path, tmp_path):
    """`systemd-analyze verify` knows each key and value, and the command takes its options."""
    assert shutil.which("systemd-analyze"), "systemd-analyze is missing, which tests the units: apt-get install systemd"
    (line,) = sections_of(path)["Service"]["ExecStart"]
    program, *arguments = shlex.split(line)
    assert parsed(arguments)["config_file"] == "/etc/driftline/driftline.yaml"
    unit_file = tmp_path / path.name
    unit_file.write_text(path.read_text(encoding="utf-8").replace(program, sys.executable), encoding="utf-8")
    checked = subprocess.run(["systemd-analyze", "verify", unit_file], capture_output=True, text=True, check=False)
    said = [one for one in checked.stderr.splitlines() if unit_file.name in one]
    assert (checked.returncode, said) == (0, [])


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.stem)
def test_systemd_knows_when_it_is_ready_and_alive(path):
    """Starting may take as long as Kafka is away; its own watchdog, which logs where a thread hangs, is faster."""
    service = sections_of(path)["Service"]
    assert (service["Type"], service["TimeoutStartSec"]) == (["notify"], ["infinity"])
    assert int(service["WatchdogSec"][0]) > HANGS_AFTER_S


def test_systemd_starts_it_again_where_that_helps(unit):
    """Always, but not after what a new start can't cure; and however often, as an outage may be long."""
    service = unit["Service"]
    assert service["Restart"] == ["always"]
    assert service["RestartForceExitStatus"] == [str(InDoubtError.exit_code)]
    assert service["RestartPreventExitStatus"] == [f"{UsageError.exit_code} {GapError.exit_code}"]
    assert unit["Unit"]["StartLimitIntervalSec"] == ["0"]


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.stem)
def test_systemd_guards_it(path, unit):
    """Each is an ordinary user without rights; a worker can write its cache alone, and may compile kernels."""
    service = sections_of(path)["Service"]
    guards = ["DynamicUser", "NoNewPrivileges", "ProtectHome", "PrivateTmp", "PrivateDevices", "RestrictNamespaces"]
    assert [guard for guard in guards if service.get(guard) != ["yes"]] == []
    assert (service["ProtectSystem"], service["CapabilityBoundingSet"]) == (["strict"], [""])
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


FOLDERS = sorted({path.parent for path in KUBERNETES.rglob("kustomization.yaml")})


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda path: path.name)
def test_a_kustomization_is_whole(folder):
    """It lists each file of its folder."""
    listed = set(yaml(str(folder / "kustomization.yaml"))["resources"])
    assert listed == {path.name for path in folder.glob("*.yaml")} - {"kustomization.yaml"}


MANIFESTS = {path.stem: yaml(str(path)) for path in sorted(KUBERNETES.rglob("*.yaml"))}
OWN_KINDS = [name for name, one in MANIFESTS.items() if one["apiVersion"] not in OF_OPERATORS]


@pytest.mark.parametrize("name", OWN_KINDS)
def test_kubernetes_accepts_it(name):
    """Each manifest satisfies the schema of its kind, without a field that Kubernetes does not know."""
    kubernetes_validate.validate(MANIFESTS[name], "1.37", strict=True)


@pytest.mark.parametrize(("name", "path"), [("network", ("spec", "podSelektor")), ("disruption", ("spec", "selector"))])
def test_kubernetes_refuses_another(name, path):
    """A field of another name, or a value of another type, is a fault."""
    wrong = copy.deepcopy(MANIFESTS[name])
    wrong[path[0]][path[1]] = 3
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, "1.37", strict=True)


def test_selectors_find_the_pods():
    """Budget, network policy and monitor select the pods of the set, by their port; the last two also those beside."""
    pods = [yaml("deploy/kubernetes/statefulset.yaml")["spec"]["template"]]
    pods += [yaml(f"deploy/kubernetes/beside/{name}.yaml")["spec"]["template"] for name in ("launch", "notify")]
    names = [pod["metadata"]["labels"]["app.kubernetes.io/name"] for pod in pods]
    ports = {port["name"] for pod in pods for port in pod["spec"]["containers"][0]["ports"]}
    disruption = yaml("deploy/kubernetes/disruption.yaml")["spec"]
    assert disruption["selector"]["matchLabels"].items() <= pods[0]["metadata"]["labels"].items()
    network = yaml("deploy/kubernetes/network.yaml")["spec"]
    monitor = yaml("deploy/kubernetes/monitoring/pod-monitor.yaml")["spec"]
    for selector in (network["podSelector"], monitor["selector"]):
        (expression,) = selector["matchExpressions"]
        assert expression == {"key": "app.kubernetes.io/name", "operator": "In", "values": names}
    assert network["ingress"] == [{"ports": [{"protocol": "TCP", "port": "metrics"}]}]
    assert ({one["port"] for one in monitor["podMetricsEndpoints"]}, ports) == ({"metrics"}, {"metrics"})


@pytest.mark.parametrize(("name", "port"), [("launch", LAUNCH_PORT), ("notify", NOTIFY_PORT)])
def test_a_pod_beside_is_one_process(name, port):
    """It runs a command that takes its options, at the port that it serves by default, and never two at once."""
    spec = yaml(f"deploy/kubernetes/beside/{name}.yaml")["spec"]
    (container,) = spec["template"]["spec"]["containers"]
    assert (spec["replicas"], spec["strategy"]) == (1, {"type": "Recreate"})
    assert parsed(container["args"])["metrics_port"] is None
    assert [one["containerPort"] for one in container["ports"]] == [port]
    assert container["securityContext"]["readOnlyRootFilesystem"] is True


def test_the_page_is_read_only_and_found():
    """Nobody decides on a page without a login; its service and its probes reach the port that it serves."""
    pod = yaml("deploy/kubernetes/beside/ui.yaml")["spec"]["template"]
    (container,) = pod["spec"]["containers"]
    options = parsed(container["args"])
    assert (options["read_only"], options["host"], options["replayed"]) == (True, "0.0.0.0", None)
    assert container["ports"] == [{"name": "page", "containerPort": options["port"]}]
    service = yaml("deploy/kubernetes/beside/ui-service.yaml")["spec"]
    assert service["selector"] == pod["metadata"]["labels"]
    assert service["ports"] == [{"name": "page", "port": options["port"], "targetPort": "page"}]
    probes = [container[f"{name}Probe"]["httpGet"] for name in ("liveness", "readiness")]
    assert probes == [{"path": "/healthz", "port": "page"}, {"path": "/readyz", "port": "page"}]
    assert container["securityContext"]["readOnlyRootFilesystem"] is True


def test_the_operator_gets_our_rules(tmp_path):
    """The PrometheusRule holds the groups of the rule files, in which promtool finds no fault."""
    spec = yaml("deploy/kubernetes/monitoring/prometheus-rule.yaml")["spec"]
    files = [yaml(f"deploy/prometheus/{name}.yml")["groups"] for name in ("recording", "alerts")]
    assert spec["groups"] == [group for groups in files for group in groups]
    with (tmp_path / "rules.yml").open("w") as file:
        YAML(typ="safe").dump(spec, file)
    command = [promtool(), "check", "rules", str(tmp_path / "rules.yml")]
    checked = subprocess.run(command, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_keda_scales_by_the_lag_of_our_group():
    """The trigger names the group, a topic and the brokers as a configuration does; all its values are text."""
    spec = yaml("deploy/kubernetes/scaling/scaled-object.yaml")["spec"]
    (trigger,) = spec["triggers"]
    config = load_config(str(DEPLOY / "driftline.yaml"), environ={})
    assert spec["scaleTargetRef"] == {
        "kind": yaml("deploy/kubernetes/statefulset.yaml")["kind"],
        "name": yaml("deploy/kubernetes/statefulset.yaml")["metadata"]["name"],
    }
    assert (trigger["type"], trigger["metadata"]["consumerGroup"]) == ("apache-kafka", config.kafka.group)
    assert trigger["metadata"]["topic"] in config.topics
    assert all(isinstance(value, str) for value in trigger["metadata"].values())
    assert 1 == spec["minReplicaCount"] < spec["maxReplicaCount"]
