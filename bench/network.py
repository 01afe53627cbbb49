# SPDX-License-Identifier: MIT
"""Networks: streams by iperf3 and requests by sockperf, between a guest and this host in user mode, and between two guests.

Guests of nfold meet on a switch. QEMU has none that needs no privileges; there two guests are joined by a Unix stream socket.
"""

import contextlib
import json
import re
import socket
import subprocess
import tempfile

from boot import BOOT_SECONDS
from images import FOLDER, run
from rows import Row, RowError, Sample
from subjects import NFOLD, ROOT, guest, use

MEMORY_MIB = 512  # the tools and what they depend on are 90 MB
SECONDS, SHORT_SECONDS = 4, 2  # of each stream and each series of requests
LIMIT = 60
STREAM_PORT, REQUEST_PORT = 5201, 11111
GIGABYTE = 1e9
REQUESTS = 10000
KERNEL = guest.GUEST / "vmlinuz-linux-image-amd64"
QEMU_MODELS = {"virtio": "virtio-net-pci", "pcnet": "pcnet"}
SERVERS = f"iperf3 -s >/run/iperf3 2>&1 & sockperf server --tcp -p {REQUEST_PORT} >/dev/null 2>&1 &"
LISTENING = f"for i in $(seq 300); do [ $(netstat -ltn | grep -c ':{STREAM_PORT} \\|:{REQUEST_PORT} ') = 2 ] && break; sleep 0.1; done"


def image():
    archive = FOLDER / "network.cpio.gz"
    FOLDER.mkdir(parents=True, exist_ok=True)
    run([str(ROOT / "tools" / "make-initramfs"), "-o", str(archive), "--package", "iperf3", "--package", "sockperf", "--modules",
         "linux-image-amd64=pcnet32,virtio_pci,virtio_net", "--file", f"{ROOT}/tests/guest/network/udhcpc-script=/nfold/udhcpc-script"])  # fmt: skip
    return archive


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextlib.contextmanager
def booted(subject, options, network, last):
    """A guest with this network, its address given by DHCP, or 10.9.0.`last`."""
    use(subject)
    words = guest.command_line(subject.kind, KERNEL, image(), f"{options.append} quiet {subject.append}".strip(), MEMORY_MIB, subject.cpu)
    with guest.Guest([subject.path, *words[1:], *network]) as machine:
        machine.boot(BOOT_SECONDS)
        set_up = f"ip addr add 10.9.0.{last}/24 dev eth0; ip link set eth0 up" if last else "udhcpc -i eth0 -s /nfold/udhcpc-script -q -n -t 8 2>&1"
        machine.shell(f"dmesg -n 1; ip link set lo up; {set_up}; {SERVERS} {LISTENING}", LIMIT)
        yield machine


def user_network(subject, model, forwards):
    if subject.kind == NFOLD:
        return ["--net", ",".join([f"user,model={model}", *[f"forward={host}:{port}" for host, port in forwards]])]
    ports = "".join(f",hostfwd=tcp:127.0.0.1:{host}-:{port}" for host, port in forwards)
    return ["-netdev", f"user,id=n0{ports}", "-device", f"{QEMU_MODELS[model]},netdev=n0,romfile="]


def joined_network(subject, model, folder, number):
    if subject.kind == NFOLD:
        return ["--net", f"switch=bench-{folder.rsplit('-', 1)[1]},model={model}"]
    side = "on" if number == 1 else "off"
    network = f"stream,id=n0,server={side},addr.type=unix,addr.path={folder}/link"
    return ["-netdev", network, "-device", f"{QEMU_MODELS[model]},netdev=n0,romfile=,mac=02:00:00:00:00:0{number}"]


def on_host(words):
    result = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=LIMIT, check=False)
    if result.returncode != 0:
        raise RowError(f"{words[0]}: status {result.returncode}: {(result.stdout + result.stderr)[-300:]}")
    return result.stdout


def in_guest(machine):
    def call(words):
        output, status = machine.shell(" ".join(words), LIMIT)
        if status != 0:
            raise RowError(f"{words[0]}: status {status}: {output[-300:]}")
        return output

    return call


def stream(call, address, port, seconds, back=False):
    """Seconds for a gigabyte at the rate that iperf3's receiver saw."""
    output = call(["iperf3", "-c", address, "-p", str(port), "-t", str(seconds), "-J", *(["-R"] if back else [])])
    report = json.loads(output[output.index("{") :])
    rate = report["end"].get("sum_received", {}).get("bits_per_second", 0)
    if rate <= 0:
        raise RowError(f"iperf3 measured nothing: {report.get('error')}")
    return Sample(GIGABYTE * 8 / rate, extra={"megabits_per_second": round(rate / 1e6)})


def requests(call, address, port, seconds):
    """Seconds for a number of requests of 64 bytes, one after the other, each answered."""
    output = call(["sockperf", "ping-pong", "--tcp", "-i", address, "-p", str(port), "-t", str(seconds), "-m", "64"])
    match = re.search(r"\[Valid Duration\] RunTime=([0-9.]+) sec; SentMessages=\d+; ReceivedMessages=(\d+)", output)
    if match is None or int(match.group(2)) == 0:
        raise RowError(f"sockperf measured nothing: {output[-300:]}")
    rate = int(match.group(2)) / float(match.group(1))
    return Sample(REQUESTS / rate, extra={"requests_per_second": round(rate)})


def seconds_of(options):
    return SHORT_SECONDS if options.short else SECONDS


def with_host(model, measure):
    def sample(subject, options):
        ports = free_port(), free_port()
        network = user_network(subject, model, [(ports[0], STREAM_PORT), (ports[1], REQUEST_PORT)])
        with booted(subject, options, network, None):
            return measure(on_host, "127.0.0.1", ports, seconds_of(options))

    return sample


def between_guests(model, measure):
    def sample(subject, options):
        with (
            tempfile.TemporaryDirectory(prefix="nfold-bench-") as folder,
            booted(subject, options, joined_network(subject, model, folder, 1), 1),
            booted(subject, options, joined_network(subject, model, folder, 2), 2) as client,
        ):
            return measure(in_guest(client), "10.9.0.1", (STREAM_PORT, REQUEST_PORT), seconds_of(options))

    return sample


def to_server(call, address, ports, seconds):
    return stream(call, address, ports[0], seconds)


def from_server(call, address, ports, seconds):
    return stream(call, address, ports[0], seconds, back=True)


def ask_server(call, address, ports, seconds):
    return requests(call, address, ports[1], seconds)


def rows(model):
    return [
        Row("network", f"{model}-receive", f"{model}: host to guest, 1 GB by iperf3", with_host(model, to_server)),
        Row("network", f"{model}-send", f"{model}: guest to host, 1 GB by iperf3", with_host(model, from_server)),
        Row("network", f"{model}-requests", f"{model}: {REQUESTS} requests of the host, by sockperf", with_host(model, ask_server)),
        Row("network", f"{model}-guests", f"{model}: guest to guest, 1 GB by iperf3", between_guests(model, to_server)),
        Row("network", f"{model}-guests-requests", f"{model}: guest to guest, {REQUESTS} requests", between_guests(model, ask_server)),
    ]


ROWS = [*rows("virtio"), *rows("pcnet")]
