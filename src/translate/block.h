/* SPDX-License-Identifier: MIT */
/*
 * Blocks of translated code, and how they find each other.
 *
 * Theory of operation.
 *
 * Identity. A block is found by (guest PC, guest-physical page, mode number). The mode number stands for a
 * `struct mode_key`: cpu.mode, the engine's own mode bits, CS base and limit. CALL and RIP-relative operands embed the
 * virtual PC, hence it is in the key beside the physical page.
 *
 * Validity of a mapping. A block's guarded entry compares the fetch entry of its page (cpu.tlb.fetch) with the
 * word that names this linear and this physical page, and leaves with EXIT_GUARD when they differ. Guest flags come
 * there in RAX, since most that jump there have just checked an access; host_entry, before it, saves them first. (With
 * ENGINE_SAVED_FLAGS off they come in EFLAGS, and the comparison uses LEA and JRCXZ.) Jumps within one page go to the
 * plain entry: if the source is mapped, so is the target. Everything else (links across pages, the jump cache) goes to
 * the guarded entry. Whoever changes a mapping clears fetch entries (cpu/tlb.c), and no list of links need be kept for
 * it. An instruction that lies across two pages is a block of its own whose guard compares both pages, and all jumps to
 * it are guarded.
 *
 * Writes to code. The pages a block was read from carry PAGE_CODE, so no TLB entry lets writes through. A write that
 * overlaps a block removes it: from the hash table, the page lists and the jump caches, and every link to it is pointed
 * back to its stub. The memory of its code stays untouched until its region of the cache is used again, so a vCPU that
 * is inside it can still leave; it must do so before the next guest instruction: `code_changed` tells the dispatcher
 * and the C helpers.
 *
 * Eviction. When the region in use (cache.h) has no room for a block, the oldest region is emptied: its blocks are
 * removed as above, all at once, and its memory is used again. This is sound since nothing leads there any more and
 * nobody is there:
 * - The running block. Only the dispatcher makes blocks, and so evicts, and it is outside translated code. Helpers and
 * C instructions, which return into the block that called them, remove blocks but never use their memory again.
 * - Ways into an evicted block: links, the jump caches, the hash table, the page lists. All end with its removal.
 *   Links out of it are taken out of their targets' lists, so no list leads to memory that holds something else.
 * - What the dispatcher keeps from one turn to the next is a link to be connected; `epoch` tells it that the link may
 * be gone. The numbers of blocks and links that an exit gives are looked up before a block is made.
 * - A block found by host PC (faults, helpers, profile) is looked for in the list of the region that the PC lies in.
 * The pages of evicted blocks stay traced. The first write finds no code there and ends that.
 *
 * A page that is written often while it holds code (data beside code) becomes PAGE_SELF_CHECK: its writes are not
 * traced any more, its blocks compare their bytes with the copy taken at translation each time they are entered, and
 * end after every instruction that writes memory.
 *
 * Several vCPUs. Each has blocks of its own. A vCPU makes its blocks and removes them; others remove them too, while it
 * stands still (world.h). All removal is in blocks_remove().
 */
#ifndef NFOLD_TRANSLATE_BLOCK_H
#define NFOLD_TRANSLATE_BLOCK_H

#include "cpu/insn.h"
#include "translate/cache.h"
#include "translate/frame.h"
#include "translate/world.h"

/* The engine's bits in cpu.mode's free nibble. */
#define MODE_CAREFUL BIT32(28) /* memory operands go through bounce buffers; one instruction */
#define MODE_STEP BIT32(29)    /* one instruction, then back to the dispatcher */

#define MODE_OWN_CHECKS BIT32(30) /* no access shares its check with others: see share.c */

#define MODE_PROBE BIT32(31) /* with MODE_STEP: what a loop that waits has no use for says so (idle.h) */

#define BLOCK_MAX_INSNS 48
#define BLOCK_MAX_BYTES (BLOCK_MAX_INSNS * 15) /* of guest code */
#define NO_PAGE UINT64_MAX

struct mode_key {
	uint32_t bits;
	uint32_t cs_limit;
	uint64_t cs_base;
};

/* Where an instruction's host code starts and where its guest bytes start. */
struct block_insn {
	uint16_t host_offset;
	uint16_t guest_offset : 15;
	uint16_t flags_saved : 1; /* at its faulting host instruction, RAX holds the flags rather than EFLAGS */
	int32_t stack_change; /* of a branch: what it has added to RSP when its target is found to be non-canonical */
};

/* A way out of a block to a PC known at translation. `field` is the rel32 of its jump. */
struct link {
	uint64_t target; /* guest PC */
	struct block *source;
	struct block *to;     /* linked block or NULL */
	struct link *next_in; /* other links to the same block */
	uint32_t field;	      /* offset in the code cache */
	uint32_t stub;	      /* offset of the way to the dispatcher */
	bool guarded;	      /* goes to the guarded entry */
	bool saved;	      /* with the flags in RAX */
	bool own_checks;      /* goes to a block of MODE_OWN_CHECKS */
	bool far;	      /* into the code segment with this base, in a mode that is else the same */
	uint32_t cs_base;
	uint32_t mode_id; /* of the target where the jump changes the mode, else 0 */
};

struct block {
	uint64_t rip;
	uint64_t linear;
	uint64_t gpa, gpa2; /* of the first byte; of the second page, or NO_PAGE */
	uint32_t mode_id;
	uint32_t host_entry, guarded_entry, entry; /* offsets in the code cache */
	uint32_t code_end;
	uint16_t guest_length;
	uint8_t insn_count, link_count;
	bool dead;
	bool self_check; /* compares its bytes on entry: see PAGE_SELF_CHECK */
	struct block_insn *insns;
	struct link *links; /* link_count of them */
	struct link *incoming;
	struct block *next_hash;
	struct block *next_page[2]; /* in the lists of its first and second page */
	struct block **place[2];    /* what points to it in these lists, or NULL: it is not in one */
	uint8_t *bytes;		    /* copy of the guest bytes, for PAGE_SELF_CHECK */
};

#define BLOCK_HASH_BITS 15
#define BLOCK_HASH_SIZE (1u << BLOCK_HASH_BITS)
/* Numbers of blocks and links go by region of the code cache. A block is not shorter than that, mostly; where it is,
 * the region is full earlier. */
#define BLOCK_BYTES_MIN 96u
#define BLOCK_LIST_MAX (1u << 20) /* INDIRECT_FROM has so many bits */
#define BLOCK_LINKS_MEAN 2u

/*
 * Traced writes to a page with code before its blocks check themselves instead: so many within a window of 2^24 cycles
 * of the TSC (some milliseconds). A kernel that patches its text at boot is not caught for ever: after so many checks
 * without a change the page is traced again, each time after more of them.
 */
#define SELF_CHECK_THRESHOLD 64
#define SELF_CHECK_WINDOW_SHIFT 24
#define SELF_CHECK_PATIENCE 1024u
#define SELF_CHECK_PATIENCE_SHIFT_MAX 10

/* Writes by devices to pages with code, for the vCPUs to act on. */
#define CODE_QUEUE_SIZE 64
struct code_queue {
	uint32_t busy; /* spinlock */
	unsigned count;
	bool overflow;
	struct {
		uint64_t gpa, size;
	} range[CODE_QUEUE_SIZE];
};

/* Code pages by number of RAM page. */
struct code_page {
	struct block *blocks;
	uint32_t window;  /* when the writes were counted: the TSC, shifted */
	uint16_t writes;  /* traced, in that window */
	uint8_t patience; /* log2 of the factor of SELF_CHECK_PATIENCE */
	uint32_t checks;  /* that found nothing, since the page checks itself */
};

struct thunks {
	uint8_t *enter; /* void enter(struct engine_vcpu *, const void *code), C convention */
	uint8_t *link, *event, *guard, *indirect, *next, *fault, *count;
	uint8_t *empty; /* where empty lines of the jump cache lead to: next, by way of a guarded entry's flags */
	uint8_t *slow, *bounce_begin, *bounce_end, *c_op, *segment, *self_check;
};

/* One vCPU's translations. The first vCPU's stands for the machine's engine to those outside. */
struct engine {
	struct world *world;
	struct engine_vcpu *vcpu; /* NULL: not made yet, or gone */
	struct code_cache cache;
	struct thunks thunks;
	struct memory *memory;
	const struct cpu_model *model;
	struct mode_key modes[MODE_MAX];
	uint32_t mode_count;
	uint32_t mode_epoch;		      /* how often all modes were forgotten */
	struct block **hash;		      /* BLOCK_HASH_SIZE */
	struct block **list;		      /* by number; in a region of the cache, in the order of their code */
	struct link **links;		      /* by number */
	uint32_t region_blocks, region_links; /* for how many each region of the cache has places in them */
	struct code_page *pages;	      /* one for each RAM page, populated on demand */
	size_t page_count;
	uint64_t epoch; /* how often blocks were dropped whose memory is used again */
	struct code_queue queue;
	size_t code_bytes;
	uint32_t off;			 /* enum engine_switch */
	const struct debugger *debugger; /* NULL: nobody debugs */
	bool has_bmi2;
	bool counted; /* see count.h */
};

/* Counts what concerns the code cache. */
void engine_count(const struct engine *engine, enum ledger_counter counter);

/* Do other vCPUs run beside this one? */
static inline bool engine_is_shared(const struct engine *engine)
{
	return engine->world->engine_count > 1;
}

/* May the engine use it? */
static inline bool engine_uses(const struct engine *engine, enum engine_switch what)
{
	return (engine->off & what) == 0;
}

/* Where guest flags are at guarded entries: in RAX, or in EFLAGS. */
static inline bool guards_take_saved(const struct engine *engine)
{
	return engine_uses(engine, ENGINE_SAVED_FLAGS);
}

/* The key of a PC in the jump cache, in the form that indirect branches compare. */
static inline uint64_t jump_key(const struct engine *engine, uint64_t rip)
{
	return guards_take_saved(engine) ? rip : -rip;
}

uint32_t mode_intern(struct engine *engine, uint32_t bits, uint64_t cs_base, uint32_t cs_limit);
/* The same while a block is made: 0 rather than forgetting all modes and blocks. */
uint32_t mode_intern_if_room(struct engine *engine, uint32_t bits, uint64_t cs_base, uint32_t cs_limit);

struct block *block_find(const struct engine *engine, uint64_t rip, uint64_t gpa, uint32_t mode_id);
/* Enters a finished block into all tables and sets PAGE_CODE. */
void block_publish(struct engine *engine, struct block *block);
/* Makes everybody's writes to the page seen from now on. Called before the bytes are read that a block is made from.
 * May wait for others' exclusive sections. */
void page_trace(struct engine *engine, uint64_t gpa);
/* Empties the jump cache. */
void jump_cache_clear(const struct engine *engine, struct engine_vcpu *vcpu);
/* The block whose code holds a run address, or NULL. */
struct block *block_at(const struct engine *engine, uint64_t run_address);
/* The instruction whose host code holds the address (within the block's main part). */
unsigned block_insn_at(const struct block *block, uint32_t offset);

/* Points a link at its target block. */
void link_connect(struct engine *engine, struct link *link, struct block *to);

/* Removes every block of this vCPU that overlaps the bytes. Returns true when any was. May be called from helpers with
 * guest state live. */
bool blocks_invalidate(struct engine *engine, uint64_t gpa, uint64_t size);
/* Makes room for a new block by dropping the oldest ones. */
void blocks_evict(struct engine *engine);
/* Drops everything. */
void blocks_flush(struct engine *engine);
/* Drops one block. */
void block_discard(struct engine *engine, struct block *block);
/* Do a PAGE_SELF_CHECK block's bytes still stand in memory? */
bool block_is_current(const struct engine *engine, const struct block *block);

/* From any thread: bytes of a page with code have changed. The vCPU drains the queue at its next turn. */
void engine_queue_code_write(struct engine *engine, uint64_t gpa, uint64_t size);
void engine_drain_code_writes(struct engine *engine, struct engine_vcpu *vcpu);

/*
 * After an instruction in C that went elsewhere: the host address at which to go on without the dispatcher, or NULL
 * when it must look: the code is not in the jump cache, or something is due before it.
 */
const uint8_t *engine_next_code(struct engine_vcpu *vcpu);

/* The number that the next block and the next link will have. */
static inline uint32_t block_next_number(const struct engine *engine)
{
	return engine->cache.current * engine->region_blocks + engine->cache.region[engine->cache.current].block_count;
}

static inline uint32_t link_next_number(const struct engine *engine)
{
	return engine->cache.current * engine->region_links + engine->cache.region[engine->cache.current].link_count;
}

static inline size_t ram_page(const struct engine *engine, uint64_t gpa)
{
	const struct memory_region *region = memory_find(engine->memory, gpa);
	return region == NULL ? SIZE_MAX : (size_t)((region->offset + (gpa - region->base)) >> PAGE_SHIFT);
}

#endif
