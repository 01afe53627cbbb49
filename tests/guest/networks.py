# SPDX-License-Identifier: MIT
"""Networks with Debian's own drivers: user mode against servers on this host, forwarded ports, a switch between guests."""

import contextlib
import hashlib
import http.server
import json
import os
import random
import re
import signal
import socket
import struct
import subprocess
import threading
from pathlib import Path

from group import BOOT_SECONDS, boot, check_dmesg
from guest import GUEST, Guest, nfold_path

KERNELS = {"amd64": GUEST / "vmlinuz-linux-image-amd64", "i386": GUEST / "vmlinuz-linux-image-686:i386"}
INITRDS = {"amd64": GUEST / "network-amd64.cpio.gz", "i386": GUEST / "network-i386.cpio.gz"}
DOWNLOAD = 8 << 20
UPLOAD = 12 << 20
LEASE = "udhcpc -i eth0 -s /nfold/udhcpc-script -q -n -t 8 >/run/lease 2>&1; grep -o 'lease of [0-9.]*' /run/lease"


def files(arch):
    return [KERNELS[arch], INITRDS[arch]]


def start(arch, name, *nets, cpus=1, append=""):
    words = [nfold_path(), "run", "--name", name, "--cpus", str(cpus), "--memory", "256M", "--no-reboot", "--kernel", str(KERNELS[arch]), "--initrd",
             str(INITRDS[arch]), "--append", f"console=ttyS0 quiet {append}", "--serial", "stdio"]  # fmt: skip
    for net in nets:
        words += ["--net", net]
    return Guest(words)


def name_of(what):
    return f"test-net-{what}-{os.getpid()}"


def free_port(kind=socket.SOCK_STREAM):
    with socket.socket(type=kind) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextlib.contextmanager
def web_server(data):
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.1,))
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextlib.contextmanager
def sink():
    """Takes one connection; `received` has all that came over it once it is closed."""
    received = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(120)

        def take():
            with contextlib.suppress(OSError):
                connection, _ = server.accept()
                with connection:
                    connection.settimeout(60)
                    while data := connection.recv(1 << 16):
                        received.append(data)

        thread = threading.Thread(target=take)
        thread.start()
        try:
            yield server.getsockname()[1], thread, received
        finally:
            server.close()
            thread.join(1)


def host_resolver_answer(name):
    """(response code, addresses) of this host's own DNS server; None when it has none that answers."""
    servers = re.findall(r"^nameserver ([0-9.]+)$", Path("/etc/resolv.conf").read_text(encoding="utf-8"), re.MULTILINE)
    if not servers:
        return None
    question = b"".join(bytes([len(part)]) + part.encode() for part in name.split(".")) + b"\0" + struct.pack(">HH", 1, 1)
    with socket.socket(type=socket.SOCK_DGRAM) as query:
        query.settimeout(3)
        query.sendto(struct.pack(">HHHHHH", 4711, 0x0100, 1, 0, 0, 0) + question, (servers[0], 53))
        try:
            answer = query.recv(2000)
        except OSError:
            return None
    return struct.unpack_from(">H", answer, 2)[0] & 15


def check_dns(group, guest):
    name = "deb.debian.org"
    code = host_resolver_answer(name)
    if code is None:
        group.skip("this host has no DNS server")
        return
    output, _ = guest.shell(f"nslookup -type=a {name} 10.0.2.3", 40)
    seen = 3 if "NXDOMAIN" in output else 0 if re.search(r"Name:.*\nAddress", output) else output
    group.equal("DNS answers what the host's does", seen, code)


def check_upload(group, guest):
    with sink() as (port, thread, received):
        output, _ = guest.shell(f"head -c {UPLOAD} /dev/urandom >/tmp/up; sha256sum </tmp/up; busybox nc 10.0.2.2 {port} </tmp/up", 90)
        thread.join(30)
    data = b"".join(received)
    group.equal(f"{UPLOAD >> 20} MiB sent to a server on the host", (len(data), hashlib.sha256(data).hexdigest()), (UPLOAD, output.split()[0]))


def check_tcp_forward(group, guest, tcp):
    guest.shell("busybox nc -ll -p 7 -e /bin/cat </dev/null >/dev/null 2>&1 & sleep 1")
    data = random.Random(1).randbytes(300000)
    echoed = b""
    with socket.create_connection(("127.0.0.1", tcp), 20) as connection:
        connection.settimeout(20)
        threading.Thread(target=lambda: (connection.sendall(data), connection.shutdown(socket.SHUT_WR))).start()
        while len(echoed) < len(data) and (part := connection.recv(1 << 16)):
            echoed += part
    group.report("a forwarded TCP port: 300 kB there and back", None if echoed == data else f"{len(echoed)} bytes, not the same")


def check_udp_forward(group, guest, udp):
    guest.shell("mkfifo /run/echo; (nc.openbsd -u -l 9 </run/echo | cat >/run/echo) 2>/dev/null & sleep 1")
    with socket.socket(type=socket.SOCK_DGRAM) as peer:
        peer.settimeout(5)
        answer = b""
        for _ in range(4):
            with contextlib.suppress(OSError):
                peer.sendto(b"a datagram", ("127.0.0.1", udp))
                answer = peer.recv(100)
                break
    group.equal("a forwarded UDP port", answer, b"a datagram")


def counts(name):
    result = subprocess.run([nfold_path(), "stats", name, "--json"], capture_output=True, timeout=60, check=True)
    return json.loads(result.stdout)["networks"]


def user_mode(group, _folder, arch, model):
    name, mac = name_of(f"{arch}-{model}"), "02:00:00:4e:46:01"
    tcp, udp = free_port(), free_port(socket.SOCK_DGRAM)
    data = random.Random(2).randbytes(DOWNLOAD)
    with web_server(data) as web, start(arch, name, f"user,model={model},mac={mac},forward={tcp}:7,forward=udp:{udp}:9") as guest:
        boot(group, guest)
        group.commands(guest, [
            ("its address", "cat /sys/class/net/eth0/address", mac),
            ("DHCP", LEASE, "lease of 10.0.2.15"),
            ("ping", "ping -c 3 -W 5 10.0.2.2 | grep -o '[0-9]* packets received'", "3 packets received"),
            ("IPv6 ping", "for i in $(seq 8); do ping6 -c 1 -W 2 fec0::2 >/dev/null 2>&1 && echo answered && break; sleep 1; done", "answered"),
            (f"{DOWNLOAD >> 20} MiB by HTTP from the host", f"wget -q -O - http://10.0.2.2:{web}/ | sha256sum | cut -c 1-64", hashlib.sha256(data).hexdigest()),
        ])  # fmt: skip
        check_dns(group, guest)
        check_upload(group, guest)
        check_tcp_forward(group, guest, tcp)
        if arch == "amd64":  # whose image has a program that answers datagrams
            check_udp_forward(group, guest, udp)
        (network,) = counts(name)
        seen = network["counts"]
        enough = seen["received_bytes"] > DOWNLOAD and seen["sent_bytes"] > UPLOAD and seen["sent_frames"] > 100
        group.report("the counters in nfold stats", None if enough and (network["mac"], network["model"]) == (mac, model) else str(network))
        check_dmesg(group, guest)
        group.power_off(guest)


def address(guest, device, last):
    guest.shell(f"ip addr add 10.9.0.{last}/24 dev {device}; ip link set {device} up")


def transfer(group, sender, receiver, to, title):
    receiver.send("busybox nc -l -p 7 >/tmp/in; sha256sum </tmp/in; echo transfer-$((40 + 2))\n")
    output, _ = sender.shell(f"head -c 6000000 /dev/urandom >/tmp/out; sha256sum </tmp/out; sleep 1; busybox nc {to} 7 </tmp/out", 90)
    match = receiver.expect(rb"([0-9a-f]{64})  -\r?\ntransfer-42", 60)
    group.equal(f"{title}: 6 MB", match.group(1).decode(), output.split()[0])


def ping(group, guest, to, title):
    group.commands(guest, [(title, f"ping -c 3 -W 5 {to} | grep -o '[0-9]* packets received'", "3 packets received")])


def switch(group, _folder, first, second):
    lab = f"switch={name_of('lab')}"
    with start("amd64", name_of("a"), f"{lab},model={first}") as one, start("amd64", name_of("b"), f"{lab},model={second}") as two:
        one.boot(BOOT_SECONDS)
        two.boot(BOOT_SECONDS)
        address(one, "eth0", 1)
        address(two, "eth0", 2)
        ping(group, one, "10.9.0.2", "ping")
        transfer(group, one, two, "10.9.0.2", f"from {first} to {second}")
        transfer(group, two, one, "10.9.0.1", f"from {second} to {first}")
        for pid in two.vm_pids():
            os.kill(pid, signal.SIGKILL)
        with start("amd64", name_of("c"), f"{lab},model={second}") as three:
            three.boot(BOOT_SECONDS)
            address(three, "eth0", 3)
            ping(group, three, "10.9.0.1", "one was killed, another came")
            group.power_off(three)
        group.power_off(one)


def several(group, _folder):
    name = name_of("many")
    with start("amd64", name, "none,model=pcnet", "user,model=pcnet", f"switch={name},model=virtio", "none") as guest:
        boot(group, guest)
        group.commands(guest, [
            ("four adapters", "ls /sys/class/net | grep -c eth", "4"),
            ("a cable in two of them", "for i in 0 1 2 3; do ip link set eth$i up; done; sleep 4; cat /sys/class/net/eth*/carrier | sort | tr -d '\\n'", "0011"),
        ])  # fmt: skip
        group.power_off(guest)


def without_acpi(group, _folder):
    """A kernel that reads no ACPI tables finds processors and interrupts in the MP tables."""
    with start("amd64", name_of("mp"), "user,model=pcnet", cpus=2, append="acpi=off") as guest:
        guest.boot(BOOT_SECONDS)
        group.commands(guest, [
            ("two processors", "grep -c ^processor /proc/cpuinfo", "2"),
            ("DHCP", LEASE, "lease of 10.0.2.15"),
            ("the adapter's interrupts come over the IOAPIC", "grep -cE 'IO-APIC +1[6-9]-fasteoi +eth0' /proc/interrupts", "1"),
        ])  # fmt: skip
        guest.send("poweroff -f\n")  # which such a kernel can only halt for
        guest.expect(rb"reboot: (System halted|Power down)", BOOT_SECONDS, "halt")


GROUP = [
    *[(f"user mode, {model}, {arch}", user_mode, [arch, model], files(arch)) for arch, model in
      (("amd64", "virtio"), ("amd64", "pcnet"), ("i386", "pcnet"), ("i386", "virtio"))],
    *[(f"switch, {first} and {second}", switch, [first, second], files("amd64")) for first, second in
      (("virtio", "virtio"), ("pcnet", "virtio"))],
    ("without ACPI", without_acpi, [], files("amd64")),
    ("several adapters", several, [], files("amd64")),
]  # fmt: skip
