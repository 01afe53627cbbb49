/* SPDX-License-Identifier: MIT */
#ifndef NFOLD_TESTS_CONFINED_ATTACKS_H
#define NFOLD_TESTS_CONFINED_ATTACKS_H

#include <stdbool.h>

/* Tries the attack of that name, and writes how it went. False: there is none of that name. */
bool confined_attack(const char *word, int out);

#endif
