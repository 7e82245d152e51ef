"""The licenses of all that is bundled, as one text."""

from __future__ import annotations

import re
import subprocess
import sys
import sysconfig
from email.parser import HeaderParser
from pathlib import Path

import contents

_ROOT = Path(__file__).resolve().parents[2]
_RULE = "=" * 100
_FILE = re.compile(r"(?i)^(licen[cs]e|copying|notice|copyright|authors)")

WITHIN_WHEELS = {
    "libav|libsw": "FFmpeg: LGPL-3.0-or-later",
    "libdav1d": "dav1d: BSD-2-Clause",
    "libgmp": "GMP: LGPL-3.0-or-later",
    "libgnutls": "GnuTLS: LGPL-2.1-or-later",
    "libhogweed|libnettle": "Nettle: LGPL-3.0-or-later",
    "libmp3lame": "LAME: LGPL-2.0-or-later",
    "libopencore": "OpenCORE AMR: Apache-2.0",
    "libopus": "Opus: BSD-3-Clause",
    "libunistring": "libunistring: LGPL-3.0-or-later",
    "libvpl": "Intel VPL dispatcher: MIT",
    "libvpx": "libvpx: BSD-3-Clause",
    "libwebp|libsharpyuv": "libwebp: BSD-3-Clause",
    "libX|libxcb": "X.Org libraries: MIT",
    "libdrm": "libdrm: MIT",
    "libasound": "alsa-lib: LGPL-2.1-or-later",
    "libscipy_openblas": "OpenBLAS: BSD-3-Clause",
    "libgfortran|libquadmath|libgcc_s|libstdc|libgomp": "GCC runtime: GPL-3.0-or-later with the GCC Runtime Library Exception",
    "libpq": "PostgreSQL: PostgreSQL License",
    "libssl|libcrypto": "OpenSSL: Apache-2.0",
    "libkrb5|libk5crypto|libgssapi|libcom_err|libkrb5support": "MIT Kerberos: MIT",
    "libldap|liblber": "OpenLDAP: OLDAP-2.8",
    "libsasl": "Cyrus SASL: BSD-4-Clause (Carnegie Mellon)",
    "libkeyutils": "keyutils: LGPL-2.1-or-later",
    "libselinux": "libselinux: public domain",
    "libpcre": "PCRE: BSD-3-Clause",
    "libzmq": "ZeroMQ: MPL-2.0",
    "libsodium": "libsodium: ISC",
    "libsoxr": "The SoX Resampler: LGPL-2.1-or-later",
    "libz": "zlib: Zlib",
    "libbz2": "bzip2: bzip2-1.0.6",
    "liblzma": "XZ Utils: public domain, 0BSD",
    "libffi": "libffi: MIT",
    "libcrypt-": "libxcrypt: LGPL-2.1-or-later",
}
"""Libraries that wheels carry, by the beginning of their names.  One that is not here ends the build: somebody has to look."""

_COMMON = ("LGPL-2.1", "LGPL-3", "GPL-3", "Apache-2.0", "MPL-2.0")
"""Long licenses that the texts name without giving: from where Debian keeps them."""


def write(site: Path, tree: Path, target: Path) -> None:
    """Write to `target` whose each part is and under which terms; ends the build at a library of unknown terms."""
    sections = [("dejavud", (_ROOT / "LICENSE").read_text(encoding="utf-8")), ("Python", _of_python())]
    sections += [(title, text) for info in sorted(site.glob("*.dist-info")) for title, text in _of_distribution(info)]
    sections.append(("Libraries within these packages", _of_wheels(tree)))
    sections += _of_debian(tree)
    sections += [
        (name, path.read_text()) for name in _COMMON if (path := Path("/usr/share/common-licenses", name)).is_file()
    ]
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(
        "\n".join(f"{_RULE}\n{title}\n{_RULE}\n{text.strip()}\n" for title, text in sections), encoding="utf-8"
    )


def _of_python() -> str:
    for path in (
        Path(sysconfig.get_path("stdlib"), "LICENSE.txt"),
        _copyright("libpython3-stdlib"),
        _copyright(f"python3.{sys.version_info.minor}"),
    ):
        if path.is_file():
            return path.read_text(encoding="utf-8")
    sys.exit("the license of this Python is not found")


def _of_distribution(info: Path) -> list[tuple[str, str]]:
    metadata = HeaderParser().parsestr((info / "METADATA").read_text(encoding="utf-8"))
    name = metadata["Name"]
    if name == "dejavud":
        return []
    terms = metadata["License-Expression"] or metadata["License"] or "; ".join(
        line.rpartition(" :: ")[2] for line in metadata.get_all("Classifier", []) if line.startswith("License")
    )  # fmt: skip
    files = [
        path for path in sorted(info.rglob("*")) if path.is_file() and _FILE.match(path.name) and path.suffix != ".py"
    ]
    texts = [path.read_text(encoding="utf-8", errors="replace").strip() for path in files]
    if not terms and not texts:
        sys.exit(f"the license of {name} is not found in its metadata")
    return [(f"{name} {metadata['Version']}", "\n\n".join([terms.splitlines()[0] if terms else "", *texts]))]


def _of_wheels(tree: Path) -> str:
    lines = []
    for path in sorted(tree.glob("*/site/*.libs/*")):
        if path.name.startswith(contents.HOLLOW):
            continue
        terms = next((terms for names, terms in WITHIN_WHEELS.items() if re.match(names, path.name)), None)
        if terms is None:
            sys.exit(f"{path}: write its license into licenses.py")
        lines.append(f"{path.name}: {terms}")
    return "\n".join(lines)


def _of_debian(tree: Path) -> list[tuple[str, str]]:
    """Return the copyright files of the packages that this machine's libraries came from."""
    names = {
        path.name for folder in ("client/lib", "daemon/lib", "client/libc") for path in (tree / folder).glob("*.so*")
    }
    packages = {"libc6"}
    for name in sorted(names):
        found = subprocess.run(["dpkg", "-S", f"*/{name}"], capture_output=True, text=True, check=False).stdout
        packages |= {line.partition(":")[0] for line in found.splitlines()[:1]}
    return [
        (package, path.read_text(encoding="utf-8"))
        for package in sorted(packages)
        if (path := _copyright(package)).is_file()
    ]


def _copyright(package: str) -> Path:
    return Path("/usr/share/doc", package, "copyright")
