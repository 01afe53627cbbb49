/* SPDX-License-Identifier: MIT */
/*
 * Hostile guests without an engine: descriptor tables, page tables, control bits and registers are random, and the cpu
 * layer walks, delivers, returns and switches on them. Nothing may crash, hang or leave guest memory, and the state
 * must stay one that a processor can be in. Run under ASan and UBSan too (meson -Db_sanitize=address,undefined).
 */
#include "cpu-fixture.h"

#define ROUNDS 1500u
#define STEPS 40u

static uint64_t random64(uint64_t *seed)
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 7;
	*seed ^= *seed << 17;
	return *seed * UINT64_C(0x2545f4914f6cdd1d);
}

static unsigned below(uint64_t *seed, unsigned count)
{
	return (unsigned)(random64(seed) >> 33) % count;
}

/* Addresses that matter: tables, page edges, ends of the address space. */
static uint64_t random_address(uint64_t *seed)
{
	static const uint64_t bases[] = {0,
					 GDT_BASE,
					 IDT_BASE,
					 TSS_BASE,
					 STACK0,
					 TABLES_BASE,
					 DEVICE_BASE,
					 ROM_BASE,
					 0xfffffff8,
					 0x7ffffffffff8,
					 0x800000000000,
					 0xffff7ffffffffff8,
					 0xffffffffffffffe0,
					 0xffffff8000000000,
					 RAM_SIZE - 0x100000};
	uint64_t base = bases[below(seed, sizeof(bases) / sizeof(bases[0]))];
	return below(seed, 4) == 0 ? random64(seed) : base + below(seed, 0x40);
}

/* Damages words of a table: whole words, and single bits of good ones. */
static void damage(struct fixture *fixture, uint64_t base, unsigned words, uint64_t *seed)
{
	for (unsigned i = below(seed, 12); i-- > 0;) {
		uint64_t gpa = base + below(seed, words) * 8;
		uint64_t value = below(seed, 3) == 0 ? random64(seed) : get(fixture, gpa, 8) ^ BIT64(below(seed, 64));
		put(fixture, gpa, 8, value);
	}
}

/* Bits of control registers as a guest could have set them. */
static void damage_control(struct cpu *cpu, uint64_t *seed)
{
	static const uint64_t cr4_bits[] = {CR4_VME, CR4_PVI, CR4_DE, CR4_PSE, CR4_PGE, CR4_SMEP, CR4_SMAP, CR4_PCIDE};
	for (unsigned i = 0; i < sizeof(cr4_bits) / sizeof(cr4_bits[0]); i++) {
		if (below(seed, 4) == 0)
			cpu->cr4 ^= cr4_bits[i];
	}
	if (below(seed, 4) == 0)
		cpu->cr0 ^= CR0_WP;
	if (below(seed, 4) == 0)
		cpu->efer ^= EFER_NXE;
	if (below(seed, 4) == 0)
		cpu->dr[7] = random64(seed) & 0xffff03ff;
	for (unsigned i = 0; i < 4; i++)
		cpu->dr[i] = random_address(seed);
	if (below(seed, 8) == 0)
		cpu->cr3 = random64(seed) & UINT64_C(0xfffffff000);
	for (unsigned i = 0; i < 4; i++)
		cpu->pdpte[i] = random64(seed) & UINT64_C(0xfffffff001);
}

static void start_random(struct fixture *fixture, uint64_t *seed)
{
	struct cpu *cpu = fixture->cpu;
	switch (below(seed, 4)) {
	case 0:
		start_real(fixture);
		cpu->idtr.limit = 0x3ff;
		break;
	case 1:
		start_protected(fixture);
		if (below(seed, 2) == 0) {
			cpu->cr3 = TABLES_BASE;
			cpu->cr0 |= CR0_PG;
			cpu->cr4 |= below(seed, 2) == 0 ? CR4_PAE : 0;
		}
		break;
	default:
		start_long(fixture);
	}
	damage(fixture, GDT_BASE, (GDT_LIMIT + 1) / 8, seed);
	damage(fixture, IDT_BASE, 512, seed);
	damage(fixture, TSS_BASE, 13, seed);
	damage(fixture, TABLES_BASE, 4096, seed);
	damage_control(cpu, seed);
	cpu_mode_update(cpu);
	mmu_flush_all(cpu, true);
	if (!cpu_real_or_v86(cpu) && below(seed, 2) == 0)
		enter_user(fixture, cpu_long_mode(cpu) && below(seed, 2) == 0 ? SEL_USER64 : SEL_USER32);
}

static void damage_registers(struct cpu *cpu, uint64_t *seed)
{
	for (unsigned i = 0; i < 16; i++) {
		if (below(seed, 4) == 0)
			cpu->gpr[i] = cpu_code64(cpu) ? random_address(seed) : (uint32_t)random_address(seed);
	}
	cpu->star = random64(seed);
	cpu->lstar = sign_extend(random_address(seed), 48);
	cpu->sysenter_cs = random64(seed) & 0xff;
	cpu->sysenter_eip = sign_extend(random_address(seed), 48);
	cpu->sfmask = random64(seed);
}

static struct cpu_insn random_insn(struct cpu *cpu, uint64_t *seed)
{
	static const uint8_t sizes[] = {2, 4, 8};
	bool code64 = cpu_code64(cpu);
	struct cpu_insn insn = {
	    .length = (uint8_t)(1 + below(seed, 15)),
	    .operand_size = sizes[below(seed, code64 ? 3 : 2)],
	    .address_size = sizes[code64 ? 1 + below(seed, 2) : below(seed, 2)],
	    .reg = (uint8_t)below(seed, 16),
	    .rm = (uint8_t)below(seed, 16),
	    .has_memory = below(seed, 2) == 0,
	    .segment = (uint8_t)below(seed, CPU_SEGMENT_COUNT),
	    .base = CPU_NO_REGISTER,
	    .index = CPU_NO_REGISTER,
	    .displacement = (int64_t)random_address(seed),
	    .immediate = below(seed, 2) == 0 ? below(seed, 256) : random_address(seed),
	    .immediate2 = below(seed, 0x98),
	};
	return insn;
}

static void assert_sane(const struct fixture *fixture)
{
	const struct cpu *cpu = fixture->cpu;
	assert_in_range(cpu->cpl, 0, 3);
	assert_int_equal(fixture->lock_depth, 0);
	assert_int_equal(cpu->interrupt_enable & ~1, 0);
	assert_int_equal(cpu->flags_system & (FLAGS_ARITHMETIC | FLAG_IF), 0);
	if (!cpu_real_or_v86(cpu) && !cpu->shutdown)
		assert_int_equal(SELECTOR_RPL(cpu->segment[CPU_CS].selector), cpu->cpl);
	if (cpu->mode & MODE_VM86)
		assert_int_equal(cpu->cpl, 3);
	uint32_t mode = cpu->mode;
	cpu_mode_update(fixture->cpu); /* was current */
	assert_int_equal(mode, cpu->mode);
	if (!cpu_long_mode(cpu))
		assert_int_equal(cpu->rip >> 32, 0);
}

static void random_step(struct fixture *fixture, uint64_t *seed)
{
	static const enum cpu_op ops[] = {
#define X(name) CPU_OP_##name,
	    CPU_OPS_TRANSFER(X)
#undef X
	};
	struct cpu *cpu = fixture->cpu;
	uint8_t bytes[64];
	unsigned size = 1 + below(seed, 64);
	uint64_t linear = random_address(seed);
	enum tlb_view view = (enum tlb_view)below(seed, TLB_VIEW_COUNT);
	switch (below(seed, 8)) {
	case 0:
		cpu_interrupt(cpu, (uint8_t)random64(seed));
		break;
	case 1:
		cpu_fault_code(cpu, (enum cpu_vector)below(seed, 20), (uint32_t)random64(seed));
		break;
	case 2:
		if (cpu_read(cpu, linear, bytes, size, view))
			assert_false(cpu->pending.valid);
		break;
	case 3:
		cpu_write(cpu, linear, bytes, size, view);
		break;
	case 4:
		fixture->vector = (int)below(seed, 256);
		cpu->requests = below(seed, 64) & ~(unsigned)CPU_REQUEST_STOP;
		cpu_service_events(cpu);
		cpu->requests = 0;
		break;
	default: {
		struct cpu_insn insn = random_insn(cpu, seed);
		enum cpu_next next = cpu_ops[ops[below(seed, sizeof(ops) / sizeof(ops[0]))]](cpu, &insn);
		assert_int_equal(next == CPU_FAULT, cpu->pending.valid);
	}
	}
	if (cpu->pending.valid)
		cpu_deliver_pending(cpu);
	assert_false(cpu->pending.valid);
}

static void test_random(void **state)
{
	uint64_t seed = UINT64_C(0x9e3779b97f4a7c15);
	unsigned shutdowns = 0, delivered = 0;
	for (unsigned round = 0; round < ROUNDS; round++) {
		struct fixture *fixture = fixture_new();
		start_random(fixture, &seed);
		for (unsigned step = 0; step < STEPS && !fixture->cpu->shutdown; step++) {
			damage_registers(fixture->cpu, &seed);
			random_step(fixture, &seed);
			assert_sane(fixture);
		}
		shutdowns += fixture->cpu->shutdown;
		delivered += (unsigned)fixture->ledger.count[LEDGER_COUNT_EXCEPTION];
		fixture_free(fixture);
	}
	/* The rounds reached something: not all died at once, and much was delivered. */
	assert_true(shutdowns < ROUNDS);
	assert_true(delivered > ROUNDS);
	(void)state;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_random),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
