"""Put the interpreter, the libraries and ourselves behind the launcher: one file.  Called by ./build, with the Python it bundles.

    python bundle.py --site FOLDER --launcher FILE --work FOLDER --out FILE

`site` is where pip installed us with `--target`.  Everything is laid out in `work`, one folder a part, as it will lie when it
is unpacked; then native libraries are made to find each other, and each part is listed, compressed and attached.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import py_compile
import shutil
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import contents
import licenses
import native

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

HERE = Path(__file__).resolve().parent
PYTHON_DIR = f"lib/python{sys.version_info.major}.{sys.version_info.minor}"
FOOTER = "DEJAVUD-BUNDLE-1 {:014d}\n"
PARTS = ("client", "daemon")


@dataclass(frozen=True, slots=True)
class Attached:
    """A compressed part as it lies in the file."""

    name: str
    offset: int
    n_bytes: int
    manifest_bytes: int
    unpacked_bytes: int
    digest: str


def main() -> None:
    """Build the file that the command line asks for and print what it came to."""
    parser = argparse.ArgumentParser()
    for option in ("site", "launcher", "work", "out"):
        parser.add_argument(f"--{option}", type=Path, required=True)
    parser.add_argument("--level", type=int, default=19, help="how hard zstd works: 19 for a release, 3 for a try")
    options = parser.parse_args()
    tree = options.work / "tree"
    shutil.rmtree(tree, ignore_errors=True)
    site = {path: options.site / path for path in files_of(options.site)}
    for target, source in plan(site, Path(sysconfig.get_path("stdlib"))).items():
        place(source, tree / target)
    # Called dejavud, so that ps, top and pgrep know it by that name.
    place(Path(sys.executable).resolve(), tree / "client" / "bin" / "dejavud")
    place(options.launcher, tree / "client" / "bin" / "python")
    needs = native.settle([tree / part for part in PARTS])
    (tree / "client" / "needs").write_text("".join(f"need {library} {version}\n" for library, version in needs))
    licenses.write(options.site, tree, tree / "client" / "site" / "dejavud" / "shipped" / "licenses.txt")
    attached = assemble(tree, needs, options.launcher, options.out, work=options.work, level=options.level)
    for part in attached:
        print(f"    {part.name}: {part.n_bytes / 1e6:.1f} MB, {part.unpacked_bytes / 1e6:.0f} MB unpacked")
    print(f"    {options.out}: {options.out.stat().st_size / 1e6:.1f} MB")


def plan(site: Mapping[str, Path], stdlib: Path) -> dict[str, Path]:
    """Return what `contents` lets in: where in the tree each file will lie, to where it comes from.

    site : the files of site-packages, by their names relative to it.
    """
    planned = {
        f"client/{PYTHON_DIR}/{path}": stdlib / path
        for path in files_of(stdlib)
        if not contents.is_left_out_of_stdlib(path)
    }
    planned |= {
        f"{contents.part_of(path)}/site/{path}": source
        for path, source in site.items()
        if not contents.is_left_out(path)
    }
    replaced = HERE / "replacements"
    return planned | {f"daemon/site/{path}": replaced / path for path in files_of(replaced)}


def files_of(folder: Path) -> list[str]:
    """Return the files below `folder`, relative to it, sorted; a link counts as what it leads to."""
    found = []
    for above, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if name != "__pycache__"]
        found += [(Path(above) / name).relative_to(folder).as_posix() for name in names]
    return sorted(found)


def place(source: Path, target: Path) -> None:
    """Copy a file; a Python module as its compiled form alone, which starts faster and is smaller."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.suffix == ".py":
        shown = target.as_posix().rpartition("/site/")[2]
        py_compile.compile(
            str(source),
            str(target.with_suffix(".pyc")),
            dfile=shown,
            doraise=True,
            invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
        )
    else:
        shutil.copyfile(source, target)
        target.chmod(0o755 if os.access(source, os.X_OK) or target.parent.name == "bin" else 0o644)


def assemble(
    tree: Path, needs: Sequence[tuple[str, str]], launcher: Path, out: Path, *, work: Path, level: int
) -> list[Attached]:
    """Write launcher, parts, description and footer to `out`, and make it executable; return what lies where in it."""
    partial = out.with_name(out.name + ".partial")
    with partial.open("wb") as file:
        file.write(launcher.read_bytes())
        attached = [attach(file, name, tree / name, work, level) for name in PARTS]
        lines = [
            f"part {part.name} {part.offset} {part.n_bytes} {part.manifest_bytes} {part.unpacked_bytes} {part.digest}\n"
            for part in attached
        ]
        lines += [f"need {library} {version}\n" for library, version in needs]
        description = "".join(lines).encode()
        file.write(description + FOOTER.format(len(description)).encode())
    partial.chmod(0o755)
    partial.replace(out)
    return attached


def attach(out: BinaryIO, name: str, folder: Path, work: Path, level: int) -> Attached:
    """Append one part to the open file `out`: its manifest and its files, compressed together."""
    # Like beside like compresses better; empty files first, as the launcher makes them on the way to one that has content.
    paths = sorted(files_of(folder), key=lambda path: ((folder / path).stat().st_size > 0, Path(path).suffix, path))
    sizes = [(folder / path).stat().st_size for path in paths]
    modes = ["x" if os.access(folder / path, os.X_OK) else "-" for path in paths]
    manifest = "".join(f"{mode} {size} {path}\n" for mode, size, path in zip(modes, sizes, paths, strict=True)).encode()
    packed = work / f"{name}.zst"
    zstd = ["zstd", f"-{level}", "--long=27", "-T2", "-q", "-c"]
    with packed.open("wb") as target, subprocess.Popen(zstd, stdin=subprocess.PIPE, stdout=target) as process:
        assert process.stdin is not None  # noqa: S101 - a pipe was asked for
        process.stdin.write(manifest)
        for path in paths:
            with (folder / path).open("rb") as source:
                shutil.copyfileobj(source, process.stdin, 1 << 20)
    if process.returncode != 0:
        sys.exit("zstd failed")
    content = packed.read_bytes()
    offset = out.tell()
    out.write(content)
    digest = hashlib.blake2b(content, digest_size=32).hexdigest()
    return Attached(name, offset, len(content), len(manifest), sum(sizes) + len(manifest), digest)


if __name__ == "__main__":
    main()
