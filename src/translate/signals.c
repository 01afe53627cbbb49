/* SPDX-License-Identifier: MIT */
/*
 * Host signals: guest exceptions, and the timers of the profile and of the search for idle loops.
 *
 * A re-emitted instruction can fault for reasons of its own, not of memory: #DE, #MF, #XM, and #GP from misaligned
 * vector operands or a bad MXCSR. The host delivers them as signals on this thread. The handler accepts only PCs in the
 * code cache and the traps above; it finds the guest PC from the block's side table, records the exception and resumes
 * at the thunk that leaves translated code. Anything else is our bug: the default action ends the process.
 *
 * SIGPROF comes from the thread's own timers, at any instruction of translated code or C: while a profile is taken
 * (profile.c), and to ask for a look at the guest (idle.h). It is blocked while the other handler runs.
 *
 * A signal handler has no argument for its owner, so the vCPU of the thread is thread-local.
 */
#include "translate/signals.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

#include "translate/profile.h"

#define SIGNAL_STACK_SIZE ((size_t)128 << 10)

static _Thread_local struct engine_vcpu *attached;

static const int handled[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL};

struct engine_vcpu *signals_vcpu(void)
{
	return attached;
}

static bool record_exception(struct cpu *cpu, uint64_t trap)
{
	switch (trap) {
	case VECTOR_DE:
	case VECTOR_UD: /* the host refuses what the allow-list let through: the guest is told so */
	case VECTOR_MF:
		cpu_fault(cpu, (enum cpu_vector)trap);
		return true;
	case VECTOR_XM:
		cpu_fault(cpu, (cpu->mode & MODE_OSXMMEXCPT) != 0 ? VECTOR_XM : VECTOR_UD);
		return true;
	case VECTOR_GP:
		cpu_fault_code(cpu, VECTOR_GP, 0);
		return true;
	default:
		return false;
	}
}

/* RAX as LAHF and SETO AL would leave it. */
static greg_t saved_form(greg_t eflags)
{
	return (eflags & 0xff) << 8 | (eflags >> 11 & 1);
}

static bool become_guest_exception(struct engine_vcpu *vcpu, ucontext_t *context)
{
	greg_t *regs = context->uc_mcontext.gregs;
	struct engine *engine = vcpu->engine;
	uint64_t pc = (uint64_t)regs[REG_RIP];
	if (!code_cache_holds(&engine->cache, pc) || (uint64_t)regs[REG_RSP] != (uint64_t)(uintptr_t)vcpu)
		return false;
	const struct block *block = block_at(engine, pc);
	uint32_t offset = (uint32_t)(pc - (uint64_t)(uintptr_t)engine->cache.run);
	if (block == NULL || offset < block->entry)
		return false;
	unsigned number = block_insn_at(block, offset);
	const struct block_insn *insn = &block->insns[number];
	if (!record_exception(&vcpu->cpu, (uint64_t)regs[REG_TRAPNO]))
		return false;
	uint64_t rip = block->rip + insn->guest_offset;
	vcpu->cpu.rip = cpu_code64(&vcpu->cpu) ? rip : (uint32_t)rip;
	if (!insn->flags_saved)
		regs[REG_RAX] = saved_form(regs[REG_EFL]);
	vcpu->exit_code = EXIT_FAULT;
	vcpu->uncounted = block->insn_count - number;
	regs[REG_RIP] = (greg_t)(uintptr_t)engine->thunks.fault;
	cpu_count(&vcpu->cpu, LEDGER_COUNT_EXIT_SIGNAL);
	ledger_enter(vcpu->cpu.ledger, LEDGER_EXIT); /* translated code was interrupted: no transition was under way */
	return true;
}

/*
 * The process ends as by the default action, with a core. It is confined and cannot ask for that action: but Linux ends
 * a process whose own fault raises a signal that it blocks. An instruction that faulted does so again on return.
 */
static void on_signal(int number, siginfo_t *info, void *context)
{
	/* One that another process sent says nothing about the instruction, and its trap number is an old one. */
	bool by_instruction = info->si_code > 0;
	if (by_instruction && attached != NULL && become_guest_exception(attached, context))
		return;
	if (!by_instruction)
		__asm__ volatile("hlt"); /* all signals are blocked here; #GP ends the process as SIGSEGV does */
	sigaddset(&((ucontext_t *)context)->uc_sigmask, number);
}

static void on_profile(int number, siginfo_t *info, void *context)
{
	const greg_t *regs = ((const ucontext_t *)context)->uc_mcontext.gregs;
	(void)number;
	/* One that another process sent is none of ours. */
	if (info->si_code != SI_TIMER || attached == NULL)
		return;
	int saved = errno;
	if (info->si_value.sival_int == IDLE_SIGNAL_VALUE)
		idle_ask(attached);
	else
		profile_take(attached,
			     &(struct profile_moment){.pc = (uint64_t)regs[REG_RIP], .stack = (uint64_t)regs[REG_RSP]});
	errno = saved;
}

bool signals_install(struct error *error)
{
	struct sigaction action;
	memset(&action, 0, sizeof action);
	action.sa_sigaction = on_signal;
	action.sa_flags = SA_SIGINFO | SA_ONSTACK;
	sigfillset(&action.sa_mask);
	for (size_t i = 0; i < sizeof handled / sizeof handled[0]; i++) {
		if (sigaction(handled[i], &action, NULL) != 0)
			return error_set_errno(error, "cannot install the handler of signal %d", handled[i]);
	}
	action.sa_sigaction = on_profile;
	action.sa_flags |= SA_RESTART;
	if (sigaction(SIGPROF, &action, NULL) != 0)
		return error_set_errno(error, "cannot install the handler of signal %d", SIGPROF);
	return true;
}

static void block_other_signals(void)
{
	sigset_t set;
	sigfillset(&set);
	for (size_t i = 0; i < sizeof handled / sizeof handled[0]; i++)
		sigdelset(&set, handled[i]);
	sigdelset(&set, SIGTRAP);
	sigdelset(&set, SIGABRT);
	sigdelset(&set, SIGPROF);
	pthread_sigmask(SIG_SETMASK, &set, NULL);
}

bool engine_vcpu_attach(struct engine_vcpu *vcpu, struct error *error)
{
	void *stack = mmap(NULL, SIGNAL_STACK_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (stack == MAP_FAILED)
		return error_set_errno(error, "cannot map a signal stack");
	stack_t alternate = {.ss_sp = stack, .ss_size = SIGNAL_STACK_SIZE};
	if (sigaltstack(&alternate, NULL) != 0) {
		error_set_errno(error, "cannot set a signal stack");
		munmap(stack, SIGNAL_STACK_SIZE);
		return false;
	}
	block_other_signals();
	vcpu->signal_stack = stack;
	attached = vcpu;
	profile_attach(vcpu);
	idle_attach(vcpu);
	return true;
}

void engine_vcpu_detach(struct engine_vcpu *vcpu)
{
	stack_t none = {.ss_flags = SS_DISABLE};
	if (vcpu->signal_stack == NULL)
		return;
	idle_detach(vcpu);
	profile_detach(vcpu);
	attached = NULL;
	(void)sigaltstack(&none, NULL);
	munmap(vcpu->signal_stack, SIGNAL_STACK_SIZE);
	vcpu->signal_stack = NULL;
}
