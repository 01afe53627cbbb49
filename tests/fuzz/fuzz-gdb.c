/* SPDX-License-Identifier: MIT */
/* gdb's packets: any bytes, and words of the protocol in any order with any numbers. Guest memory beyond its end and
 * host memory are never reached (a sanitizer's matter), and each packet gets at most one answer of the size promised.
 */
#include <string.h>

#include "cpu/fpu.h"
#include "fuzz-rig.h"
#include "vm/gdb-impl.h"

#define RAM_SIZE 0x4000u

struct machine {
	struct cpu cpu;
	struct memory memory;
	const struct debugger *points;
	unsigned answers;
	bool running;
};

static struct machine machine;
static struct gdb gdb;

void gdb_reply(struct gdb *session, const char *text, size_t size)
{
	(void)text;
	assert(size <= GDB_PACKET_MAX && session == &gdb);
	machine.answers++;
}

void machine_pause(struct machine *of)
{
	of->running = false;
}

void machine_resume(struct machine *of)
{
	of->running = true;
}

void machine_kill(struct machine *of)
{
	of->running = false;
}

enum machine_state machine_state(struct machine *of)
{
	return of->running ? MACHINE_RUNNING : MACHINE_PAUSED;
}

void machine_set_debugger(struct machine *of, const struct debugger *debugger)
{
	of->points = debugger;
	assert(debugger == NULL || debugger->count <= DEBUGGER_POINTS_MAX);
}

unsigned machine_cpu_count(const struct machine *of)
{
	(void)of;
	return 1;
}

struct cpu *machine_cpu(struct machine *of, unsigned index)
{
	assert(index == 0);
	return &of->cpu;
}

static size_t make_packet(struct fuzz_rig *rig, char *packet, size_t room)
{
	static const char *const words[] = {"?",
					    "c",
					    "s",
					    "vCont;",
					    "vCont;s:1;c",
					    "D",
					    "g",
					    "G",
					    "p",
					    "P2=",
					    "m",
					    "M10,4:",
					    "X10,4:",
					    "Z0,",
					    "Z2,100,4",
					    "z2,100,4",
					    "Z4,",
					    "Hg",
					    "T",
					    "qThreadExtraInfo,1",
					    "qSupported",
					    "qC",
					    "k",
					    "qfThreadInfo",
					    "qXfer:features:read:target.xml:"};
	static const char digits[] = "0123456789abcdef,:;=-";
	size_t used = 0;
	uint8_t form = fuzz_byte(rig);
	if (form & 0x80) {
		const char *word = words[form % (sizeof words / sizeof words[0])];
		used = strlen(word);
		memcpy(packet, word, used);
	}
	unsigned count = fuzz_byte(rig) % 48;
	for (unsigned i = 0; i < count && used < room; i++) {
		uint8_t byte = fuzz_byte(rig);
		packet[used++] = (form & 0x40) ? (char)byte : digits[byte % (sizeof digits - 1)];
	}
	packet[used] = '\0';
	return used;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_rig rig;
	char packet[128];
	fuzz_init(&rig, data, size);
	memset(&machine, 0, sizeof machine);
	memset(&gdb, 0, sizeof gdb);
	bool ready = memory_init(&machine.memory, RAM_SIZE, NULL) &&
		     memory_add_region(&machine.memory, 0, RAM_SIZE, 0, false, NULL);
	assert(ready);
	machine.cpu.memory = &machine.memory;
	gdb.machine = &machine;
	gdb.registers = gdb_registers_of(size & 1);
	while (rig.left > 0) {
		machine.answers = 0;
		gdb_command(&gdb, packet, make_packet(&rig, packet, sizeof packet - 1));
		assert(machine.answers <= 1);
		if (machine.running) {
			machine.running = false;
			gdb_tell_stop(&gdb);
			assert(machine.answers <= 2 && !gdb.waiting);
		}
	}
	gdb_let_go(&gdb);
	assert(gdb.points.count == 0 && machine.points == NULL);
	memory_destroy(&machine.memory);
	return 0;
}
