"""Checks what no schema says about the Compose file: that its services fit together, and the image."""

import tomllib
from pathlib import Path, PurePosixPath

import yaml

ROOT = Path(__file__).parents[2]
services = yaml.safe_load((ROOT / "config/compose/compose.yaml").read_text())["services"]
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
