/* SPDX-License-Identifier: MIT */
#include "control/disk_option.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

#define READ_ONLY "readonly"

struct key {
	const char *name;
	const char *const *values;
	size_t offset; /* of an enumeration in struct guest_disk */
};

static const char *const formats[] = {"auto", "raw", "qcow2", "vmdk", "vhd", "vhdx", NULL};
static const char *const caches[] = {"writeback", "writethrough", "none", "unsafe", NULL};
static const char *const devices[] = {"ide", "virtio", NULL};
static const char *const errors[] = {"report", "stop", NULL};

_Static_assert(sizeof formats / sizeof formats[0] == GUEST_DISK_FORMATS + 1 &&
		   sizeof caches / sizeof caches[0] == GUEST_CACHES + 1 &&
		   sizeof devices / sizeof devices[0] == GUEST_DISK_DEVICES + 1 &&
		   sizeof errors / sizeof errors[0] == GUEST_DISK_ERRORS + 1,
	       "a name for each");

static const struct key keys[] = {
    {"format", formats, offsetof(struct guest_disk, format)},
    {"cache", caches, offsetof(struct guest_disk, cache)},
    {"device", devices, offsetof(struct guest_disk, device)},
    {"on-error", errors, offsetof(struct guest_disk, on_error)},
};

static bool is_word(const char *text, size_t length, const char *word)
{
	return strlen(word) == length && memcmp(text, word, length) == 0;
}

static const struct key *find_key(const char *name, size_t length)
{
	for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++)
		if (is_word(name, length, keys[i].name))
			return &keys[i];
	return NULL;
}

static bool set_value(struct guest_disk *disk, const struct key *key, const char *value, size_t length,
		      struct error *error)
{
	char known[128] = "";
	for (unsigned i = 0; key->values[i] != NULL; i++) {
		if (is_word(value, length, key->values[i])) {
			memcpy((char *)disk + key->offset, &i, sizeof i);
			return true;
		}
		size_t used = strlen(known);
		(void)snprintf(known + used, sizeof known - used, "%s%s", used > 0 ? ", " : "", key->values[i]);
	}
	return error_set(error, ERROR_INPUT, "--disk ...,%s=%.*s: give one of %s", key->name,
			 (int)(length < 64 ? length : 64), value, known);
}

/* Something that looks like a key, but is none. */
static bool check_key(const char *word, size_t length, struct error *error)
{
	size_t name = strspn(word, "abcdefghijklmnopqrstuvwxyz-_");
	if (name == 0 || name >= length || word[name] != '=' || memchr(word, '/', length) != NULL)
		return true;
	return error_set(error, ERROR_INPUT,
			 "--disk ...,%.*s: there is no such word; give format=, cache=, device=, on-error= or readonly",
			 (int)(length < 64 ? length : 64), word);
}

/* The last word. *more: there was one, and it is off the path now. */
static bool take_word(struct guest_disk *disk, bool *more, struct error *error)
{
	const char *comma = memrchr(disk->path, ',', disk->length);
	*more = false;
	if (comma == NULL)
		return true;
	const char *word = comma + 1;
	size_t length = (size_t)(disk->path + disk->length - word);
	const char *equals = memchr(word, '=', length);
	const struct key *key = equals != NULL ? find_key(word, (size_t)(equals - word)) : NULL;
	if (is_word(word, length, READ_ONLY))
		disk->read_only = true;
	else if (key == NULL)
		return check_key(word, length, error);
	else if (!set_value(disk, key, equals + 1, (size_t)(word + length - (equals + 1)), error))
		return false;
	disk->length = (size_t)(comma - disk->path);
	*more = true;
	return true;
}

bool guest_disk_read(const char *text, struct guest_disk *disk, struct error *error)
{
	bool more;
	*disk = (struct guest_disk){.path = text, .length = strlen(text)};
	do {
		if (!take_word(disk, &more, error))
			return false;
	} while (more);
	if (disk->length == 0)
		return error_set(error, ERROR_INPUT, "--disk '%.64s': give the name of an image", text);
	if (disk->length >= PATH_MAX)
		return error_set(error, ERROR_INPUT, "--disk '%.64s...': File name too long", text);
	return true;
}
