/* SPDX-License-Identifier: MIT */
/* The dispatcher's state. Internal to src/host/dispatcher*.c; all with the dispatcher's lock held. */
#ifndef NFOLD_HOST_DISPATCHER_IMPL_H
#define NFOLD_HOST_DISPATCHER_IMPL_H

#include <pthread.h>

#include "host/dispatcher.h"
#include "ledger/token.h"

#define NO_PLACE UINT32_MAX
#define NAME_SIZE 64
/* A doorbell that rings more often than so many times in so long is not listened to for the rest of it. */
#define RINGS_MAX 50
#define RINGS_WINDOW_NS UINT64_C(1000000)

/* A vCPU, and the token that it has. */
struct lent {
	struct dispatched *guest;
	struct token_vcpu *shared;
	unsigned index;
	uint32_t token; /* as published */
	bool awake;	/* as sched was told */
	bool out;	/* a token to run was published, and is not back */
	bool asked;	/* it was taken back */
	bool late;	/* it is not waited for any longer */
	unsigned place; /* that it is for */
	uint64_t asked_at;
	unsigned waits_for; /* the place that it gets next; NO_PLACE: none */
	uint32_t bound;	    /* the processor to which its thread was bound here, plus 1; 0: to none */
};

/* A processor. */
struct place {
	uint32_t number;     /* Linux's */
	struct lent *holder; /* whose token is out, and not late */
	struct lent *next;   /* whom sched chose; NULL: nobody */
};

struct dispatched {
	struct dispatcher *dispatcher;
	char name[NAME_SIZE];
	unsigned slot;
	struct token_page *page;
	int token_fd, doorbell, tasks_fd;
	struct sched_guest_policy policy;
	struct sched_guest *sched;
	uint64_t window_begin; /* of counting rings */
	unsigned rings;
	bool muted;
	uint64_t late, mutes;
	struct lent vcpu[LEDGER_MAX_VCPUS];
};

/* Guests are found by number: an event may come for one that has been removed meanwhile. */
struct slot {
	struct dispatched *guest; /* NULL: free */
	uint32_t generation;
};

struct dispatcher {
	pthread_mutex_t mutex;
	pthread_t thread;
	bool thread_made, stop;
	int epoll_fd, poke_fd;
	struct sched *sched;
	struct sched_set kicks;
	unsigned places;
	unsigned asked, muted; /* tokens that are waited for; guests that are not listened to */
	struct slot *slot;
	unsigned slots, guests;
	uint64_t lease_until, created;
	struct dispatcher_report report;
	struct place place[SCHED_PROCESSORS_MAX];
};

/* dispatcher-tokens.c */
/* Tells sched what the guest's vCPUs want, and takes note of tokens that came back. */
void tokens_look(struct dispatched *guest, uint64_t now);
/* Carries out what sched decides anew. */
void tokens_settle(struct dispatcher *dispatcher, uint64_t now);
/* Waits no longer for those that are late. Returns when to look again. */
uint64_t tokens_overdue(struct dispatcher *dispatcher, uint64_t now);
/* All the guest's tokens are other ones from now on, and none is out. */
void tokens_attach(struct dispatched *guest);
/* Lets the guest run by itself. */
void tokens_release(struct dispatched *guest);

#endif
