"""Checks the blocks of the documentation that are for other programs: that they fit the configuration of graphward beside them."""

import json
import re
import subprocess
import tomllib
from base64 import b64decode
from pathlib import Path
from tempfile import TemporaryDirectory

import yaml

ROOT = Path(__file__).parents[2]


def block(name):
    """The text of a block: PAGE#SECTION LANGUAGE is the first of its language in the section."""
    page, heading = name.split("#")
    heading, language = heading.rsplit(" ", 1)
    section = re.split(r"\n#+ ", re.split(f"\n#+ {re.escape(heading)}\n", (ROOT / page).read_text())[1])[0]
    return section.split(f"\n```{language}\n")[1].split("\n```")[0]


def strings(hcl):
    """The assignments of a text to a name, after a look at its braces and quotes."""
    bare = re.sub(r'"(?:\\.|[^"\\])*"', "", hcl)
    assert bare.count("{") == bare.count("}") and '"' not in bare, hcl
    return {name: json.loads(text) for name, text in re.findall(r'(\w+) += (".*")', hcl)}


vault = strings(block("docs/recipes.md#HashiCorp Vault hcl"))
read = tomllib.loads(block("docs/recipes.md#HashiCorp Vault toml"))["token"]["source"]["file"]
assert vault["destination"] == read, "the agent writes another file than graphward reads"
assert vault["contents"].count("{{") == vault["contents"].count("}}")
assert int(vault["perms"], 8) & 0o7 == 0, "every user could read the token"

external = yaml.safe_load(block("docs/recipes.md#On Kubernetes: any of these yaml"))["spec"]
sidecar = yaml.safe_load((ROOT / "config/kubernetes/base/sidecar.yaml").read_text())["spec"]["template"]["spec"]
(container,) = sidecar["initContainers"]
(token,) = (entry["value"] for entry in container["env"] if entry["name"] == "GRAPHWARD_TOKEN_FILE")
(mount,) = (mount for mount in container["volumeMounts"] if token.startswith(mount["mountPath"] + "/"))
(volume,) = (volume for volume in sidecar["volumes"] if volume["name"] == mount["name"])
assert external["target"]["name"] == volume["secret"]["secretName"], "the pod mounts another secret"
assert [entry["secretKey"] for entry in external["data"]] == [Path(token).name], "graphward reads another key of it"
# What the page says creates the same secret, if its last command gets what kubectl makes of the first.
command = block("docs/token-sources.md#Sources sh")
with TemporaryDirectory() as folder:
    (Path(folder) / "token").write_text("EAAGtoken")
    make, apply = command.split(" | ")
    assert apply == "kubectl apply -f -", apply
    made = subprocess.run(make, shell=True, cwd=folder, check=True, capture_output=True, text=True).stdout
made = yaml.safe_load(made)
assert made["metadata"]["name"] == volume["secret"]["secretName"], made
assert {key: b64decode(value) for key, value in made["data"].items()} == {Path(token).name: b"EAAGtoken"}, made
created = re.findall(r"kubectl create secret generic (\S+) --from-file=(\w+)=", (ROOT / "config/kubernetes/base/kustomization.yaml").read_text())
assert created == [(volume["secret"]["secretName"], Path(token).name)], created
