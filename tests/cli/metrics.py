#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""nfold metrics: OpenMetrics by its own rules, the older format by promtool, and a real Prometheus that scrapes both guests."""

import http.client
import signal
import socket
import subprocess
import urllib.parse
import urllib.request

from guests import GuestTest
from scraping import OPENMETRICS, Prometheus, check_by_promtool, parse, scrape_unix
from support import STATUS_HOST, STATUS_INPUT, main, wait_for


class Metrics(GuestTest):
    def two_guests(self):
        self.start_guest("spin", "--disk", self.file('d"q\\.img', bytes(1 << 20)), "--net", "user")
        self.start_guest("halt", "--cpus", "2")
        wait_for(lambda: self.stats("halt")["vcpus"][1]["clocks_ns"]["idle"] > 0)

    def serve(self, where="0"):
        process = subprocess.Popen([self.nfold, "metrics", "--listen", where], env=self.environment, stdout=subprocess.PIPE,
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
        self.assertIn("in use", self.refuse(STATUS_HOST, "metrics", "--listen", port))
        process.send_signal(signal.SIGTERM)
        self.assertEqual(process.wait(20), 0)

    def test_promtool_and_prometheus(self):
        self.two_guests()
        check_by_promtool(self, self.succeed("metrics", "--format", "text"))
        process, url = self.serve()
        prometheus = Prometheus(self, url)
        wait_for(lambda: any(float(row["value"][1]) >= 3 for row in prometheus.ask('count_over_time(nfold_guest_up{guest="spin"}[5m])')), 120)
        self.assertEqual([row["value"][1] for row in prometheus.ask("up")], ["1"])
        # All states together are the guest's age; a scrape may take its time on a busy machine.
        self.assertEqual(prometheus.ask('count(nfold_vcpu_state_seconds_total{guest="spin"})')[0]["value"][1], "12")
        late = prometheus.ask('sum by (guest) (nfold_vcpu_state_seconds_total{guest="spin"}) + on (guest) nfold_guest_start_time_seconds'
                   ' - on (guest) timestamp(nfold_guest_up)')
        self.assertAlmostEqual(float(late[0]["value"][1]), 0, delta=20)
        self.assertTrue(prometheus.ask('histogram_quantile(0.5, nfold_delay_seconds_bucket)'))
        process.send_signal(signal.SIGTERM)
        self.assertEqual(process.wait(20), 0)

    def test_unix_socket(self):
        self.start_guest("halt")
        path = self.folder / "metrics.sock"
        process, url = self.serve(f"unix:{path}")
        self.assertEqual(url, f"unix:{path}")
        status, text = scrape_unix(path)
        self.assertEqual(status, 200)
        self.assertEqual(parse(self, text)["nfold_guests", ()], 1)
        self.assertIn("in use", self.refuse(STATUS_HOST, "metrics", "--listen", url))
        # The file of one that was killed is replaced, and removed by the one that ends; anything else stays.
        process.kill()
        process.wait(20)
        self.assertTrue(path.is_socket())
        process, _ = self.serve(url)
        self.assertEqual(scrape_unix(path)[0], 200)
        process.send_signal(signal.SIGTERM)
        self.assertEqual(process.wait(20), 0)
        self.assertFalse(path.exists())
        path.write_text("mine", encoding="ascii")
        self.refuse(STATUS_HOST, "metrics", "--listen", url)
        self.assertEqual(path.read_text(encoding="ascii"), "mine")

    def test_addresses(self):
        for where, begin in (("127.0.0.1:0", "http://127.0.0.1:"), ("127.0.0.2:0", "http://127.0.0.2:")):
            process, url = self.serve(where)
            self.assertTrue(url.startswith(begin) and url.endswith("/metrics"), url)
            with urllib.request.urlopen(url, timeout=20) as answer:
                self.assertIn("nfold_guests 0", answer.read().decode())
            process.send_signal(signal.SIGTERM)
            self.assertEqual(process.wait(20), 0)

    def test_bad_input(self):
        for where in ("65536", "x", "", ":9100", "127.0.0.1", "127.0.0.1:", "127.0.0.1:x", "localhost:0", "[::1]", "[::1:0", "::1:0", "1.2.3.4.5:0",
                      "unix:", "unix:" + "x" * 108):
            self.refuse(STATUS_INPUT, "metrics", "--listen", where)
        self.refuse(STATUS_HOST, "metrics", "--listen", "unix:/nowhere/socket")
        for words in ( ["--format", "xml"], ["name"]):
            self.refuse(STATUS_INPUT, "metrics", *words)


if __name__ == "__main__":
    main()
