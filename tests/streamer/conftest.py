"""An object store on this machine."""

import pytest
from moto.server import ThreadedMotoServer
from pyarrow import fs


@pytest.fixture
def s3(monkeypatch):
    """The URL of a bucket of a real HTTP server."""
    server = ThreadedMotoServer(port=0)
    server.start()
    host, port = server.get_host_and_port()
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    options = f"endpoint_override={host}:{port}&scheme=http&region=us-east-1&allow_bucket_creation=true"
    bucket, _ = fs.FileSystem.from_uri(f"s3://bucket/?{options}")
    bucket.create_dir("bucket")
    yield f"s3://bucket/prefix?{options}"
    server.stop()
