"""An S3 server on loopback, for all tests that need one."""

from __future__ import annotations

import logging

import fsspec
import pytest
from moto.server import ThreadedMotoServer
from s3fs import S3FileSystem

from tests.pipeline.batch.stores import Spoiler


@pytest.fixture(scope="module")
def moto():
    """An S3 server with the empty bucket `archive`: what stands between it and us."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    with pytest.MonkeyPatch.context() as patch, Spoiler(server.get_host_and_port()[1], passed) as spoiler:
        for name, value in (("ACCESS_KEY_ID", "AKIAEXAMPLE"), ("SECRET_ACCESS_KEY", "hush-hush")):
            patch.setenv(f"AWS_{name}", value)
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        patch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{spoiler.port}")
        S3FileSystem.clear_instance_cache()
        fsspec.filesystem("s3", use_listings_cache=False).makedirs("archive", exist_ok=True)
        yield spoiler
        S3FileSystem.clear_instance_cache()
    server.stop()


@pytest.fixture
def store(moto):
    """The store, well again for every test; `fault` may be set."""
    moto.fault, moto.requests, moto.spoilt = passed, 0, 0
    yield moto
    moto.fault = passed


def passed(*_):
    """No fault."""
