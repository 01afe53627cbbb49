/* SPDX-License-Identifier: MIT */
/*
 * The C side's accesses to guest memory.
 *
 * Theory of operation. A hit in the soft TLB copies and is done. Everything else takes the slow path: the access is cut
 * at the page boundary, every part is translated before a byte moves, and then each part goes where it leads: RAM, a
 * page with translated code (the engine is told afterwards), ROM, or a device. Devices are called with the guest's
 * vector state parked and the machine's device lock held.
 *
 * Data breakpoints (SDM 3B 17.2.4) never hit in the TLB, since pages under one are not filled; the slow path
 * compares. A match is a trap: it sets debug_trap, and cpu_service_events() delivers it after the instruction.
 */
#include "cpu/mmu.h"

#include "cpu/fpu.h"
#include "cpu/segment.h"

struct part {
	struct mmu_page page;
	unsigned size;
};

/* An access cut at the page boundary. */
struct access {
	struct part part[2];
	unsigned count;
};

static inline void copy_small(void *to, const void *from, unsigned size)
{
	switch (size) {
	case 1:
	case 2:
	case 4:
	case 8:
		store_le(to, load_le(from, size), size);
		break;
	default:
		copy_bytes(to, from, size);
	}
}

static uint64_t mmio_read(struct cpu *cpu, uint64_t gpa, unsigned size)
{
	cpu_fpu_park(cpu);
	enum ledger_state left = ledger_enter(cpu->ledger, LEDGER_DEVICE);
	cpu->device_lock(cpu->device_lock_opaque);
	uint64_t value = io_read(cpu->mmio, gpa, size);
	cpu_count_with(cpu, LEDGER_COUNT_MMIO_READ, size, gpa, value);
	cpu->device_unlock(cpu->device_lock_opaque);
	ledger_enter(cpu->ledger, left);
	return value;
}

static void mmio_write(struct cpu *cpu, uint64_t gpa, unsigned size, uint64_t value)
{
	cpu_fpu_park(cpu);
	enum ledger_state left = ledger_enter(cpu->ledger, LEDGER_DEVICE);
	cpu_count_with(cpu, LEDGER_COUNT_MMIO_WRITE, size, gpa, value);
	cpu->device_lock(cpu->device_lock_opaque);
	io_write(cpu->mmio, gpa, size, value);
	cpu->device_unlock(cpu->device_lock_opaque);
	ledger_enter(cpu->ledger, left);
}

/* The largest power of two that fits, up to 8: devices see no other sizes. */
static unsigned mmio_chunk(unsigned size)
{
	return size >= 8 ? 8 : size >= 4 ? 4 : size >= 2 ? 2 : 1;
}

static void mmio_read_bytes(struct cpu *cpu, uint64_t gpa, uint8_t *to, unsigned size)
{
	while (size > 0) {
		unsigned chunk = mmio_chunk(size);
		store_le(to, mmio_read(cpu, gpa, chunk), chunk);
		gpa += chunk;
		to += chunk;
		size -= chunk;
	}
}

static void mmio_write_bytes(struct cpu *cpu, uint64_t gpa, const uint8_t *from, unsigned size)
{
	while (size > 0) {
		unsigned chunk = mmio_chunk(size);
		mmio_write(cpu, gpa, chunk, load_le(from, chunk));
		gpa += chunk;
		from += chunk;
		size -= chunk;
	}
}

static void ram_write(struct cpu *cpu, uint64_t gpa, uint8_t *host, const void *from, unsigned size)
{
	copy_small(host, from, size);
	mmu_stored(cpu, gpa, size);
}

/* RAM that a ROM hides holds no code that runs. */
static void hidden_ram_write(struct cpu *cpu, uint64_t gpa, const uint8_t *from, unsigned size)
{
	uint8_t *to = memory_hidden_byte(cpu->memory, gpa);
	if (to != NULL)
		copy_small(to, from, size);
}

/* Records the guest's data breakpoints that an access touches. */
static void own_watch_check(struct cpu *cpu, uint64_t linear, unsigned size, enum tlb_access access)
{
	uint64_t dr7 = cpu->dr[7];
	for (unsigned i = 0; i < 4; i++) {
		unsigned kind = (unsigned)(dr7 >> (16 + 4 * i)) & 3;
		if (!(dr7 >> (2 * i) & 3) || !(kind & 1) || (access == TLB_READ && kind != 3))
			continue;
		static const uint8_t length[4] = {1, 2, 8, 4}; /* by LEN */
		uint64_t bytes = length[dr7 >> (18 + 4 * i) & 3];
		uint64_t first = align_down(cpu->dr[i], bytes);
		if (linear < first + bytes && first < linear + size) {
			cpu->debug_trap = true;
			cpu->debug_dr6 |= BIT64(i);
		}
	}
}

/* The same for a debugger's. An instruction that reads and writes its operand counts as a write. */
static void debugger_check(struct cpu *cpu, uint64_t linear, unsigned size, enum tlb_access access)
{
	struct cpu_debug *debug = &cpu->debug;
	if (debug->debugger == NULL || debug->stop != DEBUGGER_RUNS)
		return;
	const struct debugger_point *point =
	    debugger_watch_find(debug->debugger, linear, size, access == TLB_READ, access == TLB_WRITE);
	if (point == NULL)
		return;
	debug->stop = DEBUGGER_WATCHED;
	debug->linear = point->linear;
	debug->kind = point->kind;
	cpu->debug_trap = true; /* the instruction ends, and then its vCPU looks */
}

void cpu_watch(struct cpu *cpu, uint64_t linear, unsigned size, enum tlb_access access)
{
	own_watch_check(cpu, linear, size, access);
	debugger_check(cpu, linear, size, access);
}

/* The address that follows the page of an access. Outside 64-bit mode 32-bit addresses wrap. */
static uint64_t next_page(const struct cpu *cpu, uint64_t linear)
{
	uint64_t next = align_down(linear, PAGE_SIZE) + PAGE_SIZE;
	return next == BIT64(32) && !cpu_code64(cpu) ? 0 : next;
}

static bool access_begin(struct cpu *cpu, uint64_t linear, unsigned size, enum tlb_access kind, enum tlb_view view,
			 struct access *access)
{
	unsigned left = PAGE_SIZE - (unsigned)(linear & PAGE_MASK);
	access->count = 1;
	access->part[0].size = size <= left ? size : left;
	if (!mmu_translate(cpu, linear, kind, view, false, &access->part[0].page))
		return false;
	if (size > left) {
		access->count = 2;
		access->part[1].size = size - left;
		if (!mmu_translate(cpu, next_page(cpu, linear), kind, view, false, &access->part[1].page))
			return false;
	}
	if (access->part[0].page.watched || (access->count == 2 && access->part[1].page.watched))
		cpu_watch(cpu, linear, size, kind);
	return true;
}

static bool read_slow(struct cpu *cpu, uint64_t linear, void *to, unsigned size, enum tlb_view view)
{
	struct access access;
	if (!access_begin(cpu, linear, size, TLB_READ, view, &access))
		return false;
	uint8_t *byte = to;
	for (unsigned i = 0; i < access.count; i++) {
		const struct part *part = &access.part[i];
		if (part->page.host != NULL)
			copy_small(byte, part->page.host, part->size);
		else
			mmio_read_bytes(cpu, part->page.gpa, byte, part->size);
		byte += part->size;
	}
	return true;
}

static bool write_slow(struct cpu *cpu, uint64_t linear, const void *from, unsigned size, enum tlb_view view)
{
	struct access access;
	if (!access_begin(cpu, linear, size, TLB_WRITE, view, &access))
		return false;
	const uint8_t *byte = from;
	for (unsigned i = 0; i < access.count; i++) {
		const struct part *part = &access.part[i];
		if (part->page.host == NULL)
			mmio_write_bytes(cpu, part->page.gpa, byte, part->size);
		else if (!part->page.read_only_memory)
			ram_write(cpu, part->page.gpa, part->page.host, byte, part->size);
		else
			hidden_ram_write(cpu, part->page.gpa, byte, part->size);
		byte += part->size;
	}
	return true;
}

bool cpu_read(struct cpu *cpu, uint64_t linear, void *to, unsigned size, enum tlb_view view)
{
	const struct tlb_entry *entry = &cpu->tlb.entry[view][TLB_INDEX(linear)];
	if (linear - entry->read_tag > PAGE_SIZE - size)
		return read_slow(cpu, linear, to, size, view);
	copy_small(to, tlb_host(entry, linear), size);
	return true;
}

bool cpu_write(struct cpu *cpu, uint64_t linear, const void *from, unsigned size, enum tlb_view view)
{
	const struct tlb_entry *entry = &cpu->tlb.entry[view][TLB_INDEX(linear)];
	if (linear - entry->write_tag > PAGE_SIZE - size)
		return write_slow(cpu, linear, from, size, view);
	copy_small(tlb_host(entry, linear), from, size);
	return true;
}

static bool check_slow(struct cpu *cpu, uint64_t linear, unsigned size, enum tlb_access kind, enum tlb_view view)
{
	unsigned left = PAGE_SIZE - (unsigned)(linear & PAGE_MASK);
	struct mmu_page page;
	if (!mmu_translate(cpu, linear, kind, view, false, &page))
		return false;
	return size <= left || mmu_translate(cpu, next_page(cpu, linear), kind, view, false, &page);
}

bool cpu_check_write(struct cpu *cpu, uint64_t linear, unsigned size, enum tlb_view view)
{
	const struct tlb_entry *entry = &cpu->tlb.entry[view][TLB_INDEX(linear)];
	return linear - entry->write_tag <= PAGE_SIZE - size || check_slow(cpu, linear, size, TLB_WRITE, view);
}

bool cpu_check_read(struct cpu *cpu, uint64_t linear, unsigned size, enum tlb_view view)
{
	const struct tlb_entry *entry = &cpu->tlb.entry[view][TLB_INDEX(linear)];
	return linear - entry->read_tag <= PAGE_SIZE - size || check_slow(cpu, linear, size, TLB_READ, view);
}

bool cpu_read_value(struct cpu *cpu, uint64_t linear, unsigned size, enum tlb_view view, uint64_t *value)
{
	const struct tlb_entry *entry = &cpu->tlb.entry[view][TLB_INDEX(linear)];
	if (linear - entry->read_tag <= PAGE_SIZE - size) {
		*value = load_le(tlb_host(entry, linear), size);
		return true;
	}
	uint64_t bytes = 0;
	if (!read_slow(cpu, linear, &bytes, size, view))
		return false;
	*value = bytes;
	return true;
}

bool cpu_write_value(struct cpu *cpu, uint64_t linear, unsigned size, enum tlb_view view, uint64_t value)
{
	const struct tlb_entry *entry = &cpu->tlb.entry[view][TLB_INDEX(linear)];
	if (linear - entry->write_tag <= PAGE_SIZE - size) {
		store_le(tlb_host(entry, linear), value, size);
		return true;
	}
	return write_slow(cpu, linear, &value, size, view);
}

void cpu_physical_read(struct cpu *cpu, uint64_t gpa, void *to, unsigned size)
{
	uint8_t *byte = to;
	while (size > 0) {
		unsigned left = PAGE_SIZE - (unsigned)(gpa & PAGE_MASK);
		unsigned part = size < left ? size : left;
		const uint8_t *page = memory_page(cpu->memory, gpa, NULL);
		if (page != NULL)
			copy_small(byte, page + (gpa & PAGE_MASK), part);
		else
			mmio_read_bytes(cpu, gpa, byte, part);
		gpa += part;
		byte += part;
		size -= part;
	}
}

void cpu_physical_write(struct cpu *cpu, uint64_t gpa, const void *from, unsigned size)
{
	const uint8_t *byte = from;
	while (size > 0) {
		unsigned left = PAGE_SIZE - (unsigned)(gpa & PAGE_MASK);
		unsigned part = size < left ? size : left;
		bool read_only = false;
		uint8_t *page = memory_page(cpu->memory, gpa, &read_only);
		if (page == NULL)
			mmio_write_bytes(cpu, gpa, byte, part);
		else if (!read_only)
			ram_write(cpu, gpa, page + (gpa & PAGE_MASK), byte, part);
		else
			hidden_ram_write(cpu, gpa, byte, part);
		gpa += part;
		byte += part;
		size -= part;
	}
}

static bool linear_64(struct cpu *cpu, enum cpu_segment_name name, uint64_t offset, unsigned size, uint64_t *linear)
{
	*linear = offset;
	if (name == CPU_FS || name == CPU_GS)
		*linear += cpu->segment[name].base;
	if (address_is_canonical(*linear) && address_is_canonical(*linear + size - 1))
		return true;
	return cpu_fault_code(cpu, name == CPU_SS ? VECTOR_SS : VECTOR_GP, 0);
}

/* SDM 3A 5.3: limit, expand-down. */
static bool limit_permits(const struct cpu_segment *segment, uint64_t offset, unsigned size, bool protected_mode)
{
	uint64_t last = offset + size - 1;
	uint32_t type = segment->access & (SEGMENT_S | SEGMENT_CODE | SEGMENT_DOWN);
	if (protected_mode && type == (SEGMENT_S | SEGMENT_DOWN)) {
		uint64_t top = (segment->access & SEGMENT_DB) ? 0xffffffff : 0xffff;
		return offset > segment->limit && last <= top;
	}
	return last <= segment->limit;
}

static bool type_permits(const struct cpu_segment *segment, enum tlb_access access)
{
	if (!(segment->access & SEGMENT_P))
		return false;
	if (access == TLB_WRITE)
		return access_is_writable_data(segment->access);
	return access == TLB_FETCH || access_is_readable(segment->access);
}

bool cpu_linear(struct cpu *cpu, enum cpu_segment_name name, uint64_t offset, unsigned size, enum tlb_access access,
		uint64_t *linear)
{
	if (cpu_code64(cpu))
		return linear_64(cpu, name, offset, size, linear);
	const struct cpu_segment *segment = &cpu->segment[name];
	bool protected_mode = !cpu_real_or_v86(cpu);
	if (!limit_permits(segment, offset, size, protected_mode) || (protected_mode && !type_permits(segment, access)))
		return cpu_fault_code(cpu, name == CPU_SS ? VECTOR_SS : VECTOR_GP, 0);
	*linear = (uint32_t)(segment->base + offset);
	return true;
}
