/* SPDX-License-Identifier: MIT */
/*
 * State-saving and masked vector instructions against the host's own: the same state and the same memory, once through
 * the operation in C and once natively, random contents.
 */
#include "cpu-op.h"

#include <string.h>

#include "cpu/fpu.h"

#define AREA 0x8000u /* guest-physical and linear */
#define AREA_BYTES 1024u
#define ROUNDS 400u

enum native {
	NATIVE_NONE,
	NATIVE_FXSAVE,
	NATIVE_FXSAVE64,
	NATIVE_FXRSTOR64,
	NATIVE_XSAVE64,
	NATIVE_XSAVEOPT64,
	NATIVE_XSAVEC64,
	NATIVE_XRSTOR64,
	NATIVE_FNSTENV,
	NATIVE_FNSTENV16,
	NATIVE_FLDENV,
	NATIVE_FLDENV16,
	NATIVE_FNSAVE,
	NATIVE_FNSAVE16,
	NATIVE_FRSTOR,
	NATIVE_LDMXCSR,
	NATIVE_STMXCSR,
	NATIVE_X87_WORK, /* leaves host pointers behind */
	NATIVE_LOAD_D,
	NATIVE_LOAD_PD,
	NATIVE_STORE_PS_XMM,
	NATIVE_STORE_Q, /* masked moves: data 1, mask 2 */
	NATIVE_GATHER_DD,
	NATIVE_GATHER_DQ,
	NATIVE_GATHER_QD,
	NATIVE_GATHER_QQ,
	NATIVE_GATHER_DD_XMM, /* 1, mask 2, index 3 */
	NATIVE_MASKMOVQ,
	NATIVE_MASKMOVDQU, /* data 1, mask 2 */
};

/* Runs one instruction on the host with the guest's state loaded. Nothing in here may touch vector registers itself. */
__attribute__((noinline, target("general-regs-only"))) static void native_run(struct cpu *cpu, enum native what,
									      void *area, uint32_t mask)
{
	cpu_fpu_unpark(cpu);
#define CASE(name, ...)                                                                                                \
	case NATIVE_##name:                                                                                            \
		__asm__ volatile(__VA_ARGS__ : : "D"(area), "a"(mask), "d"(0) : "memory");                             \
		break;
	switch (what) {
	case NATIVE_NONE:
		break;
		CASE(FXSAVE, "fxsave (%0)")
		CASE(FXSAVE64, "fxsave64 (%0)")
		CASE(FXRSTOR64, "fxrstor64 (%0)")
		CASE(XSAVE64, "xsave64 (%0)")
		CASE(XSAVEOPT64, "xsaveopt64 (%0)")
		CASE(XSAVEC64, "xsavec64 (%0)")
		CASE(XRSTOR64, "xrstor64 (%0)")
		CASE(FNSTENV, "fnstenv (%0)")
		CASE(FNSTENV16, ".byte 0x66; fnstenv (%0)")
		CASE(FLDENV, "fldenv (%0)")
		CASE(FLDENV16, ".byte 0x66; fldenv (%0)")
		CASE(FNSAVE, "fnsave (%0)")
		CASE(FNSAVE16, ".byte 0x66; fnsave (%0)")
		CASE(FRSTOR, "frstor (%0)")
		CASE(LDMXCSR, "ldmxcsr (%0)")
		CASE(STMXCSR, "stmxcsr (%0)")
		CASE(X87_WORK, "fninit; fld1; fsts (%0)")
		CASE(LOAD_D, "vpmaskmovd (%0), %%ymm2, %%ymm1")
		CASE(LOAD_PD, "vmaskmovpd (%0), %%xmm2, %%xmm1")
		CASE(STORE_PS_XMM, "vmaskmovps %%xmm1, %%xmm2, (%0)")
		CASE(STORE_Q, "vpmaskmovq %%ymm1, %%ymm2, (%0)")
		CASE(GATHER_DD, "vpgatherdd %%ymm2, 8(%0,%%ymm3,4), %%ymm1")
		CASE(GATHER_DQ, "vpgatherdq %%ymm2, 8(%0,%%xmm3,4), %%ymm1")
		CASE(GATHER_QD, "vpgatherqd %%xmm2, 8(%0,%%ymm3,4), %%xmm1")
		CASE(GATHER_QQ, "vgatherqpd %%ymm2, 8(%0,%%ymm3,4), %%ymm1")
		CASE(GATHER_DD_XMM, "vgatherdps %%xmm2, 8(%0,%%xmm3,4), %%xmm1")
		CASE(MASKMOVQ, "maskmovq %%mm2, %%mm1")
		CASE(MASKMOVDQU, "maskmovdqu %%xmm2, %%xmm1")
	}
#undef CASE
	cpu_fpu_park(cpu);
}

struct rig {
	struct fixture *fixture;
	struct random random;
	uint8_t area[AREA_BYTES] __attribute__((aligned(64))); /* the reference's memory */
	uint8_t state[XSAVE_AVX + 256];			       /* what the reference made of the state */
};

static bool host_can_compare(void)
{
	return __builtin_cpu_supports("avx2") != 0;
}

static void rig_start(struct rig *rig, struct fixture *fixture, uint64_t seed)
{
	struct cpu *cpu = fixture->cpu;

	*rig = (struct rig){.fixture = fixture, .random = {seed}};
	start_long(fixture);
	cpu->run = 1;
	cpu->cr4 |= CR4_OSFXSR | CR4_OSXMMEXCPT | CR4_OSXSAVE;
	cpu->xcr0 = 7;
	cpu_mode_update(cpu);
}

static void random_bytes(struct rig *rig, uint8_t *to, unsigned size)
{
	for (unsigned i = 0; i < size; i++)
		to[i] = (uint8_t)random_next(&rig->random);
}

/* An image that FXRSTOR and XRSTOR accept, without pending exceptions; each component is missing sometimes. */
static void random_image(struct rig *rig, uint8_t *image)
{
	struct random *random = &rig->random;

	random_bytes(rig, image, XSAVE_AVX + 256);
	memset(image + XSAVE_BV, 0, 64);
	store_le(image + XSAVE_FCW, 0x37f, 2);
	store_le(image + XSAVE_FSW, random_below(random, 8) << 11 | (random_next(random) & 0x4700), 2);
	store_le(image + XSAVE_FTW, random_below(random, 256), 2);
	store_le(image + XSAVE_FOP, 0, 2);
	store_le(image + XSAVE_FIP, 0, 8);
	store_le(image + XSAVE_FDP, 0, 8);
	store_le(image + XSAVE_MXCSR, random_below(random, 2) ? 0x1f80 : 0x9fa5, 4);
	store_le(image + XSAVE_BV, random_below(random, 3) ? 7 : random_below(random, 8), 8);
	for (unsigned i = 0; i < 8; i++) {
		uint8_t *st = image + XSAVE_ST + i * 16;
		switch (random_below(random, 4)) {
		case 0:
			memset(st, 0, 16);
			break;
		case 1:
			st[7] |= 0x80; /* normal, infinite or not a number */
			break;
		default:
			break;
		}
		memset(st + 10, 0, 6);
	}
}

/* Gives the processor a random state as the host would have saved it. */
static void random_state(struct rig *rig)
{
	random_image(rig, rig->fixture->cpu->xsave);
	native_run(rig->fixture->cpu, NATIVE_NONE, NULL, 0);
}

static void random_memory(struct rig *rig)
{
	random_bytes(rig, rig->area, AREA_BYTES);
}

/* A pair of runs on equal state and memory. */
struct comparison {
	enum native what;
	enum cpu_op op;
	struct cpu_insn insn;
	uint32_t mask;
	void (*forget)(uint8_t *area); /* clears what is the host's own in its memory */
	const char *place;	       /* of the first difference */
	unsigned offset;
};

static bool differ(struct comparison *c, const char *place, const uint8_t *found, const uint8_t *expected,
		   unsigned from, unsigned to)
{
	for (unsigned i = from; i < to; i++)
		if (found[i] != expected[i]) {
			c->place = place;
			c->offset = i;
			return true;
		}
	return false;
}

static bool compare_once(struct rig *rig, struct comparison *c)
{
	struct cpu *cpu = rig->fixture->cpu;
	const uint8_t *memory = rig->fixture->memory.host + AREA;
	uint8_t before[CPU_XSAVE_SIZE];

	memcpy(before, cpu->xsave, sizeof(before));
	native_run(cpu, c->what, rig->area, c->mask);
	if (c->forget != NULL)
		c->forget(rig->area);
	memcpy(rig->state, cpu->xsave, sizeof(rig->state));
	memcpy(cpu->xsave, before, sizeof(before));
	cpu->gpr[CPU_RAX] = c->mask;
	cpu->gpr[CPU_RDX] = 0;
	cpu->gpr[CPU_RDI] = AREA;
	op_succeeds(rig->fixture, c->op, c->insn);
	native_run(cpu, NATIVE_NONE, NULL, 0); /* the host may normalize what it loads */
	/* The error pointers have a test of their own. */
	return !differ(c, "memory", memory, rig->area, 0, AREA_BYTES) &&
	       !differ(c, "state", cpu->xsave, rig->state, 0, XSAVE_FOP) &&
	       !differ(c, "state", cpu->xsave, rig->state, XSAVE_MXCSR, sizeof(rig->state));
}

/*
 * Hosts may count a component with its initial value as in use, and after an interrupt they sometimes do: then
 * XSTATE_BV differs, and so does what XSAVEOPT writes. A difference that comes again and again is one of ours.
 */
#define TRIES 8u

static void compare(struct rig *rig, enum native what, enum cpu_op op, struct cpu_insn insn, uint32_t mask,
		    void (*forget)(uint8_t *area))
{
	struct cpu *cpu = rig->fixture->cpu;
	struct comparison c = {.what = what, .op = op, .insn = insn, .mask = mask, .forget = forget};
	uint8_t state[CPU_XSAVE_SIZE], area[AREA_BYTES];

	c.insn.has_memory = true;
	if (c.insn.displacement == 0)
		c.insn.displacement = AREA;
	memcpy(state, cpu->xsave, sizeof(state));
	memcpy(area, rig->area, sizeof(area));
	for (unsigned i = 0; i < TRIES; i++) {
		memcpy(cpu->xsave, state, sizeof(state));
		memcpy(rig->area, area, sizeof(area));
		assert_true(memory_load(&rig->fixture->memory, AREA, area, sizeof(area)));
		if (compare_once(rig, &c))
			return;
	}
	fail_msg("operation %u: %s differs at %u", op, c.place, c.offset);
}

/* ---- what the host records of itself in its images ---- */

static void forget_fxsave(uint8_t *area)
{
	memset(area + XSAVE_FOP, 0, 2);
	memset(area + XSAVE_FIP, 0, 16);
}

static void forget_environment(uint8_t *area)
{
	memset(area + 12, 0, 4);
	memset(area + 16, 0, 4);
	memset(area + 20, 0, 4);
	memset(area + 24, 0, 2);
}

static void forget_environment16(uint8_t *area)
{
	memset(area + 6, 0, 8);
}

static void test_save(void **state)
{
	static const struct {
		enum native what;
		enum cpu_op op;
		bool wide;
	} saves[] = {
	    {NATIVE_FXSAVE, CPU_OP_fxsave, false},  {NATIVE_FXSAVE64, CPU_OP_fxsave, true},
	    {NATIVE_XSAVE64, CPU_OP_xsave, true},   {NATIVE_XSAVEOPT64, CPU_OP_xsaveopt, true},
	    {NATIVE_XSAVEC64, CPU_OP_xsavec, true},
	};
	struct rig rig;

	if (!host_can_compare())
		skip();
	rig_start(&rig, *state, 11);
	for (unsigned i = 0; i < ROUNDS; i++)
		for (unsigned s = 0; s < 5; s++) {
			random_state(&rig);
			random_memory(&rig);
			compare(&rig, saves[s].what, saves[s].op, INSN(.rex_w = saves[s].wide),
				(uint32_t)random_below(&rig.random, 8), s < 2 ? forget_fxsave : NULL);
		}
}

static void test_restore(void **state)
{
	struct rig rig;

	if (!host_can_compare())
		skip();
	rig_start(&rig, *state, 12);
	for (unsigned i = 0; i < ROUNDS; i++) {
		bool compact = random_below(&rig.random, 2) != 0;
		random_state(&rig);
		random_image(&rig, rig.area);
		random_bytes(&rig, rig.area + XSAVE_FCW, 4); /* control and status word */
		if (compact)
			store_le(rig.area + XSAVE_BV + 8, BIT64(63) | load_le(rig.area + XSAVE_BV, 8), 8);
		compare(&rig, NATIVE_XRSTOR64, CPU_OP_xrstor, INSN(.rex_w = true),
			(uint32_t)random_below(&rig.random, 8), NULL);
		random_state(&rig);
		compare(&rig, NATIVE_FXRSTOR64, CPU_OP_fxrstor, INSN(.rex_w = true), 0, NULL);
	}
}

static void test_x87_environment(void **state)
{
	struct rig rig;
	struct cpu_insn wide = INSN(.operand_size = 4), narrow = INSN(.operand_size = 2);

	if (!host_can_compare())
		skip();
	rig_start(&rig, *state, 13);
	for (unsigned i = 0; i < ROUNDS; i++) {
		random_state(&rig);
		compare(&rig, NATIVE_FNSTENV, CPU_OP_fnstenv, wide, 0, forget_environment);
		random_state(&rig);
		compare(&rig, NATIVE_FLDENV, CPU_OP_fldenv, wide, 0, NULL);
		random_state(&rig);
		compare(&rig, NATIVE_FNSTENV16, CPU_OP_fnstenv, narrow, 0, forget_environment16);
		random_state(&rig);
		compare(&rig, NATIVE_FLDENV16, CPU_OP_fldenv, narrow, 0, NULL);
		random_state(&rig);
		compare(&rig, NATIVE_FNSAVE, CPU_OP_fnsave, wide, 0, forget_environment);
		random_state(&rig);
		compare(&rig, NATIVE_FRSTOR, CPU_OP_frstor, wide, 0, NULL);
		random_memory(&rig); /* words with reserved bits, pending exceptions, registers of every kind */
		random_state(&rig);
		compare(&rig, NATIVE_FLDENV, CPU_OP_fldenv, wide, 0, NULL);
		random_state(&rig);
		compare(&rig, NATIVE_FRSTOR, CPU_OP_frstor, wide, 0, NULL);
		random_state(&rig);
		compare(&rig, NATIVE_FNSAVE16, CPU_OP_fnsave, narrow, 0, forget_environment16);
		random_state(&rig);
		compare(&rig, NATIVE_STMXCSR, CPU_OP_stmxcsr, INSN(0), 0, NULL);
		random_state(&rig);
		compare(&rig, NATIVE_LDMXCSR, CPU_OP_ldmxcsr, INSN(0), 0, NULL);
	}
}

/* ---- masked moves and gathers ---- */

static void test_masked_moves(void **state)
{
	struct rig rig;

	if (!host_can_compare())
		skip();
	rig_start(&rig, *state, 14);
	for (unsigned i = 0; i < ROUNDS; i++) {
		random_state(&rig);
		random_memory(&rig);
		compare(&rig, NATIVE_LOAD_D, CPU_OP_vpmaskmov,
			INSN(.operand_size = 4, .vector_size = 32, .reg = 1, .vvvv = 2), 0, NULL);
		random_state(&rig);
		compare(&rig, NATIVE_LOAD_PD, CPU_OP_vmaskmov,
			INSN(.operand_size = 8, .vector_size = 16, .reg = 1, .vvvv = 2), 0, NULL);
		random_state(&rig);
		compare(&rig, NATIVE_STORE_PS_XMM, CPU_OP_vmaskmov,
			INSN(.operand_size = 4, .vector_size = 16, .reg = 1, .vvvv = 2, .immediate = 1), 0, NULL);
		random_state(&rig);
		compare(&rig, NATIVE_STORE_Q, CPU_OP_vpmaskmov,
			INSN(.operand_size = 8, .vector_size = 32, .reg = 1, .vvvv = 2, .immediate = 1), 0, NULL);
		random_state(&rig);
		compare(&rig, NATIVE_MASKMOVDQU, CPU_OP_maskmovdqu, INSN(.reg = 1, .rm = 2), 0, NULL);
		random_state(&rig);
		compare(&rig, NATIVE_MASKMOVQ, CPU_OP_maskmovq, INSN(.reg = 1, .rm = 2), 0, NULL);
	}
}

/* Indices in register 3 that stay inside the area, negative ones not: the area begins at the base. */
static void small_indices(struct rig *rig, unsigned size)
{
	struct cpu *cpu = rig->fixture->cpu;

	for (unsigned i = 0; i < 32; i += size)
		store_le(cpu->xsave + (i < 16 ? XSAVE_XMM + 48 + i : XSAVE_AVX + 48 + i - 16),
			 random_below(&rig->random, 240), size);
	cpu_xstate_changed(cpu, XSTATE_SSE | XSTATE_AVX);
	native_run(cpu, NATIVE_NONE, NULL, 0);
}

static void test_gathers(void **state)
{
	static const struct {
		enum native what;
		uint8_t element, index, vector;
	} gathers[] = {
	    {NATIVE_GATHER_DD, 4, 4, 32}, {NATIVE_GATHER_DQ, 8, 4, 32},	    {NATIVE_GATHER_QD, 4, 8, 32},
	    {NATIVE_GATHER_QQ, 8, 8, 32}, {NATIVE_GATHER_DD_XMM, 4, 4, 16},
	};
	struct rig rig;

	if (!host_can_compare())
		skip();
	rig_start(&rig, *state, 15);
	for (unsigned i = 0; i < ROUNDS; i++)
		for (unsigned g = 0; g < sizeof(gathers) / sizeof(gathers[0]); g++) {
			random_state(&rig);
			small_indices(&rig, gathers[g].index);
			random_memory(&rig);
			struct cpu_insn insn =
			    INSN(.operand_size = gathers[g].element, .vector_size = gathers[g].vector, .reg = 1,
				 .vvvv = 2, .index = 3, .immediate = gathers[g].index, .displacement = AREA + 8);
			insn.scale = 4;
			compare(&rig, gathers[g].what, CPU_OP_gather, insn, 0, NULL);
		}
}

/* ---- the host's instruction and data pointers ---- */

static void expect_pointers(struct fixture *fixture, uint64_t ip, uint64_t dp, unsigned opcode)
{
	memory_fill(&fixture->memory, AREA, 0xee, AREA_BYTES);
	op_succeeds(fixture, CPU_OP_fxsave, INSN(.rex_w = true, MEMORY(AREA)));
	assert_int_equal(get(fixture, AREA + XSAVE_FIP, 8), ip);
	assert_int_equal(get(fixture, AREA + XSAVE_FDP, 8), dp);
	assert_int_equal(get(fixture, AREA + XSAVE_FOP, 2), opcode);
	memory_fill(&fixture->memory, AREA, 0xee, AREA_BYTES);
	op_succeeds(fixture, CPU_OP_fnstenv, INSN(.operand_size = 4, MEMORY(AREA)));
	assert_int_equal(get(fixture, AREA + 12, 4), (uint32_t)ip);
	assert_int_equal(get(fixture, AREA + 18, 2), opcode);
	assert_int_equal(get(fixture, AREA + 20, 4), (uint32_t)dp);
}

static void test_no_host_pointers(void **state)
{
	struct fixture *fixture = *state;
	struct cpu *cpu = fixture->cpu;
	struct rig rig;
	uint8_t image[512] __attribute__((aligned(16))) = {0};

	rig_start(&rig, fixture, 1);
	native_run(cpu, NATIVE_X87_WORK, rig.area, 0);
	expect_pointers(fixture, 0, 0, 0);
	/* What the guest loads it gets back, over any number of exits, until the next x87 instruction. */
	store_le(image + XSAVE_FCW, 0x37f, 2);
	store_le(image + XSAVE_MXCSR, 0x1f80, 4);
	store_le(image + XSAVE_FIP, UINT64_C(0xffffffff81234567), 8);
	store_le(image + XSAVE_FDP, UINT64_C(0x7f0012345678), 8);
	store_le(image + XSAVE_FOP, 0x5c9, 2);
	assert_true(memory_load(&fixture->memory, AREA, image, sizeof(image)));
	op_succeeds(fixture, CPU_OP_fxrstor, INSN(.rex_w = true, MEMORY(AREA)));
	native_run(cpu, NATIVE_NONE, NULL, 0);
	native_run(cpu, NATIVE_NONE, NULL, 0);
	expect_pointers(fixture, UINT64_C(0xffffffff81234567), UINT64_C(0x7f0012345678), 0x5c9);
	native_run(cpu, NATIVE_X87_WORK, rig.area, 0);
	expect_pointers(fixture, 0, 0, 0);
}

static int setup(void **state)
{
	*state = fixture_new();
	return 0;
}

static int teardown(void **state)
{
	fixture_free(*state);
	return 0;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(test_save),	     TEST(test_restore), TEST(test_x87_environment),
	    TEST(test_masked_moves), TEST(test_gathers), TEST(test_no_host_pointers),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
