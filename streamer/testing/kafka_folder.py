"""The folder of a test broker, with settings, keys, formatted data and log, its ports, and its proxy."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

from streamer.errors import BrokerError
from streamer.testing import kafka_artifacts, kafka_config
from streamer.testing.fault_proxy import FaultProxy
from streamer.testing.kafka_config import CONTROLLER, PROXIED, NodePlan

JVM = ["-Xms128m", "-Xmx384m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:-UsePerfData"]
QUOTED_LINES = 15


class Home:
    """A new folder and ports for a node, and its proxy if the plan has one; `format` readies it for `command`.

    Everything here raises UsageError when a part of the broker is not installed or can't be fetched.
    """

    def __init__(self, plan: NodePlan) -> None:
        self._java, self._class_path = kafka_artifacts.java(), kafka_artifacts.class_path()
        self._plan = plan
        self.proxy = FaultProxy() if plan.proxied else None
        self.folder = Path(tempfile.mkdtemp(prefix="driftline-kafka-"))
        self.properties = self.folder / "server.properties"
        self.log_file = self.folder / "broker.log"
        self.ca_file = self.folder / "ca.pem"
        self.ports: dict[str, int] = {}
        self.choose_ports()

    @property
    def command(self) -> list[str]:
        """The command that runs the broker."""
        log4j = f"-Dlog4j2.configurationFile={self.folder}/log4j2.properties"
        return self._java_command(log4j, "kafka.Kafka", str(self.properties))

    def choose_ports(self) -> None:
        """Take other ports in the quorum; formatted data stays valid. `write_settings` applies them."""
        self.ports = kafka_config.free_ports(self._plan.listeners)
        self._plan.quorum.controllers[self._plan.node_id] = self.ports[CONTROLLER]
        if self.proxy is not None:
            self.proxy.upstream_port = self.ports[PROXIED]

    def write_settings(self) -> None:
        """Write the settings of the next start. All nodes of the quorum must have ports."""
        (self.folder / "log4j2.properties").write_text(kafka_config.LOG4J)
        advertised = self.ports | ({PROXIED: self.proxy.port} if self.proxy else {})
        text = kafka_config.server_properties(self.folder, self.ports, advertised, self._plan)
        self.properties.write_text(text)

    def format(self) -> None:
        """Make keys and format the data, with the user in it. Raises BrokerError quoting the tools."""
        self.write_settings()
        guard, cluster_id = self._plan.guard, self._plan.quorum.cluster_id
        if guard.tls:
            self._make_keys()
        tool = ["kafka.tools.StorageTool", "format", f"--cluster-id={cluster_id}", "--config", str(self.properties)]
        if guard.sasl:
            user = f"name={kafka_config.USERNAME},password={kafka_config.PASSWORD}"
            tool += ["--add-scram", f"{kafka_config.MECHANISM}=[{user}]"]
        _run(self._java_command(*tool))

    def remove(self) -> None:
        """Delete the folder; the node must have ended."""
        if self.proxy is not None:
            self.proxy.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def log_tail(self, lines: int = QUOTED_LINES) -> str:
        """The last lines of the broker's own log."""
        return "\n".join(self.log_file.read_text("utf-8", "replace").splitlines()[-lines:])

    def _java_command(self, *arguments: str) -> list[str]:
        # Its temporary files stay in its folder, so a killed broker leaves none elsewhere.
        own = f"-Djava.io.tmpdir={self.folder}"
        return [str(self._java), *JVM, own, "-cp", self._class_path, *arguments]

    def _make_keys(self) -> None:
        """A key with a self-signed certificate, made by the keytool that comes with the runtime."""
        store = ["-alias", "broker", "-keystore", str(self.folder / kafka_config.KEY_STORE), "-storetype", "PKCS12"]
        keytool = [str(self._java.with_name("keytool")), *store, "-storepass", kafka_config.STORE_PASSWORD]
        names = ["-dname", "CN=localhost", "-ext", f"san=dns:localhost,ip:{kafka_config.HOST}"]
        _run([*keytool, "-genkeypair", "-keyalg", "RSA", "-validity", "30", *names])
        _run([*keytool, "-exportcert", "-rfc", "-file", str(self.ca_file)])


def _run(command: list[str]) -> None:
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)  # noqa: S603
    if done.returncode:
        raise BrokerError(f"The test broker could not be prepared:\n{done.stdout}{done.stderr}")
