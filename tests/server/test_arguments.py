"""The command line of a replica, in our spelling and in KServe's."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from colonnade import defaults, flags
from colonnade.flags import Effect
from colonnade.security import certificates
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
        (["--runtime", "keras"], {}, "invalid choice: 'keras'"),
        (["--max-queue", "0"], {}, "0 is not a positive number"),
        (["--max-queue=-1"], {}, "-1 is not a positive number"),
        (["--max-body", "many"], {}, "many is not a positive number"),
        (["--grace=-1"], {}, "-1 is not a number of seconds"),
        (["--grace", "nan"], {}, "nan is not a number of seconds"),
        (["--grace", "soon"], {}, "soon is not a number of seconds"),
        (["--http-port", "65536"], {}, "'65536' is not a port number"),
        (["--grpc_port=-1"], {}, "'-1' is not a port number"),
        ([], {"PORT": "65536"}, "PORT: '65536' is not a port number"),
        (["--predictor_host", "x:y"], {}, "Address 'x:y' is neither unix:/path/to.sock nor host:port"),
        (["--protocol", "grpc-v1"], {}, "invalid choice: 'grpc-v1'"),
        (["--model_id", "bert"], {}, "--model-id: the server fetches no model by itself; say storageUri: hf://"),
        (["--ssl_certfile=/x"], {}, "--ssl-certfile: a replica behind the gateway speaks plain HTTP and gRPC"),
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
    words = ["--mine", "1", "--model_name", "m", "--predictor_host", "p", "--workers=2"]
    arguments = parse(words, {}, script=Path("/app/serve.py"))
    assert (arguments.model_name, arguments.model_dir, arguments.ignored) == ("m", Path("/app"), ())


@pytest.mark.parametrize(
    ("words", "predictor", "protocol"),
    [
        (["--predictor_host", "127.0.0.1:9", "--predictor_protocol", "v2"], "127.0.0.1:9", "v2"),
        (["--predictor-host=iris-predictor.default", "--protocol=grpc-v2"], "iris-predictor.default:80", "grpc-v2"),
    ],
)
def test_a_transformer_is_told_its_predictor(words: list[str], predictor: str, protocol: str) -> None:
    found = parse([*words, "--predictor_request_timeout_seconds", "5"], {})
    assert (str(found.predictor), found.predictor_protocol, found.predictor_timeout) == (predictor, protocol, 5.0)
    script = parse([*words, "--protocol", "mine"], {}, script=Path("/app/serve.py"))
    assert str(script.predictor) == predictor  # and --protocol is the script's own


def test_flags_of_an_adapter_are_handed_on_as_they_are() -> None:
    words = ["--task=fill_mask", "--max_model_len", "64", "--return_probabilities", "--backend", "huggingface"]
    assert parse(words, {}).settings == {
        "task": "fill_mask",
        "max-model-len": "64",
        "return-probabilities": "true",
        "backend": "huggingface",
    }
    assert parse([], {}).settings == {}
    assert parse(words, {}, script=Path("/app/serve.py")).settings == {}  # they may be the script's own


@pytest.mark.parametrize(
    ("argv", "limit"),
    [
        ([], defaults.MAX_GRPC_MESSAGE_BYTES),
        (["--grpc_max_send_message_length", "100"], 100),
        (["--grpc_max_send_message_length=100", "--grpc_max_receive_message_length=200"], 200),
        (["--grpc_max_receive_message_length=-1"], 2**31 - 1),
        (["--grpc_max_send_message_length=100", "--max-message", "7"], 7),
    ],
)
def test_the_limits_of_grpc_messages_are_one(argv: list[str], limit: int) -> None:
    assert parse(argv, {}).max_message == limit


@pytest.mark.parametrize(
    ("argv", "consent"),
    [
        ([], None),
        (["--trust_code"], True),
        (["--trust_remote_code"], True),
        (["--trust-code", "--no-trust-code"], False),
        (["--trust_remote_code", "--no-trust-code"], False),
    ],
)
def test_consent_is_given_refused_or_not_said(argv: list[str], consent: bool | None) -> None:
    assert parse(argv, {}).trust_code is consent


VALUES = {
    "--enable-grpc": "true",
    "--runtime": "sklearn",
    "--framework": "sklearn",
    "--protocol": "v1",
    "--predictor-host": "127.0.0.1:1",
    "--predictor-protocol": "v1",
    "--predictor-use-ssl": "true",
    "--explainer": "shap",
    "--execution": "thread",
    "--compile": "off",
}


TLS = {"--tls-cert", "--tls-key"}  # which need each other


@pytest.mark.parametrize("name", sorted(flags.FLAGS.keys() - TLS))
def test_each_flag_does_what_its_list_says(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    flag = flags.FLAGS[name]
    words = [name.replace("-", "_").replace("__", "--", 1), *([VALUES.get(name, "1")] if flag.takes_value else [])]
    if flag.effect in (Effect.REFUSED, Effect.FETCHED):
        with pytest.raises(SystemExit) as end:
            parse(words, {})
        assert end.value.code == 2
        assert flag.note in capsys.readouterr().err
    elif flag.effect is Effect.NONE:
        assert parse(words, {}) == Arguments(http_port=defaults.HTTP_PORT, ignored=(name,))
    else:
        assert parse(words, {}).ignored == ()


def test_tls_needs_a_certificate_and_its_key(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = certificates.ensure(tmp_path)
    given = parse(["--tls-cert", str(files.cert_path), "--tls_key", str(files.key_path)], {})
    assert given.tls is not None
    assert parse([], {}).tls is None
    for words, text in (
        (["--tls-cert", str(files.cert_path)], "need each other"),
        (["--tls-key", str(files.key_path)], "need each other"),
        (["--tls-cert", "/no", "--tls-key", str(files.key_path)], "--tls-cert /no cannot be read"),
    ):
        with pytest.raises(SystemExit):
            parse(words, {})
        assert text in capsys.readouterr().err


def test_no_flag_is_missing_from_the_list(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse(["--help"], {})
    listed = set(re.findall(r"(?<!\S)--[a-z-]+", capsys.readouterr().out)) - {"--help", "--model_name"}
    assert listed <= set(flags.FLAGS)
    assert len(listed) > 15


def test_kserves_own_flags_are_all_known() -> None:
    """Those of KServe's SDK, which reads them when it is imported: in a process of its own."""
    program = "from kserve import model_server as m; print(*[o for a in m.parser._actions for o in a.option_strings])"
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    found = {flags.canonical(word) for word in ended.stdout.split() if word.startswith("--")}
    assert len(found) > 20
    assert found - {"--help"} <= set(flags.FLAGS)
