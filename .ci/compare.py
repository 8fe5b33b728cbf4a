"""Compare metrics with those that are expected, within the tolerance stated beside them."""

import json
import sys
from pathlib import Path


def main(expected_path: str, found_path: str) -> None:
    expected = json.loads(Path(expected_path).read_text())
    found = json.loads(Path(found_path).read_text())
    tolerance = expected["tolerance"]
    failed = False
    for key, value in expected["values"].items():
        got = found
        for part in key.split("/"):
            got = got[part]
        is_off = abs(got - value) > tolerance
        failed |= is_off
        print(f"{key}: {got:.3f}, expected {value:.3f} +- {tolerance}{'  OFF' if is_off else ''}")
    sys.exit(int(failed))


if __name__ == "__main__":
    main(*sys.argv[1:])
