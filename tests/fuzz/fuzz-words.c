/* SPDX-License-Identifier: MIT */
/* What a user gives to `nfold run`: option words of all kinds, made of names and pieces of values that there are. What
 * is refused is refused with a line. */
#include "fuzz-rig.h"

#include <stdlib.h>
#include <string.h>

#include "control/guest_options.h"

#define WORDS_MAX 24u
#define WORD_SIZE 256u

/* A value: pieces one behind the other. */
static void make_value(struct fuzz_rig *rig, char *word, size_t used)
{
	static const char *const pieces[] = {"user",
					     "switch=",
					     "tap=",
					     "forward=",
					     ":80",
					     "8080",
					     "tcp",
					     "udp",
					     ",",
					     "=",
					     "unix:",
					     "/a/b",
					     "stdio",
					     "none",
					     "64M",
					     "1T",
					     "0x402",
					     "127.0.0.1:",
					     "wait",
					     "i386",
					     "model=",
					     "virtio",
					     "pcnet",
					     "mac=",
					     "02:00:00:00:00:01",
					     "disk",
					     "cdrom",
					     "floppy",
					     "no-chaining",
					     "auto",
					     "translate",
					     "2026-01-31T23:59:59",
					     "exceptions",
					     "readonly",
					     "-",
					     "18446744073709551616",
					     "max",
					     "x86-64",
					     "on",
					     "off"};
	unsigned count = fuzz_byte(rig) % 8;
	for (unsigned i = 0; i < count; i++) {
		uint8_t choice = fuzz_byte(rig);
		const char other[2] = {(char)fuzz_byte(rig), '\0'};
		const char *piece = choice < 0xe8 ? pieces[choice % (sizeof pieces / sizeof pieces[0])] : other;
		if (used + strlen(piece) + 1 > WORD_SIZE)
			break;
		memcpy(word + used, piece, strlen(piece));
		used += strlen(piece);
	}
	word[used] = '\0';
}

static void make_word(struct fuzz_rig *rig, char word[WORD_SIZE])
{
	const struct option *option = option_first(guest_option_table);
	for (unsigned skip = fuzz_byte(rig) % 48; skip > 0 && option_next(option) != NULL; skip--)
		option = option_next(option);
	size_t length = strlen(option->name);
	memcpy(word, "--", 2);
	memcpy(word + 2, option->name, length);
	word[2 + length] = '\0';
	uint8_t choice = fuzz_byte(rig);
	if ((choice & 1) != 0) {
		word[2 + length] = '=';
		make_value(rig, word, length + 3);
	}
}

/* The parts that are taken apart once more. */
static void read_parts(const struct guest_options *options)
{
	struct error error = {0};
	for (unsigned i = 0; i < options->net.count; i++) {
		struct guest_net net;
		assert(guest_net_read(options->net.item[i], &net, &error));
		assert(net.kind < GUEST_NET_KINDS && net.model < GUEST_NET_MODELS &&
		       net.forwards <= GUEST_FORWARDS_MAX);
	}
	struct guest_gdb gdb;
	if (options->gdb != NULL)
		assert(guest_gdb_read(options->gdb, &gdb, &error));
	struct guest_boot_order order = {0};
	if (options->boot != NULL)
		assert(guest_boot_read(options->boot, &order, &error) && order.count <= GUEST_BOOT_KINDS);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static char words[WORDS_MAX][WORD_SIZE];
	char *list[WORDS_MAX];
	struct fuzz_rig rig = {.data = data, .left = size};
	struct guest_options options;
	struct option_rest rest;
	struct error error = {0};
	unsigned count = 0;
	memset(&options, 0, sizeof options);
	for (; rig.left > 0 && count < WORDS_MAX; count++) {
		if ((fuzz_byte(&rig) & 7) == 0)
			make_value(&rig, words[count], 0);
		else
			make_word(&rig, words[count]);
		list[count] = words[count];
	}
	if (!options_parse(guest_option_table, OPTIONS_FROM_PROGRAM, "fuzz", (int)count, list, &options, &rest,
			   &error) ||
	    !guest_options_check(&options, &error)) {
		assert(error.kind != ERROR_NONE && error.text[0] != '\0');
		return 0;
	}
	read_parts(&options);
	return 0;
}
