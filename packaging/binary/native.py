"""Make the native libraries of a tree find each other wherever the tree lies, and say what they need of the machine."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

import contents

_LIB = "lib"
"""Where libraries of the building machine go, in each part."""
_FLOOR = re.compile(r"\((GLIBC|GLIBCXX|GCC)_([0-9.]+)\)")
_LIBRARY_OF = {"GLIBC": "libc.so.6", "GLIBCXX": "libstdc++.so.6", "GCC": "libgcc_s.so.1"}


@dataclass(slots=True)
class Elf:
    """A native file of the tree: its own name for the loader, and what it asks the loader for."""

    path: Path
    soname: str
    needed: list[str]


def settle(parts: list[Path]) -> list[tuple[str, str]]:
    """Strip, hollow, complete and link the trees of `parts`, each by itself: where they lie to each other is not known here.

    Returns the pairs of machine library and symbol version without which our own C libraries are used.
    """
    for part in parts:
        elves = _elves(part)
        for elf in elves:
            _strip(elf.path)
        _hollow_all(elves)
        _complete(part, {elf.soname: elf.path for elf in elves})
    needs = _needs([elf.path for part in parts for elf in _elves(part)])
    _own_c_libraries(parts[0] / "libc")
    return needs


def run(*command: object) -> str:
    """Return what a tool prints; end the build where it fails."""
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))}:\n{done.stderr}")
    return done.stdout


def _elves(folder: Path) -> list[Elf]:
    """Return the dynamically linked files of a folder."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.open("rb").read(4) == b"\x7fELF"]
    return [_elf(path) for path in files if ".dynamic" in run("readelf", "-S", "-W", path)]


def _elf(path: Path) -> Elf:
    dynamic = run("readelf", "-d", "-W", path)
    soname = re.search(r"\(SONAME\).*\[(.*)\]", dynamic)
    return Elf(path, soname[1] if soname else path.name, re.findall(r"\(NEEDED\).*\[(.*)\]", dynamic))


def _strip(path: Path) -> None:
    """Take debugging information away, where the file survives it: strip misplaces segments that patchelf has moved."""
    stripped = path.with_name(path.name + ".stripped")
    run("strip", "--strip-unneeded", "-o", stripped, path)
    if all(
        _is_aligned(line) for line in run("readelf", "-l", "-W", stripped).splitlines() if line.split()[:1] == ["LOAD"]
    ):
        stripped.replace(path)
    else:
        stripped.unlink()


def _is_aligned(load: str) -> bool:
    """Return whether a segment, in readelf's words, lies in the file as it will lie in memory."""
    fields = load.split()
    return (int(fields[1], 16) - int(fields[2], 16)) % int(fields[-1], 16) == 0


# -- hollow ---------------------------------------------------------------------------------------------------------


def _hollow_all(elves: list[Elf]) -> None:
    for elf in elves:
        if elf.soname.startswith(contents.HOLLOW):
            users = [user for user in elves if elf.soname in user.needed]
            _hollow(elf.path, elf.soname, elf.path, users)


def _hollow(library: Path, soname: str, target: Path, users: list[Elf]) -> None:
    """Write to `target` a library with what `users` take from `library`: functions that return 0, data that is 0."""
    wanted = {line.split()[-1].partition("@")[0] for user in users for line in _symbols("--undefined-only", user.path)}
    lines = []
    for line in _symbols("--defined-only", library):
        *size, kind, name = line.partition("@")[0].split()
        if name in wanted:
            is_data = kind in "BDR"
            lines.append(f"char {name}[0x{size[1]}];" if is_data else f"void *{name}(void) {{ return 0; }}")
    source = target.with_name(target.name + ".c")
    source.write_text("\n".join(sorted(lines)))
    run("gcc", "-shared", "-fPIC", "-s", "-w", "-fno-builtin", f"-Wl,-soname,{soname}", "-o", target, source)
    source.unlink()


def _symbols(which: str, path: Path) -> list[str]:
    return run("nm", "-D", "-S", which, path).splitlines()


# -- complete -------------------------------------------------------------------------------------------------------


def _complete(part: Path, known: dict[str, Path]) -> None:
    """Copy into the part what its files need and no part has; have each file look where that is."""
    todo = _elves(part)
    while todo:
        elf = todo.pop()
        folders = set()
        for name in elf.needed:
            if name in contents.C_LIBRARIES or name in contents.OF_THE_MACHINE:
                continue
            if name not in known:
                copy = _copy_of_the_machines(name, elf, part / _LIB)
                known[name] = copy
                todo.append(_elf(copy))
            if name not in _found_already(elf):
                folders.add(known[name].parent)
        if folders:
            origins = [f"$ORIGIN/{os.path.relpath(folder, elf.path.parent)}" for folder in sorted(folders)]
            old = run("patchelf", "--print-rpath", elf.path).strip()
            kept = [old] if "$ORIGIN" in old else []
            run("patchelf", "--set-rpath", ":".join(kept + origins), elf.path)
        elif "$ORIGIN" not in run("patchelf", "--print-rpath", elf.path):
            run("patchelf", "--remove-rpath", elf.path)


def _found_already(elf: Elf) -> set[str]:
    """Return the names that the file's own search path leads to within the tree."""
    found = set()
    for entry in run("patchelf", "--print-rpath", elf.path).strip().split(":"):
        if entry.startswith("$ORIGIN"):
            folder = Path(entry.replace("$ORIGIN", str(elf.path.parent)))
            found |= {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    return found


def _copy_of_the_machines(name: str, user: Elf, folder: Path) -> Path:
    """Return a copy in `folder` of the library that this machine's loader knows by `name`, stripped, hollow if need be."""
    found = _find(name)
    if found is None:
        sys.exit(f"{user.path} needs {name}, and this machine has none")
    folder.mkdir(exist_ok=True)
    target = folder / name
    if name.startswith(contents.HOLLOW):
        _hollow(found, name, target, [user])
    else:
        shutil.copyfile(found, target)
        target.chmod(0o755)
        _strip(target)
    return target


def _find(name: str) -> Path | None:
    own = Path(sysconfig.get_config_var("LIBDIR") or "/usr/lib") / name
    if own.exists():
        return own.resolve()
    listed = run("/sbin/ldconfig", "-p")
    match = re.search(rf"^\s*{re.escape(name)} \(.*x86-64.*\) => (.*)$", listed, re.MULTILINE)
    return Path(os.path.realpath(match[1])) if match else None


# -- the C libraries ------------------------------------------------------------------------------------------------


def _needs(paths: list[Path]) -> list[tuple[str, str]]:
    """Return for each C library that something needs the newest symbol version that is asked for."""
    newest: dict[str, tuple[int, ...]] = {}
    for path in paths:
        for kind, version in _FLOOR.findall(run("objdump", "-T", path)):
            numbers = tuple(int(number) for number in version.rstrip(".").split("."))
            newest[kind] = max(newest.get(kind, (0,)), numbers)
    return [(_LIBRARY_OF[kind], f"{kind}_{'.'.join(map(str, version))}") for kind, version in sorted(newest.items())]


def _own_c_libraries(folder: Path) -> None:
    """Copy this machine's C and C++ libraries; the loader by our name, as ps shows it."""
    folder.mkdir()
    for name in contents.C_LIBRARIES:
        found = _find(name) if not name.startswith("ld-") else Path("/lib64/ld-linux-x86-64.so.2").resolve()
        if found is None:
            continue  # glibc 2.34 and later has some of them in libc itself
        target = folder / ("dejavud" if name.startswith("ld-") else name)
        shutil.copyfile(found, target)
        target.chmod(0o755)
