/* SPDX-License-Identifier: MIT */
/* A pointer chase: each load's address is the load before it, in one random cycle over 4 MiB. */

#include "bench.h"

#define NODES 65536
#define STEPS 2000000

struct node {
	struct node *next;
	uint64_t value;
	uint64_t room[6]; /* a cache line each */
};

/* Sattolo's shuffle gives a permutation of one cycle. */
static void link_cycle(struct node *nodes)
{
	uint32_t *order = need_memory(NODES * sizeof(*order));
	uint64_t state = 99;

	for (uint32_t i = 0; i < NODES; i++)
		order[i] = i;
	for (uint32_t i = NODES - 1; i > 0; i--) {
		uint32_t j = (uint32_t)(random_next(&state) % i), swapped = order[i];

		order[i] = order[j];
		order[j] = swapped;
	}
	for (uint32_t i = 0; i < NODES; i++) {
		nodes[i].next = &nodes[order[i]];
		nodes[i].value = random_next(&state);
	}
	free(order);
}

int main(void)
{
	struct node *nodes = need_memory(NODES * sizeof(*nodes)), *node = nodes;
	uint64_t answer = 0;

	link_cycle(nodes);
	for (long i = 0; i < STEPS; i++) {
		answer = answer * 3 + node->value;
		node = node->next;
	}
	print_answer(answer);
	return 0;
}
