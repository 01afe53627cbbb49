/* SPDX-License-Identifier: MIT */
/*
 * The filter of system calls: a list of what is allowed, by seccomp(2).
 *
 * Theory of operation. A call that is not in the list raises SIGSYS, whose handler says which one it was and ends the
 * process. What has taken over the process cannot put another handler in its place, since rt_sigaction is not in the
 * list, and where it blocks the signal, Linux kills the process instead. Either way the call is not made.
 *
 * Linux compares all 64 bits of an argument, and system calls often look at 32 of them. So notes compare for equality,
 * under a mask at most: what is added above makes a comparison fail, never pass.
 */
#include "confine/confine.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/prctl.h>
#include <netinet/in.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <termios.h>
#include <unistd.h>

#include <linux/fs.h>
#include <linux/if_tun.h>
#include <linux/sockios.h>

/* What the C library does by itself, wherever it is called. */
/* syscall base: brk, mremap, munmap, madvise, mmap[2&PROT_EXEC=0], mprotect[2&PROT_EXEC=0] -- memory comes and goes,
 * and none of it becomes executable: the code cache was mapped before, twice, to be written and to be run */
/* syscall base: futex, sched_yield, set_robust_list, rseq, getpid, gettid, membarrier -- locks and threads */
/* syscall base: clone[0&~CLONE_DETACHED=THREAD_FLAGS] -- threads, as pthread_create makes them; no process */
/* syscall base: prctl[0=PR_SET_NAME], prctl[0=PR_SET_VMA], sched_getaffinity, set_tid_address -- new threads */
/* syscall base: rt_sigprocmask, rt_sigreturn, sigaltstack, restart_syscall, tgkill[0=@self] -- signals, to threads of
 * our own only; abort() too */
/* syscall base: clock_gettime, clock_getres, clock_nanosleep, nanosleep, gettimeofday, time -- time, where the vDSO
 * asks the kernel */
/* syscall base: read, write, readv, writev, close, lseek, fstat, newfstatat[3&AT_EMPTY_PATH=AT_EMPTY_PATH] -- open
 * files */
/* syscall base: getrandom, sysinfo, getrusage, uname, exit, exit_group, geteuid -- small questions, and the end */
#ifndef CLONE_DETACHED
#define CLONE_DETACHED 0x00400000
#endif
#ifndef PR_SET_VMA
#define PR_SET_VMA 0x53564d41
#endif
#define SOCKET_TYPE ~(SOCK_CLOEXEC | SOCK_NONBLOCK)
#define THREAD_FLAGS                                                                                                   \
	(CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM | CLONE_SETTLS |             \
	 CLONE_PARENT_SETTID | CLONE_CHILD_CLEARTID)

#define CONDITIONS_MAX 3u

/* What is under the mask is to be the value; without a mask, the whole argument. */
struct condition {
	unsigned argument;
	bool masked, self;
	scmp_datum_t mask, value;
};

struct row {
	enum confine_feature feature;
	int call;
	bool refused;
	unsigned conditions; /* all of them are to be met */
	struct condition condition[CONDITIONS_MAX];
};

#include <confine-table.inc>

bool confine_supported(void)
{
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
	return false;
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || __has_feature(memory_sanitizer)
	return false;
#else
	return true;
#endif
#else
	return true;
#endif
}

/* ---- the end of one that is forbidden ---- */

static const char *name_of(int call)
{
	if (call < 0 || (size_t)call >= sizeof call_name / sizeof call_name[0] || call_name[call] == NULL)
		return "unknown";
	return call_name[call];
}

static char *append(char *at, const char *end, const char *text)
{
	while (*text != '\0' && at < end)
		*at++ = *text++;
	return at;
}

static char *append_number(char *at, const char *end, unsigned number)
{
	char digits[12], *first = digits + sizeof digits - 1;
	*first = '\0';
	do
		*--first = (char)('0' + number % 10);
	while ((number /= 10) > 0);
	return append(at, end, first);
}

/* Only what a signal handler may call; the process may be in any state. */
static void forbidden(int signal_number, siginfo_t *info, void *context)
{
	char line[160], *at = line;
	const char *end = line + sizeof line;
	(void)signal_number;
	(void)context;
	at = append(at, end, "nfold: nfold-vm made a forbidden system call ");
	at = append_number(at, end, (unsigned)info->si_syscall);
	at = append(at, end, " (");
	at = append(at, end, name_of(info->si_syscall));
	at = append(at, end, ") and was stopped\n");
	ssize_t ignored = write(STDERR_FILENO, line, (size_t)(at - line));
	(void)ignored;
	_exit(CONFINE_EXIT_STATUS);
}

/* Where threads have a stack for signals it is used: a vCPU's own stack pointer may be anything. */
static bool catch_forbidden(struct error *error)
{
	struct sigaction action = {.sa_sigaction = forbidden, .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER};
	(void)sigfillset(&action.sa_mask);
	return sigaction(SIGSYS, &action, NULL) == 0 || error_set_errno(error, "cannot catch SIGSYS");
}

/* ---- the filter ---- */

static struct scmp_arg_cmp compare_of(const struct condition *condition)
{
	scmp_datum_t value = condition->self ? (scmp_datum_t)getpid() : condition->value;
	return (struct scmp_arg_cmp){.arg = condition->argument,
				     .op = condition->masked ? SCMP_CMP_MASKED_EQ : SCMP_CMP_EQ,
				     .datum_a = condition->masked ? condition->mask : value,
				     .datum_b = condition->masked ? value : 0};
}

static int add_row(scmp_filter_ctx filter, const struct row *row)
{
	uint32_t action = row->refused ? SCMP_ACT_ERRNO(EPERM) : SCMP_ACT_ALLOW;
	struct scmp_arg_cmp compare[CONDITIONS_MAX];
	for (unsigned i = 0; i < row->conditions; i++)
		compare[i] = compare_of(&row->condition[i]);
	int result = seccomp_rule_add_array(filter, action, row->call, row->conditions, compare);
	return result == -EEXIST ? 0 : result; /* two notes may need the same */
}

static int fill(scmp_filter_ctx filter, unsigned features)
{
	/* clone3 hides its flags from us; without it, the C library takes clone. */
	int result = seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
	for (size_t i = 0; result == 0 && i < sizeof rows / sizeof rows[0]; i++)
		if ((features >> rows[i].feature & 1) != 0)
			result = add_row(filter, &rows[i]);
	return result;
}

/*
 * All threads; and without the mitigations that Linux before 5.16 puts on each process with a filter: they are against
 * programs that run others' code in one process to read its secrets, and this one has only its guest's. Code that Linux
 * entered as another architecture's would be killed, as libseccomp has it.
 */
static int set_attributes(scmp_filter_ctx filter)
{
	static const struct {
		enum scmp_filter_attr attribute;
		uint32_t value;
	} attributes[] = {{SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS},
			  {SCMP_FLTATR_CTL_NNP, 1},
			  {SCMP_FLTATR_CTL_TSYNC, 1},
			  {SCMP_FLTATR_CTL_SSB, 1},
			  {SCMP_FLTATR_CTL_OPTIMIZE, 2}};
	int result = 0;
	for (size_t i = 0; result == 0 && i < sizeof attributes / sizeof attributes[0]; i++)
		result = seccomp_attr_set(filter, attributes[i].attribute, attributes[i].value);
	return result;
}

bool confine_filter(struct confinement *confinement, struct error *error)
{
	if (!catch_forbidden(error))
		return false;
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_TRAP);
	if (filter == NULL)
		return error_set(error, ERROR_HOST, "out of memory for the filter of system calls");
	int result = set_attributes(filter);
	if (result == 0)
		result = fill(filter, confinement->features);
	if (result == 0)
		result = seccomp_load(filter);
	seccomp_release(filter);
	if (result != 0)
		return error_set(error, ERROR_HOST,
				 "the host refused the filter of system calls: %s; --confine off runs without it",
				 strerror(-result));
	confinement->parts |= 1u << CONFINE_SYSTEM_CALLS | 1u << CONFINE_NO_NEW_PRIVILEGES;
	return true;
}
