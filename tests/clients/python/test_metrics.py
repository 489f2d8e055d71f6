"""The parsers of Prometheus read what `/metrics` returns."""

import collections
import gzip
import re
import subprocess
import urllib.request

import pytest
from conftest import PHONE
from prometheus_client.openmetrics import parser as open_metrics
from prometheus_client.parser import text_string_to_metric_families

PROMETHEUS = (
    "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
    "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
)


@pytest.fixture
def scrape(harness):
    address = re.search(r'"admin listener started","address":"(http://[^"]+)"', harness.log()).group(1)
    urllib.request.urlopen(f"{harness.url}/v21.0/{PHONE}").close()

    def get(**headers):
        request = urllib.request.Request(f"{address}/metrics", headers=headers)
        with urllib.request.urlopen(request) as answer:
            body = answer.read()
            if answer.headers["Content-Encoding"] == "gzip":
                body = gzip.decompress(body)
            return answer.headers["Content-Type"], body.decode()

    return get


def samples(families):
    """The sums of all series, by name. Their order is not fixed."""
    sums = collections.Counter()
    for sample in (sample for family in families for sample in family.samples):
        sums[sample.name] += sample.value
    return sums


def test_the_text_format_is_the_default_and_the_checker_of_prometheus_has_no_objection(scrape):
    content_type, text = scrape()
    assert content_type.startswith("text/plain; version=0.0.4")
    families = {family.name: family.type for family in text_string_to_metric_families(text)}
    assert families["graphward_requests"] == "counter"
    assert families["graphward_request_duration_seconds"] == "histogram"
    assert samples(text_string_to_metric_families(text))["process_open_fds"] > 3
    checked = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True)
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")


def test_a_scraper_that_asks_for_open_metrics_gets_it_with_the_same_series(scrape):
    content_type, body = scrape(**{"Accept": PROMETHEUS, "Accept-Encoding": "gzip"})
    assert content_type.startswith("application/openmetrics-text; version=1.0.0")
    read = samples(open_metrics.text_string_to_metric_families(body))
    assert read["graphward_requests_total"] >= 1
    _, text = scrape()
    assert read.keys() == samples(text_string_to_metric_families(text)).keys()


def test_the_alert_rules_are_valid(harness):
    from harness import ROOT

    checked = subprocess.run(["promtool", "check", "rules", ROOT / "config/prometheus/alerts.yaml"])
    assert checked.returncode == 0
