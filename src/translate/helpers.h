/* SPDX-License-Identifier: MIT */
/* C functions that translated code calls through the thunks; see helpers.c and thunks.h for the convention. */
#ifndef NFOLD_TRANSLATE_HELPERS_H
#define NFOLD_TRANSLATE_HELPERS_H

#include "translate/block.h"

uint64_t helper_slow(struct engine_vcpu *vcpu, uint64_t linear, uint32_t descriptor, uint64_t return_address);
uint64_t helper_bounce_begin(struct engine_vcpu *vcpu, uint64_t linear, uint32_t descriptor, uint64_t return_address);
uint64_t helper_bounce_end(struct engine_vcpu *vcpu, uint64_t address, uint32_t descriptor, uint64_t return_address);
uint64_t helper_segment(struct engine_vcpu *vcpu, uint64_t offset, uint32_t descriptor, uint64_t return_address);
uint64_t helper_self_check(struct engine_vcpu *vcpu, uint64_t address, uint32_t number, uint64_t return_address);
uint64_t helper_c_op(struct engine_vcpu *vcpu, const struct c_insn *record);
uint64_t helper_c_op_counted(struct engine_vcpu *vcpu, const struct c_insn *record);

/* Bytes of a page with PAGE_CODE have changed. May wait for others' exclusive sections. */
void engine_code_write(struct engine_vcpu *vcpu, uint64_t gpa, uint64_t size);

#endif
