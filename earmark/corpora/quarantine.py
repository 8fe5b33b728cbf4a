"""Clips that cannot be used: one row each with the reason, and a limit on how many there may be."""

from collections.abc import Hashable
from pathlib import Path
from typing import Any

import pandas as pd

from earmark.errors import UserError
from earmark.sound.unusable import UnusableAudio

COLUMNS = ["clip", "split", "path", "reason", "message"]
_N_SHOWN = 10


def quarantine_row(clip: dict[Hashable, Any], error: UnusableAudio) -> dict[str, str]:
    """The row of a clip whose audio cannot be used; `reason` is one of the decoder's REASONS."""
    known = {name: clip[name] for name in ("clip", "split", "path")}
    return {**known, "reason": error.reason, "message": str(error)}


def quarantine_table(rows: list[dict[str, str]]) -> pd.DataFrame:
    """The table of all quarantined clips, which has its columns even without rows."""
    return pd.DataFrame(rows, columns=COLUMNS, dtype="str")


def check_quarantine(quarantine: pd.DataFrame, *, n_clips: int, limit: float, listed: Path) -> None:
    """Refuse a corpus of which too many clips cannot be used.

    Args:
        quarantine: a `quarantine_table`.
        n_clips: of the whole corpus.
        limit: the largest share of quarantined clips that is accepted, 0 to 1.
        listed: the file that holds the whole table.

    Raises:
        UserError: there are more, or no clip is left; it counts their reasons, names the file with
            all of them and shows the first.
    """
    n_bad = len(quarantine)
    if n_bad / n_clips <= limit and n_bad < n_clips:
        return
    counts = quarantine["reason"].value_counts()
    reasons = ", ".join(f"{n} {reason}" for reason, n in counts.items())
    fix = f"fix the files that {listed} lists, or raise corpus.max_quarantined"
    head = f"{n_bad} of {n_clips} clips are unusable ({reasons}), over the limit {limit:.1%}; {fix}"
    shown = quarantine.head(_N_SHOWN)
    lines = zip(shown["clip"], shown["message"], strict=True)
    more = [f"and {n_bad - _N_SHOWN} more in {listed}"] if n_bad > _N_SHOWN else []
    raise UserError(head, *(f"{clip}: {message}" for clip, message in lines), *more)
