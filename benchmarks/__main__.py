"""`python -m benchmarks run | report | list`: words in, words out."""

from __future__ import annotations

import argparse
import fnmatch
import os
import signal
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.machine import this_machine, version_of
from benchmarks.measure import REPOSITORY
from benchmarks.native import CannotBuildError, build
from benchmarks.peers import PEER_FAMILIES, TOOLS, Program, find_peer
from benchmarks.report import compare_text, run_text
from benchmarks.results import NotComparableError, Run, load, require_one_machine, save
from benchmarks.runner import run_scenario, say
from benchmarks.scenarios import GROUPS, SCENARIOS
from benchmarks.world import World

VERSION_FLAGS = {"crane": ("version",), "oras": ("version",), "regctl": ("version", "--format", "{{.VCSTag}}")}


def parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    top = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    commands = top.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="measure scenarios (default: the group 'image')")
    run.add_argument("scenario", nargs="*", help=f"scenarios or groups: {', '.join((*SCENARIOS, *GROUPS))}")
    run.add_argument("--tools", help="only these rows; patterns, e.g. 'floor,fastcopy*,skopeo'")
    run.add_argument("--peers", help="only these peers, e.g. skopeo,crane; floor and fastcopy stay")
    run.add_argument("--chroot", type=Path, help="look for peers and docker-registry here first")
    run.add_argument("--repeat", type=int, default=3, help="runs of every tool (default %(default)s)")
    run.add_argument("--python", default=sys.executable, help="the interpreter that runs fastcopy")
    run.add_argument("--memory", type=Path, default=Path("/dev/shm"), help="a tmpfs (default %(default)s)")
    run.add_argument("--json", type=Path, help="write the results there as well")
    report = commands.add_parser("report", help="show results; several are compared if of one machine")
    report.add_argument("file", type=Path, nargs="+")
    commands.add_parser("list", help="list scenarios, groups and tools")
    return top


def _expand(names: Sequence[str]) -> list[str]:
    wanted: list[str] = []
    for name in names or ["image"]:
        if name not in SCENARIOS and name not in GROUPS:
            raise SystemExit(f"no scenario {name!r}; `python -m benchmarks list` shows them")
        wanted += [at for at in GROUPS.get(name, [name]) if at not in wanted]
    return wanted


def _families(arguments: argparse.Namespace) -> dict[str, Program]:
    """Find every program; say loudly what is missing."""
    found: dict[str, Program] = {}
    for family in PEER_FAMILIES:
        program = find_peer(family, arguments.chroot)
        if program:
            found[family] = program
        else:
            say(f"note: {family} was not found; its rows are left out")
    try:
        found["floor"] = Program((str(build("floor")),))
    except CannotBuildError as problem:
        say(f"WARNING: no C floor, nothing is compared with it: {problem} (Debian: libssl-dev)")
    if version_of([arguments.python, "-m", "fastcopy", "--version"], cwd=REPOSITORY):
        found["fastcopy"] = Program((arguments.python, "-m", "fastcopy"))
    else:
        say(f"WARNING: `{arguments.python} -m fastcopy --version` fails; fastcopy's rows are left out")
    return found


def _choose(arguments: argparse.Namespace, families: Mapping[str, Program]) -> dict[str, Program]:
    """Return the programs by row, as far as --tools (patterns of rows) and --peers (families) want them."""
    patterns = arguments.tools.split(",") if arguments.tools else ["*"]
    peers = set(arguments.peers.split(",")) - {""} if arguments.peers is not None else set(PEER_FAMILIES)
    unknown = peers - set(PEER_FAMILIES) | {at for at in patterns if not fnmatch.filter(TOOLS, at)}
    if unknown:
        raise SystemExit(f"no tool {', '.join(sorted(unknown))}; `python -m benchmarks list` shows them")
    unwanted = set(PEER_FAMILIES) - peers
    return {
        name: families[tool.family]
        for name, tool in TOOLS.items()
        if tool.family in families
        and tool.family not in unwanted
        and any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)
    }


def _versions(programs: Mapping[str, Program], registry: Program) -> dict[str, str]:
    found = {}
    for name, program in {**programs, "docker-registry": registry}.items():
        inside = ["chroot", str(program.chroot)] if program.chroot else []
        flags = VERSION_FLAGS.get(name, ("--version",))
        if name != "floor":
            package = version_of([*inside, "dpkg-query", "-W", "-f", "Debian package ${Version}", name])
            said = version_of([*inside, *program.start, *flags], cwd=REPOSITORY)
            found[name] = ", ".join(filter(None, (said, package))) or "unknown"
    return found


def _backends(programs: Mapping[str, Program]) -> dict[str, str]:
    """Ask fastcopy, under each row's environment, what it runs on: a row must be what its name says."""
    code = "import fastcopy._native as n, ssl; print(n.BACKEND, '|', ssl.OPENSSL_VERSION)"
    found = {}
    for name, program in programs.items():
        if TOOLS[name].family == "fastcopy":
            switches = [f"{key}={value}" for key, value in TOOLS[name].environment.items()]
            found[name] = version_of(["env", *switches, program.start[0], "-c", code], cwd=REPOSITORY)
    return {f"{name} runs on": backend for name, backend in found.items()}


def _run(arguments: argparse.Namespace) -> int:
    if os.geteuid() and arguments.chroot:
        raise SystemExit("--chroot needs root")
    names, families = _expand(arguments.scenario), _families(arguments)
    registry = find_peer("docker-registry", arguments.chroot)
    if registry is None:
        raise SystemExit("docker-registry was not found (Debian: docker-registry, or benchmarks/install_peers.sh)")
    programs = _choose(arguments, families)
    used = {TOOLS[name].family: program for name, program in programs.items()}
    settings = {"repeats": str(arguments.repeat), "python": version_of([arguments.python, "--version"])}
    run = Run(this_machine(), _versions(used, registry) | _backends(programs), settings)
    with World(arguments.memory, registry, arguments.python) as world:
        for name in names:
            run.tables += run_scenario(world, SCENARIOS[name], programs, arguments.repeat)
            if arguments.json:
                save(run, arguments.json)
    print(run_text(run))
    return 1 if any(row.errors for table in run.tables for row in table.rows.values()) else 0


def _report(arguments: argparse.Namespace) -> int:
    try:
        runs = [load(path) for path in arguments.file]
        require_one_machine(runs)
    except (NotComparableError, OSError) as problem:
        print(f"benchmarks: {problem}", file=sys.stderr)
        return 2
    print(run_text(runs[0]) if len(runs) == 1 else compare_text([path.stem for path in arguments.file], runs))
    return 0


def _list(_: argparse.Namespace) -> int:
    for scenario in SCENARIOS.values():
        print(f"{scenario.name:18} {scenario.title}\n{'':18} tools: {', '.join(scenario.tools)}")
    for name, members in GROUPS.items():
        print(f"{name:18} group: {', '.join(members)}")
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    tempfile.tempdir = None
    arguments = parser().parse_args(argv)
    try:
        return {"run": _run, "report": _report, "list": _list}[arguments.command](arguments)
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
