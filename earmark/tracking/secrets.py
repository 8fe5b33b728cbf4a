"""Passwords are kept out of messages: those in addresses, and those in variables of MLflow."""

import os
import re
from urllib.parse import quote, unquote

VARIABLES = ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI", "MLFLOW_BACKEND_STORE_URI")
SECRET_VARIABLES = ("MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN")
SHORTEST = 3  # a shorter one is masked in addresses alone: its letters stand in every message
_QUERY = re.compile(
    r"([?&;][\w.-]*(?:password|passwd|pwd|secret|token|key)[\w.-]*=)[^&;\s'\"]+", re.I
)


def masked(text: str) -> str:
    """The text with `***` for the user and password of each address, and for each known secret."""
    for secret in sorted(_secrets(), key=len, reverse=True):
        text = text.replace(secret, "***")
    text = re.sub(r"(://)[^/\s'\"]*@", r"\1***@", text)
    return _QUERY.sub(r"\1***", text)


def one_line(error: object, *, limit: int = 300) -> str:
    """What an error says, masked, in one line of at most `limit` characters."""
    text = " ".join(masked(str(error).partition("[SQL:")[0]).split()) or type(error).__name__
    return text if len(text) <= limit else f"{text[:limit]} ..."


def _secrets() -> set[str]:
    found = {os.environ.get(name, "") for name in SECRET_VARIABLES}
    for name in VARIABLES:
        # Up to the last @ : a password with / or @ in it is not escaped by everybody.
        if at := re.match(r"[\w.+-]+://(.+)@", os.environ.get(name, "")):
            found |= {at[1], at[1].partition(":")[2]}
    found |= {unquote(secret) for secret in found} | {quote(secret, safe="") for secret in found}
    return {secret for secret in found if len(secret) >= SHORTEST}
