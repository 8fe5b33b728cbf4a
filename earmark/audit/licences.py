"""Licences: which one a text or an address names, what it forbids, and the attribution file."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import pandas as pd

from earmark.audit.findings import Finding, Severity
from earmark.wording import counted, first_of

_NAMES = {
    "by": "CC BY",
    "by-nc": "CC BY-NC",
    "by-sa": "CC BY-SA",
    "by-nd": "CC BY-ND",
    "by-nc-sa": "CC BY-NC-SA",
    "by-nc-nd": "CC BY-NC-ND",
}
_ALL_LICENCES = "https://creativecommons.org/share-your-work/cclicenses/"
_CLAUSES = {
    r"non[\s_-]*commercial|\bnc\b": "nc",
    r"share[\s_-]*alike|\bsa\b": "sa",
    r"no[\s_-]*deriv\w*|\bnd\b": "nd",
}
TOPIC = "licences"
FREESOUND = "https://freesound.org/s/"


@dataclass(frozen=True)
class Licence:
    """A licence.

    Attributes:
        name: its common name.
        url: the address of its text; "" if unknown.
        is_known: whether the other attributes are certain.
        commercial: whether commercial use is allowed.
        share_alike: whether derived works need the same licence.
        derivatives: whether derived works are allowed.
        attribution: whether the author must be named.
    """

    name: str
    url: str
    is_known: bool = True
    commercial: bool = True
    share_alike: bool = False
    derivatives: bool = True
    attribution: bool = True


UNKNOWN = Licence("unknown", "", is_known=False)
CC0 = Licence("CC0 1.0", "https://creativecommons.org/publicdomain/zero/1.0/", attribution=False)
PUBLIC_DOMAIN = Licence(
    "public domain", "https://creativecommons.org/publicdomain/mark/1.0/", attribution=False
)
# Derived works may be sold, but not the recording itself, and neither may be used to advertise.
SAMPLING = Licence(
    "Sampling+ 1.0", "https://creativecommons.org/licenses/sampling+/1.0/", commercial=False
)


class _Restriction(NamedTuple):
    """A restriction that makes a finding.

    Attributes:
        key: its key in metrics/audit.json.
        severity: of the finding.
        one: what one clip's licence does, after "1 clip has a licence that".
        applies: whether a licence has the restriction.
    """

    key: str
    severity: Severity
    one: str
    applies: Callable[[Licence], bool]


_RESTRICTIONS = (
    _Restriction(
        "not_for_commercial_use",
        "serious",
        "forbids commercial use",
        lambda one: not one.commercial,
    ),
    _Restriction(
        "no_derivatives", "serious", "forbids derived works", lambda one: not one.derivatives
    ),
    _Restriction(
        "share_alike",
        "minor",
        "requires the same licence for derived works",
        lambda one: one.share_alike,
    ),
)


def recognise(text: str) -> Licence:
    """The licence that a text, an abbreviation or an address names, or UNKNOWN.

    "Attribution" without a version is CC BY of an unknown version, and is named "CC BY".
    """
    text = text.strip().lower()
    match = re.search(r"(?<![\d.])([1-4]\.\d)(?![\d.])", text)
    version = match[1] if match else ""
    if re.search(r"\bcc[\s_-]?0\b|commons 0|commons zero|publicdomain/zero|\bzero\b", text):
        return CC0
    if "sampling" in text:
        return SAMPLING
    if re.search(r"public[\s_-]?domain|publicdomain/mark", text):
        return PUBLIC_DOMAIN
    text = text.replace("_", "-")
    if not re.search(r"attribution|\bby\b|cc[\s_-]by", text):
        return UNKNOWN
    clauses = [short for pattern, short in _CLAUSES.items() if re.search(pattern, text)]
    code = "-".join(["by", *sorted(clauses, key=["nc", "sa", "nd"].index)])
    if code not in _NAMES:
        return UNKNOWN
    url = f"https://creativecommons.org/licenses/{code}/{version}/" if version else _ALL_LICENCES
    return Licence(
        f"{_NAMES[code]} {version}".strip(),
        url,
        commercial="nc" not in clauses,
        share_alike="sa" in clauses,
        derivatives="nd" not in clauses,
    )


def describe(clips: pd.DataFrame) -> pd.DataFrame:
    """One row per licence: its clips, its terms and its address, the most frequent first."""
    recognised = {str(text): recognise(str(text)) for text in clips["licence"].unique()}
    rows = []
    for licence, texts in _by_licence(recognised).items():
        licensed = clips[clips["licence"].isin(texts)]
        rows.append(
            {
                "licence": licence.name,
                "clips": len(licensed),
                "train_clips": int((licensed["split"] == "train").sum()),
                "attribution": licence.attribution,
                "commercial_use": licence.commercial if licence.is_known else "?",
                "share_alike": licence.share_alike if licence.is_known else "?",
                "derivatives": licence.derivatives if licence.is_known else "?",
                "url": licence.url,
                "written_as": " | ".join(sorted(texts)) or "(nothing)",
            }
        )
    table = pd.DataFrame(rows)
    return table.sort_values(["clips", "licence"], ascending=[False, True], ignore_index=True)


def _by_licence(recognised: Mapping[str, Licence]) -> dict[Licence, list[str]]:
    texts: dict[Licence, list[str]] = {}
    for text, licence in recognised.items():
        texts.setdefault(licence, []).append(text)
    return texts


def attribution(clips: pd.DataFrame, *, title: str, sources_are_freesound: bool) -> str:
    """The text of an attribution file to ship with a model: every clip, its licence and source.

    Args:
        clips: the clips table.
        title: the name of the corpus.
        sources_are_freesound: whether the column source holds ids of freesound.org.
    """
    lines = [f"Recordings of the corpus {title}, by licence.", ""]
    recognised = {str(text): recognise(str(text)) for text in clips["licence"].unique()}
    by_name = sorted(_by_licence(recognised).items(), key=lambda item: item[0].name)
    for licence, texts in by_name:
        licensed = clips[clips["licence"].isin(texts)].sort_values("clip")
        url = licence.url or "no known licence: find out the licence before you ship these"
        lines += [f"{licence.name} ({url}), {counted(len(licensed), 'clip')}:"]
        for clip, source in licensed[["clip", "source"]].to_numpy():
            address = f"{FREESOUND}{source}/" if sources_are_freesound else source
            lines.append(f"  {clip}: {address}" if source else f"  {clip}")
        lines.append("")
    return "\n".join(lines)


def metrics(table: pd.DataFrame) -> dict[str, Any]:
    """Counts for metrics/audit.json; `table` is what `describe` returns."""
    return {
        "clips_by_licence": dict(zip(table["licence"], table["clips"].astype(int), strict=True)),
        "not_for_commercial_use": _count(table, "commercial_use", False),
        "share_alike": _count(table, "share_alike", True),
        "no_derivatives": _count(table, "derivatives", False),
        "unknown": _count(table, "licence", UNKNOWN.name),
    }


def _count(table: pd.DataFrame, column: str, wanted: object) -> int:
    return int(table.loc[[value == wanted for value in table[column]], "clips"].sum())


def findings(clips: pd.DataFrame, table: pd.DataFrame) -> list[Finding]:
    """Findings about restrictive and unknown licences; `table` is what `describe` returns."""
    counts = metrics(table)
    licence_of = [recognise(text) for text in clips["licence"]]

    def clips_where(applies: Callable[[Licence], bool]) -> str:
        pairs = zip(clips["clip"], licence_of, strict=True)
        return first_of([clip for clip, licence in pairs if applies(licence)])

    result = [
        Finding(
            restriction.severity,
            TOPIC,
            f"{counted(n, 'clip has', 'clips have')} a licence that {restriction.one}",
            "This may also bind a product that was trained on them: "
            f"{clips_where(restriction.applies)}.",
            "Drop these clips through corpus.label_corrections before you train a model that you "
            "ship, or ask a lawyer.",
        )
        for restriction in _RESTRICTIONS
        if (n := counts[restriction.key])
    ]
    if n := counts["unknown"]:
        have = "has" if n == 1 else "have"
        result.append(
            Finding(
                "minor",
                TOPIC,
                "No clip has a known licence"
                if n == len(clips)
                else f"{n} of {len(clips)} clips {have} no known licence",
                "Without a licence nobody knows whether a model trained on them may be shipped: "
                f"{clips_where(lambda one: not one.is_known)}.",
                "Fill in the column licence of the corpus' table.",
            )
        )
    return result
