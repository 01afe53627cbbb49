/* SPDX-License-Identifier: MIT */
/* Where the guest's arithmetic flags and registers are; see translation.h and frame.h. */
#include "translate/translation.h"

void flags_save(struct translation *t)
{
	if (t->flags != FLAGS_HOST)
		return;
	flags_to_rax(&t->as);
	t->flags = FLAGS_BOTH;
}

void flags_restore(struct translation *t)
{
	if (t->flags != FLAGS_SAVED)
		return;
	flags_from_rax(&t->as);
	t->flags = FLAGS_BOTH;
}

void flags_free_rax(struct translation *t)
{
	flags_restore(t);
	t->flags = FLAGS_HOST;
}

unsigned register_home(unsigned guest)
{
	static const uint8_t home[16] = {
	    [CPU_RAX] = REG_GUEST_RAX, [CPU_RCX] = REG_GUEST_RCX, [CPU_RDX] = HOST_RDX, [CPU_RBX] = HOST_RBX,
	    [CPU_RSP] = REG_GUEST_RSP, [CPU_RBP] = HOST_RBP,	  [CPU_RSI] = HOST_RSI, [CPU_RDI] = HOST_RDI,
	    [CPU_R8] = HOST_R8,	       [CPU_R9] = HOST_R9,	  [CPU_R10] = HOST_R10, [CPU_R11] = HOST_R11,
	    [CPU_R12] = SPILLED,       [CPU_R13] = SPILLED,	  [CPU_R14] = SPILLED,	[CPU_R15] = SPILLED,
	};
	return home[guest];
}

struct host_rm register_slot(unsigned guest)
{
	return rm_frame(FRAME(cpu.gpr) + 8u * guest);
}

unsigned register_value(struct translation *t, unsigned guest, unsigned scratch)
{
	unsigned home = register_home(guest);
	if (home != SPILLED)
		return home;
	asm_load(&t->as, scratch, register_slot(guest));
	return scratch;
}

void register_write(struct translation *t, unsigned guest, unsigned host)
{
	unsigned home = register_home(guest);
	if (home == SPILLED)
		asm_store(&t->as, register_slot(guest), host);
	else
		asm_mov(&t->as, home, host);
}

struct gpr_name gpr_of(ZydisRegister reg)
{
	struct gpr_name name = {0};
	ZydisRegisterClass class = ZydisRegisterGetClass(reg);
	ZyanI8 id = ZydisRegisterGetId(reg);
	switch (class) {
	case ZYDIS_REGCLASS_GPR8:
		name.is_gpr = true;
		name.bytes = 1;
		name.high = reg >= ZYDIS_REGISTER_AH && reg <= ZYDIS_REGISTER_BH;
		if (reg <= ZYDIS_REGISTER_BL)
			name.number = (uint8_t)(reg - ZYDIS_REGISTER_AL);
		else if (name.high)
			name.number = (uint8_t)(reg - ZYDIS_REGISTER_AH);
		else
			name.number = (uint8_t)(reg - ZYDIS_REGISTER_SPL + 4);
		break;
	case ZYDIS_REGCLASS_GPR16:
	case ZYDIS_REGCLASS_GPR32:
	case ZYDIS_REGCLASS_GPR64:
		name.is_gpr = true;
		name.bytes = class == ZYDIS_REGCLASS_GPR16 ? 2 : class == ZYDIS_REGCLASS_GPR32 ? 4 : 8;
		name.number = (uint8_t)id;
		break;
	default:
		break;
	}
	return name;
}
