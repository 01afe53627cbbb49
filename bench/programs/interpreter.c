/* SPDX-License-Identifier: MIT */
/* The loop of a byte code interpreter: a stack machine with an indirect jump for each instruction. */

#include "bench.h"

enum code {
	PUSH,  /* PUSH value */
	LOAD,  /* LOAD variable */
	STORE, /* STORE variable */
	ADD,
	MULTIPLY,
	XOR,
	SHIFT, /* right by 3 */
	LESS,
	JUMP_ZERO, /* JUMP_ZERO target */
	JUMP,	   /* JUMP target */
	HALT,
};

enum { I, J, SUM };

/* for (i = 0; i < 5000; i++) for (j = 0; j < i; j++) sum = (sum * 3 + j) ^ (i >> 3); */
static const int32_t program[] = {
    PUSH, 0,   STORE, I,				       /* 0 */
    LOAD, I,   PUSH,  5000, LESS,     JUMP_ZERO, 54,	       /* 4: the outer loop */
    PUSH, 0,   STORE, J,				       /* 11 */
    LOAD, J,   LOAD,  I,    LESS,     JUMP_ZERO, 45,	       /* 15: the inner loop */
    LOAD, SUM, PUSH,  3,    MULTIPLY, LOAD,	 J,  ADD,      /* 22 */
    LOAD, I,   SHIFT, XOR,  STORE,    SUM,		       /* 30 */
    LOAD, J,   PUSH,  1,    ADD,      STORE,	 J,  JUMP, 15, /* 36 */
    LOAD, I,   PUSH,  1,    ADD,      STORE,	 I,  JUMP, 4,  /* 45 */
    HALT,						       /* 54 */
};

static uint64_t interpret(const int32_t *code)
{
	static const void *const labels[] = {
	    &&push, &&load, &&store, &&add, &&multiply, &&xor, &&shift, &&less, &&jump_zero, &&jump, &&halt,
	};
	uint64_t variables[3] = {0}, stack[16], *top = stack;
	const int32_t *next = code;

#define NEXT goto *labels[*next++]
	NEXT;
push:
	*top++ = (uint64_t)*next++;
	NEXT;
load:
	*top++ = variables[*next++];
	NEXT;
store:
	variables[*next++] = *--top;
	NEXT;
add:
	top--;
	top[-1] += *top;
	NEXT;
multiply:
	top--;
	top[-1] *= *top;
	NEXT;
	xor : top--;
	top[-1] ^= *top;
	NEXT;
shift:
	top[-1] >>= 3;
	NEXT;
less:
	top--;
	top[-1] = top[-1] < *top;
	NEXT;
jump_zero:
	next = *--top == 0 ? code + *next : next + 1;
	NEXT;
jump:
	next = code + *next;
	NEXT;
halt:
#undef NEXT
	return variables[SUM];
}

int main(void)
{
	print_answer(interpret(program));
	return 0;
}
