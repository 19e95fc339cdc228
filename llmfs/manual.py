"""The manual page, made from the command line: `python -m llmfs.manual > man/llmfs.1`. See groff_man(7)."""

from collections.abc import Iterator
from typing import Any

import typer

from llmfs import cli

_STATUSES = ((0, "done"), (1, "it failed, or the machine does not allow it as it is"), (2, "it was asked for wrongly"))

_PROSE = """\
.SH CONFIGURATION
Options of
.B llmfs mount
can stand in a TOML file, in a table
.B [mount]
and in one for a source, such as
.BR [mount."/mnt/nfs"] ;
what the command line says goes first. A mount that gets
.B SIGHUP
reads its file again: the time-out for the source, policies and the level of the log are taken up at once, and the log
says what takes another mount.
.PP
Each table
.B [[mount.policy]]
has conditions, all of which must hold:
.BR cgroup ,
.BR command ,
.B path
(patterns, of which
.B *
stays within a name and
.B **
does not),
.B uid
(numbers or names). It says what to
.BR do :
.B bypass
(reads leave the cache as it is),
.B no-prefetch
(kept once read, never fetched ahead),
.B immutable
(never asked about again; by path alone),
.B cache
(as if no rule followed), or a
.B share
of the cache, such as "10%". Of those that match the first counts.
.SH MOUNT AND FSTAB
.B mount.llmfs
is what
.BR mount (8)
starts for the type
.BR llmfs ,
once it is linked to
.BR /sbin/mount.llmfs .
A line of
.BR fstab (5):
.PP
.nf
/mnt/nfs/data  /data  llmfs  noauto,allow_other,cache_size=50G,config=/etc/llmfs.toml  0 0
.fi
.SH EXTENDED ATTRIBUTES
Of each file in a mount,
.B user.llmfs.cached
is how many of its bytes are cached,
.B user.llmfs.hits
how many reads the cache has answered, and
.B user.llmfs.explain
what
.B llmfs explain
shows, in JSON. The root has
.BR user.llmfs.status .
.SH FILES
.TP
.I ~/.cache/llmfs
caches, one for each source
.TP
.I ~/.local/share/llmfs/profiles
profiles
.SH SEE ALSO
.BR mount.llmfs (8),
.BR mount (8),
.BR fstab (5),
.BR fuse (4)
"""


def page() -> str:
    """The whole page."""
    root: Any = typer.main.get_command(cli.app)
    parts = [
        '.\\" Made by python -m llmfs.manual: change the command line instead.',
        ".TH LLMFS 1",
        ".SH NAME",
        "llmfs \\- a filesystem accelerator that learns what will be read next",
        ".SH SYNOPSIS",
        ".B llmfs",
        "COMMAND [OPTIONS] [ARGUMENTS]",
        ".SH DESCRIPTION",
        _text(str(root.help)),
        ".SH COMMANDS",
    ]
    for name, command in commands(root):
        parts += _command(name, command)
    parts.append(".SH EXIT STATUS")
    for status, meaning in _STATUSES:
        parts += [".TP", f".B {status}", meaning]
    return "\n".join([*parts, _PROSE])


def commands(command: Any, above: str = "") -> Iterator[tuple[str, Any]]:
    """All commands below one that can be run, with their full names."""
    for name, each in command.commands.items():
        if hasattr(each, "commands"):
            yield from commands(each, f"{above}{name} ")
        else:
            yield f"{above}{name}", each


def usage(argument: Any) -> str:
    """An argument as it stands in a line of usage: in brackets where it may be left out, with dots where it repeats."""
    name = str(argument.metavar or argument.name.upper())
    return (name if argument.required else f"[{name}]") + ("..." if argument.nargs == -1 else "")


def _command(name: str, command: Any) -> Iterator[str]:
    arguments = [each for each in command.params if each.param_type_name == "argument"]
    options = [each for each in command.params if each.param_type_name == "option" and each.name != "help"]
    words = [f"\\fBllmfs {_text(name)}\\fR", *(["[OPTIONS]"] if options else [])]
    words += [_text(usage(each)) for each in arguments]
    yield from (".SS " + " ".join(words), _text(str(command.help)))
    for each in arguments:
        if each.help:
            yield from (".TP", f"\\fI{_text(each.metavar or each.name.upper())}\\fR", _text(each.help))
    for each in options:
        names = ", ".join(f"\\fB{_text(name)}\\fR" for name in (*each.opts, *each.secondary_opts))
        value = "" if each.is_flag else f" \\fI{_text(each.metavar or each.name.upper())}\\fR"
        yield from (".TP", names + value, _text(each.help or ""))


def _text(text: str) -> str:
    """Text as roff takes it: a line, its hyphens those of options, with nothing that is taken for a request."""
    line = " ".join(text.split()).replace("\\", "\\e").replace("-", "\\-")
    return f"\\&{line}" if line.startswith((".", "'")) else line


if __name__ == "__main__":
    print(page(), end="")
