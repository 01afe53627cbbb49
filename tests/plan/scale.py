#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A large estate through a pipe, with limited address space: scale.py NFOLD GENERATE SERVERS SAMPLES GIGABYTES

10000 servers with 8640 samples are the planner's target: 30 days of 5 minutes. Prints processor time, peak memory and sizes.
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
import time

MAP = """time = time
server = server
separator = ,
cpus = cpus
mhz = mhz
installed = installed
cpu = cpu
kernel = kernel
memory = memory
disk_read = read
disk_write = write
net_receive = receive
net_send = send
disk_read_ops = reads
"""


def main():
    nfold, generate = sys.argv[1:3]
    servers, samples, gigabytes = map(int, sys.argv[3:6])
    with tempfile.TemporaryDirectory(prefix="nfold-scale-", dir=os.environ.get("NFOLD_SCALE_DIR")) as folder:
        mapping, estate = os.path.join(folder, "map"), os.path.join(folder, "estate")
        with open(mapping, "w", encoding="utf-8") as file:
            file.write(MAP)
        limit = gigabytes << 30
        started = time.monotonic()
        with subprocess.Popen([generate, str(servers), str(samples)], stdout=subprocess.PIPE) as rows:
            with subprocess.Popen([nfold, "plan", "import", "--map", mapping, "-o", estate, "/dev/stdin"], stdin=rows.stdout,
                                  stdout=subprocess.PIPE, text=True,
                                  preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, limit))) as importer:
                rows.stdout.close()
                output = importer.stdout.read()
                _, status, usage = os.wait4(importer.pid, 0)
                importer.returncode = os.waitstatus_to_exitcode(status)
        wall = time.monotonic() - started
        assert importer.returncode == 0, output
        assert f"{servers} servers, {servers * samples} samples" in output, output
        size = os.path.getsize(estate)
        print(output.splitlines()[0])
        print(f"{usage.ru_utime + usage.ru_stime:.1f} s of processor time, {wall:.1f} s in all, "
              f"{usage.ru_maxrss / 1024:.0f} MiB of memory, estate of {size / 1e6:.1f} MB")
        assert size < 9 * servers * samples * 4 + 2000 * servers, size
        if servers <= 100:
            shown = json.loads(subprocess.run([nfold, "plan", "show", "--json", estate], check=True, capture_output=True).stdout)
            for server in shown["servers"]:
                assert server["slots"] == samples and server["interval_s"] == 300, server
                assert server["notes"]["gaps"] == 0 and len(server["series"]) == 8, server


main()
