"""What all tests share."""

import os
from collections.abc import Callable
from functools import cache
from typing import Any

import jsonschema
import msgspec
import pytest
from hypothesis import settings

from streamer.contracts.schemas import CONTRACTS, schema_of

# Kernels compile at their first call, so a deadline would measure the compiler. Examples are the same in every run, so
# that a red build means a change; HYPOTHESIS_PROFILE=explore looks at new ones.
settings.register_profile("driftline", deadline=None, derandomize=True)
settings.register_profile("explore", deadline=None, max_examples=1000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "driftline"))


@cache
def _validator(contract: str) -> jsonschema.Draft202012Validator:
    (schema,) = (schema_of(known) for known in CONTRACTS if known.name == contract)
    return jsonschema.Draft202012Validator(schema)


@pytest.fixture(scope="session")
def conforms() -> Callable[[str, bytes], Any]:
    """`conforms("retrain-request.v1", value)`: the record's JSON, decoded, once it has met its schema.

    Schemas allow unknown fields, for readers of tomorrow; what is written today must have none. An alert without
    windows writes neither those nor a history.
    """

    def check(contract: str, value: bytes) -> Any:
        record = msgspec.json.decode(value)
        _validator(contract).validate(record)
        (known,) = (one for one in CONTRACTS if one.name == contract)
        empty = {"windows", "history"} - set(record) if contract == "alert.v1" else set()
        assert set(record) | empty == set(known.type.__dataclass_fields__)
        return record

    return check
