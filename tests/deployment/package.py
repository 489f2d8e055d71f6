"""Puts a Debian package together from what Cargo.toml says, around a program of any profile: package.py PROGRAM SHARE PACKAGE.

cargo-deb does the same for a release; building it takes longer than all checks of the package together."""

import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
program, share, package = map(Path, sys.argv[1:])
manifest = tomllib.loads((ROOT / "Cargo.toml").read_text())["package"]
deb = manifest["metadata"]["deb"]


def sources(pattern):
    """The files that an asset names."""
    if pattern.startswith("target/release/"):
        return [program]
    folder, pattern = (share, pattern.removeprefix("packaging/share/")) if pattern.startswith("packaging/share/") else (ROOT, pattern)
    found = sorted(folder.glob(pattern))
    assert found, f"there is no {pattern}"
    return found


def install(source, folder, mode):
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, folder / source.name)
    (folder / source.name).chmod(int(mode, 8))


with tempfile.TemporaryDirectory() as name:
    root = Path(name)
    root.chmod(0o755)
    for pattern, folder, mode in deb["assets"]:
        for source in sources(pattern):
            install(source, root / folder, mode)
    units = deb["systemd-units"]
    install(ROOT / units["unit-scripts"] / f"{units['unit-name']}.service", root / "usr/lib/systemd/system", "644")
    control = root / "DEBIAN"
    control.mkdir()
    for script in (ROOT / deb["maintainer-scripts"]).iterdir():
        install(script, control, "755")
    (control / "conffiles").write_text("".join(f"{file}\n" for file in deb["conf-files"]))
    architecture = subprocess.check_output(["dpkg", "--print-architecture"], text=True)
    (control / "control").write_text(
        f"Package: {manifest['name']}\nVersion: {manifest['version']}\nArchitecture: {architecture}"
        f"Depends: {deb['depends']}\nMaintainer: {deb['maintainer']}\nDescription: {manifest['description']}\n"
    )
    subprocess.check_call(["dpkg-deb", "--root-owner-group", "-Znone", "--build", root, package], stdout=subprocess.DEVNULL)
