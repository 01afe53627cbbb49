/* SPDX-License-Identifier: MIT */
/*
 * Whether /dev/kvm can run a guest's kernel at speed.
 *
 * That the device opens says little: inside virtual machines and sandboxes there are KVMs that emulate every privileged
 * instruction, or every instruction at ring 0, and are thousands of times slower than the processor. So the probe runs
 * a loop in 64-bit mode at ring 0 and compares it with the same loop run natively. It does so in a child process with a
 * time limit, because a bad KVM may never come back from KVM_RUN.
 */
#ifndef NFOLD_KVM_PROBE_H
#define NFOLD_KVM_PROBE_H

enum kvm_verdict {
	KVM_ABSENT,    /* there is no /dev/kvm */
	KVM_NO_ACCESS, /* it cannot be opened */
	KVM_BROKEN,    /* it cannot create or run a virtual processor */
	KVM_TOO_SLOW,  /* it runs ring 0, `slowdown` times slower than the processor */
	KVM_USABLE,
};

#define KVM_SLOWDOWN_LIMIT 8.0

struct kvm_probe {
	enum kvm_verdict verdict;
	double slowdown; /* KVM_TOO_SLOW (at least) and KVM_USABLE */
	char text[160];	 /* one line for a person */
};

/* Takes under two seconds, whatever the device does. */
void kvm_probe_run(struct kvm_probe *probe);

/* For tests: as kvm_probe_run, with another device. */
void kvm_probe_device(struct kvm_probe *probe, const char *device);

#endif
