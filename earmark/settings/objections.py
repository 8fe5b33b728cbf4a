"""What a call refuses, as lines for a report of all problems at once."""

from collections.abc import Callable
from typing import Any

from earmark.errors import UserError


def objections(function: Callable[..., Any], *args: Any, **kwargs: Any) -> list[str]:
    """What a call objects to, as one line for each problem; [] where it returns."""
    try:
        function(*args, **kwargs)
    except UserError as error:
        return list(error.problems)
    except SyntaxError as error:
        return [f"{error.filename}, line {error.lineno}: {error.msg}; correct it"]
    except (ValueError, TypeError, RuntimeError) as error:  # torch: an impossible size
        return [" ".join(str(error).split())]
    except Exception as error:  # a network of the user's own may raise anything
        return [f"{type(error).__name__}: {' '.join(str(error).split())}"]
    return []
