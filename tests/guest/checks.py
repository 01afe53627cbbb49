# SPDX-License-Identifier: MIT
"""What the guest tests ask of a guest, as tables.

A command check is (name, command, expected): the command's whole output must equal `expected`, and its status be 0. A compiled
pattern as `expected` must match instead. The values come from the standards named, or were computed on a plain machine.
"""

import re

# /sys/devices/system/cpu/vulnerabilities: the presented processor needs no retpoline, return thunk or page-table isolation.
VULNERABILITIES_ALLOWED = {
    # swapgs barriers and pointer masking are always on in Linux; they are fences and cheap.
    "spectre_v1": re.compile(r"Mitigation: usercopy/swapgs barriers and __user pointer sanitization"),
    # Enhanced or automatic IBRS in place of retpolines. What follows the semicolons costs the guest nothing here.
    "spectre_v2": re.compile(r"Mitigation: Enhanced / Automatic IBRS\b(?!.*([Rr]etpoline|Vulnerable|thunk)).*"),
}
NOT_AFFECTED = re.compile(r"Not affected.*")

# Kernel messages that look like trouble and are none. Everything else that matches DMESG_TROUBLE fails the test.
DMESG_TROUBLE = re.compile(
    r"\b(error|errors|warn|warning|bug|call trace|oops|panic|fail|failed|failure|unable|taint\w*|invalid|bad|lockup|stall\w*"
    r"|unexpected|unhandled|spurious)\b|segfault|general protection|double fault",
    re.IGNORECASE,
)
DMESG_ALLOWED = [
    # Debian's kernel for all machines, on a processor of AMD.
    re.compile(r"AMD-Vi: AMD IOMMUv2 functionality not available on this system - This is not a bug"),
    # The host was busy for a moment; Linux then calibrates another way.
    re.compile(r"tsc: Unable to calibrate against PIT"),
    re.compile(r"PM-Timer running at invalid rate: 1\d\d% of normal - aborting"),
    # Advice that Linux prints on every PC with ACPI.
    re.compile(r"PCI: Using host bridge windows from ACPI; if necessary, use .* and report a bug"),
    # A PC of this kind has no memory-mapped PCI configuration space.
    re.compile(r"fail to add MMCONFIG information, can't access extended PCI configuration space"),
]

# /proc/cpuinfo flags by level of the x86-64 psABI, in Linux's names.
LEVEL_FLAGS = [
    ("x86-64", "lm cmov cx8 fpu fxsr mmx syscall sse sse2 nx"),
    ("x86-64-v2", "cx16 lahf_lm popcnt pni sse4_1 sse4_2 ssse3"),
    ("x86-64-v3", "avx avx2 bmi1 bmi2 f16c fma abm movbe xsave"),
]
# Never promised, whatever the host has.
FORBIDDEN_FLAGS = "avx512f vmx svm hle rtm amx_tile pku la57 user_shstk ibt sgx"

SEQ_SHA256 = "5af7b95208fdcff454bab3f5eddf567a688a3796c703d4fef91072e38645c062"  # seq 1 200000

BUSYBOX = [
    ("arithmetic of the shell", "echo $((0x7fffffff * 3)) $((-7 / 2)) $((1 << 40))", "6442450941 -3 1099511627776"),
    ("pipes and sort", "seq 1 5000 | sort -r -n | head -n 3 | tr '\\n' ' '", "5000 4999 4998"),
    ("awk floating point", "awk 'BEGIN { printf \"%.10f %.3e\", 22 / 7, 1 / 3 * 1e-300 }'", "3.1428571429 3.333e-301"),
    ("sha256 of busybox", "printf abc | busybox sha256sum",
     "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad  -"),
    ("sha512 of busybox", "printf abc | busybox sha512sum | cut -c 1-32", "ddaf35a193617abacc417349ae204131"),
    ("sed and grep", "seq 1 1000 | sed 's/9/x/g' | grep -c x", "271"),
    ("files", "mkdir /tmp/d && cd /tmp/d && for i in $(seq 1 200); do echo $i >f$i; done; cat * | awk '{s+=$1} END {print s}'; "
     "cd /; rm -r /tmp/d; ls /tmp | wc -l", "20100\n0"),
    ("processes", "for i in $(seq 1 100); do /bin/busybox true || echo wrong; done; echo done", "done"),
    ("signals", "sh -c 'kill -TERM $$'; echo $?", re.compile(r"(?:Terminated\n)?143")),
    ("sleep keeps time", "a=$(cut -d. -f1 /proc/uptime); sleep 2; b=$(cut -d. -f1 /proc/uptime); [ $((b - a)) -ge 2 ] && "
     "[ $((b - a)) -le 4 ] && echo kept", "kept"),
]  # fmt: skip

# Busybox's shell prefers its own applets: full paths name the packages' programs.
COMPRESSION = [
    ("test data", "seq 1 200000 >/tmp/data; sha256sum </tmp/data", f"{SEQ_SHA256}  -"),
    ("gzip round trip", "/usr/bin/gzip -9 -n </tmp/data >/tmp/z && /usr/bin/gzip -t </tmp/z; /usr/bin/gzip -dc </tmp/z | cmp - /tmp/data && echo same", "same"),
    ("bzip2 round trip", "/usr/bin/bzip2 -9 </tmp/data >/tmp/z && /usr/bin/bzip2 -dc </tmp/z | cmp - /tmp/data && echo same", "same"),
    ("xz round trip", "/usr/bin/xz -T1 -4 </tmp/data >/tmp/z && /usr/bin/xz -t </tmp/z && /usr/bin/xz -dc </tmp/z | cmp - /tmp/data && echo same", "same"),
    ("xz with the x86 filter", "/usr/bin/xz -T1 --x86 --lzma2=preset=2 </usr/bin/busybox >/tmp/z && /usr/bin/xz -dc </tmp/z | cmp - /usr/bin/busybox && echo same", "same"),
    ("zstd round trip", "zstd -q -T1 -12 </tmp/data >/tmp/z && zstd -q -dc </tmp/z | cmp - /tmp/data && echo same", "same"),
    ("zstd's own benchmark checks itself", "zstd -q -b3 -e3 -i1 /tmp/data >/dev/null && echo ok", "ok"),
    ("busybox unpacks what gzip packs", "/usr/bin/gzip -n </tmp/data | busybox gzip -dc | cmp - /tmp/data && echo same", "same"),
    ("busybox unpacks what xz packs", "/usr/bin/xz -T1 -1 </tmp/data | busybox unxz | cmp - /tmp/data && echo same", "same"),
]  # fmt: skip

# Key and text of NIST SP 800-38A; AES in the modes of its appendix F.
AES = "-nopad -K 2b7e151628aed2a6abf7158809cf4f3c"
TEXT = "printf 6bc1bee22e409f96e93d7e117393172a | xxd -r -p"
IV = "-iv 000102030405060708090a0b0c0d0e0f"


def aes(mode, options):
    return f"{TEXT} | openssl enc -aes-128-{mode} {AES} {options} | xxd -p"


DIGESTS = [
    ("MD5, RFC 1321", "md5", "900150983cd24fb0d6963f7d28e17f72"),
    ("SHA-1, FIPS 180-4", "sha1", "a9993e364706816aba3e25717850c26c9cd0d89d"),
    ("SHA-224, FIPS 180-4", "sha224", "23097d223405d8228642a477bda255b32aadbce4bda0b3f7e36c9da7"),
    ("SHA-256, FIPS 180-4", "sha256", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
    ("SHA-384, FIPS 180-4", "sha384",
     "cb00753f45a35e8bb5a03d699ac65007272c32ab0eded1631a8b605a43ff5bed8086072ba1e7cc2358baeca134c825a7"),
    ("SHA-512, FIPS 180-4", "sha512",
     "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a"
     "2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f"),
    ("SHA3-256, FIPS 202", "sha3-256", "3a985da74fe225b2045c172d6bd390bd855f086e3e9d525b46bfe24511431532"),
    ("BLAKE2b, RFC 7693", "blake2b512",
     "ba80a53f981c4d0d6a2797b69f12f6e94c212f14685ac4b74b12bb6fdbffa2d1"
     "7d87c5392aab792dc252d5de4533cc9518d38aa8dbf1925ab92386edd4009923"),
    ("RIPEMD-160", "ripemd160", "8eb208f7e05d987a9b044a8e98c6b087f15a0bfc"),
    ("SM3, GB/T 32905", "sm3", "66c7f0f462eeedd9d1f2d46bdc10e4e24167c4875cf2f7a2297da02b8f4ba8e0"),
]  # fmt: skip

OPENSSL = [
    *((name, f"printf abc | openssl dgst -{digest} -r | cut -d' ' -f1", value) for name, digest, value in DIGESTS),
    *((f"{name}, without vector code", f"printf abc | OPENSSL_ia32cap=0 openssl dgst -{digest} -r | cut -d' ' -f1", value)
      for name, digest, value in DIGESTS[1:6]),
    ("a million times a, FIPS 180-4", "head -c 1000000 /dev/zero | tr '\\0' a | openssl dgst -sha256 -r | cut -d' ' -f1",
     "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"),
    ("HMAC-SHA-256, RFC 4231", "printf 'what do ya want for nothing?' | openssl dgst -sha256 -hmac Jefe -r | cut -d' ' -f1",
     "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"),
    ("AES-128, FIPS 197", "printf 00112233445566778899aabbccddeeff | xxd -r -p | openssl enc -aes-128-ecb -nopad "
     "-K 000102030405060708090a0b0c0d0e0f | xxd -p", "69c4e0d86a7b0430d8cdb78070b4c55a"),
    ("AES-256, FIPS 197", "printf 00112233445566778899aabbccddeeff | xxd -r -p | openssl enc -aes-256-ecb -nopad "
     "-K 000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f | xxd -p", "8ea2b7ca516745bfeafc49904b496089"),
    ("AES-128-ECB, SP 800-38A", aes("ecb", ""), "3ad77bb40d7a3660a89ecaf32466ef97"),
    ("AES-128-CBC, SP 800-38A", aes("cbc", IV), "7649abac8119b246cee98e9b12e9197d"),
    ("AES-128-CFB, SP 800-38A", aes("cfb", IV), "3b3fd92eb72dad20333449f8e83cfb4a"),
    ("AES-128-OFB, SP 800-38A", aes("ofb", IV), "3b3fd92eb72dad20333449f8e83cfb4a"),
    ("AES-128-CTR, SP 800-38A", aes("ctr", "-iv f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff"), "874d6191b620e3261bef6864990db6ce"),
    ("AES without AES instructions", aes("cbc", IV).replace("openssl", "OPENSSL_ia32cap=0 openssl"),
     "7649abac8119b246cee98e9b12e9197d"),
    ("ChaCha20, RFC 8439 A.1", "head -c 16 /dev/zero | openssl enc -chacha20 -K $(printf '%064d' 0) -iv $(printf '%032d' 0) "
     "| xxd -p", "76b8e0ada0f13d90405d6ae55386bd28"),
    ("round trips in every mode", "seq 1 20000 >/tmp/p; for m in aes-128-cbc aes-192-ctr aes-256-cfb aes-256-ofb aria-128-cbc "
     "camellia-256-cbc chacha20 sm4-ctr; do openssl enc -$m -pbkdf2 -iter 1000 -pass pass:x </tmp/p | openssl enc -d -$m -pbkdf2 "
     "-iter 1000 -pass pass:x | cmp - /tmp/p || echo $m; done; echo done", "done"),
    ("vector code and plain code agree", "openssl enc -aes-256-ctr -K 01 -iv 02 </tmp/p 2>/dev/null | md5sum >/tmp/a; "
     "OPENSSL_ia32cap=0 openssl enc -aes-256-ctr -K 01 -iv 02 </tmp/p 2>/dev/null | md5sum | cmp - /tmp/a && echo same", "same"),
    ("RSA: sign and verify", "openssl genrsa -out /tmp/k 1024 2>/dev/null && openssl dgst -sha256 -sign /tmp/k -out /tmp/s /tmp/p "
     "&& openssl rsa -in /tmp/k -pubout -out /tmp/u 2>/dev/null && openssl dgst -sha256 -verify /tmp/u -signature /tmp/s /tmp/p",
     "Verified OK"),
    ("ECDSA: sign and verify", "openssl ecparam -name prime256v1 -genkey -noout -out /tmp/k && openssl dgst -sha256 -sign /tmp/k "
     "-out /tmp/s /tmp/p && openssl ec -in /tmp/k -pubout -out /tmp/u 2>/dev/null && openssl dgst -sha256 -verify /tmp/u "
     "-signature /tmp/s /tmp/p", "Verified OK"),
    ("a forged signature is refused", "echo x >>/tmp/p; openssl dgst -sha256 -verify /tmp/u -signature /tmp/s /tmp/p 2>/dev/null | "
     "head -n 1", "Verification failure"),
    ("2^521 - 1 is prime", "openssl prime -hex $(printf '1'; for i in $(seq 1 130); do printf F; done) | sed 's/.* is/is/'", "is prime"),
]  # fmt: skip

FIBONACCI = "WITH RECURSIVE f(a, b, n) AS (SELECT 0, 1, 0 UNION ALL SELECT b, a + b, n + 1 FROM f WHERE n < 90) SELECT a FROM f WHERE n = 90"
SUDOKU = (
    "WITH RECURSIVE input(s) AS (VALUES('53..7....6..195....98....6.8...6...34..8.3..17...2...6.6....28....419..5....8..79')), "
    "d(z, l) AS (VALUES('1', 1) UNION ALL SELECT CAST(l + 1 AS TEXT), l + 1 FROM d WHERE l < 9), "
    "x(s, i) AS (SELECT s, instr(s, '.') FROM input UNION ALL SELECT substr(s, 1, i - 1) || z || substr(s, i + 1), "
    "instr(substr(s, 1, i - 1) || z || substr(s, i + 1), '.') FROM x, d AS z WHERE i > 0 AND NOT EXISTS (SELECT 1 FROM d AS lp "
    "WHERE z.z = substr(s, ((i - 1) / 9) * 9 + l, 1) OR z.z = substr(s, ((i - 1) % 9) + (l - 1) * 9 + 1, 1) "
    "OR z.z = substr(s, (((i - 1) / 3) % 3) * 3 + ((i - 1) / 27) * 27 + l + ((l - 1) / 3) * 6, 1))) SELECT s FROM x WHERE i = 0"
)
SQLITE = [
    ("table of 20,000 rows", "sqlite3 /tmp/db 'CREATE TABLE t(id INTEGER PRIMARY KEY, a INT, s TEXT); WITH RECURSIVE c(i) AS (SELECT 1 "
     "UNION ALL SELECT i + 1 FROM c WHERE i < 20000) INSERT INTO t SELECT i, i * 7919 % 10007, printf(\"row %05d\", i) FROM c; "
     "SELECT count(*), sum(a), min(s), max(s) FROM t'", "20000|100070125|row 00001|row 20000"),
    ("index and join", "sqlite3 /tmp/db 'CREATE INDEX ta ON t(a); SELECT count(*) FROM t x JOIN t y ON x.a = y.a WHERE x.id < y.id'", "9993"),
    ("transaction rolled back", "sqlite3 /tmp/db 'BEGIN; DELETE FROM t; ROLLBACK; SELECT count(*) FROM t'", "20000"),
    ("recursion", f"sqlite3 :memory: '{FIBONACCI}'", "2880067194370816120"),
    ("floating point", "sqlite3 :memory: 'SELECT round(avg(x), 6), sum(x * 0.5) FROM (SELECT 1 AS x UNION ALL SELECT 2 UNION ALL SELECT 4)'",
     "2.333333|3.5"),
    ("sudoku", f'sqlite3 :memory: "{SUDOKU}"',
     "534678912672195348198342567859761423426853791713924856961537284287419635345286179"),
    ("integrity check", "sqlite3 /tmp/db 'PRAGMA integrity_check; VACUUM; PRAGMA integrity_check'", "ok\nok"),
]  # fmt: skip

# Modules of CPython's own test suite: those that lean on the processor, memory and processes, and end within seconds.
PYTHON_MODULES = [
    "test_math", "test_cmath", "test_long", "test_int", "test_float", "test_complex", "test_pow", "test_strtod", "test_fractions",
    "test_struct", "test_array", "test_binascii", "test_memoryview", "test_mmap", "test_re", "test_json", "test_string",
    "test_hashlib", "test_hmac", "test_zlib", "test_random", "test_dict", "test_list", "test_sort", "test_generators",
    "test_coroutines", "test_exceptions", "test_time", "test_select", "test_fork1", "test_thread", "test_queue",
]  # fmt: skip
# The C implementation's arithmetic only: the whole module takes minutes.
PYTHON_DECIMAL = "-m test -v test_decimal -m 'C*Arithmetic*' -m 'CExplicit*' -m 'CImplicit*' -m 'CUsability*' -m 'CFormat*'"

# QEMU 7.2 raises no unmasked SSE exception, and x87 ones late.
WRONG_UNDER_QEMU = {"SSE division by zero", "x87 division by zero"}

GCC_ANSWERS = """\
primes 78498
queens 92
crc cbf43926
zeta 1.6449
pi 3.141592653589793
sort apple cherry fig pear
int128 121fa00ad77d74
status 42"""
