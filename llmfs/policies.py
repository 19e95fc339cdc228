"""Reads the `[[mount.policy]]` tables of a configuration file into rules (policy/rules.py), and says what is wrong."""

import difflib
import pwd
import re
from typing import Any

from llmfs.errors import UsageError, one_line
from llmfs.policy.rules import CONDITIONS, Do, Rule, translate

_KEYS = (*CONDITIONS, "do", "share")


def read_policies(tables: object, where: str) -> tuple[Rule, ...]:
    """The rules in the order in which they stand. `where` names the file. Raises UsageError."""
    if not isinstance(tables, list) or not all(isinstance(each, dict) for each in tables):
        raise UsageError(f"policy in {where} must be a list of tables: write [[mount.policy]]")
    return tuple(_rule(table, f"{where}, policy {number}") for number, table in enumerate(tables, 1))


def _rule(table: dict[str, Any], where: str) -> Rule:
    for key in table:
        if key not in _KEYS:
            near = difflib.get_close_matches(key, _KEYS, 1)
            hint = f": did you mean {near[0]}?" if near else f": known are {', '.join(_KEYS)}"
            raise UsageError(f"unknown key '{one_line(key)}' in {where}{hint}")
    if not any(key in table for key in CONDITIONS):
        raise UsageError(f"{where} says not what it is for: give it {', '.join(CONDITIONS[:-1])} or {CONDITIONS[-1]}")
    if "do" not in table and "share" not in table:
        raise UsageError(f"{where} says not what to do: give it do = one of {', '.join(Do)}, or a share")
    rule = Rule(
        do=_do(table.get("do", Do.CACHE), where),
        share=_share(table["share"], where) if "share" in table else None,
        cgroup=_patterns(table, "cgroup", where),
        uid=_uids(table.get("uid", []), where),
        command=_patterns(table, "command", where),
        path=_patterns(table, "path", where),
    )
    if rule.do is Do.IMMUTABLE and not rule.is_by_path_alone:
        raise UsageError(f"{where}: immutable is for whoever looks, so it goes by the path alone")
    if rule.share is not None and rule.do not in (Do.CACHE, Do.NO_PREFETCH):
        raise UsageError(f"{where}: {rule.do} and a share exclude each other: write two")
    return rule


def _do(value: object, where: str) -> Do:
    try:
        return Do(value)  # type: ignore[arg-type]  # whatever it is, it is one of these or a ValueError
    except ValueError:
        raise UsageError(f"do in {where} must be one of {', '.join(Do)}, not '{one_line(str(value))}'") from None


def _share(value: object, where: str) -> float:
    match = re.fullmatch(r"(\d{1,3})%", value) if isinstance(value, str) else None
    if match is None or not 1 <= int(match[1]) <= 100:
        raise UsageError(f'share in {where} must be a part of the cache from "1%" to "100%"')
    return int(match[1]) / 100


def _patterns(table: dict[str, Any], key: str, where: str) -> tuple[str, ...]:
    value = table.get(key, [])
    values = [value] if isinstance(value, str) else value
    if not isinstance(values, list) or not all(isinstance(each, str) and each.strip("/") for each in values):
        raise UsageError(f"{key} in {where} must be a pattern or a list of patterns")
    for each in values:
        try:
            translate(each)
        except re.error as error:
            raise UsageError(f"{key} in {where}: '{one_line(each)}' is no pattern: {error.msg}") from None
    return tuple(values)


def _uids(value: object, where: str) -> tuple[int, ...]:
    return tuple(_uid(each, where) for each in (value if isinstance(value, list) else [value]))


def _uid(value: object, where: str) -> int:
    if type(value) is int and 0 <= value < 1 << 32:
        return value
    if isinstance(value, str):
        try:
            return pwd.getpwnam(value).pw_uid
        except (KeyError, ValueError):
            raise UsageError(f"uid in {where}: there is no user '{one_line(value)}' on this machine") from None
    raise UsageError(f"uid in {where} must be a number or a user's name, or a list of them")
