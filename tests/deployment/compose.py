"""Checks what no schema says about the Compose file: that its services fit together, the image, and the commands at its top."""

import os
import re
import subprocess
import tomllib
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory

import yaml

ROOT = Path(__file__).parents[2]
text = (ROOT / "config/compose/compose.yaml").read_text()
services = yaml.safe_load(text)["services"]
image = tomllib.loads((ROOT / "config/image.toml").read_text())
graphward = services.pop("graphward")
settings = graphward["environment"]
assert services and all(name.endswith("-app") for name in services)

name, port = "graphward", settings["GRAPHWARD_LISTEN"].rpartition(":")[2]
assert name in image["listen"]["allowed_hosts"], "the apps call graphward by a name that it does not know"
for app in services.values():
    assert app["environment"] == {"GRAPH_BASE_URL": f"http://{name}:{port}"}, app
    assert app["networks"] == graphward["networks"]
    assert app["depends_on"] == {name: {"condition": "service_healthy"}}
assert "ports" not in graphward, "other machines could send with the token"

mounted = {PurePosixPath(volume.split(":")[1]) for volume in graphward["volumes"]}
assert PurePosixPath(settings["GRAPHWARD_TOKEN_FILE"]).parent in mounted, "a file that is mounted keeps the old token"
assert graphward["read_only"]
for folder in (image["heal"]["spool_dir"], image["state"]["dir"]):
    assert PurePosixPath(folder) in mounted, f"{folder} cannot be written"
assert "tmpfs" not in graphward, "bodies that wait would count against mem_limit"
assert int(graphward["stop_grace_period"].removesuffix("s")) >= 35, "requests in flight are given 25 s"

# A user who has run the commands: Compose reads the variables of the file `.env` beside its own, and those that the shell exports.
*commands, up = re.findall(r"^#   (.*)$", text, re.M)
assert up == "docker compose -f config/compose/compose.yaml up", up
with TemporaryDirectory() as folder:
    place = Path(folder) / "config/compose"
    place.mkdir(parents=True)
    for command in commands:
        environment = {"PATH": os.environ["PATH"]}
        subprocess.run(["bash", "-ec", command], cwd=folder, env=environment, input="EAAGtoken\n", text=True, check=True)
    variables = dict(line.split("=", 1) for line in (place / ".env").read_text().splitlines())
    named = set(re.findall(r"\$\{(\w+)", text))
    assert named == set(variables), f"{named} are in the file, {set(variables)} in .env"
    user = re.sub(r"\$\{(\w+)[^}]*\}", lambda name: variables[name[1]], graphward["user"])
    (source,) = (volume.split(":")[0] for volume in graphward["volumes"] if ":/run/graphward" in volume)
    token = (place / source / PurePosixPath(settings["GRAPHWARD_TOKEN_FILE"]).name).stat()
    assert user == f"{token.st_uid}:{token.st_gid}", "graphward could not read the token"
    assert token.st_mode & 0o077 == 0
