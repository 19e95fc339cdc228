"""What a daemon answers, read with care: it may be of an older or a newer version than this program."""

from collections.abc import Mapping
from typing import Any

from llmfs.errors import one_line


def table(says: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """A table of an answer, empty where there is none."""
    found = says.get(key)
    return found if isinstance(found, dict) else {}


def rows(says: Mapping[str, Any], key: str) -> list[Mapping[str, Any]]:
    """A list of tables of an answer, empty where there is none."""
    found = says.get(key)
    return [row for row in found if isinstance(row, dict)] if isinstance(found, list) else []


def policy(says: Mapping[str, Any]) -> str:
    """A rule for people: `2: no-prefetch, share 10%: command find, path *.iso`."""
    what = f"{number(says, 'rule'):.0f}: {one_line(str(says.get('do', '')))}"
    if "share" in says:
        what += f", share {100 * number(says, 'share'):.0f}%"
    conditions = [
        f"{name} {one_line(', '.join(map(str, values)))}"
        for name in ("cgroup", "uid", "command", "path")
        if isinstance(values := says.get(name), list)
    ]
    return f"{what}: {'; '.join(conditions)}" if conditions else what


def number(says: Mapping[str, Any], key: str) -> float:
    """A number of an answer, 0 where there is none."""
    value = says.get(key)
    return float(value) if isinstance(value, int | float) else 0.0
