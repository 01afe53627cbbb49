/* SPDX-License-Identifier: MIT */
/*
 * The rules of a fit, read from a JSON file:
 *
 *	{ "together": [["app1", "db1"]], "apart": [["dc1", "dc2"], ["web*"]], "sites": {"rack1-07": "big"},
 *	  "pin": {"lic*": "rack1-07"}, "now": {"app1": "rack1-07"}, "barred": {"db*": ["small"]} }
 *
 * Guests are shell patterns (glob(7)); each must match a guest, so that a slip does not go unseen.
 */
#ifndef NFOLD_PLAN_RULES_H
#define NFOLD_PLAN_RULES_H

#include "plan/fit.h"

struct rules;

/* Fills the task's groups, sites, pin, now and classes_barred; its demand and classes are there already. What is filled
 * in belongs to the rules. */
struct rules *rules_load(struct fit_task *task, const char *path, struct error *error);
void rules_free(struct rules *rules);

#endif
