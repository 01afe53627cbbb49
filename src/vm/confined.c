/* SPDX-License-Identifier: MIT */
#include "vm/confined.h"

#include <stdio.h>
#include <string.h>

#include "control/exit_status.h"
#include "control/report.h"

_Static_assert((int)CONFINE_EXIT_STATUS == (int)STATUS_CONFINED, "one status");

/* What nfold hands over: a new option that is a descriptor belongs here. */
void vm_confinement_begin(struct vm_confinement *vm, const struct guest_options *options)
{
	const uint64_t given[] = {options->ready_fd, options->end_fd, options->terminal_fd};
	int keep[sizeof given / sizeof given[0]];
	for (size_t i = 0; i < sizeof given / sizeof given[0]; i++)
		keep[i] = given[i] == OPTION_UNSET ? -1 : (int)given[i];
	vm->off = strcmp(options->confine, "off") == 0 || !confine_supported();
	vm->verbose = options->verbose;
	if (!vm->off)
		confine_begin(&vm->confinement, keep, sizeof keep / sizeof keep[0]);
	else if (confine_supported())
		report_line("--confine off: the guest's process keeps all your rights: use it only to look for errors");
}

/* The folder that a socket lies in, which is to be removed at the end. */
static bool keep_folder_of(struct vm_confinement *vm, const char *path, size_t length, struct error *error)
{
	char *folder = vm->folder[vm->confinement.folders % CONFINE_FOLDERS_MAX];
	const char *slash = memrchr(path, '/', length);
	size_t size = slash == NULL ? 1 : slash == path ? 1 : (size_t)(slash - path);
	if (size >= PATH_MAX)
		return error_set(error, ERROR_INPUT, "%.64s...: File name too long", path);
	memcpy(folder, slash == NULL ? "." : path, size);
	folder[size] = '\0';
	return confine_keep_folder(&vm->confinement, folder, error);
}

static void want_network(struct confinement *confinement, enum machine_network_kind kind)
{
	static const enum confine_feature features[] = {[NETWORK_NONE] = CONFINE_FEATURE_BASE,
							[NETWORK_USER] = CONFINE_FEATURE_NETWORK_USER,
							[NETWORK_TAP] = CONFINE_FEATURE_NETWORK_TAP,
							[NETWORK_BRIDGE] = CONFINE_FEATURE_NETWORK_TAP,
							[NETWORK_SWITCH] = CONFINE_FEATURE_NETWORK_SWITCH};
	confinement->features |= 1u << features[kind];
	if (kind == NETWORK_USER)
		confinement->host_network = confinement->resolver = true;
}

static bool keep_sockets(struct vm_confinement *vm, const struct guest_options *options,
			 const struct machine_config *config, struct error *error)
{
	struct guest_gdb gdb = {.path_length = 0};
	if (config->serial == SERIAL_UNIX &&
	    !keep_folder_of(vm, config->serial_path, strlen(config->serial_path), error))
		return false;
	if (options->gdb == NULL)
		return true;
	return guest_gdb_read(options->gdb, &gdb, error) &&
	       (gdb.path_length == 0 || keep_folder_of(vm, gdb.path, gdb.path_length, error));
}

bool vm_confinement_configure(struct vm_confinement *vm, const struct guest_options *options,
			      const struct machine_config *config, const struct runtime *runtime, struct error *error)
{
	struct confinement *confinement = &vm->confinement;
	confinement->features = 1u << CONFINE_FEATURE_BASE;
	if (config->disk_count > 0 || config->cdrom != NULL || config->floppy_count > 0)
		confinement->features |= 1u << CONFINE_FEATURE_DISK;
	for (unsigned i = 0; i < config->network_count; i++)
		want_network(confinement, config->network[i].kind);
	return confine_keep_folder(confinement, runtime->path, error) && keep_sockets(vm, options, config, error);
}

static void explain(const struct vm_confinement *vm)
{
	char line[400];
	size_t used = 0;
	if (!vm->verbose)
		return;
	for (unsigned i = 0; i < CONFINE_PARTS; i++)
		if ((vm->confinement.parts >> i & 1) != 0)
			used += (size_t)snprintf(line + used, sizeof line - used, "%s%s", used > 0 ? ", " : "",
						 confine_part_name[i]);
	report_line("confinement: %s", used > 0 ? line : "none");
}

bool vm_confinement_isolate(struct vm_confinement *vm, struct runtime *runtime, struct error *error)
{
	if (vm->off)
		return true;
	/* An old folder's descriptor would lead out of the new root. */
	runtime_close(runtime);
	confine_isolate(&vm->confinement);
	return runtime_open(runtime, false, error);
}

bool vm_confinement_has(const struct vm_confinement *vm, enum confine_part part)
{
	return (vm->confinement.parts >> part & 1) != 0;
}

bool vm_confinement_filter(struct vm_confinement *vm, struct error *error)
{
	bool good = vm->off || confine_filter(&vm->confinement, error);
	if (good)
		explain(vm);
	return good;
}
