# ruff: noqa: INP001 - a script
"""audit.py LOCK: look up every pin of a lock in the database of known vulnerabilities (pip-audit).

A finding fails. A database that cannot be reached, or knows none of the pins (a mirror that serves packages
only), is one line and no failure: a laptop on a train is not insecure. pip-audit alone calls the second clean.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

UNREACHABLE: Final = ("ConnectionError", "Connection", "Timeout", "ProxyError", "Max retries", "ServiceError")
PATIENCE_S: Final = 240


def main(lock: str) -> int:
    """The exit code."""
    command = [str(Path(sys.executable).with_name("pip-audit")), "-r", lock, "--require-hashes", "--disable-pip"]
    try:
        done = subprocess.run(  # noqa: S603 - our own arguments
            [*command, "--progress-spinner", "off", "--timeout", "10", "-f", "json"],
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return _say(0, f"audit: not run: the database did not answer in {PATIENCE_S} s")
    try:
        report = json.loads(done.stdout)
    except ValueError:
        if any(word in done.stderr for word in UNREACHABLE):
            return _say(0, "audit: not run: the database of known vulnerabilities cannot be reached")
        return _say(1, f"audit: pip-audit failed: {(done.stderr.strip().splitlines() or ['it said nothing'])[-1]}")
    return judge(report["dependencies"])


def judge(dependencies: list[dict[str, Any]]) -> int:
    """What a report means: each finding has a line; pins that could not be looked up are no clean ones."""
    findings = [(pin, found) for pin in dependencies for found in pin.get("vulns", ())]
    unknown = [pin["name"] for pin in dependencies if "skip_reason" in pin]
    for pin, found in findings:
        fixed = ", ".join(found["fix_versions"]) or "no release yet"
        _say(1, f"audit: {pin['name']} {pin['version']}: {found['id']}, mended in {fixed}")
    if findings:
        return 1
    if len(unknown) == len(dependencies):
        return _say(0, f"audit: not run: the database knows none of the {len(unknown)} pins (a mirror?)")
    if unknown:
        return _say(1, f"audit: could not be looked up: {', '.join(unknown)}")
    return _say(0, f"audit: {len(dependencies)} pins, no known vulnerability")


def _say(code: int, line: str) -> int:
    print(line, file=sys.stderr if code else sys.stdout)
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
