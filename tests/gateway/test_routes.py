"""The routing table as a specification: which host and path mean which service."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from colonnade.gateway import matching
from colonnade.gateway.matching import Match, Matcher, bare_host
from colonnade.gateway.routes import Backend, Route, RouteTable, Target, not_ready

IRIS, WINE, IRIS_TOO, SPACED = range(4)

TABLE = RouteTable(
    version=7,
    routes=(
        Route(
            namespace="default",
            name="iris",
            model="iris",
            hosts=("iris-default.example.com", "iris.default.example.com", "iris-predictor-default.example.com"),
            targets=(Target("iris-1", backends=(Backend("iris-0", "unix:/run/a.sock", "unix:/run/a.grpc"),)),),
            ready=True,
        ),
        Route(namespace="default", name="wine", model="wine", hosts=("wine-default.example.com",), ready=True),
        Route(namespace="other", name="iris", model="shared", hosts=("iris-other.example.com",), reason="loading"),
        Route(namespace="other", name="odd", model="a b/c", hosts=()),
        Route(namespace="third", name="shared", model="shared", hosts=("shared-third.example.com",)),
    ),
)


def test_further_models_of_a_service_are_found_by_their_names() -> None:
    many = Route(namespace="default", name="many", model="many", models=("one", "two", "wine"))
    wine = TABLE.routes[WINE]
    matcher = Matcher(
        RouteTable(routes=(many, wine, Route(namespace="x", name="y", model="z", models=("one",), entry=False)))
    )
    assert matcher.match(b"h", b"/v1/models/one:predict") == Match(0, b"/v1/models/one:predict")
    assert matcher.match(b"h", b"/v2/models/two/infer") == Match(0, b"/v2/models/two/infer")
    assert matcher.by_model("two") == [0]
    assert matcher.match(b"h", b"/v1/models/wine:predict") is None
    assert matcher.refuse(b"/v1/models/wine:predict").status == 409


@pytest.mark.parametrize(
    ("host", "path", "expected"),
    [
        (b"iris-default.example.com", b"/v1/models/iris:predict", Match(IRIS, b"/v1/models/iris:predict")),
        (b"iris.default.example.com", b"/anything/at/all", Match(IRIS, b"/anything/at/all")),
        (b"iris-predictor-default.example.com", b"/", Match(IRIS, b"/")),
        (b"IRIS-Default.Example.COM:8080", b"/v2", Match(IRIS, b"/v2")),
        (b"iris-default.example.com.", b"/v2", Match(IRIS, b"/v2")),
        # A known host decides alone, whatever the path says.
        (b"iris-default.example.com", b"/serving/default/wine/v2", Match(IRIS, b"/serving/default/wine/v2")),
        (b"iris-default.example.com", b"/v1/models/wine:predict", Match(IRIS, b"/v1/models/wine:predict")),
        # By path: the prefix goes, the rest stays as it was sent.
        (b"localhost", b"/serving/default/iris/v2/models/iris/infer", Match(IRIS, b"/v2/models/iris/infer")),
        (b"localhost", b"/serving/other/iris/a%20b//c", Match(IRIS_TOO, b"/a%20b//c")),
        (b"localhost", b"/serving/default/iris", Match(IRIS, b"/")),
        (b"localhost", b"/serving/default/iris/", Match(IRIS, b"/")),
        (b"", b"/serving/default/iris/", Match(IRIS, b"/")),
        # By model name, where it is unique.
        (b"127.0.0.1:8080", b"/v1/models/iris", Match(IRIS, b"/v1/models/iris")),
        (b"127.0.0.1:8080", b"/v1/models/iris:predict", Match(IRIS, b"/v1/models/iris:predict")),
        (b"[::1]:8080", b"/v1/models/iris:explain", Match(IRIS, b"/v1/models/iris:explain")),
        (b"127.0.0.1", b"/v2/models/wine/infer", Match(WINE, b"/v2/models/wine/infer")),
        (b"127.0.0.1", b"/v2/models/wine/versions/1/infer", Match(WINE, b"/v2/models/wine/versions/1/infer")),
        (b"127.0.0.1", b"/v2/repository/models/wine/load", Match(WINE, b"/v2/repository/models/wine/load", True)),
        (b"127.0.0.1", b"/v2/models/a%20b%2Fc/infer", Match(SPACED, b"/v2/models/a%20b%2Fc/infer")),
        # Nothing.
        (b"127.0.0.1", b"/v1/models/shared:predict", None),
        (b"127.0.0.1", b"/v1/models/zz:predict", None),
        (b"127.0.0.1", b"/v1/models", None),
        (b"127.0.0.1", b"/v1/models/", None),
        (b"127.0.0.1", b"/v2/models", None),
        (b"127.0.0.1", b"/serving/default/zz/v2", None),
        (b"127.0.0.1", b"/serving/default", None),
        (b"127.0.0.1", b"/", None),
        (b"zz-default.example.com", b"/", None),
        (b"127.0.0.1", b"/v2/models/\xff\xfe/infer", None),
    ],
)
def test_match(host: bytes, path: bytes, expected: Match | None) -> None:
    matcher = Matcher(TABLE)
    assert matcher.match(host, path) == expected
    assert matcher.match(host, path) == expected, "the cached answer differs from the first one"


def test_unknown_model_names_what_exists() -> None:
    refusal = Matcher(TABLE).refuse(b"/v1/models/zz:predict")
    assert refusal.status == 404
    assert refusal.message.startswith("Model with name zz does not exist.")
    assert "default/iris, default/wine, other/iris" in refusal.message


def test_ambiguous_model_names_the_ways_to_ask() -> None:
    refusal = Matcher(TABLE).refuse(b"/v2/models/shared/infer")
    assert refusal.status == 409
    assert "/serving/other/iris/ (host iris-other.example.com)" in refusal.message
    assert "/serving/third/shared/ (host shared-third.example.com)" in refusal.message


@pytest.mark.parametrize("path", [b"/serving/default/zz/v2", b"/serving/default", b"/serving/", b"/nothing"])
def test_unknown_path_is_404_that_names_what_exists(path: bytes) -> None:
    refusal = Matcher(TABLE).refuse(path)
    assert refusal.status == 404
    assert "default/iris" in refusal.message


def test_list_of_names_is_bounded() -> None:
    table = RouteTable(1, tuple(Route("n", f"s{i:04}", f"m{i}") for i in range(500)))
    message = Matcher(table).refuse(b"/v2/models/zz").message
    assert "and 480 more" in message
    assert len(message) < 1000


def test_names_of_a_request_are_bounded_and_printable_in_messages() -> None:
    message = Matcher(RouteTable()).refuse(b"/v2/models/" + b"%0a" * 500).message
    assert "\n" not in message
    assert len(message) < 300
    assert "No service exists yet." in message


def test_cache_is_bounded() -> None:
    matcher = Matcher(TABLE)
    for i in range(matching.CACHED_PATHS + 10):
        assert matcher.match(b"localhost", b"/serving/default/iris/%d" % i) is not None
    assert len(matcher._cache) <= matching.CACHED_PATHS
    assert matcher.match(b"localhost", b"/serving/default/iris/" + b"x" * 10_000) is not None
    assert all(len(path) <= matching.CACHED_PATH_BYTES for _, path in matcher._cache)


@given(
    st.binary(max_size=60), st.one_of(st.binary(max_size=60), st.binary(max_size=30).map(lambda b: b"/serving/" + b))
)
def test_any_bytes_get_an_answer(host: bytes, path: bytes) -> None:
    matcher = Matcher(TABLE)
    if matcher.match(host, path) is None:
        refusal = matcher.refuse(path)
        assert refusal.status in (404, 409)
        assert refusal.message.isprintable()


@pytest.mark.parametrize(
    ("host", "bare"),
    [(b"A:1", b"a"), (b"[::1]:80", b"[::1]"), (b"a.", b"a"), (b"", b""), (b":80", b""), (b"[::1", b"[::1]")],
)
def test_bare_host(host: bytes, bare: bytes) -> None:
    assert bare_host(host) == bare


def test_table_survives_json() -> None:
    assert msgspec.json.decode(msgspec.json.encode(TABLE), type=RouteTable) == TABLE


def test_not_ready_says_why() -> None:
    assert not_ready(TABLE.routes[2]) == "Service other/iris is not ready: loading"
    assert not_ready(TABLE.routes[1]) == "Service default/wine is not ready: no replica is ready"
