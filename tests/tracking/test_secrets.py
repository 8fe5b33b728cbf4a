"""No password in what is printed."""

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
    ],
)
def test_a_known_password_is_masked_wherever_it_stands(
    variable: str, value: str, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, value)
    assert "s3cr3t" not in masked(text)
    assert "***" in masked(text)


def test_an_error_of_many_lines_is_one_line() -> None:
    error = ValueError("first\n  second\n" + "x" * 1000)
    assert one_line(error).startswith("first second xxx")
    assert len(one_line(error)) < 310
    assert one_line(TimeoutError()) == "TimeoutError"
