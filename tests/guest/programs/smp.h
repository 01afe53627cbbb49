/* SPDX-License-Identifier: MIT */
/* What the parts of the smp program share. */
#ifndef SMP_H
#define SMP_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define MAX 8
#define PAGE 4096

extern int processors;
extern double budget;	   /* seconds for a case */
extern double deadline;	   /* of the case that runs */
extern uint64_t done[MAX]; /* what each thread counted */
extern atomic_bool stop;

double now(void);
/* `format` is NULL when the case is right. */
void report(const char *name, const char *format, ...);
/* Runs it in so many threads, one on each processor. */
void run_on(int count, void (*run)(int index));
/* All `count` threads wait for each other. */
void barrier(int count);
uint64_t total(void); /* of done[] */

static inline void relax(void)
{
	__builtin_ia32_pause();
}

void case_locked(void);		 /* smp-memory.c */
void case_litmus(bool together); /* smp-litmus.c */
void case_shootdown(void);	 /* smp-code.c */
void case_code(void);

#endif
