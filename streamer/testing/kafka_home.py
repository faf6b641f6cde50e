"""The folder a test broker lives in: its settings, its keys, its formatted data and its log."""

from __future__ import annotations

import base64
import subprocess
import tempfile
import uuid
from collections.abc import Mapping
from pathlib import Path

from streamer.errors import BrokerError
from streamer.testing import kafka_artifacts, kafka_config
from streamer.testing.kafka_config import CONTROLLER, PLAIN, SECURED, Guard

JVM = ["-Xms128m", "-Xmx384m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]
QUOTED_LINES = 15


class Home:
    """A new folder, formatted and ready for `command`. The caller removes `folder`, also when `prepare` raises.

    Everything here raises UsageError when a part of the broker is not installed or can't be fetched.
    """

    def __init__(self, guard: Guard, settings: Mapping[str, str]) -> None:
        self._java, self._class_path = kafka_artifacts.java(), kafka_artifacts.class_path()
        self._guard, self._settings = guard, settings
        self.folder = Path(tempfile.mkdtemp(prefix="driftline-kafka-"))
        self.properties = self.folder / "server.properties"
        self.log_file = self.folder / "broker.log"
        self.ca_file = self.folder / "ca.pem"
        self.ports: dict[str, int] = {}

    @property
    def command(self) -> list[str]:
        """The command that runs the broker."""
        log4j = f"-Dlog4j2.configurationFile={self.folder}/log4j2.properties"
        return self._java_command(log4j, "kafka.Kafka", str(self.properties))

    def prepare(self) -> None:
        """Write settings and keys and format the data, with the user in it. Raises BrokerError quoting the tools."""
        (self.folder / "log4j2.properties").write_text(kafka_config.LOG4J)
        self.choose_ports()
        if self._guard.tls:
            self._make_keys()
        cluster_id = base64.urlsafe_b64encode(uuid.uuid4().bytes).rstrip(b"=").decode()
        tool = ["kafka.tools.StorageTool", "format", f"--cluster-id={cluster_id}", "--config", str(self.properties)]
        if self._guard.sasl:
            user = f"name={kafka_config.USERNAME},password={kafka_config.PASSWORD}"
            tool += ["--add-scram", f"{kafka_config.MECHANISM}=[{user}]"]
        _run(self._java_command(*tool))

    def choose_ports(self) -> None:
        """Take other ports; formatted data stays valid."""
        self.ports = kafka_config.free_ports([PLAIN, CONTROLLER, SECURED] if self._guard else [PLAIN, CONTROLLER])
        text = kafka_config.server_properties(self.folder, self.ports, self._guard, self._settings)
        self.properties.write_text(text)

    def log_tail(self, lines: int = QUOTED_LINES) -> str:
        """The last lines of the broker's own log."""
        return "\n".join(self.log_file.read_text("utf-8", "replace").splitlines()[-lines:])

    def _java_command(self, *arguments: str) -> list[str]:
        return [str(self._java), *JVM, "-cp", self._class_path, *arguments]

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
