/* SPDX-License-Identifier: MIT */
/* SYSCALL and SYSRET, SYSENTER and SYSEXIT, SWAPGS, FSGSBASE, segment bases. */
#include "guest.h"

static word saved_sp __attribute__((used));

#ifdef __x86_64__
/* The kernel's side: keeps what it was given in R8-R15, and ends the run. */
FRAGMENT(
    entry_note,
    "mov %rcx, %r8\n mov %r11, %r9\n pushfq\n pop %r10\n mov %cs, %r12d\n mov %ss, %r13d\n mov %rsp, %r14\n int $0x80");
FRAGMENT(entry_sysret, "sysretq");
FRAGMENT(user_syscall, "mov $0x1111, %ecx\n mov $0x2222, %r11d\n syscall\n nop");
FRAGMENT(user_syscall_flags, "pushq $0xed7\n popfq\n syscall\n nop");
FRAGMENT(user_round, "syscall\n pushfq\n pop %rax\n mov %cs, %edx\n mov %ss, %ebx");
FRAGMENT(user_round_tf, "mov %rsp, %r15\n pushfq\n orq $0x100, (%rsp)\n popfq\n syscall\n nop\n nop\n pushfq\n andq "
			"$~0x100, (%rsp)\n popfq\n nop");
FRAGMENT(kernel_sysret, "mov $landing, %ecx\n mov $0x3c0fd7 & ~0x100 & ~0x20000, %r11d\n sysretq");
FRAGMENT(kernel_sysret32, "mov $landing32, %ecx\n mov $2, %r11d\n sysretl");
FRAGMENT(landing, "pushfq\n pop %rax\n mov %cs, %edx\n mov %ss, %ebx\n int $0x80");
FRAGMENT(landing32, ".code32\n mov %cs, %edx\n mov %ss, %ebx\n mov $0x11223344, %eax\n inc %eax\n int $0x80\n .code64");
FRAGMENT(do_swapgs, "swapgs\n mov %gs:0, %eax\n swapgs");
FRAGMENT(user_swapgs, "swapgs");
FRAGMENT(lock_syscall, ".byte 0xf0, 0x0f, 0x05");
FRAGMENT(read_gs, "mov %gs:8, %rax");
FRAGMENT(read_fs_ds, "mov %fs:(%rbx), %rax\n mov %ds:(%rbx), %rdx");
FRAGMENT(rdfsbase64, "rdfsbase %rax");
FRAGMENT(rdgsbase32, "mov $-1, %rax\n rdgsbase %eax");
FRAGMENT(wrfsbase64, "wrfsbase %rax");
FRAGMENT(wrgsbase32, "wrgsbase %eax");
FRAGMENT(wrfsbase_bad, "mov $0x800000000000, %rax\n wrfsbase %rax");
FRAGMENT(load_fs, "mov %eax, %fs");
FRAGMENT(load_gs, "mov %eax, %gs");

static uint64_t words[8] __attribute__((aligned(64)));
static uint64_t steps[8];
static unsigned step_count;

static bool on_step(struct frame *frame)
{
	if (frame->vector != 1)
		return false;
	if (step_count < 8)
		steps[step_count] = frame->ip;
	step_count++;
	return step_count < 32;
}

static void notes(const char *group, code_function *code)
{
	fact_of(group, "vector", trap.vector);
	fact_of(group, "rcx", regs.r8 - (word)code < 256 ? regs.r8 - (word)code : regs.r8);
	fact_of(group, "r11", regs.r9);
	fact_of(group, "flags", regs.r10);
	fact_of(group, "cs", regs.r12);
	fact_of(group, "ss", regs.r13 & 0xffff);
	check(group, regs.r14 == (word)user_stack_top - 8); /* SYSCALL leaves RSP alone */
}

static void syscalls(void)
{
	write_msr(MSR_STAR, (uint64_t)0x1b << 48 | (uint64_t)KERNEL_CODE << 32);
	write_msr(MSR_LSTAR, (word)entry_note);
	write_msr(MSR_SFMASK, 0);
	write_msr(MSR_EFER, read_msr(MSR_EFER) & ~EFER_SCE);
	outcome_user("sce_off", user_syscall);
	write_msr(MSR_EFER, read_msr(MSR_EFER) | EFER_SCE);
	run_user(user_syscall);
	notes("syscall", user_syscall);
	run_user(user_syscall_flags);
	notes("syscall_flags", user_syscall_flags);
	write_msr(MSR_SFMASK, 0x47700);
	run_user(user_syscall_flags);
	notes("sfmask", user_syscall_flags);
	fact("sfmask.value", read_msr(MSR_SFMASK));
	outcome_user("syscall.locked", lock_syscall);

	write_msr(MSR_LSTAR, (word)entry_sysret);
	run_flags = 0x246;
	run_user(user_round);
	fact("round.vector", trap.vector);
	fact("round.flags", regs.ax);
	fact("round.cs", regs.dx & 0xffff);
	fact("round.ss", regs.bx & 0xffff);
	run_flags = RUN_FLAGS_NONE;
	run(kernel_sysret);
	fact("sysret.vector", trap.vector);
	fact("sysret.flags", regs.ax);
	fact("sysret.cs", regs.dx & 0xffff);
	fact("sysret.ss", regs.bx & 0xffff);
	fact("sysret.trap_cs", trap.cs);
	run(kernel_sysret32);
	fact("sysret32.vector", trap.vector);
	fact("sysret32.ax", regs.ax);
	fact("sysret32.cs", regs.dx & 0xffff);
	fact("sysret32.ss", regs.bx & 0xffff);
	outcome_user("sysret.user", entry_sysret);
	/* Single-step through a system call whose mask clears TF. */
	trap_hook = on_step;
	step_count = 0;
	run_user(user_round_tf);
	trap_hook = NULL;
	fact("step.count", step_count);
	for (unsigned i = 0; i < step_count && i < 8; i++) {
		char name[] = "step.0";
		name[5] = (char)('0' + i);
		fact(name, steps[i] - (word)user_round_tf < 256 ? steps[i] - (word)user_round_tf : 0xffff);
	}
}

static void gs_bases(void)
{
	for (unsigned i = 0; i < 8; i++)
		words[i] = 0x1000 + i;
	write_msr(MSR_GS_BASE, (word)words);
	write_msr(MSR_KERNEL_GS_BASE, (word)(words + 4));
	run(do_swapgs);
	fact("swapgs.read", regs.ax & 0xffffffff);
	fact("swapgs.back", read_msr(MSR_GS_BASE) - (word)words);
	fact("swapgs.kernel", read_msr(MSR_KERNEL_GS_BASE) - (word)words);
	outcome_user("swapgs.user", user_swapgs);
	run_user(read_gs);
	fact("gs.user_read", regs.ax);
	write_msr(MSR_FS_BASE, (word)-16);
	regs.bx = (word)words + 24;
	run(read_fs_ds);
	fact("fs.negative", regs.ax);
	fact("fs.ds_ignored", regs.dx);
	/* A selector load takes the descriptor's 32-bit base. */
	gdt_set(FREE_SELECTOR, descriptor((uint32_t)(word)words, 0xfffff, 0xf3, 0xc));
	regs.ax = FREE_SELECTOR | 3;
	run(load_fs);
	fact("fs.loaded_base", read_msr(MSR_FS_BASE) - (word)words);
	write_msr(MSR_GS_BASE, 0x7fff12345678);
	regs.ax = FREE_SELECTOR;
	run(load_gs);
	fact("gs.loaded_base", read_msr(MSR_GS_BASE) - (word)words);
	regs.ax = 0;
	run(load_gs);
	write_msr(MSR_GS_BASE, 0);
	regs.ax = 0;
	run(load_fs);
	write_msr(MSR_FS_BASE, 0);
}

static void fsgsbase(void)
{
	outcome("fsgsbase_off.rd", rdfsbase64);
	if (!cpu_has(HAS_FSGSBASE)) {
		absent("fsgsbase");
		return;
	}
	write_cr4(read_cr4() | CR4_FSGSBASE);
	regs.ax = 0x7fffdeadb000;
	run_user(wrfsbase64);
	fact("fsgsbase.written", read_msr(MSR_FS_BASE));
	regs.ax = 0;
	run_user(rdfsbase64);
	fact("fsgsbase.read", regs.ax);
	write_msr(MSR_GS_BASE, 0x7fff12345678);
	run_user(rdgsbase32);
	fact("fsgsbase.read_32", regs.ax);
	regs.ax = 0xffffffff87654321;
	run(wrgsbase32);
	fact("fsgsbase.written_32", read_msr(MSR_GS_BASE));
	outcome_user("fsgsbase.non_canonical", wrfsbase_bad);
	write_cr4(read_cr4() & ~CR4_FSGSBASE);
	write_msr(MSR_FS_BASE, 0);
	write_msr(MSR_GS_BASE, 0);
}

FRAGMENT(sysenter_user, "mov %rsp, saved_sp\n sysenter\n nop");
FRAGMENT(sysenter_entry, "mov %rsp, %r14\n pushfq\n pop %r10\n mov %cs, %r12d\n mov %ss, %r13d\n int $0x80");
FRAGMENT(sysexit_64, "mov $landing, %edx\n mov saved_sp, %rcx\n rex.W sysexit");
FRAGMENT(sysexit_32, "mov $landing32, %edx\n mov saved_sp, %rcx\n sysexitl");

static void sysenter(void)
{
	struct cpuid zero = cpuid(0, 0);

	/* AMD's processors have no SYSENTER in long mode (APM 3). */
	if (zero.ebx != 0x756e6547 || !cpu_has(HAS_SEP)) {
		absent("sysenter");
		return;
	}
	write_msr(MSR_SYSENTER_CS, 0);
	outcome_user("sysenter.no_cs", sysenter_user);
	write_msr(MSR_SYSENTER_CS, KERNEL_CODE);
	write_msr(MSR_SYSENTER_ESP, (word)trap_stack_top - 256);
	write_msr(MSR_SYSENTER_EIP, (word)sysenter_entry);
	run_flags = 0x246;
	run_user(sysenter_user);
	fact("sysenter.vector", trap.vector);
	fact("sysenter.flags", regs.r10);
	fact("sysenter.cs", regs.r12);
	fact("sysenter.ss", regs.r13 & 0xffff);
	fact("sysenter.rsp", (word)trap_stack_top - regs.r14);
	run_flags = RUN_FLAGS_NONE;
	saved_sp = (word)user_stack_top;
	run(sysexit_64);
	fact("sysenter.exit_vector", trap.vector);
	fact("sysenter.exit_cs", regs.dx & 0xffff);
	fact("sysenter.exit_ss", regs.bx & 0xffff);
	run(sysexit_32);
	fact("sysenter.exit32_cs", regs.dx & 0xffff);
	fact("sysenter.exit32_ss", regs.bx & 0xffff);
	fact("sysenter.exit32_ax", regs.ax);
	outcome_user("sysenter.exit_user", sysexit_64);
}

void guest_main(void)
{
	syscalls();
	gs_bases();
	fsgsbase();
	sysenter();
}
#else
FRAGMENT(sysenter_user, "sysenter\n nop");
FRAGMENT(sysenter_entry, "mov %esp, %esi\n pushf\n pop %edi\n mov %cs, %eax\n mov %ss, %ebx\n int $0x80");
FRAGMENT(sysexit_code, "mov $landing, %edx\n mov saved_sp, %ecx\n sysexit");
FRAGMENT(landing, "mov %cs, %eax\n mov %ss, %ebx\n mov %esp, %esi\n int $0x80");
FRAGMENT(syscall_32, "syscall");

void guest_main(void)
{
	write_msr(MSR_SYSENTER_CS, 0);
	outcome_user("sysenter.no_cs", sysenter_user);
	outcome("sysexit.no_cs", sysexit_code);
	write_msr(MSR_SYSENTER_CS, KERNEL_CODE);
	write_msr(MSR_SYSENTER_ESP, (word)trap_stack_top - 256);
	write_msr(MSR_SYSENTER_EIP, (word)sysenter_entry);
	run_flags = 0x246;
	run_user(sysenter_user);
	run_flags = RUN_FLAGS_NONE;
	fact("sysenter.vector", trap.vector);
	fact("sysenter.flags", regs.di);
	fact("sysenter.cs", regs.ax & 0xffff);
	fact("sysenter.ss", regs.bx & 0xffff);
	fact("sysenter.sp", (word)trap_stack_top - regs.si);
	run(sysenter_user);
	fact("sysenter.from_kernel", regs.ax & 0xffff);
	saved_sp = (word)user_stack_top - 32;
	run(sysexit_code);
	fact("sysexit.vector", trap.vector);
	fact("sysexit.cs", regs.ax & 0xffff);
	fact("sysexit.ss", regs.bx & 0xffff);
	fact("sysexit.sp", (word)user_stack_top - regs.si);
	fact("sysexit.trap_cs", trap.cs);
	outcome_user("sysexit.user", sysexit_code);
	outcome_user("syscall.sce_off", syscall_32);
}
#endif
