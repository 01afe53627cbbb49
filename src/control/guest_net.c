/* SPDX-License-Identifier: MIT */
#include "control/guest_net.h"

#include <arpa/inet.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/runtime.h"

#define WORD_MAX 128
#define LOOPBACK 0x7f000001u

const char *const guest_net_kind_name[GUEST_NET_KINDS] = {[GUEST_NET_USER] = "user",
							  [GUEST_NET_NONE] = "none",
							  [GUEST_NET_TAP] = "tap",
							  [GUEST_NET_BRIDGE] = "bridge",
							  [GUEST_NET_SWITCH] = "switch"};
const char *const guest_net_model_name[GUEST_NET_MODELS] = {[GUEST_NET_PCNET] = "pcnet", [GUEST_NET_VIRTIO] = "virtio"};

struct reader {
	struct guest_net *net;
	const char *text; /* all of it, for messages */
	bool kind_given;
	struct error *error;
};

static int find_name(const char *const *names, unsigned count, const char *name)
{
	for (unsigned i = 0; i < count; i++)
		if (strcmp(names[i], name) == 0)
			return (int)i;
	return -1;
}

/* What Linux takes as an interface's name. */
static bool interface_check(const char *name)
{
	size_t length = strlen(name);
	return length > 0 && length < IF_NAMESIZE && strcspn(name, "/: \t\n") == length && strcmp(name, ".") != 0 &&
	       strcmp(name, "..") != 0;
}

static bool read_name(struct reader *reader, enum guest_net_kind kind, const char *name)
{
	struct guest_net *net = reader->net;
	if (kind == GUEST_NET_SWITCH ? !name_check(name, NULL) : !interface_check(name))
		return error_set(reader->error, ERROR_INPUT, "--net %.64s: give %s a name, such as %s", reader->text,
				 guest_net_kind_name[kind],
				 kind == GUEST_NET_SWITCH ? "switch=lab"
				 : kind == GUEST_NET_TAP  ? "tap=tap0"
							  : "bridge=br0");
	(void)snprintf(net->name, sizeof net->name, "%s", name);
	return true;
}

static bool read_kind(struct reader *reader, enum guest_net_kind kind, const char *value)
{
	bool named = kind != GUEST_NET_USER && kind != GUEST_NET_NONE;
	if (reader->kind_given)
		return error_set(reader->error, ERROR_INPUT, "--net %.64s: an adapter is connected to one network",
				 reader->text);
	reader->kind_given = true;
	reader->net->kind = kind;
	if (named)
		return read_name(reader, kind, value != NULL ? value : "");
	return value == NULL || error_set(reader->error, ERROR_INPUT, "--net %.64s: %s takes no value", reader->text,
					  guest_net_kind_name[kind]);
}

static bool read_model(struct reader *reader, const char *value)
{
	int model = find_name(guest_net_model_name, GUEST_NET_MODELS, value);
	if (model < 0)
		return error_set(reader->error, ERROR_INPUT, "--net: no model '%.64s', give pcnet or virtio", value);
	reader->net->model = (enum guest_net_model)model;
	return true;
}

static bool read_mac(struct reader *reader, const char *value)
{
	uint8_t *mac = reader->net->mac;
	int end = 0;
	bool good = strlen(value) == 17 &&
		    sscanf(value, "%2hhx:%2hhx:%2hhx:%2hhx:%2hhx:%2hhx%n", &mac[0], &mac[1], &mac[2], &mac[3], &mac[4],
			   &mac[5], &end) == 6 &&
		    end == 17;
	static const uint8_t zero[6];
	if (!good || (mac[0] & 1) != 0 || memcmp(mac, zero, sizeof zero) == 0)
		return error_set(reader->error, ERROR_INPUT,
				 "--net: mac=%.64s: give the address of one adapter, such as 02:00:00:12:34:56", value);
	reader->net->mac_given = true;
	return true;
}

static bool read_port(const char *text, size_t length, uint16_t *port)
{
	char digits[6];
	char *end;
	if (length == 0 || length >= sizeof digits || text[0] < '0' || text[0] > '9')
		return false;
	memcpy(digits, text, length);
	digits[length] = '\0';
	unsigned long value = strtoul(digits, &end, 10);
	*port = (uint16_t)value;
	return *end == '\0' && value > 0 && value <= UINT16_MAX;
}

/* [tcp:|udp:][ADDRESS:]PORT:PORT */
static bool forward_parse(const char *text, struct guest_forward *forward)
{
	*forward = (struct guest_forward){.udp = strncmp(text, "udp:", 4) == 0, .address = LOOPBACK};
	if (forward->udp || strncmp(text, "tcp:", 4) == 0)
		text += 4;
	const char *last = strrchr(text, ':');
	if (last == NULL || !read_port(last + 1, strlen(last + 1), &forward->guest_port))
		return false;
	const char *middle = memrchr(text, ':', (size_t)(last - text));
	const char *port = middle != NULL ? middle + 1 : text;
	if (!read_port(port, (size_t)(last - port), &forward->host_port))
		return false;
	char address[INET_ADDRSTRLEN];
	struct in_addr number;
	if (middle == NULL)
		return true;
	if ((size_t)(middle - text) >= sizeof address)
		return false;
	memcpy(address, text, (size_t)(middle - text));
	address[middle - text] = '\0';
	if (inet_pton(AF_INET, address, &number) != 1)
		return false;
	forward->address = ntohl(number.s_addr);
	return true;
}

static bool read_forward(struct reader *reader, const char *value)
{
	struct guest_net *net = reader->net;
	if (net->forwards == GUEST_FORWARDS_MAX)
		return error_set(reader->error, ERROR_INPUT, "--net: at most %d ports can be forwarded",
				 GUEST_FORWARDS_MAX);
	if (!forward_parse(value, &net->forward[net->forwards]))
		return error_set(reader->error, ERROR_INPUT,
				 "--net: forward=%.64s: give [udp:][ADDRESS:]HOST-PORT:GUEST-PORT, such as "
				 "forward=8080:80",
				 value);
	net->forwards++;
	return true;
}

static bool read_word(struct reader *reader, char *word)
{
	char *value = strchr(word, '=');
	if (value != NULL)
		*value++ = '\0';
	int kind = find_name(guest_net_kind_name, GUEST_NET_KINDS, word);
	if (kind >= 0)
		return read_kind(reader, (enum guest_net_kind)kind, value);
	if (value != NULL && strcmp(word, "model") == 0)
		return read_model(reader, value);
	if (value != NULL && strcmp(word, "mac") == 0)
		return read_mac(reader, value);
	if (value != NULL && strcmp(word, "forward") == 0)
		return read_forward(reader, value);
	return error_set(reader->error, ERROR_INPUT,
			 "--net: '%.64s' is nothing known: give user, tap=NAME, bridge=NAME, switch=NAME or none, then "
			 "model=, mac=, forward=",
			 word);
}

bool guest_net_read(const char *text, struct guest_net *net, struct error *error)
{
	struct reader reader = {.net = net, .text = text, .error = error};
	*net = (struct guest_net){.kind = GUEST_NET_USER, .model = GUEST_NET_VIRTIO};
	for (const char *from = text;; from++) {
		char word[WORD_MAX];
		size_t length = strcspn(from, ",");
		if (length >= sizeof word)
			return error_set(error, ERROR_INPUT, "--net '%.64s...': too long", from);
		memcpy(word, from, length);
		word[length] = '\0';
		if (!read_word(&reader, word))
			return false;
		from += length;
		if (*from == '\0')
			break;
	}
	return net->forwards == 0 || net->kind == GUEST_NET_USER ||
	       error_set(error, ERROR_INPUT,
			 "--net %.64s: only user mode forwards ports; others reach the guest itself", text);
}

/* FNV-1a, in the range of locally administered addresses. */
void guest_net_make_mac(const char *guest, unsigned number, uint8_t mac[6])
{
	uint64_t hash = UINT64_C(0xcbf29ce484222325);
	for (const char *at = guest; *at != '\0'; at++)
		hash = (hash ^ (uint8_t)*at) * UINT64_C(0x100000001b3);
	hash = (hash ^ number) * UINT64_C(0x100000001b3);
	hash ^= hash >> 40;
	mac[0] = 0x02;
	for (unsigned i = 1; i < 6; i++)
		mac[i] = (uint8_t)(hash >> 8 * i);
}
