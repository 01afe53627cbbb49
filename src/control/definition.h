/* SPDX-License-Identifier: MIT */
/*
 * A guest's definition: one JSON object in a file, whose keys are the long options of `nfold create`. docs/host.md
 * describes it.
 *
 * Theory of operation. The file's keys and values become the words of a command line, one for one, and are parsed by
 * the option table: so a file can say nothing that options cannot, and the messages are the same. They begin with the
 * file's name, line and column. Relative names of files become absolute: those in a file are relative to its folder.
 */
#ifndef NFOLD_CONTROL_DEFINITION_H
#define NFOLD_CONTROL_DEFINITION_H

#include <jansson.h>

#include "control/amount.h"
#include "control/guest_options.h"

#define DEFINITION_SIZE_MAX (64u << 10)
#define DEFINITION_SUFFIX ".json"

/* What the host does for the guest. `nfold run` has no use for it. */
struct host_options {
	uint64_t shares;
	const char *reservation; /* amounts; NULL: none */
	const char *limit;
	const char *affinity; /* NULL: all processors */
	bool dedicated;
	const char *coscheduling;
	uint64_t skew_ms;
	const char *idle_detection;
	bool autostart;
	uint64_t start_order;
	const char *restart;
	uint64_t stop_timeout;
};

struct definition_options {
	struct guest_options guest;
	struct host_options host;
};

/* The host's options, and behind them guest_option_table. */
extern const struct option definition_option_table[];

enum definition_restart { RESTART_NEVER, RESTART_ON_FAILURE, RESTART_ALWAYS };
enum definition_coscheduling { COSCHEDULING_NONE, COSCHEDULING_RELAXED, COSCHEDULING_STRICT };

/* The host's options, taken apart. Amounts are millionths of a processor. */
struct host_policy {
	uint32_t shares;
	uint64_t reservation;
	uint64_t limit; /* 0: none */
	struct processor_set affinity;
	bool dedicated, idle_detection;
	enum definition_coscheduling coscheduling;
	uint64_t skew_ns;
	enum definition_restart restart;
};

struct definition {
	json_t *object;			   /* file names are absolute in it */
	struct definition_options options; /* strings belong to `word` */
	char **word;
	unsigned words, guest_words; /* the first guest_words are nfold-vm's, but for --name */
};

/*
 * Each fills *definition, to be freed, or fails with a line that says where. `label` stands before line and column in
 * messages; `folder` is the absolute one that file names are relative to.
 */
bool definition_parse(struct definition *definition, const char *label, const char *folder, const char *text,
		      size_t size, struct error *error);
bool definition_read(struct definition *definition, const char *path, struct error *error);
/* The same for the guest `name` of the host, which cannot have everything. The label is its file's name. */
bool definition_parse_for(struct definition *definition, const char *name, const char *folder, const char *text,
			  size_t size, struct error *error);
bool definition_fits_host(const char *name, const struct definition_options *options, struct error *error);
void definition_free(struct definition *definition);

/* The whole file, allocated. NULL with the error. Reads no devices or pipes, and nothing that is no definition. */
char *definition_file_text(const char *path, size_t *size, struct error *error);
/* As the file has it, allocated. NULL: out of memory. */
char *definition_text(const json_t *object);

/* The object that says what these options of definition_option_table do; NULL with the error. */
json_t *definition_from_given(const struct option_rest *rest, const char *folder, struct error *error);

/* What can be judged from the values alone and the size of the host, of the host's options. */
bool host_options_check(const struct definition_options *options, struct host_policy *policy, struct error *error);

/* Whether `path` is meant to be a definition's: it ends in .json. */
bool definition_is_path(const char *path);

#endif
