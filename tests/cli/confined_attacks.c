/* SPDX-License-Identifier: MIT */
/*
 * What a guest that has taken over its process might try. Each attack returns true if it came through, and does no harm
 * then: the test sees the word "reached".
 */
#include "confined_attacks.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/io_uring.h>
#include <linux/prctl.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <termios.h>
#include <unistd.h>

static bool try_execve(void)
{
	char *words[] = {(char *)(uintptr_t) "true", NULL};
	(void)execve("/bin/true", words, words + 1);
	return errno == 0;
}

static bool try_open(void)
{
	return open("/etc/passwd", O_RDONLY | O_CLOEXEC) >= 0;
}

static bool try_create(void)
{
	return open("/tmp/nfold-attack", O_RDWR | O_CREAT | O_CLOEXEC, 0600) >= 0;
}

static bool try_open_resolver(void)
{
	return open("/etc/resolv.conf", O_RDONLY | O_CLOEXEC) >= 0;
}

static bool try_socket(void)
{
	return socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0) >= 0;
}

static bool try_raw_socket(void)
{
	return socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_ICMP) >= 0;
}

static bool try_unix_socket(void)
{
	return socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0) >= 0;
}

static bool try_connect(void)
{
	const struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = "/run/systemd/notify"};
	return connect(0, (const struct sockaddr *)&address, sizeof address) == 0 || errno != EPERM;
}

static bool try_ptrace(void)
{
	return ptrace(PTRACE_SEIZE, getppid(), NULL, NULL) == 0;
}

static bool try_read_memory(void)
{
	char byte;
	struct iovec to = {&byte, 1}, from = {(void *)(uintptr_t)0x400000, 1};
	return syscall(SYS_process_vm_readv, getppid(), &to, 1UL, &from, 1UL, 0UL) >= 0 || errno != EPERM;
}

static bool try_fork(void)
{
	long child = syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
	if (child == 0)
		_exit(0);
	return child > 0;
}

static bool try_vfork(void)
{
	return vfork() >= 0;
}

static bool try_kill(void)
{
	return kill(getppid(), 0) == 0;
}

static bool try_tgkill(void)
{
	return syscall(SYS_tgkill, getppid(), getppid(), 0) == 0;
}

static bool try_signal_by_descriptor(void)
{
	int fd = (int)syscall(SYS_pidfd_open, getppid(), 0);
	return fd >= 0;
}

static bool try_mount(void)
{
	return mount("none", "/", "tmpfs", 0, NULL) == 0;
}

static bool try_unshare(void)
{
	return unshare(CLONE_NEWUSER) == 0;
}

static bool try_exec_pages(void)
{
	return mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED;
}

static bool try_exec_protect(void)
{
	void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	return page != MAP_FAILED && mprotect(page, 4096, PROT_READ | PROT_WRITE | PROT_EXEC) == 0;
}

/* What is above the 32 bits of a flags argument is not to hide what is in them. */
static bool try_hidden_bits(void)
{
	return syscall(SYS_socket, (long)AF_INET | 1L << 32, SOCK_STREAM, 0) >= 0;
}

static bool try_signal_handler(void)
{
	return signal(SIGSYS, SIG_IGN) != SIG_ERR;
}

static bool try_second_ring(void)
{
	struct io_uring_params parameters = {0};
	return syscall(SYS_io_uring_setup, 4, &parameters) >= 0;
}

/* Linux once let this put a command into the shell's input. */
static bool try_terminal_input(void)
{
	return ioctl(0, TIOCSTI, "x") == 0 || errno == ENOTTY;
}

static bool try_capability(void)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct all[2] = {{~0u, ~0u, 0}, {~0u, ~0u, 0}};
	return syscall(SYS_capset, &header, all) == 0;
}

/* After what the filter lets be seen: there is no way past the root by "..". */
static bool try_climb(void)
{
	return unlinkat(AT_FDCWD, "../../../../../../../etc/nfold-attack", 0) == 0 || errno != ENOENT;
}

static const struct {
	const char *word;
	bool (*attack)(void);
} attacks[] = {{"execve", try_execve},
	       {"open", try_open},
	       {"create", try_create},
	       {"resolver", try_open_resolver},
	       {"socket", try_socket},
	       {"raw-socket", try_raw_socket},
	       {"unix-socket", try_unix_socket},
	       {"connect", try_connect},
	       {"ptrace", try_ptrace},
	       {"read-memory", try_read_memory},
	       {"fork", try_fork},
	       {"vfork", try_vfork},
	       {"kill", try_kill},
	       {"tgkill", try_tgkill},
	       {"pidfd", try_signal_by_descriptor},
	       {"mount", try_mount},
	       {"unshare", try_unshare},
	       {"exec-pages", try_exec_pages},
	       {"exec-protect", try_exec_protect},
	       {"hidden-bits", try_hidden_bits},
	       {"signal-handler", try_signal_handler},
	       {"second-ring", try_second_ring},
	       {"terminal-input", try_terminal_input},
	       {"capability", try_capability},
	       {"climb", try_climb}};

bool confined_attack(const char *word, int out)
{
	for (size_t i = 0; i < sizeof attacks / sizeof attacks[0]; i++) {
		if (strcmp(attacks[i].word, word) != 0)
			continue;
		errno = 0;
		bool reached = attacks[i].attack();
		(void)dprintf(out, "%s: %s\n", word, reached ? "reached" : strerrorname_np(errno));
		return true;
	}
	return false;
}
