/* SPDX-License-Identifier: MIT */
/* The port of processor times: any access at any time. What is read is the last snapshot, whatever the reads' sizes,
 * and only a write of a double word to the first port takes one. */
#include "devices/cputimes.h"
#include "fuzz-rig.h"

#include <string.h>

#define BASE 0x780u
#define PROCESSORS 4u

struct double_machine {
	struct fuzz_rig *rig;
	uint32_t taken;
	uint8_t expected[GUEST_TIMES_BYTES];
};

static void expect(struct double_machine *machine, unsigned offset, uint64_t value, unsigned bytes)
{
	memcpy(machine->expected + offset, &value, bytes);
}

static void answer(void *opaque, uint32_t processor, struct cputimes_figures *figures)
{
	struct double_machine *machine = opaque;
	assert(figures->processors == 0 && figures->used_ns == 0);
	if (processor < PROCESSORS || processor == GUEST_TIMES_ALL)
		*figures = (struct cputimes_figures){.processors = processor < PROCESSORS ? 1 : PROCESSORS,
						     .used_ns = fuzz_number(machine->rig, 8),
						     .ready_ns = fuzz_number(machine->rig, 4),
						     .costop_ns = fuzz_number(machine->rig, 1),
						     .wait_ns = fuzz_number(machine->rig, 8)};
	uint64_t sum = figures->used_ns + figures->ready_ns + figures->costop_ns + figures->wait_ns;
	expect(machine, GUEST_TIMES_SNAPSHOT, ++machine->taken, 4);
	expect(machine, GUEST_TIMES_PROCESSORS, figures->processors, 4);
	expect(machine, GUEST_TIMES_USED, figures->used_ns, 8);
	expect(machine, GUEST_TIMES_READY, figures->ready_ns, 8);
	expect(machine, GUEST_TIMES_COSTOP, figures->costop_ns, 8);
	expect(machine, GUEST_TIMES_WAIT, figures->wait_ns, 8);
	expect(machine, GUEST_TIMES_ELAPSED, sum, 8);
}

static void check_read(struct fuzz_rig *rig, const struct double_machine *machine)
{
	unsigned size = 1u << fuzz_byte(rig) % 4;
	unsigned offset = fuzz_byte(rig) % GUEST_TIMES_BYTES;
	uint64_t value = io_read(&rig->ports, BASE + offset, size);
	for (unsigned i = 0; i < size; i++) /* nobody is behind the last port */
		assert((uint8_t)(value >> 8 * i) ==
		       (offset + i < GUEST_TIMES_BYTES ? machine->expected[offset + i] : 0xff));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct fuzz_window windows[] = {{false, BASE, GUEST_TIMES_BYTES}};
	struct fuzz_rig rig;
	struct double_machine machine = {.rig = &rig};
	struct cputimes cputimes;
	fuzz_init(&rig, data, size);
	cputimes_init(&cputimes, answer, &machine);
	assert(cputimes_map(&cputimes, &rig.ports, BASE, NULL));
	while (rig.left > 0) {
		uint8_t action = fuzz_byte(&rig);
		if (action < 0x60) {
			check_read(&rig, &machine);
		} else if (action < 0xa0) {
			uint32_t before = machine.taken;
			io_write(&rig.ports, BASE, 4, fuzz_number(&rig, 1) % (PROCESSORS + 2) - 1);
			assert(machine.taken == before + 1);
		} else if (action < 0xff) {
			fuzz_access(&rig, windows, 1, true);
		} else {
			cputimes_reset(&cputimes);
			machine.taken = 0;
			memset(machine.expected, 0, sizeof machine.expected);
		}
	}
	return 0;
}
