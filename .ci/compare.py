"""Compare metrics with those that are expected, within the tolerance stated beside them."""

import json
import sys
from pathlib import Path
from typing import Any


def main(expected_path: str, metrics_path: str) -> None:
    expected = json.loads(Path(expected_path).read_text())
    metrics = json.loads(Path(metrics_path).read_text())
    tolerance = expected["tolerance"]
    lines = [line(key, value, metrics, tolerance) for key, value in expected["values"].items()]
    print("\n".join(lines))
    sys.exit(int(any(line.endswith("OFF") for line in lines)))


def line(key: str, expected: float, metrics: Any, tolerance: float) -> str:
    """One line for a key such as `ensemble/test/all/map_at_3/value`; it ends with OFF if it is."""
    value = metrics
    for part in key.split("/"):
        if part not in value:
            return f"{key}: not among the metrics; correct .ci/expected.json  OFF"
        value = value[part]
    is_off = abs(value - expected) > tolerance
    return f"{key}: {value:.3f}, expected {expected:.3f} +- {tolerance}{'  OFF' if is_off else ''}"


if __name__ == "__main__":
    main(*sys.argv[1:])
