/* SPDX-License-Identifier: MIT */
/*
 * The methods guest.ledger and guest.settle: for readers that map the ledger. docs/control-protocol.md has their
 * fields.
 */
#ifndef NFOLD_VM_LEDGER_H
#define NFOLD_VM_LEDGER_H

#include "vm/methods.h"

json_t *guest_ledger(struct method_context *context, json_t *params, struct method_error *error);
json_t *guest_settle(struct method_context *context, json_t *params, struct method_error *error);

#endif
