"""Other languages that are interpreted or load their classes: perl, JavaScript, Java, Tcl, shell."""

import random
import shutil
from pathlib import Path

from bench.programs.base import WORDS, output, run


def perl_library(root: Path) -> None:
    places = output("perl", "-e", "print join qq{\\n}, grep { -d } @INC").split("\n")
    for number, place in enumerate(place for place in places if "site" not in place and "local" not in place):
        shutil.copytree(place, root / "perl" / str(number), dirs_exist_ok=True, ignore_dangling_symlinks=True)


_PERL_PROGRAMS = (
    "POSIX Data::Dumper",
    "File::Find File::Temp Getopt::Long",
    "JSON::PP Time::Local Storable",
    "IO::Socket::INET HTTP::Tiny",
    "Encode Unicode::Normalize",
    "Pod::Usage Text::Wrap Term::ANSIColor",
    "Test::More File::Copy File::Path",
    "Math::BigFloat List::Util Tie::File",
    "CPAN::Meta Module::Load Archive::Tar",
    "POSIX File::Find JSON::PP Digest::SHA",
)


def perl(root: Path) -> None:
    places = sorted((root / "perl").iterdir())
    include = [f"-I{place}" for place in places]
    for modules in _PERL_PROGRAMS:
        run(root, "perl", *include, *(f"-M{module}" for module in modules.split()), "-e", "print 1")


def node_modules(root: Path) -> None:
    chance = random.Random(2)
    for number in range(80):
        package = root / "app" / "node_modules" / f"package{number:02d}"
        (package / "lib").mkdir(parents=True)
        (package / "package.json").write_text(f'{{"name": "package{number:02d}", "main": "lib/index.js"}}\n')
        needed = chance.sample(range(number), min(number, 3))
        lines = [f"require('package{other:02d}');" for other in needed]
        lines += [f"exports.f{n} = require('./part{n}');" for n in range(3)]
        (package / "lib" / "index.js").write_text("\n".join(lines) + "\n")
        for part in range(5):
            (package / "lib" / f"part{part}.js").write_text(f"module.exports = {part};\n// " + "x" * 3000 + "\n")
        (package / "README.md").write_text("words " * 200)
    lines = [f"require('package{number:02d}');" for number in range(40, 80)]
    (root / "app" / "main.js").write_text("\n".join(lines) + "\n")
    (root / "app" / "other.js").write_text("\n".join(lines[1::3] + lines[::7]) + "\n")


def node(root: Path) -> None:
    """Two programs that share packages."""
    run(root / "app", "node", "main.js")
    run(root / "app", "node", "other.js")


def java_sources(root: Path) -> None:
    """Classes in packages, compiled; each uses some of those before it."""
    chance = random.Random(41)
    sources = root / "src"
    for number in range(120):
        package = WORDS[number % len(WORDS)]
        place = sources / "app" / package
        place.mkdir(parents=True, exist_ok=True)
        uses = [f"app.{WORDS[n % len(WORDS)]}.C{n}.f(x - 1)" for n in chance.sample(range(number), min(number, 3))]
        total = " + ".join(["x", *uses])
        body = f"return x <= 0 ? 0 : {total};"
        text = f"package app.{package};\npublic class C{number} {{\n    public static int f(int x) {{ {body} }}\n}}\n"
        (place / f"C{number}.java").write_text(text)
    calls = "".join(f"s += app.{WORDS[n % len(WORDS)]}.C{n}.f(3);" for n in range(60, 120, 2))
    (sources / "Main.java").write_text(
        f"public class Main {{ public static void main(String[] a) {{ int s = 0; {calls} System.out.println(s); }} }}\n"
    )


def java(root: Path) -> None:
    """Compiles all and runs it, from the directories of its classes."""
    shutil.rmtree(root / "classes", ignore_errors=True)
    (root / "classes").mkdir()
    run(root, "javac", "-d", "classes", "-sourcepath", "src", "src/Main.java")
    for _ in range(2):
        run(root, "java", "-Xshare:auto", "-cp", "classes", "Main")


def tcl_library(root: Path) -> None:
    """Packages that tell where their parts are, as Tcl's do."""
    chance = random.Random(43)
    for number in range(60):
        place = root / "lib" / f"{WORDS[number % len(WORDS)]}{number}"
        place.mkdir(parents=True)
        (place / "pkgIndex.tcl").write_text(f"package ifneeded p{number} 1.0 [list source [file join $dir main.tcl]]\n")
        needed = chance.sample(range(number), min(number, 2))
        lines = [f"package require p{other}" for other in needed]
        lines += [f"source [file join [file dirname [info script]] part{n}.tcl]" for n in range(3)]
        (place / "main.tcl").write_text("\n".join([*lines, f"package provide p{number} 1.0"]) + "\n")
        for part in range(3):
            (place / f"part{part}.tcl").write_text(f"proc f{number}_{part} {{}} {{ return {part} }}\n" * 20)
    for name, chosen in (("one", range(30, 60, 3)), ("two", range(20, 50, 4))):
        lines = ["lappend auto_path [file join [file dirname [info script]] lib]"]
        lines += [f"package require p{number}" for number in chosen]
        (root / f"{name}.tcl").write_text("\n".join(lines) + "\n")


def tcl(root: Path) -> None:
    """Two programs that share packages."""
    for name in ("one", "two", "one"):
        run(root, "tclsh", f"{name}.tcl")


def shell_scripts(root: Path) -> None:
    """Scripts that source others, read settings and look whether files are there."""
    chance = random.Random(47)
    for place in ("lib", "conf.d", "tasks"):
        (root / place).mkdir()
    for number in range(40):
        needed = chance.sample(range(number), min(number, 2))
        lines = [f". ./lib/{WORDS[n % 15]}{n}.sh" for n in needed]
        (root / "lib" / f"{WORDS[number % 15]}{number}.sh").write_text("\n".join([*lines, f"v{number}=1"]) + "\n")
        (root / "conf.d" / f"{number:02d}-{WORDS[number % 15]}.conf").write_text(f"c{number}=1\n" * 30)
    for number in range(24):
        lines = [f". ./lib/{WORDS[n % 15]}{n}.sh" for n in chance.sample(range(40), 3)]
        lines += ["for f in conf.d/*.conf; do . ./$f; done"] if number % 6 == 0 else []
        lines += [f"test -e local/{number}.conf && . ./local/{number}.conf", f"cat conf.d/{number:02d}-*.conf | wc -l"]
        (root / "tasks" / f"{number:02d}.sh").write_text("\n".join(lines) + "\n")


def shell(root: Path) -> None:
    """Each task, one after the other; some again."""
    run(root, "sh", "-c", "for t in tasks/*.sh; do sh $t; done; for t in tasks/*5.sh; do sh $t; done")
