/* SPDX-License-Identifier: MIT */
#ifndef NFOLD_CONFINE_PRIVILEGES_H
#define NFOLD_CONFINE_PRIVILEGES_H

#include "confine/confine.h"

/* Of the calling thread, and those that it makes. */
void privileges_drop(struct confinement *confinement);

#endif
