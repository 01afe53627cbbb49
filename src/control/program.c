/* SPDX-License-Identifier: MIT */
#include "control/program.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* The installed nfoldd lies with nfold-vm, nfold in a folder bin/. */
void program_path(const char *name, char path[PATH_MAX])
{
	static const char *const folders[] = {"", "../libexec/nfold/"};
	char own[PATH_MAX];
	ssize_t length = readlink("/proc/self/exe", own, sizeof own - 1);
	own[length > 0 ? length : 0] = '\0';
	char *slash = strrchr(own, '/');
	if (slash != NULL)
		*slash = '\0';
	for (unsigned i = 0; slash != NULL && i < sizeof folders / sizeof folders[0]; i++) {
		int used = snprintf(path, PATH_MAX, "%s/%s%s", own, folders[i], name);
		if (used > 0 && used < PATH_MAX && access(path, X_OK) == 0)
			return;
	}
	(void)snprintf(path, PATH_MAX, "%s", name);
}
