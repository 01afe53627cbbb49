/* SPDX-License-Identifier: MIT */
/* --disk with words of all kinds behind the name: the path is a beginning of the text, and every choice is one of its
 * kind. */
#include "fuzz-rig.h"

#include <string.h>

#include "control/disk_option.h"

/* Mostly words and halves of words, so that there is something to find. */
static size_t make_text(struct fuzz_rig *rig, char *text, size_t size)
{
	static const char *const words[] = {",readonly", ",format=", ",cache=", ",device=", ",on-error=", "raw",
					    "qcow2",	 "virtio",   "none",	"stop",	    ",",	  "=",
					    "/",	 "a",	     "vhdx",	"unsafe"};
	size_t used = 0;
	while (rig->left > 0) {
		uint8_t choice = fuzz_byte(rig);
		char other[2] = {(char)fuzz_byte(rig), '\0'};
		const char *word = choice < 0xe0 ? words[choice % 16] : other;
		if (used + strlen(word) + 1 > size)
			break;
		memcpy(text + used, word, strlen(word));
		used += strlen(word);
	}
	text[used] = '\0';
	return used;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char text[8192];
	struct guest_disk disk;
	struct error error = {0};
	struct fuzz_rig rig = {.data = data, .left = size};
	size_t length = make_text(&rig, text, sizeof text);
	if (!guest_disk_read(text, &disk, &error)) {
		assert(error.kind == ERROR_INPUT && error.text[0] != '\0');
		return 0;
	}
	assert(disk.path == text && disk.length > 0 && disk.length <= length);
	assert(disk.length == length || text[disk.length] == ',');
	assert(disk.format < GUEST_DISK_FORMATS && disk.cache < GUEST_CACHES);
	assert(disk.device < GUEST_DISK_DEVICES && disk.on_error < GUEST_DISK_ERRORS);
	return 0;
}
