/* SPDX-License-Identifier: MIT */
/*
 * A debugger's way in: gdb's remote serial protocol ("Debugging with GDB", appendix E) over a socket.
 *
 * Theory of operation. Everything happens on the machine's event loop. gdb is in one of two states: the guest runs, and
 * gdb waits for a stop reply; or the guest is paused, and gdb asks. All vCPUs stop and go together (all-stop mode), and
 * are gdb's threads 1, 2 and so on. Breakpoints and watchpoints are the debugger's own (cpu/debugger.h): the guest's
 * memory and debug registers stay as they are. One gdb at a time; when it goes away its points go too and the guest
 * runs on.
 *
 * Trust. Whoever reaches the socket owns the guest: it is a Unix socket of the user's own, or listens on the address
 * that was given, by default the loopback.
 */
#ifndef NFOLD_VM_GDB_H
#define NFOLD_VM_GDB_H

#include <stdbool.h>

#include "base/error.h"
#include "control/guest_options.h"
#include "machine/machine.h"

struct gdb;

/* Listens, and joins the machine's event loop. With options->wait the guest starts when gdb lets it. */
struct gdb *gdb_create(const struct guest_gdb *options, struct machine *machine, struct error *error);
void gdb_destroy(struct gdb *gdb);

#endif
