/* SPDX-License-Identifier: MIT */
#include "monitor/terms.h"

#define X(name, column_, counter_, clocks_, text_)                                                                     \
	[TERM_##name] = {.column = column_, .counter = counter_, .clocks = clocks_, .text = text_},
const struct monitor_term_row monitor_term[TERM_COUNT] = {MONITOR_TERMS(X)};
#undef X

double term_of_vcpu(const struct ledger_reading *gain, enum monitor_term term)
{
	uint64_t sum = 0;
	for (unsigned i = 0; i < LEDGER_STATE_COUNT; i++)
		if ((monitor_term[term].clocks >> i & 1) != 0)
			sum += gain->state_ns[i];
	return gain->wall_ns == 0 ? 0 : 100.0 * (double)sum / (double)gain->wall_ns;
}

double gain_seconds(const struct monitor_guest *guest)
{
	uint64_t wall = guest->gain.vcpu[0].wall_ns;
	return (wall == 0 ? 1.0 : (double)wall) / 1e9;
}

double term_of_guest(const struct monitor_guest *guest, enum monitor_term term)
{
	double sum = 0;
	for (unsigned i = 0; i < guest->vcpu_count; i++)
		sum += term_of_vcpu(&guest->gain.vcpu[i], term);
	if ((monitor_term[term].clocks & TERM_SYSTEM) != 0)
		sum += (double)guest->gain.system_ns / 1e7 / gain_seconds(guest);
	return sum;
}

struct ledger_disk_line disk_sum(const struct ledger_disk *disk, uint32_t operations)
{
	struct ledger_disk_line sum = {0};
	for (unsigned i = 0; i < LEDGER_DISK_OPERATION_COUNT; i++) {
		const struct ledger_disk_line *line = &disk->operation[i];
		if ((operations >> i & 1) == 0)
			continue;
		sum.count += line->count;
		sum.failed += line->failed;
		sum.bytes += line->bytes;
		sum.ns += line->ns;
		for (unsigned k = 0; k < LEDGER_DISK_BUCKETS; k++)
			sum.bucket[k] += line->bucket[k];
	}
	return sum;
}

struct disk_rate disk_rate(const struct monitor_guest *guest, unsigned disk, uint32_t operations)
{
	struct ledger_disk_line sum = disk_sum(&guest->gain.disk[disk], operations);
	double seconds = gain_seconds(guest);
	return (struct disk_rate){.operations = (double)sum.count / seconds,
				  .bytes = (double)sum.bytes / seconds,
				  .response_ms = sum.count == 0 ? 0 : (double)sum.ns / 1e6 / (double)sum.count};
}

double network_rate(const struct monitor_guest *guest, unsigned network, enum ledger_network_counter counter)
{
	return (double)guest->gain.network[network][counter] / gain_seconds(guest);
}
