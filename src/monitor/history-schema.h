/* SPDX-License-Identifier: MIT */
/* The tables of docs/history.md, and the statements that fill them. */
#ifndef NFOLD_MONITOR_HISTORY_SCHEMA_H
#define NFOLD_MONITOR_HISTORY_SCHEMA_H

#define HISTORY_APPLICATION 1852204136 /* "nfdh" */
#define HISTORY_VERSION 1

extern const char history_schema[];

enum history_statement {
	INSERT_READING,
	INSERT_HOST,
	INSERT_GUEST,
	FIND_GUEST,
	INSERT_DISK,
	INSERT_NETWORK,
	INSERT_VCPU_SAMPLE,
	INSERT_GUEST_SAMPLE,
	INSERT_DISK_SAMPLE,
	INSERT_NETWORK_SAMPLE,
	INSERT_DELAY_SAMPLE,
	DROP_READINGS,
	DROP_GUESTS,
	STATEMENT_COUNT
};

extern const char *const history_sql[STATEMENT_COUNT];

#endif
