/* SPDX-License-Identifier: MIT */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "confine/confine.h"

const char *const confine_part_name[CONFINE_PARTS] = {
    [CONFINE_DESCRIPTORS] = "descriptors",     [CONFINE_NO_NEW_PRIVILEGES] = "no-new-privileges",
    [CONFINE_CAPABILITIES] = "capabilities",   [CONFINE_LIMITS] = "limits",
    [CONFINE_SYSTEM_CALLS] = "system-calls",   [CONFINE_NS_USER] = "user-namespace",
    [CONFINE_NS_MOUNT] = "mount-namespace",    [CONFINE_NS_IPC] = "ipc-namespace",
    [CONFINE_NS_UTS] = "uts-namespace",	       [CONFINE_NS_CGROUP] = "cgroup-namespace",
    [CONFINE_NS_NETWORK] = "network-namespace"};

static int lowest_from(const int *keep, unsigned count, int from)
{
	int lowest = -1;
	for (unsigned i = 0; i < count; i++)
		if (keep[i] >= from && (lowest < 0 || keep[i] < lowest))
			lowest = keep[i];
	return lowest;
}

/* The gaps between those that stay. */
void confine_begin(struct confinement *confinement, const int *keep, unsigned count)
{
	int from = STDERR_FILENO + 1;
	bool good = true;
	for (int next = lowest_from(keep, count, from); next >= 0; next = lowest_from(keep, count, from)) {
		if (next > from)
			good &= close_range((unsigned)from, (unsigned)next - 1, 0) == 0;
		from = next + 1;
	}
	good &= close_range((unsigned)from, ~0u, 0) == 0;
	if (good)
		confinement->parts |= 1u << CONFINE_DESCRIPTORS;
}

bool confine_keep_folder(struct confinement *confinement, const char *folder, struct error *error)
{
	if (confinement->folders == CONFINE_FOLDERS_MAX)
		return error_set(error, ERROR_INPUT, "sockets of one guest lie in more than %u folders",
				 CONFINE_FOLDERS_MAX);
	confinement->folder[confinement->folders++] = folder;
	return true;
}
