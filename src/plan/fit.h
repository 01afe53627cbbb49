/* SPDX-License-Identifier: MIT */
/*
 * Fitting: which guest goes to which host, so that few hosts are needed. docs/planner.md has the model.
 *
 * fit_make packs, fit_check says from the demand itself whether a placement keeps every rule. They share no code but
 * the structures below.
 */
#ifndef NFOLD_PLAN_FIT_H
#define NFOLD_PLAN_FIT_H

#include "plan/demand.h"

#define FIT_NONE UINT32_MAX
#define FIT_CLASSES_MAX 16

/* A kind of host. Capacities are what guests may use: headroom and the host's own use are already taken off. */
struct fit_class {
	const char *name;
	double capacity[RESOURCE_COUNT]; /* 0: the resource is not looked at; the same resources in every class */
	unsigned limit;			 /* how many there are; 0: as many as needed */
	double cost;			 /* of one, > 0; what is minimised is the sum over the hosts in use */
};

/* Guests that must (affinity) or must not (anti-affinity) share a host. */
struct fit_group {
	const char *name;
	const unsigned *guest;
	unsigned count;
	bool apart;
};

/* A host that exists: guests can be pinned to it or run there now. */
struct fit_site {
	const char *name;
	unsigned host_class;
};

struct fit_task {
	const struct demand *demand;
	const struct fit_class *host_class;
	unsigned classes;
	const struct fit_group *group;
	unsigned groups;
	const struct fit_site *site;
	unsigned sites;
	const unsigned *pin;		/* by guest, a site or FIT_NONE; NULL: none is pinned */
	const unsigned *now;		/* by guest, the site it runs on or FIT_NONE; NULL: a new estate */
	const uint32_t *classes_barred; /* by guest, a bit for each class it must not run on; NULL: none */
	double percentile;		/* 100: every sample; 99: each resource of a host may be over in 1 % of them */
	unsigned spares;		/* hosts that may fail at the same time */
	unsigned steps;			/* of local search; the result depends on it and not on time */
	unsigned threads;		/* the result does not depend on it */
	bool balance;			/* level the hosts' peaks when their number is settled */
	bool keep;			/* move only what must be moved */
};

struct fit_host {
	const char *name; /* of its site, or NULL */
	unsigned host_class;
	unsigned *guest;
	unsigned guests;
	bool spare; /* left empty for the guests of a host that fails */
};

/* Which argument proved the lower bound. */
enum fit_proof { FIT_PROOF_SUM, FIT_PROOF_BIG, FIT_PROOF_APART, FIT_PROOF_SETS, FIT_PROOF_EXACT, FIT_PROOF_COUNT };

struct fit_bound {
	unsigned hosts; /* spares included */
	double cost;
	enum fit_proof proof;
	enum resource resource; /* where it binds */
	unsigned sample;
};

struct fit_plan {
	struct fit_host *host;
	unsigned hosts;
	unsigned *host_of; /* by guest */
	double cost;
	struct fit_bound bound;
	unsigned by_peaks; /* hosts by adding up each guest's peaks, packed as well as by time */
	unsigned moved;	   /* guests that do not stay where they ran */
	unsigned steps;	   /* of local search that were used */
};

/* NULL with an error that names the guest and the resource if there is no way. */
struct fit_plan *fit_make(const struct fit_task *task, struct error *error);
void fit_plan_free(struct fit_plan *plan);

/* Checks every rule of the task from the unrounded demand; false with an error that names what is broken. */
bool fit_check(const struct fit_task *task, const struct fit_plan *plan, struct error *error);

#endif
