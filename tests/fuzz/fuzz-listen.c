/* SPDX-License-Identifier: MIT */
/* Where a server listens: what is understood is an address of one of three kinds, and its URL is one line. */
#include "fuzz-rig.h"

#include <netinet/in.h>
#include <string.h>
#include <sys/un.h>

#include "monitor/listen.h"

/* Mostly words, so that there is something to find. */
static void make_text(struct fuzz_rig *rig, char *text, size_t size)
{
	static const char *const words[] = {"unix:", ":",     "9100", "127.0.0.1", "[::1]", "[",     "]",  "0",
					    "65535", "65536", ".",    "/",	   "[::",   "ffff:", "::", "1"};
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
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char text[1024], url[LISTEN_URL_MAX];
	struct listen_address address;
	struct error error = {0};
	struct fuzz_rig rig = {.data = data, .left = size};
	make_text(&rig, text, sizeof text);
	if (!listen_parse(text, &address, &error)) {
		assert(error.kind == ERROR_INPUT && error.text[0] != '\0');
		return 0;
	}
	listen_url(&address, "/metrics", url);
	switch (address.at.ss_family) {
	case AF_UNIX:
		assert(address.size == sizeof(struct sockaddr_un) && strcmp(url, text) == 0);
		break;
	case AF_INET:
		assert(address.size == sizeof(struct sockaddr_in) && strncmp(url, "http://", 7) == 0);
		break;
	default:
		assert(address.at.ss_family == AF_INET6 && address.size == sizeof(struct sockaddr_in6));
		assert(strncmp(url, "http://[", 8) == 0 && strstr(url, "]:") != NULL);
	}
	return 0;
}
