"""A pytest plugin for runs of NetworkX's own tests: counts what ran on the backend, and how the tests ended.

Loaded by ``-p networkx_suite``; it writes JSON to the file named by ``NETWORKX_SUITE_COUNTS``.
"""

from __future__ import annotations

import json
import logging
import os
from collections import Counter
from pathlib import Path
from typing import Any

calls: Counter[str] = Counter()
outcomes: Counter[str] = Counter()


class CallCounter(logging.Handler):
    """Counts NetworkX's messages about calls by function, without putting them into words."""

    def emit(self, record: logging.LogRecord) -> None:
        arguments: Any = record.args
        if record.msg.startswith("Using backend '%s' for call to '%s'"):
            calls[arguments[1]] += 1


def pytest_configure(config: Any) -> None:
    logger = logging.getLogger("networkx.utils.backends")
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
    logger.addHandler(CallCounter())


def pytest_runtest_logreport(report: Any) -> None:
    if report.when == "call" or report.outcome != "passed":
        expected = "x" if hasattr(report, "wasxfail") else ""
        outcomes[expected + report.outcome] += 1


def pytest_sessionfinish(session: Any) -> None:
    result = {"calls": dict(calls), "outcomes": dict(outcomes)}
    Path(os.environ["NETWORKX_SUITE_COUNTS"]).write_text(json.dumps(result), encoding="utf-8")
