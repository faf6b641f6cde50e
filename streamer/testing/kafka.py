"""A real Apache Kafka for tests, from pip alone: one KRaft node on loopback that never outlives the process that asked.

    with Broker() as broker:
        broker.create_topics({"predictions": 4})
        producer = KafkaProducer(bootstrap_servers=broker.bootstrap)

`python -m streamer.testing.kafka` prints the address of a fresh broker and stops it on Ctrl-C.
"""

from __future__ import annotations

import shutil
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from streamer.errors import BrokerError, DriftlineError
from streamer.testing import kafka_config
from streamer.testing.kafka_config import HOST, PLAIN, SECURED, Guard
from streamer.testing.kafka_home import Home
from streamer.testing.supervised import Supervised

READY = b"Kafka Server started"
START_TIMEOUT_S = 90
PORT_ATTEMPTS = 5


class Broker:
    """One Kafka broker with its own ports and data folder.

    `sasl=True` or `tls=True` (or both) add a second listener at `secured_bootstrap` that asks for the password of
    `username` by `mechanism`, for TLS with the certificate in `ca_file`, or both. `settings` are added to
    server.properties and win over ours.

    Every way to start it raises BrokerError with the last lines of the broker's log when Kafka does not come up, and
    UsageError with the command that mends it when a part of it is not installed or can't be fetched.
    """

    mechanism = kafka_config.MECHANISM
    username = kafka_config.USERNAME
    password = kafka_config.PASSWORD

    def __init__(self, *, sasl: bool = False, tls: bool = False, settings: Mapping[str, str] | None = None) -> None:
        self._guard = Guard(sasl, tls)
        self._settings = dict(settings or {})
        self._home: Home | None = None
        self._process: Supervised | None = None

    @property
    def bootstrap(self) -> str:
        """`host:port` of the listener that asks for nothing; the same after every restart."""
        return f"{HOST}:{self._started.ports[PLAIN]}"

    @property
    def secured_bootstrap(self) -> str:
        """`host:port` of the listener that asks for a password, TLS or both."""
        return f"{HOST}:{self._started.ports[SECURED]}"

    @property
    def secured_protocol(self) -> str:
        """What that listener speaks: SASL_PLAINTEXT, SSL or SASL_SSL."""
        return self._guard.protocol

    @property
    def ca_file(self) -> Path:
        """The certificate (PEM) by which clients know the TLS listener."""
        return self._started.ca_file

    @property
    def pid(self) -> int | None:
        """The process id of the broker while it runs."""
        return self._process.pid if self._process else None

    def start(self) -> None:
        """Start, with the data of the last run if there was one, and return when clients are served."""
        if self._process is not None:
            return
        try:
            attempts = 1
            if self._home is None:
                self._home = Home(self._guard, self._settings)
                self._home.prepare()
                attempts = PORT_ATTEMPTS
            self._launch(self._home, attempts)
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
        if self._process is not None:
            self._process.send(signal.SIGSTOP)

    def resume(self) -> None:
        """Go on after `pause`."""
        if self._process is not None:
            self._process.send(signal.SIGCONT)

    def close(self) -> None:
        """Stop and throw the data away."""
        self.kill()
        if self._home is not None:
            shutil.rmtree(self._home.folder, ignore_errors=True)
            self._home = None

    def wait(self) -> None:
        """Return when the broker has ended by itself."""
        if self._process is not None:
            self._process.wait()

    def log_tail(self) -> str:
        """The last lines of the broker's own log."""
        return self._started.log_tail()

    def create_topics(self, partitions: Mapping[str, int], settings: Mapping[str, str] | None = None) -> None:
        """Create topics of so many partitions each, all with the same topic `settings`."""
        from streamer.logs import kafka_admin
        from streamer.logs.kafka_connection import KafkaConnection

        kafka_admin.create_topics(KafkaConnection(bootstrap=(self.bootstrap,)), partitions, settings=settings)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def _started(self) -> Home:
        if self._home is None:
            raise BrokerError("The test broker has not been started: call start(), or use it in a `with`")
        return self._home

    def _launch(self, home: Home, attempts: int) -> None:
        """Start the process; where its ports may still change and one was taken meanwhile, try again with others."""
        for attempt in range(attempts):
            if attempt:
                home.choose_ports()
            log_bytes = home.log_file.stat().st_size if home.log_file.exists() else 0
            self._process = Supervised(home.command, home.folder, home.log_file)
            if _is_ready(self._process, home.log_file, log_bytes):
                return
            self.kill()
            if "Address already in use" not in home.log_tail(lines=200):
                break
        raise BrokerError(f"The test broker did not start. The end of its log:\n{home.log_tail()}")

    def _end(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.end(number)
            self._process = None


def _is_ready(process: Supervised, log_file: Path, from_byte: int) -> bool:
    """Wait for the line with which Kafka says that it serves; false if it ended or `START_TIMEOUT_S` passed."""
    deadline = time.monotonic() + START_TIMEOUT_S
    with log_file.open("rb") as log:
        log.seek(from_byte)
        text = b""
        while process.running and time.monotonic() < deadline:
            # The end of the last piece stays: the line may be cut in two.
            text = text[-len(READY) :] + log.read()
            if READY in text:
                return True
            time.sleep(0.05)
    return False


def main() -> int:
    """Print the address of a fresh broker, one line, and keep it until SIGINT or SIGTERM; then 0."""
    # SIGINT too: a shell script starts its background commands with SIGINT ignored.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
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


if __name__ == "__main__":
    sys.exit(main())
