/* SPDX-License-Identifier: MIT */
/* What can be asked of the host: the methods of its control socket (docs/control-protocol.md). */
#ifndef NFOLD_HOST_METHODS_H
#define NFOLD_HOST_METHODS_H

#include "control/rpc.h"
#include "host/host.h"

struct method_context {
	struct host *host;
};

extern const struct method_table host_methods;

#endif
