/* SPDX-License-Identifier: MIT */
#include "cpu/insn.h"

cpu_op_function *const cpu_ops[CPU_OP_COUNT] = {
#define X(name) [CPU_OP_##name] = cpu_op_##name,
    CPU_OPS(X)
#undef X
};
