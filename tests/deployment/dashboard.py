"""Checks the Grafana dashboard: each query has an answer in a real Prometheus that scrapes graphward beside the fake Graph.

What the panels show happens here: a token expires, requests are lost, the app sends a token, and a body that is not searched.
"""

import json
import re
import socket
import subprocess
import sys
import tempfile
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tests/clients/python"))

from harness import Harness, wait_until  # noqa: E402

DASHBOARD = json.loads((ROOT / "config/grafana/graphward.json").read_text())
BUILTIN = {"__rate_interval": "10s", "__range": "5m"}
PATH = "/v25.0/106540352242922"
APP = '[app]\nid = "1234567890123456"\nsecret = { file = "FOLDER/app_secret" }\n'


def queries():
    """The title and the query of each panel, and those of the annotations."""
    for panel in DASHBOARD["panels"]:
        for target in panel.get("targets", []):
            yield panel["title"], target["expr"]
    for annotation in DASHBOARD["annotations"]["list"]:
        yield annotation["name"], annotation["expr"]


def expanded(query):
    """The query with the dashboard's variables as Grafana fills them in for `All`."""
    variables = {variable["name"]: variable.get("allValue") for variable in DASHBOARD["templating"]["list"]} | BUILTIN
    return re.sub(r"\$(\w+)", lambda name: variables[name.group(1)], query)


def with_series(query):
    """The query, at each second of the last minutes, without the 0 that it has in place of series that are not there."""
    query = expanded(query).removesuffix(" or vector(0)")
    assert "vector" not in query, query
    return f"last_over_time(({query})[5m:1s])"


class Prometheus:
    def __init__(self, folder, target):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        config = {
            "global": {"scrape_interval": "1s"},
            "rule_files": [str(ROOT / "config/prometheus/alerts.yaml")],
            "scrape_configs": [{"job_name": "graphward", "static_configs": [{"targets": [target]}]}],
        }
        # JSON is YAML.
        (folder / "prometheus.yml").write_text(json.dumps(config))
        self.process = subprocess.Popen(
            [
                "prometheus",
                f"--config.file={folder}/prometheus.yml",
                f"--storage.tsdb.path={folder}/data",
                f"--web.listen-address=127.0.0.1:{port}",
                "--log.level=error",
            ]
        )
        wait_until(self.is_ready, "Prometheus")

    def is_ready(self):
        try:
            return urllib.request.urlopen(f"{self.url}/-/ready").status == 200
        except OSError:
            return False

    def query(self, query):
        body = urllib.parse.urlencode({"query": query}).encode()
        try:
            with urllib.request.urlopen(f"{self.url}/api/v1/query", body) as answer:
                return json.load(answer)["data"]["result"]
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{query}: {error.read().decode()}") from error

    def scrapes(self):
        """The number of scrapes so far that succeeded."""
        result = self.query("sum_over_time(up[5m])")
        return float(result[0]["value"][1]) if result else 0


def send(harness, **request):
    """Sends a request, and returns the status of the answer."""
    try:
        with urllib.request.urlopen(urllib.request.Request(harness.url + PATH, **request)) as answer:
            return answer.read() and answer.status
    except urllib.error.HTTPError as error:
        return error.code


def check(harness, prometheus):
    for _ in range(3):
        scrapes = prometheus.scrapes()
        assert send(harness, headers={"Authorization": f"Bearer {harness.tokens[0]}"}) == 200
        wait_until(lambda: prometheus.scrapes() > scrapes, "a scrape")
    assert set(harness.across_an_expiry(lambda _: send(harness))) == {200}
    # Longer than what is searched.
    send(harness, data=json.dumps({"text": "a" * 2**23}).encode(), headers={"Content-Type": "application/json"})
    harness.graph.expire(harness.tokens[-1])
    assert send(harness) == 401, "there is no newer token"
    count = 0
    for title, query in queries():
        # As it is, and then with what it is about.
        prometheus.query(expanded(query))
        # An increase is there with the second scrape of a new series.
        wait_until(lambda: prometheus.query(with_series(query)), f"{title}: {query}")
        count += 1
    assert count > 25, count
    healed = prometheus.query('graphward_requests_total{outcome="healed"}')
    assert healed and float(healed[0]["value"][1]) >= 1, healed
    for variable in DASHBOARD["templating"]["list"]:
        if variable["type"] == "query":
            name, label = re.fullmatch(r"label_values\((.+), (\w+)\)", variable["query"]["query"]).groups()
            assert all(label in series["metric"] for series in prometheus.query(expanded(name))), variable
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(ids) == len(set(ids)) and DASHBOARD["uid"] == "graphward"
    with urllib.request.urlopen(f"{prometheus.url}/api/v1/rules") as answer:
        rules = json.load(answer)["data"]["groups"][0]["rules"]
    assert len(rules) > 35 and all(rule["health"] != "err" for rule in rules)
    print(f"    {count} queries and {len(rules)} rules")


with tempfile.TemporaryDirectory() as name, Harness(config=APP, fake_graph=["--token-ttl=1440h"]) as harness:
    admin = re.search(r'"admin listener started","address":"http://([^"]+)"', harness.log()).group(1)
    prometheus = Prometheus(Path(name), admin)
    try:
        check(harness, prometheus)
    finally:
        prometheus.process.terminate()
        prometheus.process.wait()
