"""A real Apache Kafka for tests, from pip alone: one KRaft node on loopback that never outlives the process that asked for it.

    with Broker() as broker:
        broker.create_topics({"predictions": 4})
        producer = KafkaProducer(bootstrap_servers=broker.bootstrap)

`python -m streamer.testing.kafka` prints the address of a fresh broker and stops it on Ctrl-C.
"""

from __future__ import annotations

import base64
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from types import FrameType, TracebackType
from typing import Self

from streamer.errors import BrokerError, DriftlineError
from streamer.testing import kafka_artifacts, kafka_config, supervisor
from streamer.testing.kafka_config import CONTROLLER, HOST, PLAIN, SECURED, Guard

JVM = ["-Xms128m", "-Xmx384m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]
READY = b"Kafka Server started"
START_TIMEOUT_S = 90
STOP_TIMEOUT_S = 20
PORT_ATTEMPTS = 5
QUOTED_LINES = 15


class Broker:
    """One Kafka broker with its own ports and data folder.

    `sasl=True` or `tls=True` (or both) add a second listener at `secured_bootstrap` that asks for the password of `username`
    (SCRAM-SHA-512), for TLS with the certificate in `ca_file`, or both. `settings` are added to server.properties.

    Every way to start it raises BrokerError with the last lines of the broker's log when Kafka does not come up, and UsageError
    when a part of it is not installed or can't be fetched.
    """

    username = kafka_config.USERNAME
    password = kafka_config.PASSWORD

    def __init__(self, *, sasl: bool = False, tls: bool = False, settings: Mapping[str, str] | None = None) -> None:
        self.guard = Guard(sasl, tls)
        self.settings = dict(settings or {})
        self.ports: dict[str, int] = {}
        self.folder: Path | None = None
        self._process: subprocess.Popen[str] | None = None
        self.pid = 0

    @property
    def bootstrap(self) -> str:
        """`host:port` of the listener that asks for nothing."""
        return f"{HOST}:{self.ports[PLAIN]}"

    @property
    def secured_bootstrap(self) -> str:
        """`host:port` of the listener that asks for a password, TLS or both."""
        return f"{HOST}:{self.ports[SECURED]}"

    @property
    def ca_file(self) -> Path:
        """The certificate (PEM) by which clients know the TLS listener."""
        return self._home / "ca.pem"

    def start(self) -> None:
        """Start, with the data of the last run if there was one, and return when clients are served."""
        if self._process is not None:
            return
        java, class_path = kafka_artifacts.java(), kafka_artifacts.class_path()
        command = [str(java), *JVM, "-cp", class_path]
        try:
            if self.folder is None:
                self._format(command)
            self._launch([*command, "kafka.Kafka", str(self._home / "server.properties")])
        except BaseException:
            # Also on Ctrl-C: whoever fails to enter a `with` never leaves it.
            self.close()
            raise

    def stop(self) -> None:
        """Stop in order, as by SIGTERM; the data stays for the next start."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """Stop at once, as by a crash; the data stays for the next start."""
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        """Stop in order and start again at the same address with the same data."""
        self.stop()
        self.start()

    def pause(self) -> None:
        """Freeze the broker: connections stay open and nothing answers (SIGSTOP)."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Go on after `pause`."""
        self._signal(signal.SIGCONT)

    def close(self) -> None:
        """Stop and throw the data away."""
        self.kill()
        if self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)
        self.folder, self.ports = None, {}

    def wait(self) -> None:
        """Return when the broker has ended by itself."""
        if self._process is not None:
            self._process.wait()

    def log_tail(self, lines: int = QUOTED_LINES) -> str:
        """The last lines of the broker's own log."""
        return "\n".join(self._log_file.read_text("utf-8", "replace").splitlines()[-lines:])

    def create_topics(self, partitions: Mapping[str, int], settings: Mapping[str, str] | None = None) -> None:
        """Create topics of so many partitions each, all with the same topic `settings`."""
        from streamer.logs import kafka_admin
        from streamer.logs.kafka_connection import KafkaConnection

        kafka_admin.create_topics(KafkaConnection((self.bootstrap,)), partitions, settings=settings)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def _home(self) -> Path:
        if self.folder is None:
            raise BrokerError("The test broker has not been started")
        return self.folder

    @property
    def _log_file(self) -> Path:
        return self._home / "broker.log"

    def _format(self, command: list[str]) -> None:
        """Make the data folder: ports, settings, keys, and the cluster's first records with the user in them."""
        self.folder = Path(tempfile.mkdtemp(prefix="driftline-kafka-"))
        (self.folder / "log4j2.properties").write_text(kafka_config.LOG4J)
        self._choose_ports()
        if self.guard.tls:
            self._make_keys()
        cluster_id = base64.urlsafe_b64encode(uuid.uuid4().bytes).rstrip(b"=").decode()
        tool = [
            "kafka.tools.StorageTool",
            "format",
            f"--cluster-id={cluster_id}",
            "-c",
            str(self.folder / "server.properties"),
        ]
        if self.guard.sasl:
            tool += ["--add-scram", f"SCRAM-SHA-512=[name={self.username},password={self.password}]"]
        self._run([*command, *tool])

    def _choose_ports(self) -> None:
        self.ports = kafka_config.free_ports([PLAIN, CONTROLLER, SECURED] if self.guard else [PLAIN, CONTROLLER])
        text = kafka_config.server_properties(self._home, self.ports, self.guard, self.settings)
        (self._home / "server.properties").write_text(text)

    def _make_keys(self) -> None:
        """A key with a self-signed certificate for the broker, made by the keytool that comes with the runtime."""
        keytool = [
            str(kafka_artifacts.java().with_name("keytool")),
            "-alias",
            "broker",
            "-keystore",
            str(self._home / "broker.p12"),
        ]
        keytool += ["-storetype", "PKCS12", "-storepass", kafka_config.STORE_PASSWORD]
        names = ["-dname", "CN=localhost", "-ext", "san=dns:localhost,ip:127.0.0.1"]
        self._run([*keytool, "-genkeypair", "-keyalg", "RSA", "-validity", "30", *names])
        self._run([*keytool, "-exportcert", "-rfc", "-file", str(self._home / "ca.pem")])

    def _run(self, command: list[str]) -> None:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)  # noqa: S603
        if done.returncode:
            raise BrokerError(f"The test broker could not be prepared: {done.stdout}{done.stderr}")

    def _launch(self, command: list[str]) -> None:
        """Start the command under its supervisor; at the very first start, look for other ports when one was taken meanwhile."""
        first = not self._log_file.exists()
        for _ in range(PORT_ATTEMPTS if first else 1):
            self._supervise(command)
            if self._is_ready():
                return
            self.kill()
            if "Address already in use" not in self.log_tail(200):
                break
            if first:
                self._choose_ports()
        raise BrokerError(f"The test broker did not start. The end of its log:\n{self.log_tail()}")

    def _supervise(self, command: list[str]) -> None:
        home = str(self._home)
        options = [f"-Dlog4j2.configurationFile={home}/log4j2.properties", f"-Dkafka.logs.dir={home}"]
        script = [sys.executable, "-I", "-S", supervisor.__file__, home, command[0], *options, *command[1:]]
        with self._log_file.open("ab") as log:
            self._read_from = log.tell()
            self._process = subprocess.Popen(  # noqa: S603
                script, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True, start_new_session=True
            )
        assert self._process.stdout is not None
        self.pid = int(self._process.stdout.readline() or 0)

    def _is_ready(self) -> bool:
        """Wait for the line with which Kafka says that it serves; false if it ended instead."""
        assert self._process is not None
        deadline = time.monotonic() + START_TIMEOUT_S
        with self._log_file.open("rb") as log:
            log.seek(self._read_from)
            text = b""
            while time.monotonic() < deadline and self._process.poll() is None:
                text = text[-len(READY) :] + log.read()
                if READY in text:
                    return True
                time.sleep(0.05)
        return False

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None and self._process.stdin is not None:
            try:
                self._process.stdin.write(f"{int(number)}\n")
                self._process.stdin.flush()
            except BrokenPipeError:
                pass

    def _end(self, number: signal.Signals) -> None:
        if self._process is None:
            return
        self._signal(number)
        try:
            self._process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._signal(signal.SIGKILL)
            self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            pipe.close()
        self._process, self.pid = None, 0


def main() -> int:
    """Print the address of a fresh broker, one line, and keep it until SIGINT or SIGTERM; then 0."""
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        with Broker() as broker:
            print(broker.bootstrap, flush=True)
            broker.wait()
            raise BrokerError(f"The test broker ended by itself. The end of its log:\n{broker.log_tail()}")
    except KeyboardInterrupt:
        return 0
    except DriftlineError as error:
        print(error, file=sys.stderr)
        return error.exit_code


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
