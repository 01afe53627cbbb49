/* SPDX-License-Identifier: MIT */
#include "vm/firmware.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define BIOS_FILE "bios-256k.bin"
#define VGA_FILE "vgabios-stdvga.bin"

/* A place that begins with "/" stands for itself, others for a folder below the executable's. The second is for builds
 * in folders of their own, the last two before Debian's for nfold-vm in PREFIX/libexec/nfold and in PREFIX/bin. */
static const char *const places[] = {
    "guest/seabios/usr/share/seabios",
    "../build/guest/seabios/usr/share/seabios",
    "../../share/nfold/firmware",
    "../share/nfold/firmware",
    "/usr/share/seabios",
};

static bool own_folder(char folder[PATH_MAX])
{
	ssize_t length = readlink("/proc/self/exe", folder, PATH_MAX - 1);
	folder[length > 0 ? length : 0] = '\0';
	char *slash = strrchr(folder, '/');
	if (slash == NULL)
		return false;
	*slash = '\0';
	return true;
}

static bool file_find(char path[PATH_MAX], const char *own, const char *place, const char *file)
{
	int length = place[0] == '/' ? snprintf(path, PATH_MAX, "%s/%s", place, file)
				     : snprintf(path, PATH_MAX, "%s/%s/%s", own, place, file);
	if (length > 0 && length < PATH_MAX && access(path, R_OK) == 0)
		return true;
	path[0] = '\0';
	return false;
}

/* A BIOS of the user's own may have its VGA BIOS beside it. */
static void find_beside(char path[PATH_MAX], const char *given)
{
	const char *slash = strrchr(given, '/');
	char folder[PATH_MAX];
	(void)snprintf(folder, sizeof folder, "%.*s", slash != NULL && slash != given ? (int)(slash - given) : 1,
		       slash != NULL ? given : ".");
	(void)file_find(path, ".", folder, VGA_FILE);
}

bool firmware_find(struct firmware *firmware, const char *given, struct error *error)
{
	char own[PATH_MAX];
	bool known = own_folder(own);
	*firmware = (struct firmware){0};
	if (given != NULL && strlen(given) >= sizeof firmware->bios)
		return error_set(error, ERROR_INPUT, "--firmware '%.64s...': File name too long", given);
	if (given != NULL) {
		(void)snprintf(firmware->bios, sizeof firmware->bios, "%s", given);
		find_beside(firmware->vga, given);
		if (firmware->vga[0] != '\0')
			return true;
	}
	for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
		if (!known && places[i][0] != '/')
			continue;
		if (file_find(firmware->vga, own, places[i], VGA_FILE) &&
		    (given != NULL || file_find(firmware->bios, own, places[i], BIOS_FILE)))
			break;
	}
	if (given != NULL || (firmware->bios[0] != '\0' && firmware->vga[0] != '\0'))
		return true;
	return error_set(error, ERROR_INPUT,
			 "no firmware found (" BIOS_FILE ", " VGA_FILE "): install the package seabios, or give "
			 "--firmware FILE or --kernel FILE");
}
