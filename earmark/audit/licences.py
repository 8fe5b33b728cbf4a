"""Licences: what each text or address stands for, what it forbids, and whom to name."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from earmark.audit.findings import Finding, Severity, some

_NAMES = {
    "by": "CC BY",
    "by-nc": "CC BY-NC",
    "by-sa": "CC BY-SA",
    "by-nd": "CC BY-ND",
    "by-nc-sa": "CC BY-NC-SA",
    "by-nc-nd": "CC BY-NC-ND",
}
_ALL_LICENCES = "https://creativecommons.org/share-your-work/cclicenses/"
_WORDS = {
    r"non[\s_-]*commercial|\bnc\b": "nc",
    r"share[\s_-]*alike|\bsa\b": "sa",
    r"no[\s_-]*deriv\w*|\bnd\b": "nd",
}
_RESTRICTIONS: tuple[tuple[str, Severity, str, Callable[["Licence"], bool]], ...] = (
    ("not_for_commercial_use", "serious", "forbid commercial use", lambda it: not it.commercial),
    ("no_derivatives", "serious", "forbid derived works", lambda it: not it.derivatives),
    ("share_alike", "minor", "ask the same licence of derived works", lambda it: it.share_alike),
)
FREESOUND = "https://freesound.org/s/"


@dataclass(frozen=True)
class Licence:
    """A licence by its common name; `url` is empty where none is known."""

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
# It allows transformed works to be sold, and neither the recording itself nor advertising.
SAMPLING = Licence(
    "Sampling+ 1.0", "https://creativecommons.org/licenses/sampling+/1.0/", commercial=False
)


def recognise(text: str) -> Licence:
    """The licence that a text, an abbreviation or an address names, or UNKNOWN.

    "Attribution" without a version is CC BY of a version nobody stated, and is named so.
    """
    said = text.strip().lower()
    version = found[1] if (found := re.search(r"(?<![\d.])([1-4]\.\d)(?![\d.])", said)) else ""
    if re.search(r"\bcc[\s_-]?0\b|commons 0|commons zero|publicdomain/zero|\bzero\b", said):
        return CC0
    if "sampling" in said:
        return SAMPLING
    if re.search(r"public[\s_-]?domain|publicdomain/mark", said):
        return PUBLIC_DOMAIN
    if not re.search(r"attribution|\bby\b|cc[\s_-]by", said.replace("_", "-")):
        return UNKNOWN
    said = said.replace("_", "-")
    parts = [short for pattern, short in _WORDS.items() if re.search(pattern, said)]
    code = "-".join(["by", *sorted(parts, key=["nc", "sa", "nd"].index)])
    if code not in _NAMES:
        return UNKNOWN
    url = f"https://creativecommons.org/licenses/{code}/{version}/" if version else _ALL_LICENCES
    return Licence(
        f"{_NAMES[code]} {version}".strip(),
        url,
        commercial="nc" not in parts,
        share_alike="sa" in parts,
        derivatives="nd" not in parts,
    )


def describe(clips: pd.DataFrame) -> pd.DataFrame:
    """One row a licence: its clips, its address and what it asks, the most frequent first."""
    recognised = {str(text): recognise(str(text)) for text in clips["licence"].unique()}
    rows = []
    for licence, texts in _by_licence(recognised).items():
        own = clips[clips["licence"].isin(texts)]
        rows.append(
            {
                "licence": licence.name,
                "clips": len(own),
                "train_clips": int((own["split"] == "train").sum()),
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
    """A text to ship with a model: every clip under its licence, with its source."""
    lines = [f"Recordings of the corpus {title}, by licence.", ""]
    recognised = {str(text): recognise(str(text)) for text in clips["licence"].unique()}
    order = sorted(_by_licence(recognised).items(), key=lambda item: item[0].name)
    for licence, texts in order:
        own = clips[clips["licence"].isin(texts)].sort_values("clip")
        known = licence.url or "no licence is known: do not ship these before you have one"
        lines += [f"{licence.name} ({known}), {len(own)} clips:"]
        for clip, source in own[["clip", "source"]].to_numpy():
            address = f"{FREESOUND}{source}/" if sources_are_freesound else source
            lines.append(f"  {clip}: {address}" if source else f"  {clip}")
        lines.append("")
    return "\n".join(lines)


def metrics(table: pd.DataFrame) -> dict[str, Any]:
    return {
        "clips_by_licence": dict(zip(table["licence"], table["clips"].astype(int), strict=True)),
        "not_for_commercial_use": _count(table, "commercial_use", False),
        "share_alike": _count(table, "share_alike", True),
        "no_derivatives": _count(table, "derivatives", False),
        "unknown": _count(table, "licence", UNKNOWN.name),
    }


def _count(table: pd.DataFrame, column: str, value: object) -> int:
    return int(table.loc[[found == value for found in table[column]], "clips"].sum())


def findings(clips: pd.DataFrame, table: pd.DataFrame) -> list[Finding]:
    counts = metrics(table)
    licence_of = [recognise(text) for text in clips["licence"]]

    def clips_where(is_meant: Callable[[Licence], bool]) -> str:
        named = zip(clips["clip"], licence_of, strict=True)
        return some([clip for clip, licence in named if is_meant(licence)])

    result = []
    for key, severity, what, is_meant in _RESTRICTIONS:
        if n := counts[key]:
            result.append(
                Finding(
                    severity,
                    "licences",
                    f"{n} clips {what}",
                    "A product that was trained on them may be bound by it: "
                    f"{clips_where(is_meant)}.",
                    "Drop them through corpus.label_corrections before training what you ship, or ask a "
                    "lawyer.",
                )
            )
    if n := counts["unknown"]:
        result.append(
            Finding(
                "minor",
                "licences",
                "No clip names a known licence"
                if n == len(clips)
                else f"{n} of {len(clips)} clips name no known licence",
                "Nobody can tell whether a model of them may be shipped: "
                f"{clips_where(lambda licence: not licence.is_known)}.",
                "Fill the column licence of the corpus' table.",
            )
        )
    return result
