import hashlib
import threading
from pathlib import Path

import pytest

from streamer.errors import UsageError
from streamer.testing import kafka_folder
from streamer.testing.kafka_folder import Jar


class FakeMaven:
    """Serves the jars of `contents` (by artifact) from memory, and counts what it was asked for."""

    def __init__(self, contents):
        self.contents = contents
        self.remote_repos = {"central": "memory:"}
        self.repo_cache = None
        self.asked = []

    def project(self, _group, artifact):
        self.asked.append(artifact)
        return FakeArtifact(self, artifact)


class FakeArtifact:
    def __init__(self, maven, name):
        self.maven, self.name = maven, name

    def at_version(self, _version):
        return self

    def artifact(self):
        return self

    def resolve(self):
        if self.name not in self.maven.contents:
            raise ConnectionError("no route to host")
        self.maven.repo_cache.mkdir(exist_ok=True)
        path = self.maven.repo_cache / self.name
        path.write_bytes(self.maven.contents[self.name])
        return path


@pytest.fixture
def two_jars(monkeypatch, tmp_path):
    """A lock file of two jars and a Maven that has both; the cache is empty."""
    contents = {"one": b"first jar", "two": b"second jar"}
    jars = [Jar("g", name, "1", hashlib.sha256(content).hexdigest()) for name, content in contents.items()]
    maven = FakeMaven(contents)
    monkeypatch.setenv("DRIFTLINE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(kafka_folder, "locked_jars", lambda: jars)
    monkeypatch.setattr(kafka_folder, "_maven", lambda: maven)
    kafka_folder.class_path.cache_clear()
    yield maven
    kafka_folder.class_path.cache_clear()


def class_path_anew():
    kafka_folder.class_path.cache_clear()
    return [Path(jar) for jar in kafka_folder.class_path().split(":")]


def test_jars_are_fetched_once(two_jars):
    """The second call finds everything in the cache; nothing else is left there."""
    first = class_path_anew()
    assert class_path_anew() == first
    assert sorted(two_jars.asked) == ["one", "two"]
    assert [path.read_bytes() for path in first] == [b"first jar", b"second jar"]
    assert len(list(kafka_folder.cache_folder().iterdir())) == 2


def test_a_torn_jar_is_fetched_again(two_jars):
    """A jar whose bytes are not those of the lock file is replaced, never used."""
    path = class_path_anew()[0]
    path.write_bytes(b"fir")
    assert class_path_anew()[0].read_bytes() == b"first jar"


def test_what_an_interrupted_fetch_left_is_swept(two_jars):
    """A folder left by a fetch that was killed is removed by the next."""
    leftover = kafka_folder.cache_folder() / "fetching-x" / "jars"
    leftover.mkdir(parents=True)
    class_path_anew()
    assert not leftover.parent.exists()


def test_a_jar_that_is_not_the_locked_one_is_refused(two_jars):
    """Other bytes than the lock file's are an error that names the jar, and the cache stays empty."""
    two_jars.contents["two"] = b"tampered"
    with pytest.raises(UsageError, match=r"two-1\.jar arrived with another SHA-256"):
        class_path_anew()
    assert not [path for path in kafka_folder.cache_folder().iterdir() if path.is_dir()]


def test_a_jar_out_of_reach_says_so(two_jars):
    """Without a network the error names the jar, the repository and the cause."""
    del two_jars.contents["one"]
    with pytest.raises(UsageError, match=r"one-1\.jar .* can't be fetched from memory: \(no route to host\)"):
        class_path_anew()


def test_several_at_once_fetch_once(two_jars):
    """Callers that start together wait for the one that fetches."""
    threads = [threading.Thread(target=kafka_folder.class_path) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(two_jars.asked) == ["one", "two"]


def test_the_lock_file_is_whole():
    """Each line of the lock file names another jar with its SHA-256, and Kafka's own parts have one version."""
    jars = kafka_folder.locked_jars()
    assert len({jar.file_name for jar in jars}) == len(jars) > 40
    assert all(len(jar.sha256) == 64 for jar in jars)
    assert {jar.version for jar in jars if jar.group == "org.apache.kafka"} == {"4.3.0"}
