/* SPDX-License-Identifier: MIT */
#include "ledger/ledger.h"

#include <fcntl.h>
#include <sched.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define NS_PER_SECOND UINT64_C(1000000000)
#define CALIBRATION_NS UINT64_C(10000000)
#define CALIBRATION_TRIES 8
/* A writer that died between its two sequence stores must not hang its readers. */
#define READ_TRIES 100000

#define X(name, key, text) key,
const char *const ledger_state_key[LEDGER_STATE_COUNT] = {LEDGER_STATES(X)};
const char *const ledger_counter_key[LEDGER_COUNTER_COUNT] = {LEDGER_COUNTERS(X)};
#undef X
#define X(name, key, text) text,
const char *const ledger_state_text[LEDGER_STATE_COUNT] = {LEDGER_STATES(X)};
const char *const ledger_counter_text[LEDGER_COUNTER_COUNT] = {LEDGER_COUNTERS(X)};
#undef X

/* One moment, read from both clocks. */
struct moment {
	uint64_t tsc, ns;
};

static uint64_t clock_ns(clockid_t id)
{
	struct timespec now;
	(void)clock_gettime(id, &now);
	return (uint64_t)now.tv_sec * NS_PER_SECOND + (uint64_t)now.tv_nsec;
}

/* Of several readings, the one with the shortest bracket was not interrupted between the two clocks. */
static struct moment moment_now(void)
{
	struct moment best = {0, 0};
	uint64_t best_width = UINT64_MAX;
	for (int i = 0; i < CALIBRATION_TRIES; i++) {
		uint64_t before = ledger_tsc();
		uint64_t ns = clock_ns(CLOCK_MONOTONIC);
		uint64_t width = ledger_tsc() - before;
		if (width < best_width) {
			best_width = width;
			best = (struct moment){before + width / 2, ns};
		}
	}
	return best;
}

static uint64_t scale(uint64_t value, uint64_t multiplier, uint64_t divisor)
{
	return (uint64_t)((unsigned __int128)value * multiplier / divisor);
}

static uint64_t measure_tsc_hz(void)
{
	struct moment start = moment_now();
	struct timespec pause = {.tv_nsec = (long)CALIBRATION_NS};
	(void)nanosleep(&pause, NULL);
	struct moment end = moment_now();
	if (end.ns <= start.ns || end.tsc <= start.tsc)
		return NS_PER_SECOND;
	return scale(end.tsc - start.tsc, NS_PER_SECOND, end.ns - start.ns);
}

static void ledger_open_clocks(struct ledger *ledger, unsigned vcpu_count)
{
	*ledger = (struct ledger){
	    .magic = LEDGER_MAGIC,
	    .version = LEDGER_VERSION,
	    .size = sizeof *ledger,
	    .tsc_hz = measure_tsc_hz(),
	    .vcpu_count = vcpu_count,
	    .pid = (uint64_t)getpid(),
	};
	ledger->opened_realtime_ns = clock_ns(CLOCK_REALTIME);
	ledger->opened_tsc = ledger_tsc();
	for (unsigned i = 0; i < vcpu_count; i++) {
		ledger->vcpu[i].state = LEDGER_PAUSED;
		ledger->vcpu[i].since = ledger->opened_tsc;
	}
}

/* The seals promise a reader in another process that its mapping cannot be cut short under it (SIGBUS). */
static int ledger_memfd(struct error *error)
{
	int fd = memfd_create("nfold-ledger", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (fd < 0) {
		error_set_errno(error, "cannot create the ledger's shared memory");
		return -1;
	}
	if (ftruncate(fd, sizeof(struct ledger)) != 0 ||
	    fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0) {
		error_set_errno(error, "cannot size the ledger's shared memory to %zu bytes", sizeof(struct ledger));
		close(fd);
		return -1;
	}
	return fd;
}

struct ledger *ledger_create(unsigned vcpu_count, int *fd, struct error *error)
{
	if (vcpu_count == 0 || vcpu_count > LEDGER_MAX_VCPUS) {
		error_set(error, ERROR_INPUT, "a ledger holds 1 to %d vCPUs, not %u", LEDGER_MAX_VCPUS, vcpu_count);
		return NULL;
	}
	int memfd = ledger_memfd(error);
	if (memfd < 0)
		return NULL;
	struct ledger *ledger = mmap(NULL, sizeof *ledger, PROT_READ | PROT_WRITE, MAP_SHARED, memfd, 0);
	if (ledger == MAP_FAILED) {
		error_set_errno(error, "cannot map the ledger");
		close(memfd);
		return NULL;
	}
	ledger_open_clocks(ledger, vcpu_count);
	*fd = memfd;
	return ledger;
}

void ledger_close(struct ledger *ledger, int fd)
{
	if (ledger == NULL)
		return;
	(void)munmap(ledger, sizeof *ledger);
	close(fd);
}

static bool ledger_check(const struct ledger *ledger, struct error *error)
{
	if (ledger->magic != LEDGER_MAGIC)
		return error_set(error, ERROR_HOST, "not a ledger: wrong magic number");
	if (ledger->version != LEDGER_VERSION || ledger->size != sizeof *ledger)
		return error_set(
		    error, ERROR_HOST,
		    "the ledger has version %llu and this program reads version %u: use programs of one release",
		    (unsigned long long)ledger->version, LEDGER_VERSION);
	if (ledger->vcpu_count == 0 || ledger->vcpu_count > LEDGER_MAX_VCPUS || ledger->tsc_hz == 0)
		return error_set(error, ERROR_HOST, "the ledger's header is damaged");
	return true;
}

const struct ledger *ledger_map(int fd, struct error *error)
{
	struct stat status;
	int seals = fcntl(fd, F_GET_SEALS);
	if (seals < 0 || (seals & F_SEAL_SHRINK) == 0 || fstat(fd, &status) != 0 ||
	    status.st_size < (off_t)sizeof(struct ledger)) {
		error_set(error, ERROR_HOST, "not a ledger: no sealed shared memory of at least %zu bytes",
			  sizeof(struct ledger));
		return NULL;
	}
	const struct ledger *ledger = mmap(NULL, sizeof *ledger, PROT_READ, MAP_SHARED, fd, 0);
	if (ledger == MAP_FAILED) {
		error_set_errno(error, "cannot map the ledger");
		return NULL;
	}
	if (!ledger_check(ledger, error)) {
		ledger_unmap(ledger);
		return NULL;
	}
	return ledger;
}

void ledger_unmap(const struct ledger *ledger)
{
	if (ledger != NULL)
		(void)munmap((void *)(uintptr_t)ledger, sizeof *ledger);
}

/* The clocks of a line as they stood at `now`, in cycles. */
struct line_copy {
	uint64_t now, since, state;
	uint64_t clock[LEDGER_STATE_COUNT];
};

static void line_load(const struct ledger_vcpu *line, struct line_copy *copy)
{
	copy->state = __atomic_load_n(&line->state, __ATOMIC_RELAXED);
	copy->since = __atomic_load_n(&line->since, __ATOMIC_RELAXED);
	for (unsigned i = 0; i < LEDGER_STATE_COUNT; i++)
		copy->clock[i] = __atomic_load_n(&line->clock[i], __ATOMIC_RELAXED);
	copy->now = ledger_tsc();
}

static void line_copy(const struct ledger_vcpu *line, struct line_copy *copy)
{
	for (unsigned try = 0; try < READ_TRIES; try++) {
		uint64_t before = __atomic_load_n(&line->sequence, __ATOMIC_ACQUIRE);
		line_load(line, copy);
		__atomic_thread_fence(__ATOMIC_ACQUIRE);
		if ((before & 1) == 0 && __atomic_load_n(&line->sequence, __ATOMIC_RELAXED) == before)
			break;
		/* The writer may have lost its processor in the middle: let it finish. */
		if (try % 64 == 63)
			(void)sched_yield();
	}
	/* The object belongs to another process: never index with what it says. */
	if (copy->state >= LEDGER_STATE_COUNT)
		copy->state = LEDGER_PAUSED;
	/* Two processors' TSCs may differ by some cycles. */
	if (copy->now < copy->since)
		copy->now = copy->since;
}

void ledger_read(const struct ledger *ledger, unsigned vcpu, struct ledger_reading *reading)
{
	const struct ledger_vcpu *line = &ledger->vcpu[vcpu];
	struct line_copy copy;
	line_copy(line, &copy);
	copy.clock[copy.state] += copy.now - copy.since;
	uint64_t hz = ledger->tsc_hz;
	reading->wall_ns = scale(copy.now - ledger->opened_tsc, NS_PER_SECOND, hz);
	for (unsigned i = 0; i < LEDGER_STATE_COUNT; i++)
		reading->state_ns[i] = scale(copy.clock[i], NS_PER_SECOND, hz);
	for (unsigned i = 0; i < LEDGER_COUNTER_COUNT; i++)
		reading->count[i] = __atomic_load_n(&line->count[i], __ATOMIC_RELAXED);
	reading->run_delay_ns = __atomic_load_n(&line->run_delay_ns, __ATOMIC_RELAXED);
	reading->state = (enum ledger_state)copy.state;
}
