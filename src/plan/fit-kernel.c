/* SPDX-License-Identifier: MIT */
#include "plan/fit-kernel-impl.h"

const struct fit_kernel *fit_kernel_at(unsigned index)
{
	__builtin_cpu_init();
	switch (index) {
	case 0:
		return &fit_kernel_plain;
	case 1:
		return __builtin_cpu_supports("avx2") ? &fit_kernel_avx2 : NULL;
	case 2:
		return __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") ? &fit_kernel_avx512
												: NULL;
	default:
		return NULL;
	}
}

const struct fit_kernel *fit_kernel_find(void)
{
	const struct fit_kernel *best = &fit_kernel_plain;
	for (unsigned i = 0; fit_kernel_at(i) != NULL; i++)
		best = fit_kernel_at(i);
	return best;
}
