/* SPDX-License-Identifier: MIT */
#include "vm/network.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define SWITCHES "switches"

static const enum machine_network_kind kinds[GUEST_NET_KINDS] = {[GUEST_NET_USER] = NETWORK_USER,
								 [GUEST_NET_NONE] = NETWORK_NONE,
								 [GUEST_NET_TAP] = NETWORK_TAP,
								 [GUEST_NET_BRIDGE] = NETWORK_BRIDGE,
								 [GUEST_NET_SWITCH] = NETWORK_SWITCH};
static const enum machine_network_model models[GUEST_NET_MODELS] = {
    [GUEST_NET_PCNET] = NETWORK_PCNET, [GUEST_NET_VIRTIO] = NETWORK_VIRTIO};
_Static_assert(GUEST_NETS_MAX == MACHINE_MAX_NETWORKS && GUEST_FORWARDS_MAX == NETWORK_FORWARDS_MAX,
	       "what is given fits");

static bool make_folder(const char *path, struct error *error)
{
	return mkdir(path, 0700) == 0 || errno == EEXIST || error_set_errno(error, "cannot create %s", path);
}

/* A switch is a folder in the user's runtime directory, which is closed to others. */
static bool make_switch(char *path, size_t size, const struct runtime *runtime, const char *name, struct error *error)
{
	(void)snprintf(path, size, "%s/" SWITCHES, runtime->path);
	if (!make_folder(path, error))
		return false;
	(void)snprintf(path, size, "%s/" SWITCHES "/%s", runtime->path, name);
	return make_folder(path, error);
}

static void take_forwards(const struct guest_net *net, struct machine_network *to)
{
	to->forwards = net->forwards;
	for (unsigned i = 0; i < net->forwards; i++)
		to->forward[i] = (struct network_forward){.udp = net->forward[i].udp,
							  .host_address = net->forward[i].address,
							  .host_port = net->forward[i].host_port,
							  .guest_port = net->forward[i].guest_port};
}

bool vm_networks_configure(struct vm_networks *networks, const struct guest_options *options,
			   const struct runtime *runtime, struct machine_config *config, struct error *error)
{
	for (unsigned i = 0; i < options->net.count; i++) {
		struct machine_network *to = &config->network[i];
		struct guest_net net;
		char *name = networks->name[i];
		if (!guest_net_read(options->net.item[i], &net, error))
			return false;
		if (!net.mac_given)
			guest_net_make_mac(config->name, i, net.mac);
		*to = (struct machine_network){.kind = kinds[net.kind], .name = name, .model = models[net.model]};
		memcpy(to->mac, net.mac, sizeof to->mac);
		take_forwards(&net, to);
		(void)snprintf(name, sizeof networks->name[i], "%s", net.name);
		if (net.kind == GUEST_NET_SWITCH &&
		    !make_switch(name, sizeof networks->name[i], runtime, net.name, error))
			return false;
	}
	config->network_count = options->net.count;
	return true;
}
