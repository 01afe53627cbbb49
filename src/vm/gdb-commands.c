/* SPDX-License-Identifier: MIT */
/*
 * What gdb asks. "Debugging with GDB", E.2 to E.10. A packet that is not in the table gets the empty answer, by which
 * gdb knows that there is no such thing.
 *
 * Addresses are linear ones. Reads and writes of memory see what the selected vCPU's page tables show, RAM and ROM
 * only: a debugger's read must not change a device.
 */
#include <stdlib.h>
#include <string.h>

#include "cpu/mmu.h"
#include "vm/gdb-impl.h"

#define SIGNAL_INTERRUPT 2
#define SIGNAL_TRAP 5
#define SELECTED_ANY 0

struct command {
	const char *name; /* what the packet begins with */
	void (*run)(struct gdb *gdb, char *arguments, size_t size);
};

static void reply_text(struct gdb *gdb, const char *text)
{
	gdb_reply(gdb, text, strlen(text));
}

static void reply_error(struct gdb *gdb)
{
	reply_text(gdb, "E01");
}

static char *put_hex(char *to, const uint8_t *bytes, size_t size)
{
	static const char digits[] = "0123456789abcdef";
	for (size_t i = 0; i < size; i++) {
		*to++ = digits[bytes[i] >> 4];
		*to++ = digits[bytes[i] & 15];
	}
	*to = '\0';
	return to;
}

static int digit(char c)
{
	const char *digits = "0123456789abcdef";
	const char *found = c == '\0' ? NULL : strchr(digits, c >= 'A' && c <= 'F' ? c + 32 : c);
	return found == NULL ? -1 : (int)(found - digits);
}

/* Reads bytes as pairs of digits. False: there are not that many. */
static bool take_hex(const char *text, uint8_t *bytes, size_t size)
{
	for (size_t i = 0; i < size; i++) {
		int high = digit(text[2 * i]);
		int low = high < 0 ? -1 : digit(text[2 * i + 1]);
		if (low < 0)
			return false;
		bytes[i] = (uint8_t)(high << 4 | low);
	}
	return true;
}

/* A hexadecimal number at *text, which moves behind it. */
static bool take_number(char **text, uint64_t *value)
{
	char *start = *text;
	*value = 0;
	for (int next = digit(**text); next >= 0; next = digit(**text)) {
		if (*value >> 60 != 0)
			return false;
		*value = *value << 4 | (unsigned)next;
		(*text)++;
	}
	return *text != start;
}

static bool take_char(char **text, char expected)
{
	if (**text != expected)
		return false;
	(*text)++;
	return true;
}

static struct cpu *selected(struct gdb *gdb)
{
	return machine_cpu(gdb->machine, gdb->thread);
}

static bool is_paused(struct gdb *gdb)
{
	return machine_state(gdb->machine) == MACHINE_PAUSED;
}

/* ---- stopping and going ---- */

/* The vCPU that has met something, or the one that stopped last. */
static unsigned stopped_vcpu(struct gdb *gdb)
{
	for (unsigned i = 0; i < machine_cpu_count(gdb->machine); i++)
		if (machine_cpu(gdb->machine, i)->debug.stop != DEBUGGER_RUNS)
			return i;
	return gdb->current;
}

static void reply_stop(struct gdb *gdb)
{
	static const char *const watch[] = {
	    [DEBUGGER_WRITE] = "watch", [DEBUGGER_READ] = "rwatch", [DEBUGGER_ACCESS] = "awatch"};
	char text[96];
	gdb->current = gdb->thread = stopped_vcpu(gdb);
	struct cpu_debug *debug = &selected(gdb)->debug;
	unsigned signal = debug->stop == DEBUGGER_RUNS && gdb->interrupted ? SIGNAL_INTERRUPT : SIGNAL_TRAP;
	int length = snprintf(text, sizeof text, "T%02xthread:%x;", signal, gdb->current + 1);
	if (debug->stop == DEBUGGER_WATCHED)
		(void)snprintf(text + length, sizeof text - (size_t)length, "%s:%llx;", watch[debug->kind],
			       (unsigned long long)debug->linear);
	reply_text(gdb, text);
}

void gdb_tell_stop(struct gdb *gdb)
{
	if (!gdb->waiting || !is_paused(gdb))
		return;
	gdb->waiting = false;
	reply_stop(gdb);
	gdb->interrupted = false;
}

static void set_action(struct gdb *gdb, unsigned vcpu, bool hold, bool step)
{
	struct cpu_debug *debug = &machine_cpu(gdb->machine, vcpu)->debug;
	debug->stop = DEBUGGER_RUNS;
	debug->pass = false;
	debug->hold = hold;
	debug->step = step;
}

static void go(struct gdb *gdb)
{
	gdb->waiting = true;
	machine_resume(gdb->machine);
}

void gdb_let_go(struct gdb *gdb)
{
	gdb->points.count = 0;
	machine_pause(gdb->machine);
	if (!is_paused(gdb))
		return; /* the guest has ended */
	for (unsigned i = 0; i < machine_cpu_count(gdb->machine); i++) {
		struct cpu_debug *debug = &machine_cpu(gdb->machine, i)->debug;
		*debug = (struct cpu_debug){0};
	}
	machine_set_debugger(gdb->machine, NULL);
	machine_resume(gdb->machine);
}

static void run_why(struct gdb *gdb, char *arguments, size_t size)
{
	(void)arguments;
	(void)size;
	reply_stop(gdb);
}

/* c and s, with an address or without. */
static void resume_at(struct gdb *gdb, char *arguments, bool step)
{
	uint64_t address;
	if (!is_paused(gdb)) {
		reply_error(gdb);
		return;
	}
	if (take_number(&arguments, &address))
		selected(gdb)->rip = address;
	/* A step is one vCPU's. The others run meanwhile: it may wait for them. */
	for (unsigned i = 0; i < machine_cpu_count(gdb->machine); i++)
		set_action(gdb, i, false, step && i == gdb->thread);
	go(gdb);
}

static void run_continue(struct gdb *gdb, char *arguments, size_t size)
{
	(void)size;
	resume_at(gdb, arguments, false);
}

static void run_step(struct gdb *gdb, char *arguments, size_t size)
{
	(void)size;
	resume_at(gdb, arguments, true);
}

/* A thread as gdb writes it: 0 any, -1 all. False: there is none of that number. */
static bool take_thread(struct gdb *gdb, char **text, unsigned *vcpu)
{
	uint64_t number;
	*vcpu = gdb->current;
	if (take_char(text, '-'))
		return take_number(text, &number) && number == 1;
	if (!take_number(text, &number) || number > machine_cpu_count(gdb->machine))
		return false;
	if (number != SELECTED_ANY)
		*vcpu = (unsigned)number - 1;
	return true;
}

static void run_vcont_query(struct gdb *gdb, char *arguments, size_t size)
{
	(void)arguments;
	(void)size;
	reply_text(gdb, "vCont;c;C;s;S");
}

/* One of vCont's actions and the vCPUs that it is for, as a mask. Signals mean nothing to a processor. */
static bool take_action(struct gdb *gdb, char **text, bool *step, uint32_t *vcpus)
{
	uint64_t signal;
	unsigned vcpu;
	char action = **text;
	if (action == '\0' || strchr("cCsS", action) == NULL)
		return false;
	(*text)++;
	*step = action == 's' || action == 'S';
	*vcpus = UINT32_MAX;
	if ((action == 'C' || action == 'S') && !take_number(text, &signal))
		return false;
	if (!take_char(text, ':'))
		return true;
	bool all = (*text)[0] == '-';
	if (!take_thread(gdb, text, &vcpu))
		return false;
	if (!all)
		*vcpus = 1u << vcpu;
	return true;
}

/*
 * vCont;ACTION[:THREAD]...: the leftmost action that fits a vCPU is its own. One that none fits stays where it is: gdb
 * steps over a breakpoint that way, so that no other passes it meanwhile.
 */
static void run_vcont(struct gdb *gdb, char *arguments, size_t size)
{
	(void)size;
	uint32_t going = 0, stepping = 0;
	bool good = is_paused(gdb);
	while (good && take_char(&arguments, ';')) {
		bool step;
		uint32_t vcpus;
		good = take_action(gdb, &arguments, &step, &vcpus);
		if (!good)
			break;
		stepping |= step ? vcpus & ~going : 0;
		going |= vcpus;
	}
	if (!good || *arguments != '\0' || going == 0) {
		reply_error(gdb);
		return;
	}
	for (unsigned i = 0; i < machine_cpu_count(gdb->machine); i++)
		set_action(gdb, i, (going >> i & 1) == 0, stepping >> i & 1);
	go(gdb);
}

static void run_detach(struct gdb *gdb, char *arguments, size_t size)
{
	(void)arguments;
	(void)size;
	reply_text(gdb, "OK");
	gdb->closing = true; /* the guest goes on as the connection ends */
}

static void run_kill(struct gdb *gdb, char *arguments, size_t size)
{
	(void)size;
	if (*arguments == ';')
		reply_text(gdb, "OK"); /* vKill;PID */
	machine_kill(gdb->machine);
}

/* ---- registers ---- */

static void run_read_registers(struct gdb *gdb, char *arguments, size_t size)
{
	uint8_t bytes[GDB_REGISTERS_BYTES_MAX];
	char text[2 * GDB_REGISTERS_BYTES_MAX + 1];
	(void)arguments;
	(void)size;
	if (!is_paused(gdb)) {
		reply_error(gdb);
		return;
	}
	size_t used = gdb_registers_read_all(gdb->registers, selected(gdb), bytes);
	put_hex(text, bytes, used);
	reply_text(gdb, text);
}

static void run_write_registers(struct gdb *gdb, char *arguments, size_t size)
{
	uint8_t bytes[GDB_REGISTER_BYTES_MAX];
	unsigned count = gdb_registers_count(gdb->registers);
	bool good = is_paused(gdb);
	for (unsigned i = 0; good && i < count && size > 0; i++) {
		size_t bytes_each = gdb_register_size(gdb->registers, i);
		good = size >= 2 * bytes_each && take_hex(arguments, bytes, bytes_each) &&
		       gdb_register_write(gdb->registers, selected(gdb), i, bytes);
		arguments += 2 * bytes_each;
		size -= good ? 2 * bytes_each : 0;
	}
	reply_text(gdb, good ? "OK" : "E01");
}

static void run_read_register(struct gdb *gdb, char *arguments, size_t size)
{
	uint64_t number;
	uint8_t bytes[GDB_REGISTER_BYTES_MAX];
	char text[2 * GDB_REGISTER_BYTES_MAX + 1];
	(void)size;
	size_t bytes_read = 0;
	if (is_paused(gdb) && take_number(&arguments, &number) && number <= UINT16_MAX)
		bytes_read = gdb_register_read(gdb->registers, selected(gdb), (unsigned)number, bytes);
	if (bytes_read == 0) {
		reply_error(gdb);
		return;
	}
	put_hex(text, bytes, bytes_read);
	reply_text(gdb, text);
}

static void run_write_register(struct gdb *gdb, char *arguments, size_t size)
{
	uint64_t number;
	uint8_t bytes[GDB_REGISTER_BYTES_MAX];
	(void)size;
	bool good =
	    is_paused(gdb) && take_number(&arguments, &number) && number <= UINT16_MAX && take_char(&arguments, '=');
	size_t bytes_each = good ? gdb_register_size(gdb->registers, (unsigned)number) : 0;
	good = good && bytes_each != 0 && take_hex(arguments, bytes, bytes_each) &&
	       gdb_register_write(gdb->registers, selected(gdb), (unsigned)number, bytes);
	reply_text(gdb, good ? "OK" : "E01");
}

/* ---- memory ---- */

/* Where an address leads: RAM, or ROM that is read. A write to ROM would be dropped without a word. */
static bool physical_of(const struct cpu *cpu, uint64_t linear, bool writes, uint64_t *gpa)
{
	const struct memory_region *region = mmu_probe(cpu, linear, gpa) ? memory_find(cpu->memory, *gpa) : NULL;
	return region != NULL && !(writes && region->read_only);
}

/* Moves up to size bytes; returns how many could be. */
static size_t move_memory(struct gdb *gdb, uint64_t linear, uint8_t *bytes, size_t size, bool writes)
{
	struct cpu *cpu = selected(gdb);
	size_t done = 0;
	while (done < size) {
		uint64_t gpa, left = PAGE_SIZE - (linear & PAGE_MASK);
		uint64_t part = size - done < left ? size - done : left;
		if (!physical_of(cpu, linear, writes, &gpa))
			break;
		if (!(writes ? memory_write(cpu->memory, gpa, bytes + done, part)
			     : memory_read(cpu->memory, gpa, bytes + done, part)))
			break;
		done += part;
		linear += part;
	}
	return done;
}

static bool take_range(char **text, uint64_t *address, uint64_t *length)
{
	return take_number(text, address) && take_char(text, ',') && take_number(text, length);
}

static void run_read_memory(struct gdb *gdb, char *arguments, size_t size)
{
	uint8_t bytes[GDB_PACKET_MAX / 2];
	char text[GDB_PACKET_MAX + 1];
	uint64_t address, length;
	(void)size;
	if (!is_paused(gdb) || !take_range(&arguments, &address, &length)) {
		reply_error(gdb);
		return;
	}
	if (length > sizeof bytes - 1)
		length = sizeof bytes - 1;
	size_t got = move_memory(gdb, address, bytes, length, false);
	put_hex(text, bytes, got);
	reply_text(gdb, got == 0 && length > 0 ? "E14" : text);
}

static void write_memory(struct gdb *gdb, uint64_t address, uint8_t *bytes, size_t length)
{
	reply_text(gdb, move_memory(gdb, address, bytes, length, true) == length ? "OK" : "E14");
}

static void run_write_memory(struct gdb *gdb, char *arguments, size_t size)
{
	uint8_t bytes[GDB_PACKET_MAX / 2];
	uint64_t address, length;
	(void)size;
	if (is_paused(gdb) && take_range(&arguments, &address, &length) && take_char(&arguments, ':') &&
	    length <= sizeof bytes && take_hex(arguments, bytes, length))
		write_memory(gdb, address, bytes, length);
	else
		reply_error(gdb);
}

static void run_write_binary(struct gdb *gdb, char *arguments, size_t size)
{
	uint64_t address, length;
	char *start = arguments;
	if (is_paused(gdb) && take_range(&arguments, &address, &length) && take_char(&arguments, ':') &&
	    length <= size - (size_t)(arguments - start))
		write_memory(gdb, address, (uint8_t *)arguments, length);
	else
		reply_error(gdb);
}

/* ---- points ---- */

/* Z and z: TYPE,ADDRESS,KIND. Hardware breakpoints are no other than software ones here. */
static bool take_point(char *text, struct debugger_point *point)
{
	static const enum debugger_kind kinds[] = {DEBUGGER_EXECUTE, DEBUGGER_EXECUTE, DEBUGGER_WRITE, DEBUGGER_READ,
						   DEBUGGER_ACCESS};
	uint64_t type;
	if (!take_number(&text, &type) || type >= sizeof kinds / sizeof kinds[0] || !take_char(&text, ',') ||
	    !take_range(&text, &point->linear, &point->size))
		return false;
	point->kind = kinds[type];
	if (point->kind == DEBUGGER_EXECUTE)
		point->size = 1;
	return point->size >= 1 && point->size <= DEBUGGER_WATCH_MAX;
}

static unsigned find_point(const struct debugger *points, const struct debugger_point *wanted)
{
	unsigned i = 0;
	while (i < points->count && (points->point[i].linear != wanted->linear ||
				     points->point[i].kind != wanted->kind || points->point[i].size != wanted->size))
		i++;
	return i;
}

static void run_insert(struct gdb *gdb, char *arguments, size_t size)
{
	struct debugger_point point;
	struct debugger *points = &gdb->points;
	(void)size;
	bool good = is_paused(gdb) && take_point(arguments, &point);
	unsigned found = good ? find_point(points, &point) : 0;
	if (!good || found == DEBUGGER_POINTS_MAX) {
		reply_error(gdb);
		return;
	}
	if (found == points->count) {
		points->point[points->count++] = point;
		machine_set_debugger(gdb->machine, points);
	}
	reply_text(gdb, "OK");
}

static void run_remove(struct gdb *gdb, char *arguments, size_t size)
{
	struct debugger_point point;
	struct debugger *points = &gdb->points;
	(void)size;
	if (!is_paused(gdb) || !take_point(arguments, &point)) {
		reply_error(gdb);
		return;
	}
	unsigned found = find_point(points, &point);
	if (found < points->count) {
		points->point[found] = points->point[--points->count];
		machine_set_debugger(gdb->machine, points);
	}
	reply_text(gdb, "OK");
}

/* ---- threads, and what both sides can do ---- */

static void run_select(struct gdb *gdb, char *arguments, size_t size)
{
	unsigned vcpu;
	(void)size;
	bool registers = *arguments == 'g';
	char *thread = arguments + (*arguments != '\0');
	bool good = take_thread(gdb, &thread, &vcpu);
	if (good && registers)
		gdb->thread = vcpu;
	reply_text(gdb, good ? "OK" : "E01");
}

static void run_is_alive(struct gdb *gdb, char *arguments, size_t size)
{
	unsigned vcpu;
	(void)size;
	reply_text(gdb, take_thread(gdb, &arguments, &vcpu) ? "OK" : "E01");
}

static void run_current(struct gdb *gdb, char *arguments, size_t size)
{
	char text[16];
	(void)arguments;
	(void)size;
	(void)snprintf(text, sizeof text, "QC%x", gdb->current + 1);
	reply_text(gdb, text);
}

static void run_threads(struct gdb *gdb, char *arguments, size_t size)
{
	char text[8 * LEDGER_MAX_VCPUS];
	size_t used = 0;
	(void)arguments;
	(void)size;
	for (unsigned i = 0; i < machine_cpu_count(gdb->machine); i++)
		used += (size_t)snprintf(text + used, sizeof text - used, "%c%x", i == 0 ? 'm' : ',', i + 1);
	reply_text(gdb, text);
}

static void run_no_more_threads(struct gdb *gdb, char *arguments, size_t size)
{
	(void)arguments;
	(void)size;
	reply_text(gdb, "l");
}

static void run_thread_extra(struct gdb *gdb, char *arguments, size_t size)
{
	char text[48], hex[2 * sizeof text];
	unsigned vcpu;
	(void)size;
	if (!take_thread(gdb, &arguments, &vcpu) || !is_paused(gdb)) {
		reply_error(gdb);
		return;
	}
	const struct cpu *cpu = machine_cpu(gdb->machine, vcpu);
	const char *state = cpu->wait_for_sipi ? "waits for SIPI"
			    : cpu->shutdown    ? "shut down"
			    : cpu->halted      ? "halted"
					       : "runs";
	(void)snprintf(text, sizeof text, "vCPU %u: ring %u, %s", vcpu, cpu->cpl, state);
	put_hex(hex, (const uint8_t *)text, strlen(text));
	reply_text(gdb, hex);
}

static void run_supported(struct gdb *gdb, char *arguments, size_t size)
{
	char text[128];
	(void)arguments;
	(void)size;
	(void)snprintf(text, sizeof text, "PacketSize=%x;qXfer:features:read+;QStartNoAckMode+;vContSupported+",
		       GDB_PACKET_MAX);
	reply_text(gdb, text);
}

static void run_no_ack(struct gdb *gdb, char *arguments, size_t size)
{
	(void)arguments;
	(void)size;
	reply_text(gdb, "OK");
	gdb->no_ack = true;
}

static void run_attached(struct gdb *gdb, char *arguments, size_t size)
{
	(void)arguments;
	(void)size;
	reply_text(gdb, "1");
}

/* target.xml:OFFSET,LENGTH */
static void run_features(struct gdb *gdb, char *arguments, size_t size)
{
	static const char file[] = "target.xml:";
	uint64_t offset, length;
	(void)size;
	char *text = NULL;
	if (strncmp(arguments, file, sizeof file - 1) == 0) {
		arguments += sizeof file - 1;
		if (take_range(&arguments, &offset, &length))
			text = gdb_registers_describe(gdb->registers);
	}
	if (text == NULL) {
		reply_error(gdb);
		return;
	}
	size_t whole = strlen(text);
	size_t start = offset < whole ? (size_t)offset : whole;
	size_t part = length < GDB_PACKET_MAX / 2 ? (size_t)length : GDB_PACKET_MAX / 2;
	bool last = whole - start <= part;
	char reply[GDB_PACKET_MAX / 2 + 1];
	reply[0] = last ? 'l' : 'm';
	part = last ? whole - start : part;
	memcpy(reply + 1, text + start, part);
	gdb_reply(gdb, reply, part + 1);
	free(text);
}

static const struct command commands[] = {
    {"?", run_why},
    {"c", run_continue},
    {"s", run_step},
    {"vCont?", run_vcont_query},
    {"vCont", run_vcont},
    {"vKill", run_kill},
    {"k", run_kill},
    {"D", run_detach},
    {"g", run_read_registers},
    {"G", run_write_registers},
    {"p", run_read_register},
    {"P", run_write_register},
    {"m", run_read_memory},
    {"M", run_write_memory},
    {"X", run_write_binary},
    {"Z", run_insert},
    {"z", run_remove},
    {"H", run_select},
    {"T", run_is_alive},
    {"qC", run_current},
    {"qfThreadInfo", run_threads},
    {"qsThreadInfo", run_no_more_threads},
    {"qThreadExtraInfo,", run_thread_extra},
    {"qSupported", run_supported},
    {"QStartNoAckMode", run_no_ack},
    {"qAttached", run_attached},
    {"qXfer:features:read:", run_features},
};

void gdb_command(struct gdb *gdb, char *packet, size_t size)
{
	for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++) {
		size_t length = strlen(commands[i].name);
		if (size < length || memcmp(packet, commands[i].name, length) != 0)
			continue;
		commands[i].run(gdb, packet + length, size - length);
		return;
	}
	reply_text(gdb, "");
}
