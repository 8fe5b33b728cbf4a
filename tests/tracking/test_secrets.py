"""No password in what is printed."""

import base64

import pytest

from earmark.tracking.secrets import masked, one_line


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("http://me:pw1234@host:5000/api", "http://***@host:5000/api"),
        ("postgresql://me:pw1234@host/db refused", "postgresql://***@host/db refused"),
        ("mysql+pymysql://h/db?user=me&password=pw1234&x=1", "mysql+pymysql://h/db?user=me&password=***&x=1"),
        ("http://host:5000/a@b", "http://host:5000/a@b"),
        ("sqlite:////srv/me/mlflow.db", "sqlite:////srv/me/mlflow.db"),
        ("ask someone@example.org", "ask someone@example.org"),
    ],
)  # fmt: skip
def test_addresses_are_printed_without_user_and_password(text: str, expected: str) -> None:
    assert masked(text) == expected


@pytest.mark.parametrize(
    ("variable", "value", "text"),
    [
        ("MLFLOW_TRACKING_PASSWORD", "s3cr3t", "user me with s3cr3t is unknown"),
        ("MLFLOW_TRACKING_TOKEN", "s3cr3t", "Bearer s3cr3t expired"),
        ("MLFLOW_TRACKING_URI", "http://me:s3cr3t/x@y@host", "no route to me:s3cr3t/x@y at host"),
        ("MLFLOW_TRACKING_URI", "http://me:s3cr3t%21@host", "password s3cr3t! is wrong"),
        ("MLFLOW_TRACKING_URI", "postgresql://me:s3cr3t@h/db", "role me, password 's3cr3t'"),
        ("MLFLOW_TRACKING_URI", " http://me:s3cr3t@host", "me with s3cr3t"),
        ("MLFLOW_TRACKING_URI", "http://me:a/s3cr3t@host", "port a of a/s3cr3t, or s3cr3t"),
        ("MLFLOW_TRACKING_URI", "http://me:a s3cr3t@host", "a%20s3cr3t and a s3cr3t"),
        ("MLFLOW_TRACKING_URI", "http://me:a\ns3cr3t@host", "'a\\ns3cr3t' and a\ns3cr3t"),
        ("MLFLOW_TRACKING_URI", "http:/me:s3cr3t@host", "no address http:/me:s3cr3t@host"),
        ("MLFLOW_TRACKING_URI", "me:s3cr3t@host:5000", "no address me:s3cr3t@host:5000"),
    ],
)
def test_a_known_password_is_masked_wherever_it_stands(
    variable: str, value: str, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, value)
    assert "s3cr3t" not in masked(text)
    assert "***" in masked(text)


@pytest.mark.parametrize(
    "variables",
    [
        {"MLFLOW_TRACKING_USERNAME": "me", "MLFLOW_TRACKING_PASSWORD": "s3cr3t"},
        {"MLFLOW_TRACKING_URI": "https://me:s3cr3t@host"},
    ],
)
def test_the_header_of_a_password_is_masked(
    variables: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    in_base64 = base64.b64encode(b"me:s3cr3t").decode()
    assert masked(f"'{in_base64}' is refused") == "'***' is refused"


def test_a_header_of_anybody_is_masked_and_sentences_stay() -> None:
    assert masked("Authorization: Basic dTpw, bearer abc.d==.") == (
        "Authorization: Basic ***, bearer ***."
    )
    assert masked("Basic authentication failed") == "Basic authentication failed"


def test_what_a_terminal_would_obey_is_written_out() -> None:
    assert one_line("no\x1b[2J\x07") == r"no\x1b[2J\x07"


def test_an_error_of_many_lines_is_one_line() -> None:
    error = ValueError("first\n  second\n" + "x" * 1000)
    assert one_line(error).startswith("first second xxx")
    assert len(one_line(error)) < 310
    assert one_line(TimeoutError()) == "TimeoutError"
