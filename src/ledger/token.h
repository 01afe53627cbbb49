/* SPDX-License-Identifier: MIT */
/*
 * Run tokens: how the host's dispatcher lends processors to a guest's vCPUs. docs/scheduling.md explains it to its
 * readers.
 *
 * Layout. One sealed memfd per guest, made by nfold-vm and mapped by both sides: a header page, then a page for each
 * vCPU. nfold-vm maps a vCPU's page a second time over the end of its struct cpu: `run` is the very word that
 * translated code polls, so that a token is taken back by a store, without a system call or a signal. Every word has
 * one writer, but for `run` and `bell`, whose content means nothing: they only make the vCPU's thread look.
 *
 * Theory of operation. A token is a word of the host's: a generation and what it says, TOKEN_RUN or why not. A vCPU's
 * thread runs guest code while the token says TOKEN_RUN, and says in `running` under which token it does. The two sides
 * meet as in Dekker's algorithm; all these accesses are sequentially consistent:
 *
 *   the thread begins     running = token; token read again: another one? Then running = 0, the doorbell, and anew
 *   the host takes back   token = another; run = 0; bell++; running read: 0? Then it is back. Or else it comes back:
 *                         the thread sees `run` clear at its next poll, finds another token, sets running = 0 and rings
 *                         the doorbell
 *
 * So a token is never used after the host has seen it come back, and never forgotten. The thread sets `run` to 1 before
 * it compares tokens, and the host stores the token before it clears `run`: a poll misses no token.
 *
 * Wants. `want` says whether the vCPU has something to do, and since which event. The thread makes it TOKEN_IDLE before
 * it sleeps in HLT. Whoever wakes it makes it want to run by compare-and-exchange, and rings the doorbell: the host
 * then grants a token, which is what wakes the thread. The host looks at `want` after it was rung, so that it never
 * misses the last value.
 *
 * Sleeping. A thread that waits, in HLT or for a token, sets `sleeping`, reads `bell`, then looks at everything that
 * may end its wait, and waits on the futex `bell` with what it read. Who changes one of those things does so first,
 * then advances `bell`, then looks at `sleeping`, and wakes the futex. Each stores before it looks.
 *
 * Leases. The host moves `lease_until` on several times a second. Once it is over, or `epoch` is even (no host, or one
 * that has let go), vCPUs run without tokens; the guest's own timer advances the bells, once, so that those that wait
 * notice. A host that comes (again) makes `epoch` the next odd number and all tokens others: the vCPUs then leave guest
 * code at their next poll and ask it.
 *
 * Binding. A thread runs on the processor that its token names, not where Linux finds room: two that Linux puts on one
 * processor, while another idles, would lose a tick or more each. The host binds the thread before it grants the token,
 * so that it wakes in the right place. Where Linux does not let it, the thread binds itself as soon as it has the
 * token. Without a host each thread goes where it may.
 *
 * Trust. Neither side believes the other. The host keeps what it granted to itself, reads `want` and `running` once per
 * look, and waits for no guest longer than it likes. The guest indexes nothing with what the host wrote.
 */
#ifndef NFOLD_LEDGER_TOKEN_H
#define NFOLD_LEDGER_TOKEN_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "ledger/ledger.h"

#define TOKEN_MAGIC UINT64_C(0x6e656b6f74666e) /* "nftoken" */
#define TOKEN_VERSION 2u
#define TOKEN_PAGE_SIZE 4096u
#define TOKEN_LEASE_NS UINT64_C(1000000000)
#define TOKEN_RENEW_NS UINT64_C(250000000)

/* The low bits of a token. All but TOKEN_RUN: how the wait is booked. */
enum token_kind { TOKEN_READY, TOKEN_COSTOP, TOKEN_LIMITED, TOKEN_RUN };
/* The low bits of `want`. What woke the vCPU: a timer of the guest's; a device or another processor. */
enum token_want { TOKEN_IDLE, TOKEN_WANTS, TOKEN_WANTS_BY_TIMER, TOKEN_WANTS_BY_EVENT };

#define TOKEN_BITS 2u
#define TOKEN_MASK 3u
#define TOKEN_NEXT (1u << TOKEN_BITS) /* added for the next generation, or the next want */

struct token_vcpu {
	uint32_t run; /* cpu->run: 0 makes the thread leave guest code */
	/* The host's. */
	uint32_t token __attribute__((aligned(64)));
	uint32_t processor; /* of the token: Linux's number, set before it */
	/* The guest's. */
	uint32_t want __attribute__((aligned(64)));
	uint32_t running;  /* the token under which guest code runs; 0: none */
	uint32_t sleeping; /* the thread waits on `bell` or is about to */
	uint32_t thread;   /* its number in Linux; 0: it has not begun */
	/* Either's. */
	uint32_t bell __attribute__((aligned(64))); /* futex, shared */
} __attribute__((aligned(TOKEN_PAGE_SIZE)));

struct token_page {
	uint64_t magic, version, size, vcpu_count;
	/* The host's. */
	uint64_t epoch __attribute__((aligned(64))); /* odd: a host schedules */
	uint64_t lease_until;			     /* CLOCK_MONOTONIC, ns */
	uint64_t heartbeat;			     /* times that it was moved on */
	uint32_t bind; /* 1: threads bind themselves to their tokens' processors; 0: the host does it */
	struct token_vcpu vcpu[LEDGER_MAX_VCPUS];
};

static inline enum token_kind token_kind(uint32_t token)
{
	return (enum token_kind)(token & TOKEN_MASK);
}

/* One that differs in its generation, and is not 0. */
static inline uint32_t token_after(uint32_t token, uint32_t low)
{
	uint32_t next = ((token & ~TOKEN_MASK) + TOKEN_NEXT) | low;
	return next != 0 ? next : TOKEN_NEXT;
}

/* CLOCK_MONOTONIC in nanoseconds. */
uint64_t token_now(void);

/* Makes the page in a memfd. *fd is the caller's. */
struct token_page *token_page_create(unsigned vcpu_count, int *fd, struct error *error);
/* Maps one that another process made. Fails where it could be cut short, or is none. */
struct token_page *token_page_map(int fd, unsigned vcpu_count, struct error *error);
void token_page_unmap(struct token_page *page);

/* A host schedules, and its lease is not over. */
bool token_page_leased(const struct token_page *page, uint64_t now);

/* Makes the thread look. */
void token_ring(struct token_vcpu *vcpu);
/* Waits until `bell` is no longer what it was, or is woken. */
void token_sleep(struct token_vcpu *vcpu, uint32_t bell);
/* For so long at most. False: the time is over. */
bool token_sleep_for(struct token_vcpu *vcpu, uint32_t bell, uint64_t ns);

#endif
