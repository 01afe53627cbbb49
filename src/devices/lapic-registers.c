/* SPDX-License-Identifier: MIT */
/* The local APIC's registers: MMIO page, x2APIC MSRs, IA32_APIC_BASE and IA32_TSC_DEADLINE. */
#include "devices/lapic-impl.h"

#include "base/bits.h"

#define MSR_APIC_BASE 0x1bu
#define MSR_TSC_DEADLINE 0x6e0u
#define MSR_X2APIC_FIRST 0x800u
#define MSR_X2APIC_LAST 0x8ffu

#define LVT_TIMER_BITS (LVT_VECTOR | LVT_MASKED | LVT_TIMER_MODE)
#define LVT_INTERNAL_BITS (LVT_VECTOR | 0x700u | LVT_MASKED)
#define LVT_LINT_BITS (LVT_INTERNAL_BITS | 0x2000u | LVT_LEVEL)
#define LVT_ERROR_BITS (LVT_VECTOR | LVT_MASKED)
#define ICR_BITS 0xccfffu

/* SDM 3A, figure "Local Vector Table (LVT)": bits that are read only. A guest writes back what it read: no fault. */
#define LVT_DELIVERY_STATUS 0x1000u
#define LVT_LINT_READ_ONLY (LVT_DELIVERY_STATUS | LVT_REMOTE_IRR)

/* Who may do what: in xAPIC mode (by MMIO) and in x2APIC mode (by MSR), which bits a write can set, and which it may
 * hold without effect; every other bit faults in x2APIC mode. */
enum register_access { MMIO_READ = 1, MMIO_WRITE = 2, MSR_READ = 4, MSR_WRITE = 8 };
#define BOTH_READ (MMIO_READ | MSR_READ)
#define BOTH_WRITE (MMIO_WRITE | MSR_WRITE)
#define BOTH_ALL (BOTH_READ | BOTH_WRITE)

struct register_rule {
	uint8_t access;
	uint32_t bits;
	uint32_t read_only;
};

/* SDM 3A, table "Local APIC Register Address Map". The xAPIC ID is written without effect. */
static const struct register_rule register_rules[LAPIC_REGISTERS] = {
    [LAPIC_ID] = {BOTH_READ | MMIO_WRITE, 0, 0},
    [LAPIC_VERSION] = {BOTH_READ, 0, 0},
    [LAPIC_TPR] = {BOTH_ALL, 0xff, 0},
    [LAPIC_APR] = {MMIO_READ, 0, 0},
    [LAPIC_PPR] = {BOTH_READ, 0, 0},
    [LAPIC_EOI] = {BOTH_WRITE, 0, 0},
    [LAPIC_LDR] = {BOTH_READ | MMIO_WRITE, 0xff000000, 0},
    [LAPIC_DFR] = {MMIO_READ | MMIO_WRITE, 0xf0000000, 0},
    [LAPIC_SVR] = {BOTH_ALL, 0xff | SVR_ENABLED | SVR_NO_EOI_BROADCAST, 0},
    [LAPIC_ISR... LAPIC_ISR + 7] = {BOTH_READ, 0, 0},
    [LAPIC_TMR... LAPIC_TMR + 7] = {BOTH_READ, 0, 0},
    [LAPIC_IRR... LAPIC_IRR + 7] = {BOTH_READ, 0, 0},
    [LAPIC_ESR] = {BOTH_ALL, 0, 0},
    [LAPIC_ICR] = {BOTH_ALL, ICR_BITS, 0},
    [LAPIC_ICR_HIGH] = {MMIO_READ | MMIO_WRITE, 0xff000000, 0},
    [LAPIC_LVT_TIMER] = {BOTH_ALL, LVT_TIMER_BITS, LVT_DELIVERY_STATUS},
    [LAPIC_LVT_THERMAL] = {BOTH_ALL, LVT_INTERNAL_BITS, LVT_DELIVERY_STATUS},
    [LAPIC_LVT_PERFORMANCE] = {BOTH_ALL, LVT_INTERNAL_BITS, LVT_DELIVERY_STATUS},
    [LAPIC_LVT_LINT0] = {BOTH_ALL, LVT_LINT_BITS, LVT_LINT_READ_ONLY},
    [LAPIC_LVT_LINT1] = {BOTH_ALL, LVT_LINT_BITS, LVT_LINT_READ_ONLY},
    [LAPIC_LVT_ERROR] = {BOTH_ALL, LVT_ERROR_BITS, LVT_DELIVERY_STATUS},
    [LAPIC_INITIAL_COUNT] = {BOTH_ALL, UINT32_MAX, 0},
    [LAPIC_CURRENT_COUNT] = {BOTH_READ, 0, 0},
    [LAPIC_DIVIDE] = {BOTH_ALL, 0xb, 0},
    [LAPIC_SELF_IPI] = {MSR_WRITE, 0xff, 0},
};

/* ---- reading ---- */

static uint32_t register_read(const struct lapic *lapic, unsigned index)
{
	switch (index) {
	case LAPIC_ID:
		return lapic_x2apic(lapic) ? lapic->config.id : lapic->config.id << 24;
	case LAPIC_PPR:
		return lapic_ppr(lapic);
	case LAPIC_LDR:
		if (lapic_x2apic(lapic))
			return (lapic->config.id >> 4) << 16 | 1u << (lapic->config.id & 15);
		return lapic->reg[LAPIC_LDR];
	case LAPIC_CURRENT_COUNT:
		return lapic_timer_current(lapic);
	default:
		return lapic->reg[index];
	}
}

/* ---- writing ---- */

/* Disabling by software masks the whole LVT, and keeps it masked. */
static void write_svr(struct lapic *lapic, uint32_t value)
{
	lapic->reg[LAPIC_SVR] = value;
	if (!(value & SVR_ENABLED))
		for (unsigned entry = LAPIC_LVT_TIMER; entry <= LAPIC_LVT_ERROR; entry++)
			lapic->reg[entry] |= LVT_MASKED;
	lapic_timer_arm(lapic);
}

static void write_lint(struct lapic *lapic, unsigned index, uint32_t value)
{
	uint32_t remote_irr = (value & LVT_LEVEL) ? lapic->reg[index] & LVT_REMOTE_IRR : 0;
	lapic->reg[index] = value | remote_irr;
	lapic_lint_evaluate(lapic, (int)(index - LAPIC_LVT_LINT0), false);
}

static void write_lvt(struct lapic *lapic, unsigned index, uint32_t value)
{
	if (!(lapic->reg[LAPIC_SVR] & SVR_ENABLED))
		value |= LVT_MASKED;
	if (index == LAPIC_LVT_TIMER)
		lapic_timer_set_lvt(lapic, value);
	else if (index == LAPIC_LVT_LINT0 || index == LAPIC_LVT_LINT1)
		write_lint(lapic, index, value);
	else
		lapic->reg[index] = value;
}

/* ESR shows the errors since the write before (SDM 3A, "Error Handling"). */
static void write_esr(struct lapic *lapic)
{
	lapic->reg[LAPIC_ESR] = lapic->esr_pending;
	lapic->esr_pending = 0;
}

/* The value holds only bits that the rule allows. */
static void register_write(struct lapic *lapic, unsigned index, uint32_t value)
{
	switch (index) {
	case LAPIC_ID:
		break;
	case LAPIC_EOI:
		lapic_end_of_interrupt(lapic);
		break;
	case LAPIC_DFR:
		lapic->reg[LAPIC_DFR] = value | 0x0fffffff;
		break;
	case LAPIC_SVR:
		write_svr(lapic, value);
		break;
	case LAPIC_ESR:
		write_esr(lapic);
		break;
	case LAPIC_ICR:
		lapic->reg[LAPIC_ICR] = value;
		lapic_send(lapic, value, lapic->reg[LAPIC_ICR_HIGH]);
		break;
	case LAPIC_INITIAL_COUNT:
		lapic_timer_set_initial(lapic, value);
		break;
	case LAPIC_DIVIDE:
		lapic_timer_set_divide(lapic, value);
		break;
	case LAPIC_SELF_IPI:
		lapic_send(lapic, value | 1u << 18, 0);
		break;
	default:
		if (index >= LAPIC_LVT_TIMER && index <= LAPIC_LVT_ERROR)
			write_lvt(lapic, index, value);
		else
			lapic->reg[index] = value;
		break;
	}
	lapic_update(lapic);
}

/* ---- MMIO (xAPIC) ---- */

/* Registers are 32 bits wide at multiples of 16; what lies between reads as zero (the manual leaves it undefined). */
static uint64_t lapic_mmio_read(void *opaque, uint64_t offset, unsigned size)
{
	struct lapic *lapic = opaque;
	unsigned index = (unsigned)(offset >> 4);
	(void)size;
	if (index >= LAPIC_REGISTERS || !(register_rules[index].access & MMIO_READ)) {
		lapic_error(lapic, ESR_ILLEGAL_REGISTER);
		return 0;
	}
	unsigned byte = offset & 15;
	return byte < 4 ? register_read(lapic, index) >> (byte * 8) : 0;
}

static void lapic_mmio_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
	struct lapic *lapic = opaque;
	unsigned index = (unsigned)(offset >> 4);
	(void)size;
	if (index >= LAPIC_REGISTERS || !(register_rules[index].access & MMIO_WRITE)) {
		lapic_error(lapic, ESR_ILLEGAL_REGISTER);
		return;
	}
	if ((offset & 15) == 0)
		register_write(lapic, index, (uint32_t)value & register_rules[index].bits);
}

static const struct io_ops lapic_mmio_ops = {.read = lapic_mmio_read, .write = lapic_mmio_write, .max_size = 4};

/* ---- IA32_APIC_BASE ---- */

/* Shows the register page where the base says, in xAPIC mode only. */
static void lapic_remap(struct lapic *lapic)
{
	bool visible = lapic_hardware_enabled(lapic) && !lapic_x2apic(lapic);
	uint64_t page = visible ? lapic->base & ~UINT64_C(0xfff) : 0;
	if (lapic->config.mmio == NULL || page == lapic->mapped_base)
		return;
	if (lapic->mapped_base != 0)
		io_map_remove(lapic->config.mmio, lapic->mapped_base);
	lapic->mapped_base = 0;
	/* Moved onto another range of the same map, the page is not to be seen, which is the guest's own doing. */
	if (page != 0 && io_map_add(lapic->config.mmio, page, 0x1000, &lapic_mmio_ops, lapic, "lapic", NULL))
		lapic->mapped_base = page;
}

void lapic_set_base(struct lapic *lapic, uint64_t base)
{
	bool disabled = lapic_hardware_enabled(lapic) && !(base & BASE_ENABLED);
	lapic->base = base;
	if (disabled)
		lapic_reset_registers(lapic);
	lapic_remap(lapic);
	lapic_update(lapic);
}

/* SDM 3A, "x2APIC State Transitions": out of x2APIC only by way of disabled; into it only from xAPIC. */
static bool base_transition_allowed(uint64_t from, uint64_t to)
{
	bool from_enabled = (from & BASE_ENABLED) != 0, to_enabled = (to & BASE_ENABLED) != 0;
	bool from_x2apic = (from & BASE_EXTD) != 0, to_x2apic = (to & BASE_EXTD) != 0;
	if (to_x2apic)
		return to_enabled && from_enabled;
	return !(from_x2apic && to_enabled);
}

static bool lapic_write_base(struct lapic *lapic, uint64_t value)
{
	uint64_t writable = (BIT64(lapic->config.physical_bits) - 1) & ~UINT64_C(0xfff);
	writable |= BASE_BSP | BASE_EXTD | BASE_ENABLED;
	if ((value & ~writable) || !base_transition_allowed(lapic->base, value))
		return false;
	if ((value & BASE_EXTD) && !lapic_x2apic(lapic))
		lapic->reg[LAPIC_ICR_HIGH] = 0;
	lapic_set_base(lapic, value);
	return true;
}

/* ---- MSRs ---- */

static bool x2apic_read(struct lapic *lapic, unsigned index, uint64_t *value)
{
	if (!lapic_x2apic(lapic) || index >= LAPIC_REGISTERS || !(register_rules[index].access & MSR_READ))
		return false;
	*value = register_read(lapic, index);
	if (index == LAPIC_ICR)
		*value |= (uint64_t)lapic->reg[LAPIC_ICR_HIGH] << 32;
	return true;
}

static bool x2apic_write(struct lapic *lapic, unsigned index, uint64_t value)
{
	if (!lapic_x2apic(lapic) || index >= LAPIC_REGISTERS || !(register_rules[index].access & MSR_WRITE))
		return false;
	uint64_t allowed = register_rules[index].bits;
	if (index == LAPIC_ICR)
		allowed |= (uint64_t)UINT32_MAX << 32;
	if (value & ~(allowed | register_rules[index].read_only))
		return false;
	if (index == LAPIC_ICR)
		lapic->reg[LAPIC_ICR_HIGH] = (uint32_t)(value >> 32);
	register_write(lapic, index, (uint32_t)(value & allowed));
	return true;
}

static bool msr_read_locked(struct lapic *lapic, uint32_t msr, uint64_t *value)
{
	if (msr >= MSR_X2APIC_FIRST && msr <= MSR_X2APIC_LAST)
		return x2apic_read(lapic, msr - MSR_X2APIC_FIRST, value);
	if (msr == MSR_APIC_BASE)
		*value = lapic->base;
	else if (msr == MSR_TSC_DEADLINE)
		*value = lapic->tsc_deadline;
	else
		return false;
	return true;
}

static bool msr_write_locked(struct lapic *lapic, uint32_t msr, uint64_t value)
{
	if (msr >= MSR_X2APIC_FIRST && msr <= MSR_X2APIC_LAST)
		return x2apic_write(lapic, msr - MSR_X2APIC_FIRST, value);
	if (msr == MSR_APIC_BASE)
		return lapic_write_base(lapic, value);
	if (msr != MSR_TSC_DEADLINE)
		return false;
	lapic_timer_set_deadline(lapic, value);
	return true;
}

bool lapic_msr_read(void *opaque, uint32_t msr, uint64_t *value)
{
	struct lapic *lapic = opaque;
	device_lock_take(&lapic->config.lock);
	bool exists = msr_read_locked(lapic, msr, value);
	device_lock_drop(&lapic->config.lock);
	return exists;
}

bool lapic_msr_write(void *opaque, uint32_t msr, uint64_t value)
{
	struct lapic *lapic = opaque;
	device_lock_take(&lapic->config.lock);
	bool allowed = msr_write_locked(lapic, msr, value);
	device_lock_drop(&lapic->config.lock);
	return allowed;
}
