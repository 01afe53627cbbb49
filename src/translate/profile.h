/* SPDX-License-Identifier: MIT */
/* Sampling of where the vCPUs are; see profile.c. engine.h has what the machine calls. */
#ifndef NFOLD_TRANSLATE_PROFILE_H
#define NFOLD_TRANSLATE_PROFILE_H

#include "translate/block.h"

enum profile_state { PROFILE_DETACHED, PROFILE_READY, PROFILE_REFUSED };

/* By the vCPU's own thread. Without a timer, that vCPU is not sampled. */
void profile_attach(struct engine_vcpu *vcpu);
void profile_detach(struct engine_vcpu *vcpu);
/* After a sleep during which the timer was stopped (vcpu->profile_dozes). */
void profile_wake(struct engine_vcpu *vcpu);

/* The host's state when the timer interrupted the thread. */
struct profile_moment {
	uint64_t pc, stack;
};

/* In the signal handler of the vCPU's own thread. */
void profile_take(struct engine_vcpu *vcpu, const struct profile_moment *moment);

#endif
