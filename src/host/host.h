/* SPDX-License-Identifier: MIT */
/*
 * nfoldd: defines guests, starts and stops them, keeps what they say and why they ended.
 *
 * Theory of operation. One thread and one event loop do everything but the dispatching of processors and the answering
 * of those who read metrics; nothing in it waits for a guest. Guests are processes of their own session, which live on
 * when the host dies. So what runs is never read from a file: the lock on the guest's name in the runtime directory
 * says it (control/runtime.h), and a new host adopts those that it finds there. What is defined is a file for each
 * guest, read again when it has changed.
 *
 * A guest's states:
 *
 *   stopped --start--> starting --its process says it is ready--> running --stop--> stopping
 *      ^                  |                                          |                 |
 *      +------------------+------ the process ends (its pidfd) ------+-----------------+
 *
 * A stopped guest may have a time at which it is started again, by its restart policy. At each end the reason is kept:
 * what the process returned or what killed it, and its last message; for an adopted guest, whose parent we are not,
 * what it wrote into its status file.
 */
#ifndef NFOLD_HOST_HOST_H
#define NFOLD_HOST_HOST_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"
#include "control/client.h"
#include "control/definition.h"
#include "control/runtime.h"
#include "control/store.h"
#include "host/dispatcher.h"
#include "host/loop.h"

struct console;
struct server;
struct guest_call;
struct host_metrics;

enum guest_state { GUEST_STOPPED, GUEST_STARTING, GUEST_RUNNING, GUEST_STOPPING };

struct guest {
	struct host *host;
	struct guest *next; /* in the order of names */
	char name[NAME_LENGTH_MAX + 1];

	/* Its definition; without a file, it is only there until its process has ended. */
	bool defined;
	struct store_stamp stamp;
	struct definition definition; /* no object: the file is broken */
	struct host_policy policy;
	char problem[400]; /* why it is broken, or empty */

	/* Its process. */
	enum guest_state state;
	pid_t pid;
	int pidfd;    /* -1: none */
	bool child;   /* it is ours; else adopted */
	int ready_fd; /* -1: none */
	int64_t started_ms, kill_at_ms, tidy_at_ms;
	bool end_wanted;	       /* somebody asked for its end */
	bool killed;		       /* and we had to kill it */
	char refusal[400];	       /* why it would not stop, the last time */
	struct guest_call *call;       /* requests to it that have no answer yet */
	struct console *console;       /* or NULL */
	struct dispatched *dispatched; /* or NULL: it runs unscheduled */
	char unscheduled[400];	       /* why, or empty */
	unsigned scheduled_cpus;
	int token_fd, passed_fd; /* on their way: the page of run tokens; what came with the last answer. -1: none */

	/* What was, and what will be. */
	json_t *end; /* of its last run, or NULL */
	uint64_t starts;
	unsigned failures; /* in a row, each soon after the start */
	int64_t restart_at_ms;
	bool autostart_due;
};

struct host {
	struct host_loop loop;
	struct runtime runtime;
	struct store store;
	struct guest *guests;
	struct dispatcher *dispatcher; /* or NULL: guests run unscheduled */
	struct host_metrics *metrics;  /* or NULL: nobody wants them */
	int64_t started_ms;
	bool ending;	    /* the loop ends when it can */
	bool ending_guests; /* but first all guests do */
	/* Of the client whose request is served. */
	bool answers_unread;
	int answer_fd;
};

/* ---- guests (guests.c) ---- */

/* Reads what is defined and looks for what runs: after this, every guest there is has its struct. */
bool guests_refresh(struct host *host, struct error *error);
/* NULL: there is none. */
struct guest *guests_find(const struct host *host, const char *name);
/* Whether an object can be the definition of a guest of that name. Fills *definition, to be freed. */
bool guests_check(const char *name, const json_t *object, struct definition *definition, struct error *error);
/* Frees them all; their processes live on. */
void guests_forget(struct host *host);
/* Whether any process of a guest is still there. */
bool guests_any_active(const struct host *host);
/* The next guest that is to be started with the host, when those before it are. */
void guests_autostart(struct host *host);
/* Does what is due, and says when the next thing is. */
int64_t guests_work(struct host *host);

/* ---- one guest's life (guest.c) ---- */

bool guest_start(struct guest *guest, struct error *error);
/* Presses the power button; kills it `seconds` later. */
bool guest_stop(struct guest *guest, uint64_t seconds, struct error *error);
bool guest_kill(struct guest *guest, struct error *error);
/* Takes up a guest that runs already. */
void guest_adopt(struct guest *guest, pid_t owner);
/* Closes what we hold of its process, which lives on. */
void guest_let_go(struct guest *guest);
void guest_work(struct guest *guest, int64_t now);
int64_t guest_next(const struct guest *guest);
const char *guest_state_name(const struct guest *guest);

/* What is called with the answer to a request. A descriptor that came along is in guest->passed_fd, until it returns.
 */
typedef void guest_answered(struct guest *guest, enum client_state state, json_t *result, const struct error *error);
/* Asks the guest's process something, and waits for nothing. Takes over params. */
bool guest_ask(struct guest *guest, const char *method, json_t *params, guest_answered *done, struct error *error);

/* ---- its processors (schedule.c) ---- */

/* Whether the processors that its definition asks for are to be had. */
bool guest_admitted(const struct guest *guest, struct error *error);
/* It runs: the dispatcher lends it processors as soon as it answers. */
void guest_schedule(struct guest *guest);
void guest_unschedule(struct guest *guest);
/* Other amounts, while it runs. Refused: nothing has changed. */
bool guest_reschedule(struct guest *guest, const struct host_policy *to, struct error *error);

/* ---- its process (spawn.c) ---- */

/* Starts nfold-vm: fills pid, pidfd and ready_fd. */
bool guest_spawn(struct guest *guest, struct error *error);
/* Why it ended, as an object to be kept: {"reason", "status" or "signal", "at", "starts"}. */
json_t *guest_end_reason(const struct guest *guest);

/* ---- its serial port (console.c) ---- */

/* Connects to it and keeps what comes out. A guest whose serial port is elsewhere has none. */
void console_open(struct guest *guest);
void console_close(struct guest *guest);
/* The end of a socket that is the serial port from now on, until it is closed or the next one is asked for. -1 with the
 * error. */
int console_attach(struct guest *guest, struct error *error);

#endif
