#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The host's own /metrics: what it says, to whom, that Prometheus takes it, and that nobody who reads them holds up the host."""

import os
import signal
import socket
import urllib.parse

from hosting import HostTest
from scraping import OPENMETRICS, Prometheus, check_by_promtool, parse, scrape, scrape_unix
from support import STATUS_HOST, STATUS_INPUT, main, wait_for


class HostMetrics(HostTest):
    def url(self):
        return self.call("host.status")["result"]["metrics"]

    def run_guests(self, *names):
        for name in names:
            self.create(name)
            self.succeed("start", name)
            wait_for(lambda name=name: self.show(name)["state"] == "running")

    def test_off_unless_asked_for(self):
        self.start_host()
        self.assertNotIn("metrics", self.call("host.status")["result"])
        self.assertNotIn("metrics", self.succeed("host", "status"))

    def test_what_they_say(self):
        self.start_host("--metrics", "0")
        url = self.url()
        self.assertTrue(url.startswith("http://127.0.0.1:"), url)
        self.assertIn(f"metrics:     {url}\n", self.succeed("host", "status"))
        self.run_guests("one", "two")
        wait_for(lambda: parse(self, scrape(url, OPENMETRICS)[1])["nfold_dispatcher_guests", ()] == 2)
        kind, text = scrape(url, OPENMETRICS)
        self.assertTrue(kind.startswith(OPENMETRICS))
        samples = parse(self, text)
        self.assertEqual(samples["nfold_guests", ()], 2)
        self.assertEqual(samples["nfold_guest_up", (("guest", "one"),)], 1)
        for name in ("processor_seconds", "wakes", "decisions", "grants"):
            self.assertGreater(samples[f"nfold_dispatcher_{name}_total", ()], 0, name)
        check_by_promtool(self, scrape(url)[1])
        # A guest that ends is gone from them.
        self.succeed("kill", "two")
        self.wait_state("two", "stopped")
        self.assertEqual(parse(self, scrape(url, OPENMETRICS)[1])["nfold_guests", ()], 1)

    def test_prometheus(self):
        self.start_host("--metrics", "127.0.0.1:0")
        self.run_guests("one")
        prometheus = Prometheus(self, self.url())
        wait_for(lambda: prometheus.value('count_over_time(nfold_guest_up{guest="one"}[5m])') >= 3, 120)
        self.assertEqual(prometheus.value("up"), 1)
        self.assertGreater(prometheus.value('sum(nfold_vcpu_state_seconds_total{guest="one"})'), 0)
        self.assertGreater(prometheus.value("nfold_dispatcher_grants_total"), 0)

    def test_slow_readers_hold_up_nobody(self):
        self.start_host("--metrics", "0")
        self.run_guests("one")
        port = urllib.parse.urlsplit(self.url()).port
        slow = []
        for i in range(24):
            client = socket.create_connection(("127.0.0.1", port))
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
            # Silent, half a request, or whole ones whose answers are not read.
            client.sendall((b"", b"GET /met", b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n" * 3)[i % 3])
            slow.append(client)
        self.assertIn("nfold_guests 1", scrape(self.url())[1])
        self.create("two")
        self.succeed("start", "two")
        self.wait_state("two", "running")
        self.succeed("kill", "two")
        self.wait_state("two", "stopped")
        for client in slow:
            client.close()

    def test_a_guest_that_does_not_answer(self):
        self.start_host("--metrics", "0")
        self.run_guests("one", "two")
        pid = self.show("one")["pid"]
        os.kill(pid, signal.SIGSTOP)
        try:
            samples = parse(self, scrape(self.url(), OPENMETRICS)[1])
        finally:
            os.kill(pid, signal.SIGCONT)
        # It was never asked before: nothing is known of it but that it runs.
        self.assertEqual(samples["nfold_guests", ()], 2)
        self.assertEqual(samples["nfold_guest_up", (("guest", "two"),)], 1)
        self.assertNotEqual(samples.get(("nfold_guest_up", (("guest", "one"),))), 1)
        wait_for(lambda: parse(self, scrape(self.url(), OPENMETRICS)[1]).get(("nfold_guest_up", (("guest", "one"),))) == 1)

    def test_unix_socket_and_the_next_host(self):
        path = self.folder / "metrics.sock"
        pid = self.start_host("--metrics", f"unix:{path}")
        self.run_guests("one")
        self.assertEqual(parse(self, scrape_unix(path)[1])["nfold_guests", ()], 1)
        self.kill_host(pid)
        self.start_host("--metrics", f"unix:{path}")
        self.assertEqual(parse(self, scrape_unix(path)[1])["nfold_guests", ()], 1)
        self.succeed("host", "stop", "--guests")
        self.assertFalse(path.exists())

    def test_bad_input(self):
        for where, why in (("x", "cannot listen on 'x'"), ("65536", "cannot listen"), ("localhost:1", "in numbers"), ("unix:", "wants a path")):
            self.assertIn(why, self.refuse(STATUS_INPUT, "host", "start", "--metrics", where))
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            self.assertIn("in use", self.refuse(STATUS_HOST, "host", "start", "--metrics", taken.getsockname()[1]))
        self.assertEqual(self.leftovers(), [])


if __name__ == "__main__":
    main()
