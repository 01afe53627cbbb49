/* SPDX-License-Identifier: MIT */
/* JSON-RPC 2.0: requests to answers, as text. Knows no sockets. */
#ifndef NFOLD_VM_RPC_H
#define NFOLD_VM_RPC_H

#include <stddef.h>

#include "vm/methods.h"

/* Serves one request, notification or batch. Returns the answer's text, allocated, or NULL when none is due. */
char *rpc_answer(struct method_context *context, const char *text, size_t size);

/* The answer to a request longer than `limit` bytes. */
char *rpc_too_long(size_t limit);

#endif
