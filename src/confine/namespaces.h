/* SPDX-License-Identifier: MIT */
#ifndef NFOLD_CONFINE_NAMESPACES_H
#define NFOLD_CONFINE_NAMESPACES_H

#include "confine/confine.h"

/* As far as the host allows. */
void namespaces_enter(struct confinement *confinement);

#endif
