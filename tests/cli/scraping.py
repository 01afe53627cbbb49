# SPDX-License-Identifier: MIT
"""What the tests of metrics share: OpenMetrics by its own rules, HTTP over Unix sockets, promtool, and a real Prometheus."""

import http.client
import json
import re
import socket
import subprocess
import sys
import urllib.parse
import urllib.request
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools"))
from guest_packages import PackageStore  # noqa: E402

SAMPLE = re.compile(r'^([a-z_]+)(?:\{((?:[a-z]+="(?:[^"\\]|\\.)*",?)*)\})? ([0-9.e+-]+|\+Inf)$')
LABEL = re.compile(r'([a-z]+)="((?:[^"\\]|\\.)*)"')
OPENMETRICS = "application/openmetrics-text"


def parse(test, text):
    """OpenMetrics 1.0: families in one piece, each sample of its family, the end marked. Returns the samples."""
    lines = text.split("\n")
    test.assertEqual(lines[-2:], ["# EOF", ""])
    samples, kinds, family = {}, {}, None
    for line in lines[:-2]:
        if line.startswith("# "):
            _, what, name, rest = line.split(" ", 3)
            if what == "TYPE":
                test.assertNotIn(name, kinds)
                family, kinds[name] = name, rest
            test.assertEqual(name, family)
            if what == "UNIT":
                test.assertTrue(name.endswith("_" + rest), line)
            continue
        match = SAMPLE.match(line)
        test.assertTrue(match, line)
        name, labels, value = match.groups()
        suffixes = {"gauge": ("",), "counter": ("_total",), "histogram": ("_bucket", "_count", "_sum")}[kinds[family]]
        test.assertIn(name, [family + suffix for suffix in suffixes])
        key = name, tuple(LABEL.findall(labels or ""))
        test.assertNotIn(key, samples)
        samples[key] = float(value)
    return samples


class UnixConnection(http.client.HTTPConnection):
    """HTTP to a Unix socket."""

    def __init__(self, path):
        super().__init__("localhost", timeout=60)
        self.path = str(path)

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(60)
        self.sock.connect(self.path)


def scrape_unix(path):
    connection = UnixConnection(path)
    connection.request("GET", "/metrics", headers={"Accept": OPENMETRICS})
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    return answer.status, text


def scrape(url, accept="text/plain"):
    with urllib.request.urlopen(urllib.request.Request(url, headers={"Accept": accept}), timeout=60) as answer:
        return answer.headers["Content-Type"], answer.read().decode()


def programs():
    return PackageStore().fetch("prometheus") / "usr/bin"


def check_by_promtool(test, text):
    result = subprocess.run([programs() / "promtool", "check", "metrics"], input=text, text=True, capture_output=True, check=False, timeout=60)
    test.assertEqual((result.returncode, result.stdout, result.stderr), (0, "", ""))


class Prometheus:
    """A real one that scrapes `url` each second. Ends with the test."""

    def __init__(self, test, url):
        target = urllib.parse.urlsplit(url).netloc
        config = test.file("prometheus.yml", f"global: {{scrape_interval: 1s}}\nscrape_configs: [{{job_name: nfold, static_configs: [{{targets: ['{target}']}}]}}]\n")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.address = f"127.0.0.1:{free.getsockname()[1]}"
        log = open(test.folder / "prometheus.log", "w", encoding="utf-8")
        test.addCleanup(log.close)
        process = subprocess.Popen([programs() / "prometheus", f"--config.file={config}", f"--storage.tsdb.path={test.folder / 'tsdb'}",
                                    f"--web.listen-address={self.address}", "--web.console.templates=/", "--web.console.libraries=/"],
                                   stdout=log, stderr=subprocess.STDOUT)
        test.addCleanup(process.wait)
        test.addCleanup(process.kill)

    def ask(self, query):
        try:
            with urllib.request.urlopen(f"http://{self.address}/api/v1/query?query={urllib.parse.quote(query)}", timeout=20) as answer:
                return json.load(answer)["data"]["result"]
        except (OSError, ValueError):
            return []

    def value(self, query):
        """Of the only sample; 0 while there is none."""
        rows = self.ask(query)
        return float(rows[0]["value"][1]) if len(rows) == 1 else 0
