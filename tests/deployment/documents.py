"""Checks the blocks of the documentation that are for other programs: that they fit the configuration of graphward beside them."""

import json
import re
import tomllib
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]
RECIPES = (ROOT / "docs/recipes.md").read_text()


def block(language, heading):
    """The first block of a language in a section of the recipes."""
    section = RECIPES.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    return section.split(f"\n```{language}\n")[1].split("\n```")[0]


def strings(hcl):
    """The assignments of a text to a name, after a look at its braces and quotes."""
    bare = re.sub(r'"(?:\\.|[^"\\])*"', "", hcl)
    assert bare.count("{") == bare.count("}") and '"' not in bare, hcl
    return {name: json.loads(text) for name, text in re.findall(r'(\w+) += (".*")', hcl)}


vault = strings(block("hcl", "HashiCorp Vault"))
read = tomllib.loads(block("toml", "HashiCorp Vault"))["token"]["source"]["file"]
assert vault["destination"] == read, "the agent writes another file than graphward reads"
assert vault["contents"].count("{{") == vault["contents"].count("}}")
assert int(vault["perms"], 8) & 0o7 == 0, "every user could read the token"

external = yaml.safe_load(block("yaml", "On Kubernetes: any of these"))["spec"]
sidecar = yaml.safe_load((ROOT / "config/kubernetes/base/sidecar.yaml").read_text())["spec"]["template"]["spec"]
(container,) = sidecar["initContainers"]
(token,) = (entry["value"] for entry in container["env"] if entry["name"] == "GRAPHWARD_TOKEN_FILE")
(mount,) = (mount for mount in container["volumeMounts"] if token.startswith(mount["mountPath"] + "/"))
(volume,) = (volume for volume in sidecar["volumes"] if volume["name"] == mount["name"])
assert external["target"]["name"] == volume["secret"]["secretName"], "the pod mounts another secret"
assert [entry["secretKey"] for entry in external["data"]] == [Path(token).name], "graphward reads another key of it"
# Each place that creates the secret by hand creates the same.
for path in ("docs/token-sources.md", "config/kubernetes/base/kustomization.yaml"):
    created = re.findall(r"kubectl create secret generic (\S+) --from-file=(\w+)=", (ROOT / path).read_text())
    assert created == [(volume["secret"]["secretName"], Path(token).name)], (path, created)
