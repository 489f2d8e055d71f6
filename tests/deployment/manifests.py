"""Checks what no schema says about the Kubernetes manifests: that their parts fit together."""

import re
import sys
import tomllib
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]
# The gateway's limit is for this many open tenants.
TENANTS = 10_000
BUDGETS = dict(re.findall(r"^(\w+) += (\d+)", (ROOT / "benches/budgets").read_text(), re.MULTILINE))
TENANT_BYTES = int(BUDGETS["tenant_closed"]) + int(BUDGETS["tenant_open"])
# The workload of each overlay.
KINDS = {"deployment": "Deployment", "statefulset": "StatefulSet", "daemonset": "DaemonSet", "job": "Job", "gateway": "Deployment"}
VERSION = tomllib.loads((ROOT / "Cargo.toml").read_text())["package"]["version"]


def manifests(path):
    return {(item["kind"], item["metadata"]["name"]): item for item in yaml.safe_load_all(path.read_text())}


def workload(items):
    """The only workload, whatever its kind."""
    (found,) = [item for item in items.values() if "template" in item.get("spec", {})]
    return found


def pod(items):
    return workload(items)["spec"]["template"]


def selects(selector, labels):
    """Tells whether a selector of labels, or of the existence of labels, selects."""
    expected = selector.get("matchLabels", {}).items() <= labels.items()
    return expected and all(rule["operator"] == "Exists" and rule["key"] in labels for rule in selector.get("matchExpressions", []))


def check(name, items):
    assert workload(items)["kind"] == KINDS[name], workload(items)
    spec, labels = pod(items)["spec"], pod(items)["metadata"]["labels"]
    place = "containers" if name == "gateway" else "initContainers"
    (container,) = [container for container in spec[place] if container["name"] == "graphward"]
    assert len(spec["containers"]) == 1 and len(spec.get("initContainers", [])) == (name != "gateway")
    assert container.get("restartPolicy") == (None if name == "gateway" else "Always")
    assert spec["automountServiceAccountToken"] is False and spec["enableServiceLinks"] is False
    assert {"startupProbe", "readinessProbe", "livenessProbe"} <= container.keys()
    assert container["image"] == f"ghcr.io/graphward/graphward:{VERSION}", "a release has the version as its tag"
    security = container["securityContext"]
    assert security["readOnlyRootFilesystem"] and security["runAsNonRoot"] and security["capabilities"] == {"drop": ["ALL"]}
    assert security["allowPrivilegeEscalation"] is False and security["seccompProfile"] == {"type": "RuntimeDefault"}
    # `benches/memory` measures the first, and the benches hold the budgets of a tenant.
    memory = int(container["resources"]["limits"]["memory"].removesuffix("Mi"))
    assert memory == 192 if name != "gateway" else memory * 2**20 >= 192 * 2**20 + TENANTS * TENANT_BYTES, memory
    assert container["resources"]["requests"].keys() == {"cpu", "memory"}

    ports = {port["name"] for item in spec["containers"] + [container] for port in item.get("ports", [])}
    assert {"graphward-admin"} <= ports
    assert all(container[probe]["httpGet"]["port"] in ports for probe in container if probe.endswith("Probe"))
    assert {mount["name"] for mount in container["volumeMounts"]} == {volume["name"] for volume in spec["volumes"]}
    assert all("subPath" not in mount for mount in container["volumeMounts"]), "a subPath does not follow its secret"

    policy = items["NetworkPolicy", "graphward"]["spec"]
    assert selects(policy["podSelector"], labels)
    opened = {port["port"] for rule in policy["ingress"] for port in rule["ports"]}
    assert opened == {"http", "graphward-admin"}
    assert ("Egress" in policy["policyTypes"]) == (name == "gateway")
    assert not any(item["kind"] == "Secret" for item in items.values()), "a secret in a repository is no secret"
    if name == "gateway":
        variables = {variable["name"] for variable in container["env"]}
        assert variables == {"GRAPHWARD_LISTEN", "GRAPHWARD_ADMIN", "GRAPHWARD_CONFIG"}
        for kind in ("Service", "PodDisruptionBudget"):
            selector = items[kind, "graphward"]["spec"]["selector"]
            assert selects(selector if "matchLabels" in selector else {"matchLabels": selector}, labels)


def check_monitored(plain, items):
    """Checks that the component adds a monitor of the pod's port, and nothing else."""
    monitor = items.pop(("PodMonitor", "graphward"))["spec"]
    assert items == plain
    # kubernetes-validate has no schema of it.
    assert monitor.keys() == {"selector", "podMetricsEndpoints"}
    assert all(endpoint.keys() == {"port", "path", "interval"} for endpoint in monitor["podMetricsEndpoints"])
    template = pod(items)
    assert selects(monitor["selector"], template["metadata"]["labels"])
    containers = template["spec"]["containers"] + template["spec"].get("initContainers", [])
    ports = {port["name"] for container in containers for port in container.get("ports", [])}
    assert {endpoint["port"] for endpoint in monitor["podMetricsEndpoints"]} <= ports


def stated(path, pattern):
    """The number in a comment of a manifest."""
    return int(re.search(pattern, (ROOT / "config/kubernetes" / path).read_text()).group(1))


# What the comments say of memory is what the benches hold.
assert stated("base/sidecar.yaml", r"At rest up to (\d+) MiB") * 1024 == int(BUDGETS["shipped_idle_rss"])
assert stated("overlays/gateway/container.yaml", r"(\d+) KiB for each of 10,000 open tenants") * 1024 == TENANT_BYTES
named = re.findall(r"\?ref=v(\S+)", (ROOT / "config/kubernetes/base/kustomization.yaml").read_text())
assert named == [VERSION], named
for overlay in KINDS:
    items = manifests(Path(sys.argv[1]) / f"{overlay}.yaml")
    check(overlay, items)
    foreign = [item["apiVersion"] for item in items.values() if re.search(r"\..*/", item["apiVersion"]) and "k8s.io/" not in item["apiVersion"]]
    assert not foreign, f"a cluster without an operator refuses {foreign}"
    check_monitored(items, manifests(Path(sys.argv[1]) / f"{overlay}-monitored.yaml"))
