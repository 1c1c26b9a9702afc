"""The command line of a replica, in our spelling and in KServe's."""

from __future__ import annotations

from pathlib import Path

import pytest

from colonnade import defaults
from colonnade.server.arguments import Arguments, parse


def test_defaults_are_those_of_a_kserve_container() -> None:
    arguments = parse([], {})
    assert (arguments.model_name, arguments.model_dir) == ("model", Path("/mnt/models"))
    assert (arguments.host, arguments.http_port, arguments.grpc_port) == (defaults.HOST, defaults.HTTP_PORT, None)
    assert not arguments.trust_code


@pytest.mark.parametrize(
    "argv",
    [
        ["--model-name", "iris", "--model-dir", "/m_o", "--http-port", "0", "--grpc-port", "9"],
        ["--model_name=iris", "--model_dir=/m_o", "--http_port=0", "--grpc_port=9"],
        ["--model_name", "iris", "--model_dir", "/m_o", "--http-port=0", "--grpc_port", "9", "--enable_grpc=true"],
    ],
)
def test_both_spellings_mean_the_same(argv: list[str]) -> None:
    assert parse(argv, {}) == Arguments(model_name="iris", model_dir=Path("/m_o"), http_port=0, grpc_port=9)


@pytest.mark.parametrize(
    ("argv", "env", "http", "grpc"),
    [
        ([], {"PORT": "9000"}, 9000, None),
        (["--http-port", "1"], {"PORT": "9000"}, 1, None),
        (["--socket", "/s"], {"PORT": "9000"}, None, None),
        (["--enable_grpc", "true"], {}, defaults.HTTP_PORT, defaults.GRPC_PORT),
        (["--enable_grpc", "true", "--grpc-port", "5"], {}, defaults.HTTP_PORT, 5),
        (["--enable_grpc", "false", "--grpc-port", "5"], {}, defaults.HTTP_PORT, None),
    ],
)
def test_which_ports_are_opened(argv: list[str], env: dict[str, str], http: int | None, grpc: int | None) -> None:
    arguments = parse(argv, env)
    assert (arguments.http_port, arguments.grpc_port) == (http, grpc)


@pytest.mark.parametrize(
    ("argv", "env", "message"),
    [
        (["--socket", "/s", "--http-port", "1"], {}, "not allowed with"),
        (["--runtime", "tensorflow"], {}, "invalid choice: 'tensorflow'"),
        (["--max-queue", "0"], {}, "0 is not a positive number"),
        (["--enable-grpc", "1"], {}, "1 is neither true nor false"),
        (["--models", "x"], {}, "unrecognized arguments: --models"),
        ([], {"PORT": "http"}, "PORT: 'http' is not a port number"),
    ],
)
def test_a_wrong_command_line_is_refused(
    argv: list[str], env: dict[str, str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        parse(argv, env)
    assert end.value.code == 2
    assert message in capsys.readouterr().err


def test_a_script_keeps_its_own_flags_and_its_folder() -> None:
    arguments = parse(["--mine", "1", "--model_name", "m"], {}, script=Path("/app/serve.py"))
    assert (arguments.model_name, arguments.model_dir) == ("m", Path("/app"))
