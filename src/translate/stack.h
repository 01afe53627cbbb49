/* SPDX-License-Identifier: MIT */
/* Stack accesses shared by the lowerings of PUSH, POP, CALL and RET; see stack.c. */
#ifndef NFOLD_TRANSLATE_STACK_H
#define NFOLD_TRANSLATE_STACK_H

#include "translate/translation.h"

unsigned operand_bytes(const struct translation *t);
struct access stack_access(unsigned bytes, bool write, unsigned buffer);
/* R12 = guest RSP + bias, in the stack's address size. */
void emit_stack_address(struct translation *t, int32_t bias);
/* Guest RSP += bias, in the stack's address size. With a 16-bit stack it uses RCX. */
void emit_adjust_stack(struct translation *t, int32_t bias);
void emit_push_immediate(struct translation *t, uint64_t value, unsigned bytes);
/* The store alone. */
void emit_push_store(struct translation *t, uint64_t value, unsigned bytes);
/* Between else_begin and else_end. R12: the host address of `bytes` from guest RSP + bias. */
void emit_stack_block(struct translation *t, unsigned bytes, int32_t bias, bool write);
/* Pushes what emit_save_value has kept. */
void emit_push_saved(struct translation *t, unsigned bytes);
/* Loads the top of the stack; RSP is not adjusted yet. */
void emit_pop_to(struct translation *t, unsigned host, unsigned bytes);
/* 2, 4 or 8 bytes; loads are zero-extended. */
void emit_load_sized(struct translation *t, unsigned to, struct host_rm from, unsigned bytes);
void emit_store_sized(struct translation *t, struct host_rm to, unsigned from, unsigned bytes);
/* Loads a memory operand of 2, 4 or 8 bytes, zero-extended. */
void emit_load_operand(struct translation *t, const ZydisDecodedOperand *operand, unsigned host);
/* One value kept in the frame across a check. */
void emit_save_value(struct translation *t, unsigned host);
void emit_load_value(struct translation *t, unsigned host);
/* 2-byte writes keep the rest of the register, 4-byte writes clear the upper half. Changes the upper half of `host`. */
void register_write_sized(struct translation *t, unsigned guest, unsigned host, unsigned bytes);

/* ---- segment.c ---- */
void emit_load_selector(struct translation *t, unsigned name, unsigned host);
/* Real and virtual-8086 mode. `host` holds the selector, zero-extended, and is used up. Flags stay as they are. */
void emit_write_segment(struct translation *t, unsigned name, unsigned host);

#endif
