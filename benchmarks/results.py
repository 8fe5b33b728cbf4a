"""Where measured speeds are kept: metrics/benchmarks.json, and the tables of docs/performance.md.

The words around the tables are written by hand; a table stands between two markers.
"""

import json
import os
import platform
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from earmark.records import write_json
from earmark.whole_files import whole_file

ROOT = Path(__file__).parent.parent
RECORD = ROOT / "metrics" / "benchmarks.json"
PAGE = ROOT / "docs" / "performance.md"

Records = list[dict[str, Any]]


def keep(section: str, command: str, rows: Records, table: list[list[str]]) -> None:
    """Replace a section of the record, and its table on the page.

    Args:
        section: its key in the record, and its name in the markers of the page.
        command: that measures it.
        table: its head, and a list of cells for each row.
    """
    known = json.loads(RECORD.read_text()) if RECORD.exists() else {}
    known[section] = {"command": command, **machine(), "rows": rows}
    write_json(RECORD, dict(sorted(known.items())))
    text = with_table(PAGE.read_text(), section, [_where(command), "", *markdown(table)])
    with whole_file(PAGE) as part:
        part.write_text(text)


def with_table(text: str, section: str, lines: list[str]) -> str:
    """The text with other lines between the markers of a section.

    Raises:
        ValueError: the text has no such markers.
    """
    begin, end = f"<!-- {section} -->", f"<!-- end of {section} -->"
    pattern = re.compile(f"(?<={re.escape(begin)}\n).*?(?={re.escape(end)})", re.DOTALL)
    if not pattern.search(text):
        raise ValueError(f"expected the markers {begin} and {end}")
    content = "\n".join(lines) + "\n"
    return pattern.sub(lambda _: content, text)


def markdown(table: list[list[str]]) -> list[str]:
    head, *rows = table
    return [f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *rows)]


def machine() -> dict[str, Any]:
    """What was measured on, and when."""
    import torch

    return {
        "date": datetime.now(UTC).date().isoformat(),
        "processor": processor(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "torch_kernels": torch.backends.cpu.get_cpu_capability(),
    }


def processor() -> str:
    """The processor's name, and its model where the name does not tell generations apart."""
    path = Path("/proc/cpuinfo")
    if not path.exists():
        return platform.processor() or platform.machine()
    found = dict(re.findall(r"^([\w ]+?)\s*: (.*)$", path.read_text(), re.MULTILINE))
    number = f"family {found.get('cpu family', '?')}, model {found.get('model', '?')}"
    return f"{found.get('model name', platform.machine())} ({number})"


def _where(command: str) -> str:
    on = machine()
    return (
        f"`{command}` on {on['date']}: {on['processor']}, {on['cores']} cores, "
        f"torch {on['torch']} with {on['torch_kernels']} kernels."
    )
