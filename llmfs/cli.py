"""The command line. What goes wrong becomes one line on stderr and an exit status; what is printed is the
answer.

    0    done
    1    it failed, or this machine does not allow it as it is
    2    it was asked for wrongly
    130  interrupted

It starts in a tenth of a second: whatever takes longer to import (torch, pyfuse3, pyarrow) is imported by the
command that needs it, when it needs it.
"""

import os
import sys
from typing import Annotated, Any, NoReturn

import typer

import llmfs
from llmfs import service
from llmfs.commands import (
    cache,
    completion,
    controller,
    doctor,
    explain,
    guard,
    learning,
    mount,
    pins,
    profile,
    status,
    top,
    upkeep,
)
from llmfs.errors import LlmfsError, one_line

app = typer.Typer(
    name="llmfs",
    help="Mount a slow directory so that what will be read next is ready before it is asked for.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # plain help: Rich's tables fold half of it in 80 columns, and eat "[mount]"
)
app.command()(mount.mount)
app.command()(mount.umount)
app.command()(status.status)
app.command()(explain.explain)
app.command()(top.top)
app.command()(upkeep.warm)
app.command()(upkeep.evict)
app.command()(pins.pin)
app.command()(pins.unpin)
app.command()(upkeep.check)
app.add_typer(cache.app, name="cache")
app.add_typer(profile.app, name="profile")
app.add_typer(guard.app, name="guard")
app.add_typer(learning.app, name="trace")
app.command()(learning.train)
app.command()(controller.train_controller)
app.command()(learning.evaluate)
app.command()(doctor.doctor)
app.command()(completion.completion)

# Typer shows its exceptions' base class under no public name, and keeps it in different places in its
# versions.
_CommandLineError: Any = next(each for each in typer.BadParameter.__mro__ if each.__name__ == "ClickException")


def main() -> NoReturn:
    """The `llmfs` command."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:  # the caller closed it: its number must not go to the next file opened
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115 (for the process's life)
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Carries out one command line and returns its exit status."""
    completion.prepare()
    try:
        status = app(args=arguments, prog_name="llmfs", standalone_mode=False)
        sys.stdout.flush()
        return status if isinstance(status, int) else 0
    except LlmfsError as error:
        _complain(str(error))
        return error.exit_status
    except _CommandLineError as error:
        _complain(f"{error.format_message().strip().rstrip('.')}: see {_help_for(error)}")
        return int(error.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        return 130
    except BrokenPipeError:
        # Whoever read our output has seen enough. Python would complain of it once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        _complain(str(error))
        return 1


def _complain(message: str) -> None:
    priority = "<3>" if service.is_journal(2) else ""
    print(f"{priority}llmfs: {one_line(message)}", file=sys.stderr)


def _help_for(error: Any) -> str:
    context = getattr(error, "ctx", None)
    return f"{context.command_path if context else 'llmfs'} --help"


def _print_version(is_asked: bool) -> None:
    if is_asked:
        print(f"llmfs {llmfs.__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def _main(
    context: typer.Context,
    version: Annotated[
        bool,
        typer.Option("--version", help="Print the version and exit.", callback=_print_version, is_eager=True),
    ] = False,
) -> None:
    if context.invoked_subcommand is None:
        print(context.get_help())
