/* SPDX-License-Identifier: MIT */
/*
 * What the vCPUs of one machine share, and how one of them has it to itself.
 *
 * Theory of operation.
 *
 * Each vCPU has a code cache and tables of its own (struct engine), so translating, linking, patching and flushing take
 * no lock, and no processor ever runs host code that another one is changing. Shared are guest memory, the map of its
 * regions, and the flags that say which pages hold code that somebody translated (memory.h). They change rarely, and
 * only in an exclusive section: world_stop() returns when no other vCPU of the machine uses what the engine keeps, and
 * until world_start() none does. What is changed in between may be anybody's: TLBs, blocks, jump caches.
 *
 * Inside and outside. A vCPU's thread is inside from engine_run()'s begin to its end, except where it waits: for an
 * exclusive section, or for the device lock (world_leave(), world_enter()). Whoever wants the world sets
 * CPU_REQUEST_WORLD, clears `run`, and waits until all others are outside; translated code polls `run` in every loop.
 * So to the code on a vCPU's thread, exclusive sections of others happen at three kinds of place: in the dispatcher
 * between two blocks, where it asks for a section of its own, and where it waits for the device lock. Between two such
 * places the flags of pages stand still, and so do regions and everybody's blocks.
 *
 * Writes to code. Two rules make sure that no vCPU runs what was translated from old bytes:
 * - Who translates sets PAGE_CODE, takes write permission away from all TLBs, both in a section, and then reads the
 * bytes.
 * - Who writes stores first and looks at PAGE_CODE afterwards, with no place as above in between. If it is set, it
 * removes what was made of the bytes, everybody's, in a section, before its next instruction. A translation during
 * which its vCPU was outside is thrown away (`disturbed`). Other vCPUs thus leave stale code before they can see
 * anything that the writer does next, which is more than the manual asks for (SDM 3A 9.1.3).
 *
 * Locked instructions act on shared pages as they are. One that lies across two pages cannot, since the two need not be
 * neighbours in host memory: it runs on a buffer, in a section from the read to the write.
 *
 * Order of locks: device lock, then the world. Inside a section no device is spoken to.
 *
 * Nothing here calls libc: it runs with the guest's vector state live.
 */
#ifndef NFOLD_TRANSLATE_WORLD_H
#define NFOLD_TRANSLATE_WORLD_H

#include <stdbool.h>
#include <stdint.h>

#include "ledger/ledger.h"

struct engine;
struct engine_vcpu;
struct memory;
struct samples;

struct world {
	struct engine *engine[LEDGER_MAX_VCPUS]; /* by number of the vCPU; NULL: not made */
	unsigned engine_count;
	uint32_t owner;		 /* futex. 0: nobody has or wants the world; else 1 */
	struct samples *samples; /* NULL: nobody has asked for a profile */
	uint64_t sample_until;	 /* host TSC */
};

/* The vCPU's thread enters and leaves the state in which it must not be disturbed. */
void world_enter(struct engine_vcpu *vcpu);
void world_leave(struct engine_vcpu *vcpu);
/* Lets a section happen that another vCPU asked for. */
void world_pass(struct engine_vcpu *vcpu);

/* An exclusive section; sections of one vCPU nest. vcpu is the caller's own, or NULL in a thread that runs none. */
void world_stop(struct world *world, struct engine_vcpu *vcpu);
void world_start(struct world *world, struct engine_vcpu *vcpu);

/* Gives the processor to another thread of the host, outside. */
void world_yield(struct engine_vcpu *vcpu);

/* In a section: removes everybody's blocks that overlap the bytes. Returns whether there were any. */
bool world_invalidate(struct world *world, uint64_t gpa, uint64_t size);
/* In a section: does anybody have blocks of this RAM page? */
bool world_has_blocks(const struct world *world, uint64_t page_number);

#endif
