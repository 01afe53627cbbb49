/* SPDX-License-Identifier: MIT */
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "plan/overhead.h"

const char *const overhead_key[OVERHEAD_FIGURE_COUNT] = {
#define X(field, key, unit, text) key,
    OVERHEAD_FIGURES(X)
#undef X
};

const char *const overhead_unit[OVERHEAD_FIGURE_COUNT] = {
#define X(field, key, unit, text) unit,
    OVERHEAD_FIGURES(X)
#undef X
};

const char *const overhead_text[OVERHEAD_FIGURE_COUNT] = {
#define X(field, key, unit, text) text,
    OVERHEAD_FIGURES(X)
#undef X
};

const char *const overhead_engines[] = {"native", "kvm", "translate", NULL};

struct row {
	double value;
	const char *source;
};

#define NOT_VIRTUAL "nothing is virtualized"
#define FRIEDMAN "Friedman, The Reality of Virtualization for Windows Servers, 2006"
#define ADAMS "Adams and Agesen, A Comparison of Software and Hardware Techniques, ASPLOS 2006"
#define ASSUMED "assumption"

static const struct row native[OVERHEAD_FIGURE_COUNT] = {
    [OVERHEAD_user] = {0, NOT_VIRTUAL},		[OVERHEAD_kernel] = {0, NOT_VIRTUAL},
    [OVERHEAD_interrupt] = {0, NOT_VIRTUAL},	[OVERHEAD_cycles_per_io] = {0, NOT_VIRTUAL},
    [OVERHEAD_guest_memory] = {0, NOT_VIRTUAL}, [OVERHEAD_memory_share] = {0, NOT_VIRTUAL},
    [OVERHEAD_host_memory] = {0, NOT_VIRTUAL},	[OVERHEAD_host_cpu] = {0, NOT_VIRTUAL},
    [OVERHEAD_kernel_assumed] = {0.2, ASSUMED}, [OVERHEAD_interrupt_assumed] = {0.02, ASSUMED},
};

static const struct row kvm[OVERHEAD_FIGURE_COUNT] = {
    [OVERHEAD_user] = {0.02, ASSUMED ": nested page tables lengthen TLB misses"},
    [OVERHEAD_kernel] = {0.15, ASSUMED ": exits of timers, interrupts and devices"},
    [OVERHEAD_interrupt] = {1, "two driver paths, about the native interrupt time once more: " FRIEDMAN},
    [OVERHEAD_cycles_per_io] = {0, "in the interrupt share"},
    [OVERHEAD_guest_memory] = {32, "32 MB a guest: " FRIEDMAN},
    [OVERHEAD_memory_share] = {0.004, "8 bytes of page table for a page of 4 KiB, the process's and the nested"},
    [OVERHEAD_host_memory] = {400, "400 MB a host: " FRIEDMAN},
    [OVERHEAD_host_cpu] = {0.01, ASSUMED},
    [OVERHEAD_kernel_assumed] = {0.2, ASSUMED},
    [OVERHEAD_interrupt_assumed] = {0.02, ASSUMED},
};

static const struct row translate[OVERHEAD_FIGURE_COUNT] = {
    [OVERHEAD_user] = {0.1, "a translator runs SPECint less than 10 % slower: " ADAMS},
    [OVERHEAD_kernel] = {1.5,
			 "a translator builds a kernel at 67 % of native speed, a third of it in the kernel: " ADAMS
			 "; " ASSUMED " of the third"},
    [OVERHEAD_interrupt] = {1, "two driver paths, about the native interrupt time once more: " FRIEDMAN},
    [OVERHEAD_cycles_per_io] = {0, "in the interrupt share"},
    [OVERHEAD_guest_memory] = {39, "nfold's README: resident beyond 512 MiB of guest RAM"},
    [OVERHEAD_memory_share] = {0.002, "8 bytes of page table for a page of 4 KiB"},
    [OVERHEAD_host_memory] = {400, "400 MB a host: " FRIEDMAN},
    [OVERHEAD_host_cpu] = {0.01, ASSUMED},
    [OVERHEAD_kernel_assumed] = {0.2, ASSUMED},
    [OVERHEAD_interrupt_assumed] = {0.02, ASSUMED},
};

static const struct row *const tables[] = {native, kvm, translate};

void overhead_default(struct overhead *overhead, const char *engine)
{
	*overhead = (struct overhead){0};
	(void)snprintf(overhead->engine, sizeof overhead->engine, "%s", engine);
	for (unsigned e = 0; overhead_engines[e] != NULL; e++) {
		if (strcmp(overhead_engines[e], engine) != 0)
			continue;
		for (unsigned i = 0; i < OVERHEAD_FIGURE_COUNT; i++) {
			overhead->figure[i] = tables[e][i].value;
			(void)snprintf(overhead->source[i], OVERHEAD_SOURCE_SIZE, "%s", tables[e][i].source);
		}
	}
}

static bool figure_read(struct overhead *overhead, unsigned i, const json_t *value, const char *path,
			struct error *error)
{
	const json_t *number = json_is_object(value) ? json_object_get(value, "value") : value;
	const json_t *source = json_is_object(value) ? json_object_get(value, "source") : NULL;
	double read = json_number_value(number);
	if (!json_is_number(number) || !(read >= 0) || read > 1e12 || (source != NULL && !json_is_string(source)))
		return error_set(error, ERROR_INPUT,
				 "%.200s: '%s' must be a number >= 0, or an object with 'value' and 'source'", path,
				 overhead_key[i]);
	overhead->figure[i] = read;
	(void)snprintf(overhead->source[i], OVERHEAD_SOURCE_SIZE, "%.100s",
		       source != NULL ? json_string_value(source) : "the calibration file");
	return true;
}

static bool engine_read(struct overhead *overhead, const json_t *figures, const char *path, struct error *error)
{
	const char *key;
	json_t *value;
	json_object_foreach((json_t *)figures, key, value)
	{
		unsigned i = 0;
		while (i < OVERHEAD_FIGURE_COUNT && strcmp(overhead_key[i], key) != 0)
			i++;
		if (i == OVERHEAD_FIGURE_COUNT)
			return error_set(error, ERROR_INPUT, "%.200s: there is no figure '%.60s'", path, key);
		if (!figure_read(overhead, i, value, path, error))
			return false;
	}
	return true;
}

bool overhead_load(struct overhead *overhead, const char *path, struct error *error)
{
	json_error_t where;
	json_t *root = json_load_file(path, JSON_REJECT_DUPLICATES, &where);
	if (root == NULL)
		return error_set(error, ERROR_INPUT, "%.200s:%d:%d: %.120s", path, where.line, where.column,
				 where.text);
	const json_t *figures = json_object_get(json_object_get(root, "engines"), overhead->engine);
	bool good =
	    json_is_object(figures)
		? engine_read(overhead, figures, path, error)
		: error_set(error, ERROR_INPUT, "%.200s: there is no object 'engines' with an object '%s' in it", path,
			    overhead->engine);
	json_decref(root);
	return good;
}
