/* SPDX-License-Identifier: MIT */
/* The stub's parts. Internal to gdb*.c: gdb.c moves packets, gdb-commands.c knows what they mean. */
#ifndef NFOLD_VM_GDB_IMPL_H
#define NFOLD_VM_GDB_IMPL_H

#include <stdio.h>

#include "cpu/debugger.h"
#include "vm/gdb-registers.h"
#include "vm/gdb.h"

#define GDB_PACKET_MAX 0x4000 /* bytes between $ and #, as PacketSize says */
#define GDB_OUT_MAX (4 * GDB_PACKET_MAX)

struct gdb {
	struct machine *machine;
	const struct gdb_registers *registers;
	struct debugger points;
	int listener, fd; /* fd -1: nobody is connected */
	char path[108];	  /* of a Unix socket, to be removed; "": none */
	uint32_t events;  /* that fd is watched for */

	/* framing */
	size_t in_used;
	char in[2 * GDB_PACKET_MAX];
	size_t out_used, out_sent;
	char out[GDB_OUT_MAX];
	bool no_ack;

	/* the session */
	bool waiting;	  /* the guest runs, and gdb waits for a stop reply */
	bool interrupted; /* by gdb itself */
	bool closing;	  /* the connection ends when `out` is empty */
	unsigned thread;  /* vCPU that g, m and their like are about, from 0 */
	unsigned current; /* that stopped last */
};

/* gdb.c */
void gdb_reply(struct gdb *gdb, const char *text, size_t size);

/* gdb-commands.c. One packet's contents, ended by a zero byte. */
void gdb_command(struct gdb *gdb, char *packet, size_t size);
/* The guest has stopped: tells gdb if it waits. */
void gdb_tell_stop(struct gdb *gdb);
/* Ends debugging: no points, the guest runs. */
void gdb_let_go(struct gdb *gdb);

#endif
