"""A real S3 server (moto's) for tests, and ways to put objects into it and to fetch from it."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
from moto.moto_server.threaded_moto_server import ThreadedMotoServer


class Buckets:
    """The server, and a client with rights on everything in it."""

    def __init__(self, port: int) -> None:
        self.endpoint = f"http://127.0.0.1:{port}"
        self.env = {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": "known",
            "AWS_SECRET_ACCESS_KEY": "very-secret",
        }
        self.client: Any = boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            aws_access_key_id="known",
            aws_secret_access_key="very-secret",
            region_name="us-east-1",
        )

    def put(self, bucket: str, objects: dict[str, bytes], *, public: bool = False) -> None:
        """Make a bucket if there is none, and put objects into it."""
        if bucket not in [found["Name"] for found in self.client.list_buckets()["Buckets"]]:
            self.client.create_bucket(Bucket=bucket, ACL="public-read" if public else "private")
        for key, body in objects.items():
            self.client.put_object(Bucket=bucket, Key=key, Body=body, ACL="public-read" if public else "private")


@contextmanager
def serving() -> Iterator[Buckets]:
    """The server, up on a free port."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        yield Buckets(server.get_host_and_port()[1])
    finally:
        server.stop()


def tree(folder: Path) -> dict[str, bytes]:
    """The files below a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
