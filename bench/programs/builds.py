"""Builds: make with gcc, cmake with ninja and g++, cargo."""

import random
import shutil
from pathlib import Path

from bench.programs.base import run


def c_project(root: Path, seed: int = 3, files: int = 24) -> None:
    """Sources that include some headers, which include others."""
    chance = random.Random(seed)
    project = root / "project"
    (project / "include").mkdir(parents=True)
    (project / "src").mkdir()
    for number in range(files):
        lines = [f"#ifndef H{number}", f"#define H{number}"]
        lines += [f'#include "h{other}.h"' for other in chance.sample(range(number), min(number, 2))]
        (project / "include" / f"h{number}.h").write_text(
            "\n".join([*lines, f"int f{number}(int);", "#endif"]) + "\n" + "/* text */\n" * 100
        )
    for number in range(files):
        lines = [f'#include "h{other}.h"' for other in sorted({number, *chance.sample(range(files), 4)})]
        body = f"int f{number}(int x) {{ return x * {number}; }}\n"
        (project / "src" / f"c{number}.c").write_text("\n".join(lines) + "\n" + body)
    (project / "src" / "main.c").write_text('#include "h1.h"\nint main(void) { return f1(0); }\n')
    (project / "Makefile").write_text(
        "OBJECTS := $(patsubst %.c,%.o,$(wildcard src/*.c))\n"
        "app: $(OBJECTS)\n\tgcc -o $@ $(OBJECTS)\n"
        "%.o: %.c\n\tgcc -Iinclude -MMD -c -o $@ $<\n"
        "clean:\n\trm -f app src/*.o src/*.d\n"
        "-include src/*.d\n"
    )


def make(root: Path) -> None:
    run(root / "project", "make", "-s", "clean")
    run(root / "project", "make", "-s", "-j2")
    (root / "project" / "include" / "h3.h").touch()
    run(root / "project", "make", "-s")


def cpp_project(root: Path) -> None:
    """Libraries in directories of their own, with public headers, that use each other."""
    chance = random.Random(53)
    project = root / "project"
    project.mkdir()
    names = [f"lib{number}" for number in range(8)]
    for number, name in enumerate(names):
        headers, sources = project / name / "include" / name, project / name / "src"
        headers.mkdir(parents=True)
        sources.mkdir()
        used = chance.sample(names[:number], min(number, 2))
        for part in range(5):
            lines = ["#pragma once", *(f"#include <{other}/h{chance.randrange(5)}.hpp>" for other in used)]
            (headers / f"h{part}.hpp").write_text("\n".join(lines) + f"\nint {name}_{part}(int);\n" + "// text\n" * 200)
            body = f'#include <{name}/h{part}.hpp>\n#include "inner.hpp"\nint {name}_{part}(int x) {{ return x; }}\n'
            (sources / f"s{part}.cpp").write_text(body)
        (sources / "inner.hpp").write_text("#pragma once\n" + "// text\n" * 50)
        libraries = " ".join(used)
        (project / name / "CMakeLists.txt").write_text(
            f"file(GLOB S src/*.cpp)\nadd_library({name} ${{S}})\n"
            f"target_include_directories({name} PUBLIC include)\ntarget_link_libraries({name} PUBLIC {libraries})\n"
        )
    (project / "main.cpp").write_text("#include <lib7/h0.hpp>\nint main() { return lib7_0(0); }\n")
    (project / "CMakeLists.txt").write_text(
        "cmake_minimum_required(VERSION 3.16)\nproject(app CXX)\n"
        + "".join(f"add_subdirectory({name})\n" for name in names)
        + "add_executable(app main.cpp)\ntarget_link_libraries(app lib7)\n"
    )


def cmake(root: Path) -> None:
    """Configures, builds, changes a header, builds again."""
    project = root / "project"
    shutil.rmtree(project / "build", ignore_errors=True)
    run(project, "cmake", "-S", ".", "-B", "build", "-G", "Ninja", "-DCMAKE_BUILD_TYPE=Debug")
    run(project, "ninja", "-C", "build", "-j2")
    (project / "lib2" / "include" / "lib2" / "h1.hpp").touch()
    run(project, "ninja", "-C", "build", "-j2")


def crates(root: Path) -> None:
    """A workspace of crates without dependencies from elsewhere."""
    chance = random.Random(59)
    space = root / "space"
    names = [f"crate{number}" for number in range(8)]
    for number, name in enumerate(names):
        sources = space / name / "src"
        sources.mkdir(parents=True)
        used = chance.sample(names[:number], min(number, 2))
        lines = [f'{other} = {{ path = "../{other}" }}' for other in used]
        manifest = [f'[package]\nname = "{name}"\nversion = "0.1.0"\nedition = "2021"\n\n[dependencies]', *lines]
        (space / name / "Cargo.toml").write_text("\n".join(manifest) + "\n")
        modules = "".join(f"pub mod m{part};\n" for part in range(6))
        (sources / "lib.rs").write_text(modules + "".join(f"pub use {other}::m1 as {other}_m1;\n" for other in used))
        for part in range(6):
            (sources / f"m{part}.rs").write_text(f"pub fn f(x: u32) -> u32 {{ x + {part} }}\n" + "// text\n" * 40)
    members = ", ".join(f'"{name}"' for name in names)
    (space / "Cargo.toml").write_text(f'[workspace]\nresolver = "2"\nmembers = [{members}]\n')


def cargo(root: Path) -> None:
    """Checks all crates, changes one, checks again."""
    space = root / "space"
    shutil.rmtree(space / "target", ignore_errors=True)
    for _ in range(2):
        run(space, "cargo", "check", "-q", "--offline")
        (space / "crate2" / "src" / "m1.rs").touch()
