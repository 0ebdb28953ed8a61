"""Which C file refers to which other one, read from the symbols of compiled objects.

Sources that are compiled without optimisation keep one object for each file, and in it a name for everything that the
file takes from another one: a function that it calls, or a table of functions through which it does.
"""

import os
import subprocess
import sysconfig
from collections import defaultdict
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

COMPILE = ["-std=c11", "-O0", "-w", "-c", "-D_GNU_SOURCE"]

Graph = Mapping[str, Mapping[str, set[str]]]
"""graph[user][definer] is the set of names that the file `user` takes from the file `definer`."""


def compile_objects(root: Path, folder: Path) -> dict[str, Path]:
    """Compile every C file under `root` into `folder`, side by side; the objects by the names of their sources."""
    compiler = (sysconfig.get_config_var("CC") or "cc").split()
    includes = [f"-I{root}", f"-I{sysconfig.get_path('include')}"]

    def compiled(source: Path) -> tuple[str, Path]:
        name = source.relative_to(root).as_posix()
        target = folder / name.replace("/", "-").replace(".c", ".o")
        subprocess.run([*compiler, *COMPILE, *includes, source, "-o", target], check=True)
        return name, target

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return dict(pool.map(compiled, sorted(root.rglob("*.c"))))


def symbols(objects: Mapping[str, Path]) -> dict[str, str]:
    """What nm says of each object."""
    return {
        name: subprocess.run(["nm", path], capture_output=True, text=True, check=True).stdout
        for name, path in objects.items()
    }


def graph_of(listings: Mapping[str, str]) -> Graph:
    """The graph, from nm's listing of each file."""
    definers: dict[str, str] = {}
    wanted: dict[str, list[str]] = {}
    for file, listing in listings.items():
        rows = [line.split()[-2:] for line in listing.splitlines()]
        # A capital letter marks a name that other files see, U one that comes from elsewhere.
        definers |= {name: file for kind, name in rows if kind.isupper() and kind != "U"}
        wanted[file] = [name for kind, name in rows if kind == "U"]
    graph: dict[str, dict[str, set[str]]] = {file: defaultdict(set) for file in listings}
    for file, names in wanted.items():
        for name in names:
            if name in definers:
                graph[file][definers[name]].add(name)
    return graph


def reachable(graph: Graph, start: str, among: set[str]) -> set[str]:
    """The files of `among` to which a way of one or more references leads from `start`."""
    found: set[str] = set()
    ahead = [start]
    while ahead:
        new = (graph[ahead.pop()].keys() & among) - found
        found |= new
        ahead += new
    return found


def circles(graph: Graph, files: Iterable[str]) -> list[frozenset[str]]:
    """The largest groups of `files` in which each refers, by way of others of `files`, to each."""
    among = set(files)
    ways = {file: reachable(graph, file, among) for file in among}
    groups = {frozenset(other for other in ways[file] if file in ways[other]) for file in among}
    return sorted((group for group in groups if len(group) > 1), key=sorted)
