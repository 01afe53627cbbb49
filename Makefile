# SPDX-License-Identifier: MIT
# The front door. The build itself is meson's; everything here is one word for something longer.
#
#   make           build into build/ (installs nothing)
#   make setup     install the Debian packages that building and testing need (tools/packages.txt)
#   make demo      set up, build, get a Debian kernel, start a host with four guests, watch them
#   make test      set up, build, run every test; the last line is the count
#   make test-long what takes too long for every run; SHARD=1 to 6 for a sixth of it, TESTS="long-powercut-1 ..." for some
#   make bench     programs and boots timed natively, under nfold and under QEMU TCG; BENCH="--rounds 1" for its options
#   make experiments
#                  what guests get of this machine beside each other; writes docs/experiments.md. EXPERIMENTS="--only 3" for its options
#   make fuzz      random input for devices and loaders, then random instructions against the host's processor,
#                  until interrupted
#   make check     format, layers, words, cppcheck, clang-tidy, shellcheck
#   make asan | ubsan | tsan | clang
#                  build that way in its own folder and run the suites that make sense there
#   make install   PREFIX and DESTDIR as usual
#   make clean     remove what was built, keep what was downloaded; make distclean removes both

BUILD ?= build
PREFIX ?= /usr/local
JOBS ?= $(shell nproc)
GUEST := build/guest
FIRMWARE := $(GUEST)/seabios/.fetched

# What the guest tests boot by firmware, or with disks, and the Prometheus of the metrics' test: about 520 MB to download once.
SYSTEMS := linux-image-amd64 linux-image-686:i386 linux-image-686-pae:i386 busybox-static:i386 memtest86+ grub-rescue-pc ipxe \
	debian-installer-12-netboot-amd64 debian-installer-12-netboot-i386 prometheus

NFOLD := $(BUILD)/nfold

# Sanitized code is slow, and a sanitizer's own memory map leaves little room for a guest's: the suites
# with whole Linux guests run only in the plain build.
SUITES_asan := unit isolation fuzz cli
SUITES_ubsan := unit isolation fuzz cli insn
SUITES_tsan := unit
SUITES_clang := unit insn system isolation cli fuzz
OPTIONS_asan := -Db_sanitize=address -Db_lundef=false
OPTIONS_ubsan := -Db_sanitize=undefined -Db_lundef=false
# Fences mean nothing to TSan, and gcc warns of each; the ledger's readers use atomic loads beside them.
OPTIONS_tsan := -Db_sanitize=thread -Db_lundef=false -Dc_args=-Wno-tsan
OPTIONS_clang :=
CC_asan := gcc
CC_ubsan := gcc
CC_tsan := gcc
CC_clang := clang
VARIANTS := asan ubsan tsan clang

.PHONY: all setup demo guest test test-long bench experiments fuzz check install clean distclean $(VARIANTS)

all: $(BUILD)/build.ninja $(FIRMWARE)
	@ninja -C $(BUILD) -j $(JOBS)

# The default firmware: downloaded once. Without a network everything else still builds, and says what it misses when run.
$(FIRMWARE):
	@tools/fetch-guest seabios || echo "nfold: no firmware: make again with a network, or install the package seabios" >&2

$(BUILD)/build.ninja:
	@tools/setup --check build
	@meson setup $(BUILD) --prefix $(PREFIX) $(MESON_OPTIONS)

setup:
	@tools/setup

# The kernels and systems that the guest tests boot: downloaded and packed once.
guest:
	@tools/fetch-guest linux-image-cloud-amd64 busybox-static $(SYSTEMS)
	@tests/guest/images

demo:
	@tools/setup build guest
	@$(MAKE) --no-print-directory all
	@tools/fetch-guest linux-image-cloud-amd64 busybox-static
	@tools/make-initramfs -o $(GUEST)/demo.cpio.gz --modules linux-image-cloud-amd64=virtio_pci,virtio_net,virtio_blk
	@tools/demo $(NFOLD)

test:
	@tools/setup build guest test
	@$(MAKE) --no-print-directory all
	@$(MAKE) --no-print-directory guest
	@tools/run-tests $(BUILD) $(JOBS)

test-long:
	@tools/setup build guest test
	@$(MAKE) --no-print-directory all
	@$(MAKE) --no-print-directory guest
	@meson test -C $(BUILD) --no-rebuild --print-errorlogs --num-processes $(JOBS) --setup long $(if $(TESTS),$(TESTS),--suite long$(SHARD:%=-%))
	@tools/test-summary $(BUILD)/meson-logs/testlog-long.json

bench: all
	@tools/setup build guest test bench
	@$(MAKE) --no-print-directory guest
	@bench/run --nfold $(NFOLD) --json $(BUILD)/bench.json --svg $(BUILD)/bench.svg $(BENCH)

experiments: all
	@tools/setup build guest test bench
	@$(MAKE) --no-print-directory guest
	@bench/experiments/run --nfold $(NFOLD) --json $(BUILD)/experiments.json --out docs $(EXPERIMENTS)

fuzz: all
	@tools/fuzz $(BUILD)

check: all
	@tools/setup build check
	@tools/check $(BUILD)

$(VARIANTS):
	@tools/setup build test check
	@test -e build-$@/build.ninja || CC=$(CC_$@) meson setup build-$@ $(OPTIONS_$@) $(MESON_OPTIONS)
	@ninja -C build-$@ -j $(JOBS)
	@tools/run-tests build-$@ $(JOBS) $(SUITES_$@)

install: all
	@meson install -C $(BUILD) --no-rebuild

clean:
	@for folder in build build-asan build-ubsan build-tsan build-clang; do \
		test ! -e $$folder/build.ninja || find $$folder -mindepth 1 -maxdepth 1 ! -name guest -exec rm -rf {} +; \
	done

distclean: clean
	@rm -rf build build-asan build-ubsan build-tsan build-clang
