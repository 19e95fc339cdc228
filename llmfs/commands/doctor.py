"""`llmfs doctor`."""

import json
from dataclasses import asdict
from typing import Annotated

import typer

from llmfs import settings


def doctor(
    cache_dir: Annotated[
        str | None, typer.Option("--cache-dir", metavar="DIR", help="Where a cache would be kept.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For programs: a list of findings.")] = False,
) -> None:
    """Say what this machine lacks and the command that supplies it; exit status 1 where it cannot mount."""
    from llmfs.doctor import Verdict, examine  # reads the metadata of what is installed, which takes its time

    findings = examine(settings.absolute(cache_dir) if cache_dir else None)
    if as_json:
        print(json.dumps([asdict(each) for each in findings], indent=2))
    else:
        from rich.console import Console
        from rich.text import Text

        console = Console(highlight=False, soft_wrap=True)
        styles = {Verdict.GOOD: "green", Verdict.ADVICE: "yellow", Verdict.MISSING: "red"}
        for each in findings:
            console.print(
                Text.assemble((f"{each.verdict.value:<8}", styles[each.verdict]), f"{each.name:<14} {each.found}")
            )
            if each.fix:
                console.print(Text(f"{'':8}{'':14} fix: {each.fix}"))
    if any(each.verdict is Verdict.MISSING for each in findings):
        raise typer.Exit(1)
