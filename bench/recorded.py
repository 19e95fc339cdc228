"""The workloads that are recorded for training: real programs, over trees that are generated or copied.

A workload's `prepare` makes the source directory where it is quick; `run` then works in it, seen through a mount. Each
`run` begins by undoing what an earlier one left, so that a repeat does the same again. All that varies by chance has a
fixed seed.
"""

from functools import partial

from bench.programs import builds, data, languages, python, tools
from bench.programs.base import ProgramFailedError, Workload, run

__all__ = ["WORKLOADS", "ProgramFailedError", "Workload", "run"]

WORKLOADS = (
    Workload("python-stdlib", python.environment_tree, partial(python.starts, programs=python.STARTS)),
    Workload("python-science", python.environment_tree, partial(python.starts, programs=python.SCIENCE)),
    Workload("python-pip", python.wheels, python.pip, modules=("pip",)),
    Workload("compileall", python.library, python.compileall),
    Workload("checkers-mypy", python.library, python.mypy, modules=("mypy",)),
    Workload("checkers-ruff", python.library, python.ruff, modules=("ruff",)),
    Workload("tests-unittest", python.package_with_tests, python.unittest),
    Workload("tests-pytest", python.package_with_tests, python.pytest, modules=("pytest",)),
    Workload("perl", languages.perl_library, languages.perl, ("perl",)),
    Workload("node", languages.node_modules, languages.node, ("node",)),
    Workload("java", languages.java_sources, languages.java, ("java", "javac")),
    Workload("tcl", languages.tcl_library, languages.tcl, ("tclsh",)),
    Workload("shell", languages.shell_scripts, languages.shell),
    Workload("build-make", builds.c_project, builds.make, ("make", "gcc")),
    Workload("build-large", partial(builds.c_project, seed=5, files=70), builds.make, ("make", "gcc")),
    Workload("build-cmake", builds.cpp_project, builds.cmake, ("cmake", "ninja", "g++")),
    Workload("build-cargo", builds.crates, builds.cargo, ("cargo",)),
    Workload("git", tools.tree, tools.git, ("git",)),
    Workload("git-branches", partial(tools.tree, seed=11, files=180), tools.branches, ("git",)),
    Workload("archives", tools.tree, tools.archives, ("tar", "gzip", "rsync")),
    Workload("archives-zip", partial(tools.tree, seed=12, files=200), tools.zips, ("zip", "unzip", "tar", "gzip")),
    Workload("searches", tools.tree, tools.searches, ("grep", "find")),
    Workload("searches-large", partial(tools.tree, seed=13, files=700), tools.searches, ("grep", "find")),
    Workload("copies", partial(tools.tree, seed=14, files=300), tools.copies, ("cp", "diff", "rsync")),
    Workload("checksums", partial(tools.tree, seed=15, files=300), tools.checksums, ("find", "xargs", "sha256sum")),
    Workload("server", tools.site, tools.server),
    Workload("numbered", data.numbered_files, data.cat),
    Workload("loader-sorted", data.samples, partial(data.loader, order="sorted")),
    Workload("loader-shuffled", data.samples, partial(data.loader, order="shuffled", workers=2)),
    Workload(
        "loader-many", partial(data.samples, seed=17, files=60), partial(data.loader, order="shuffled", workers=4)
    ),
    Workload("loader-pictures", data.pictures, partial(data.loader, order="shuffled", workers=2)),
    Workload("loader-shards", data.shards, partial(data.loader, order="shuffled", workers=2)),
    Workload("columns", data.table, data.columns),
    Workload("mapped", data.arrays, data.mapped),
    Workload("models", data.checkpoint, data.load_models),
    Workload("logs", data.logs, data.read_logs, ("zcat", "awk", "grep")),
    Workload("database", data.database, data.sqlite, ("sqlite3",)),
)
