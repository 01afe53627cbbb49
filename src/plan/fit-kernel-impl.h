/* SPDX-License-Identifier: MIT */
/* The tables that fit-kernel-loops.c becomes. */
#ifndef NFOLD_PLAN_FIT_KERNEL_IMPL_H
#define NFOLD_PLAN_FIT_KERNEL_IMPL_H

#include "plan/fit-kernel.h"

extern const struct fit_kernel fit_kernel_plain, fit_kernel_avx2, fit_kernel_avx512;

#endif
