"""Tests of NetworkX's own suite that fail with the backend switched on, each with the reason why that is right."""

from __future__ import annotations

KNOWN_FAILURES: dict[str, str] = {}
