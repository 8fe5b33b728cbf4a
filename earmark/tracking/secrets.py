"""Passwords are kept out of messages: those in addresses, and those in variables of MLflow."""

import base64
import os
import re
from urllib.parse import quote, unquote

from earmark.wording import printable

VARIABLES = ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI", "MLFLOW_BACKEND_STORE_URI")
SECRET_VARIABLES = ("MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN")
BASIC_VARIABLES = ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD")
SHORTEST = 3  # a shorter one is masked in addresses alone: its letters stand in every message
_QUERY = re.compile(
    r"([?&;][\w.-]*(?:password|passwd|pwd|secret|token|key)[\w.-]*=)[^&;\s'\"]+", re.I
)
_HEADER = re.compile(r"\b(basic|bearer)(\s+)(?!auth|realm|token\b)[\w.~+/-]{4,}=*", re.I)


def masked(text: str) -> str:
    """The text with `***` for the user and password of each address, and for each known secret."""
    for secret in sorted(_secrets(), key=len, reverse=True):
        text = text.replace(secret, "***")
    text = re.sub(r"(://)[^/\s'\"]*@", r"\1***@", text)
    return _HEADER.sub(r"\1\2***", _QUERY.sub(r"\1***", text))


def one_line(error: object, *, limit: int = 300) -> str:
    """What an error says, masked, in one line of at most `limit` characters."""
    text = " ".join(masked(str(error).partition("[SQL:")[0]).split()) or type(error).__name__
    text = printable(text)  # a server may send what a terminal obeys
    return text if len(text) <= limit else f"{text[:limit]} ..."


def _secrets() -> set[str]:
    found = {os.environ.get(name, "") for name in SECRET_VARIABLES}
    pairs = {":".join(os.environ.get(name, "") for name in BASIC_VARIABLES)}
    for name in VARIABLES:
        # Up to the last @ : a password with / or @ in it is not escaped by everybody. Slashes or
        # the whole scheme may be forgotten; then what is before the first : is taken for it.
        if at := re.match(r"(?:[\w.+-]+:/*)?(.+)@", os.environ.get(name, "").strip(), re.S):
            password = at[1].partition(":")[2]
            pairs |= {at[1], unquote(at[1])} if password else set()
            found |= {at[1], password, *re.split(r"[/?#@\s]+", password)}  # as urls are cut there
    found |= {unquote(secret) for secret in found}
    found |= {base64.b64encode(pair.encode()).decode() for pair in pairs if len(pair) > SHORTEST}
    for secret in tuple(found):
        found |= {quote(secret, safe=""), quote(secret, safe="/:@!$&'()*+,;=")}
        found |= {repr(secret)[1:-1], re.sub(r"[\t\r\n]", "", secret), " ".join(secret.split())}
    return {secret for secret in found if len(secret) >= SHORTEST}
