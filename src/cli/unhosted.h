/* SPDX-License-Identifier: MIT */
/* What can be done with definitions while no host runs: their folder is read and changed by the command itself. */
#ifndef NFOLD_CLI_UNHOSTED_H
#define NFOLD_CLI_UNHOSTED_H

#include <jansson.h>

#include "base/error.h"

/* All that are defined, as the host's method host.guests has them. */
json_t *unhosted_guests(void);

/* Each does what the command of that name does, reports errors and returns the exit status. */
int unhosted_show(const char *name);
int unhosted_remove(const char *name);

/* Puts a text that has been checked in the place of the guest's definition. */
bool unhosted_define(const char *name, const char *text, size_t size, struct error *error);

#endif
