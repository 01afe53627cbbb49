# SPDX-License-Identifier: MIT
"""Programs as Debian packages them."""

from images import LARGE
from program import program

DATABASE = "/tmp/bench.db"
INSERT = f"rm -f {DATABASE}; sqlite3 {DATABASE} </bench/insert.sql >/dev/null"
GIT = "git -C /tmp/repository"
REPOSITORY = "/bench/make-repository"
REDIS = "redis-cli -p 16379"
REDIS_START = f"redis-server --port 16379 --bind 127.0.0.1 --save '' --daemonize yes >/dev/null; until {REDIS} ping >/dev/null 2>&1; do :; done"
REDIS_STOP = f"{REDIS} shutdown nosave"
NGINX_START = "nginx -e /dev/null -c /bench/nginx.conf"
NGINX_STOP = "nginx -e /dev/null -c /bench/nginx.conf -s stop; while [ -e /tmp/nginx.pid ]; do :; done"
# Programs that work for a fixed time report a rate; the row is the time for that much work.
SPEED = "openssl speed -mr -elapsed -seconds 1"
GIGABYTE = 1e9


def openssl(name, title, words, pattern, work):
    return program("real", name, title, LARGE, f"{SPEED} {words}", same_answer=False, rate=(pattern, work))


ROWS = [
    program("real", "sqlite-insert", "sqlite3: insert", LARGE, f"sqlite3 {DATABASE} '.read /bench/insert.sql'", before=f"rm -f {DATABASE}"),
    program("real", "sqlite-query", "sqlite3: query", LARGE, f"sqlite3 {DATABASE} '.read /bench/query.sql'", before=INSERT),
    program("real", "python", "python3", LARGE, "python3.11 /bench/work.py"),
    program("real", "perl", "perl", LARGE, "perl /bench/work.pl"),
    openssl("openssl-aes", "openssl speed: AES-128-GCM, 1 GB", "-bytes 16384 -evp aes-128-gcm", r"\+F:\d+:[^:]+:([0-9.]+)", GIGABYTE),
    openssl("openssl-rsa", "openssl speed: RSA-2048, 1000 signatures", "rsa2048", r"\+F2:\d+:2048:([0-9.]+):", 1000),
    program("real", "gcc", "gcc -O2, a C file", LARGE, "gcc -O2 -D_GNU_SOURCE -c -o /tmp/bench.o /bench/simd.c"),
    program("real", "git-log", "git log -p --stat", LARGE, f"{GIT} log -p --stat", before=REPOSITORY),
    program("real", "git-grep", "git grep in 100 revisions", LARGE, f"{GIT} grep -n -E value_[0-9]*3 $({GIT} rev-list -n 100 main)", before=REPOSITORY),
    program(
        "real", "redis", "redis-benchmark: set, get, lpush", LARGE, "redis-benchmark -p 16379 -q -n 6000 -c 10 -t set,get,lpush",
        before=REDIS_START, after=REDIS_STOP, same_answer=False,
    ),
    program(
        "real", "nginx", "nginx, 3000 requests by ab", LARGE, "ab -q -n 3000 -c 8 http://127.0.0.1:18080/nginx.conf",
        before=NGINX_START, after=NGINX_STOP, same_answer=False,
    ),
]  # fmt: skip
