#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""nfold metrics: OpenMetrics by its own rules, the older format by promtool, and a real Prometheus that scrapes both guests."""

import http.client
import json
import re
import signal
import socket
import subprocess
import sys
import urllib.parse
import urllib.request
from pathlib import Path

from guests import GuestTest
from support import STATUS_HOST, STATUS_INPUT, main, wait_for

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


class Metrics(GuestTest):
    def two_guests(self):
        self.start_guest("spin", "--disk", self.file('d"q\\.img', bytes(1 << 20)), "--net", "user")
        self.start_guest("halt", "--cpus", "2")
        wait_for(lambda: self.stats("halt")["vcpus"][1]["clocks_ns"]["idle"] > 0)

    def serve(self):
        process = subprocess.Popen([self.nfold, "metrics", "--listen", "0"], env=self.environment, stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE, text=True)
        self.started.append(process)
        return process, process.stdout.readline().strip()

    def test_openmetrics(self):
        self.two_guests()
        samples = parse(self, self.succeed("metrics"))
        self.assertEqual(samples["nfold_guests", ()], 2)
        before = self.stats("spin")["vcpus"][0]["wall_ns"] / 1e9
        states = [value for (name, labels), value in samples.items()
                  if name == "nfold_vcpu_state_seconds_total" and ("guest", "spin") in labels]
        self.assertEqual(len(states), 12)
        self.assertLessEqual(sum(states), before)
        for family in ("nfold_delay_seconds", "nfold_disk_response_seconds"):
            self.assert_histograms(samples, family)

    def assert_histograms(self, samples, family):
        rows = {}
        for (name, labels), value in samples.items():
            if name == family + "_bucket":
                bound = dict(labels)["le"]
                rows.setdefault(tuple(label for label in labels if label[0] != "le"), []).append((float(bound.replace("+Inf", "inf")), value))
        self.assertTrue(rows)
        for labels, buckets in rows.items():
            self.assertEqual(buckets, sorted(buckets))
            self.assertEqual([count for _, count in buckets], sorted(count for _, count in buckets))
            self.assertEqual(buckets[-1], (float("inf"), samples[family + "_count", labels]))

    def test_http(self):
        self.two_guests()
        process, url = self.serve()
        port = urllib.parse.urlsplit(url).port
        with urllib.request.urlopen(urllib.request.Request(url, headers={"Accept": OPENMETRICS + ";version=1.0.0"}), timeout=20) as answer:
            self.assertTrue(answer.headers["Content-Type"].startswith(OPENMETRICS + "; version=1.0.0"))
            parse(self, answer.read().decode())
        with urllib.request.urlopen(url, timeout=20) as answer:
            self.assertTrue(answer.headers["Content-Type"].startswith("text/plain; version=0.0.4"))
            self.assertIn("nfold_guests 2", answer.read().decode())
        for method, path, status in (("GET", "/", 404), ("GET", "/metrics/x", 404), ("HEAD", "/metrics", 200), ("DELETE", "/metrics", 405),
                                     ("POST", "/metrics", 405)):
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
            connection.request(method, path)
            self.assertEqual(connection.getresponse().status, status, (method, path))
            connection.close()
        # Clients that are silent, talk nonsense or say too much hold up nobody.
        silent = [socket.create_connection(("127.0.0.1", port)) for _ in range(8)]
        silent[0].sendall(b"\0\xff garbage\r\n\r\n")
        silent[1].sendall(b"GET /metrics HTTP/1.1\r\n" + b"X: " + b"y" * 100000)
        with urllib.request.urlopen(url, timeout=20) as answer:
            self.assertIn("nfold_guests 2", answer.read().decode())
        for client in silent:
            client.close()
        self.assertIn("port", self.refuse(STATUS_HOST, "metrics", "--listen", port))
        process.send_signal(signal.SIGTERM)
        self.assertEqual(process.wait(20), 0)

    def test_promtool_and_prometheus(self):
        self.two_guests()
        programs = PackageStore().fetch("prometheus") / "usr/bin"
        result = subprocess.run([programs / "promtool", "check", "metrics"], input=self.succeed("metrics", "--format", "text"), text=True,
                                capture_output=True, check=False, timeout=60)
        self.assertEqual((result.returncode, result.stdout, result.stderr), (0, "", ""))
        process, url = self.serve()
        target = urllib.parse.urlsplit(url).netloc
        config = self.file("prometheus.yml", f"global: {{scrape_interval: 1s}}\nscrape_configs: [{{job_name: nfold, static_configs: [{{targets: ['{target}']}}]}}]\n")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            address = f"127.0.0.1:{free.getsockname()[1]}"
        log = open(self.folder / "prometheus.log", "w", encoding="utf-8")
        self.addCleanup(log.close)
        prometheus = subprocess.Popen([programs / "prometheus", f"--config.file={config}", f"--storage.tsdb.path={self.folder / 'tsdb'}",
                                       f"--web.listen-address={address}", "--web.console.templates=/", "--web.console.libraries=/"],
                                      stdout=log, stderr=subprocess.STDOUT)
        self.addCleanup(prometheus.wait)
        self.addCleanup(prometheus.kill)

        def ask(query):
            try:
                with urllib.request.urlopen(f"http://{address}/api/v1/query?query={urllib.parse.quote(query)}", timeout=20) as answer:
                    return json.load(answer)["data"]["result"]
            except (OSError, ValueError):
                return []

        wait_for(lambda: any(float(row["value"][1]) >= 3 for row in ask('count_over_time(nfold_guest_up{guest="spin"}[5m])')), 120)
        self.assertEqual([row["value"][1] for row in ask("up")], ["1"])
        # All states together are the guest's age; a scrape may take its time on a busy machine.
        self.assertEqual(ask('count(nfold_vcpu_state_seconds_total{guest="spin"})')[0]["value"][1], "12")
        late = ask('sum by (guest) (nfold_vcpu_state_seconds_total{guest="spin"}) + on (guest) nfold_guest_start_time_seconds'
                   ' - on (guest) timestamp(nfold_guest_up)')
        self.assertAlmostEqual(float(late[0]["value"][1]), 0, delta=20)
        self.assertTrue(ask('histogram_quantile(0.5, nfold_delay_seconds_bucket)'))
        process.send_signal(signal.SIGTERM)
        self.assertEqual(process.wait(20), 0)

    def test_bad_input(self):
        for words in (["--listen", "65536"], ["--listen", "x"], ["--format", "xml"], ["name"]):
            self.refuse(STATUS_INPUT, "metrics", *words)


if __name__ == "__main__":
    main()
