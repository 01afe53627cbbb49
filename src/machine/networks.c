/* SPDX-License-Identifier: MIT */
#include "machine/networks.h"

#include <string.h>

#define SAME_COUNTER(name) _Static_assert((int)LEDGER_NETWORK_##name == (int)NETWORK_##name, "one order of counters")
SAME_COUNTER(RECEIVED_FRAMES);
SAME_COUNTER(RECEIVED_BYTES);
SAME_COUNTER(RECEIVE_DROPS);
SAME_COUNTER(SENT_FRAMES);
SAME_COUNTER(SENT_BYTES);
SAME_COUNTER(SEND_DROPS);
_Static_assert((int)LEDGER_NETWORK_COUNTER_COUNT == (int)NETWORK_COUNTERS, "one set of counters");
_Static_assert(MACHINE_MAX_NETWORKS == LEDGER_MAX_NETWORKS, "each network has its line");

static struct network *open_user(const struct machine_config *config, const struct machine_network *of,
				 const struct network_host *host, struct error *error)
{
	struct network_user_config user = {.guest_name = config->name,
					   .mtu = of->model == NETWORK_VIRTIO ? NETWORK_MTU_LARGE : NETWORK_MTU,
					   .forwards = of->forwards};
	memcpy(user.forward, of->forward, sizeof user.forward);
	return network_open_user(&user, host, error);
}

static struct network *open_one(const struct machine_config *config, const struct machine_network *of,
				const struct network_host *host, struct error *error)
{
	switch (of->kind) {
	case NETWORK_USER:
		return open_user(config, of, host, error);
	case NETWORK_TAP:
		return network_open_tap(of->name, host, error);
	case NETWORK_BRIDGE:
		return network_open_bridge(of->name, host, error);
	case NETWORK_SWITCH:
		return network_open_switch(of->name, host, error);
	case NETWORK_NONE:
		break;
	}
	return network_open_none(error);
}

bool networks_open(struct networks *networks, const struct machine_config *config, const struct network_host *host,
		   struct ledger *ledger, struct error *error)
{
	for (unsigned i = 0; i < config->network_count; i++) {
		struct network *network = open_one(config, &config->network[i], host, error);
		if (network == NULL) {
			networks_stop(networks);
			networks_close(networks);
			return false;
		}
		networks->network[networks->count++] = network;
		network_set_counters(network, ledger->network[i].count);
	}
	ledger->network_count = networks->count;
	return true;
}

bool networks_start(struct networks *networks, struct error *error)
{
	for (unsigned i = 0; i < networks->count; i++)
		if (!network_start(networks->network[i], error))
			return false;
	return true;
}

void networks_stop(struct networks *networks)
{
	for (unsigned i = 0; i < networks->count; i++)
		network_stop(networks->network[i]);
}

void networks_close(struct networks *networks)
{
	while (networks->count > 0)
		network_close(networks->network[--networks->count]);
}
