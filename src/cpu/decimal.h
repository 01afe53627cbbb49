/* SPDX-License-Identifier: MIT */
/* Decimal adjustment as pure functions: SDM volume 2, the Operation sections of DAA, DAS, AAA, AAS, AAM, AAD. */
#ifndef NFOLD_CPU_DECIMAL_H
#define NFOLD_CPU_DECIMAL_H

#include <stdint.h>

/* AX and the arithmetic flags, before and after. Flags that the manual leaves undefined are clear afterwards. */
struct decimal {
	uint16_t ax;
	uint32_t flags;
};

struct decimal decimal_daa(struct decimal in);
struct decimal decimal_das(struct decimal in);
struct decimal decimal_aaa(struct decimal in);
struct decimal decimal_aas(struct decimal in);
struct decimal decimal_aam(struct decimal in, uint8_t base); /* base is not 0 */
struct decimal decimal_aad(struct decimal in, uint8_t base);

#endif
