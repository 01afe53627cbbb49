/* SPDX-License-Identifier: MIT */
/*
 * A guest's screen in the terminal, with its keyboard.
 *
 * Theory of operation. The viewer is a client of the guest's control socket: it asks for the screen every POLL_MS, and
 * gets it only if it changed; keys are collected and sent in between. One request is under way at a time and nothing
 * waits for its answer, so that the escape key works however the guest's process is. ncurses draws, into a terminal
 * that the caller has put into raw mode and restores.
 */
#ifndef NFOLD_CLI_VIEWER_H
#define NFOLD_CLI_VIEWER_H

#include <stdbool.h>

#include "base/error.h"

struct viewer;

#define VIEWER_RESET_SIZE 128

/* Whether standard input and output are a terminal that can be drawn on. Then *reset is the text that, written to it,
 * sets it right if it was left without viewer_close(). */
bool viewer_terminal_check(char reset[VIEWER_RESET_SIZE], struct error *error);

struct viewer *viewer_open(const char *guest, struct error *error);
void viewer_close(struct viewer *viewer);

/* Gives the terminal back for a while, and takes it again. */
void viewer_suspend(struct viewer *viewer);
void viewer_resume(struct viewer *viewer);
void viewer_resize(struct viewer *viewer);

/* What to wait for: this descriptor becoming readable (-1: none), and no longer than this. Then viewer_step(). */
int viewer_fd(const struct viewer *viewer);
int viewer_wait_ms(const struct viewer *viewer);
void viewer_step(struct viewer *viewer);

/* Reads keys while there are some. Returns false at the escape key's q. */
bool viewer_read_keys(struct viewer *viewer);

#endif
