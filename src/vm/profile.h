/* SPDX-License-Identifier: MIT */
/* The method guest.profile. docs/control-protocol.md has its fields. */
#ifndef NFOLD_VM_PROFILE_H
#define NFOLD_VM_PROFILE_H

#include "vm/methods.h"

json_t *guest_profile(struct method_context *context, json_t *params, struct method_error *error);

#endif
