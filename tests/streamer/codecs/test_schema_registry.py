"""The client of schema registries: retries, logins and answers."""

from __future__ import annotations

import pytest
from registry_kit import registry

from streamer.clock import ManualClock
from streamer.codecs.event import Refused
from streamer.codecs.schemas.registry import NoSuchSchema, RegistryError, RegistrySettings, SchemaRegistry
from streamer.codecs.schemas.store import SchemaSettings, SchemaStore
from streamer.errors import UsageError


def client(url, **settings):
    clock = ManualClock()
    return SchemaRegistry(RegistrySettings(url, **settings), {"TOKEN": "t0k3n"}, clock.advance, clock), clock


def test_what_passes_is_tried_again():
    """Statuses that may pass are tried again, with pauses, until the answer comes."""
    with registry() as fake:
        fake.answers["/schemas/ids/1"] = [(503, {}), (429, {}), {"schema": '"int"'}]
        one, clock = client(fake.url)
        assert one.schema(1).text == '"int"'
        assert (len(fake.requests), clock.elapsed_s) == (3, pytest.approx(0.4))


def test_an_unreachable_registry_ends_the_process_after_its_time():
    """Without an answer in `retry_s`, the error names the registry and exits with 3."""
    with registry() as fake:
        url = fake.url
    one, clock = client(url, retry_s=30)
    with pytest.raises(RegistryError, match="gives no schema") as caught:
        one.schema(1)
    assert url in str(caught.value)
    assert caught.value.exit_code == 3
    assert 25 < clock.elapsed_s <= 30


@pytest.mark.parametrize(("answer", "words"), [
    ((401, {}), "answers 401"), ((200, b"<html>"), "no JSON"), ((200, b"[]"), "no object"),
    ((200, {}), "without a schema"),
    ((302, {"to": "http://127.0.0.1:1/"}), "answers 302"),
])  # fmt: skip
def test_a_wrong_answer_is_an_error_at_once(answer, words):
    """An answer that trying again can't mend is reported at once; the login follows no redirect."""
    with registry() as fake:
        fake.answers["/schemas/ids/1"] = answer
        with pytest.raises(RegistryError, match=words):
            client(fake.url)[0].schema(1)
        assert len(fake.requests) == 1


def test_a_schema_that_is_registered_soon_is_awaited():
    """404 is no fault of the registry: it is asked again, with pauses."""
    with registry() as fake:
        fake.answers["/schemas/ids/1"] = [(404, {}), (404, {}), (404, {}), {"schema": '"int"'}]
        one, clock = client(fake.url)
        assert one.schema(1).text == '"int"'
        assert (len(fake.requests), clock.elapsed_s) == (4, pytest.approx(1.4))


def test_an_unknown_schema_is_an_answer_after_its_time():
    """A schema is awaited for `missing_s`, and all unknown ones of a process for ten times as long."""
    with registry() as fake:
        one, clock = client(fake.url, missing_s=6)
        for key in range(40):
            with pytest.raises(NoSuchSchema):
                one.schema(key)
            assert key or 3 < clock.elapsed_s <= 6
        assert 50 < clock.elapsed_s <= 60
        assert fake.requests[-1][0] == "/schemas/ids/39"


def test_a_schema_that_was_missing_stays_missing_in_its_folder(tmp_path):
    """What was folded without a schema is folded so again, until the file that says so is deleted."""
    with registry() as fake:
        settings = SchemaSettings(schema_folder=tmp_path, registry=RegistrySettings(fake.url, missing_s=0))
        for _ in range(2):
            with pytest.raises(Refused, match="Confluent framing, schema id 1: the registry has no such schema"):
                SchemaStore(settings, lambda text: text.text).get(1)
            fake.answers["/schemas/ids/1"] = {"schema": '"int"'}
        assert len(fake.requests) == 1
        (tmp_path / "1.missing").unlink()
        assert SchemaStore(settings, lambda text: text.text).get(1) == '"int"'
        assert [path.name for path in tmp_path.iterdir()] == ["1.json"]


def test_a_token_of_the_environment_is_sent():
    """`token_env` sends a bearer token; a variable that is not set is an error before any request."""
    with registry() as fake:
        fake.answers["/schemas/ids/1"] = {"schema": '"int"'}
        client(fake.url, token_env="TOKEN")[0].schema(1)
        assert fake.requests == [("/schemas/ids/1", "Bearer t0k3n")]
    with pytest.raises(UsageError, match="MISSING"):
        client("http://x", token_env="MISSING")


@pytest.mark.parametrize("url", ["registry:8081", "ftp://x", "http://", "http://me:secret@x"])
def test_a_url_that_is_none_is_refused(url):
    """Only http and https URLs without a login are URLs of a registry."""
    with pytest.raises(ValueError, match="no http or https URL"):
        RegistrySettings(url)
