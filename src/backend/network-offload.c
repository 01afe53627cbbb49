/* SPDX-License-Identifier: MIT */
/*
 * What hardware would do to a frame: checksums, and cutting a large TCP frame into segments.
 *
 * A frame that says it needs one of these comes from a guest, and any of its fields may lie: network_offload_check()
 * proves all offsets that the others use.
 */
#include <string.h>

#include "backend/network-impl.h"
#include "base/bits.h"

#define VLAN_TAG 4u
#define TYPE_VLAN 0x8100u
#define TYPE_IP4 0x0800u
#define TYPE_IP6 0x86ddu
#define IP4_HEADER 20u
#define IP4_LENGTH 2u
#define IP4_ID 4u
#define IP4_PROTOCOL 9u
#define IP4_CHECKSUM 10u
#define IP4_SOURCE 12u
#define IP4_DF_MF 6u
#define IP6_HEADER 40u
#define IP6_LENGTH 4u
#define IP6_NEXT 6u
#define IP6_SOURCE 8u
#define PROTOCOL_TCP 6u
#define PROTOCOL_UDP 17u
#define TCP_HEADER 20u
#define TCP_SEQUENCE 4u
#define TCP_OFFSET 12u
#define TCP_FLAGS 13u
#define TCP_CHECKSUM 16u
#define TCP_FIN_PSH 0x09u
#define TCP_CWR 0x80u
/* No system makes smaller segments (Linux: net.ipv4.tcp_min_snd_mss). It bounds how many one frame becomes. */
#define SEGMENT_MIN 48u

static uint32_t load_be(const uint8_t *from, unsigned bytes)
{
	uint32_t value = 0;
	for (unsigned i = 0; i < bytes; i++)
		value = value << 8 | from[i];
	return value;
}

static void store_be(uint8_t *to, uint32_t value, unsigned bytes)
{
	while (bytes-- > 0) {
		to[bytes] = (uint8_t)value;
		value >>= 8;
	}
}

/* RFC 1071. Sums in the host's byte order, eight bytes at a time; folding and swapping is left to the end. */
static uint64_t sum_bytes(uint64_t sum, const uint8_t *bytes, uint32_t length)
{
	for (; length >= 8; bytes += 8, length -= 8) {
		uint64_t word = load_le(bytes, 8);
		sum += word;
		sum += sum < word;
	}
	uint64_t rest = 0;
	for (uint32_t i = 0; i < length; i++)
		rest |= (uint64_t)bytes[i] << 8 * i;
	sum += rest;
	return sum + (sum < rest);
}

/* The ones' complement of the sum, as it is stored, low byte first. */
static uint16_t sum_finish(uint64_t sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)~sum;
}

static uint32_t type_offset(const uint8_t *bytes, uint32_t length)
{
	uint32_t at = NETWORK_HEADER_SIZE - 2;
	return load_be(&bytes[at], 2) == TYPE_VLAN && length >= NETWORK_HEADER_SIZE + VLAN_TAG ? at + VLAN_TAG : at;
}

/* The headers of a frame to be cut are where its type says, one after the other, and TCP's is at `start`. */
static bool check_segment(const struct network_frame *frame)
{
	const struct network_offload *offload = &frame->offload;
	const uint8_t *bytes = frame->bytes;
	uint32_t ip = type_offset(bytes, frame->length) + 2, tcp = offload->start;
	bool six = offload->segment == NETWORK_TCP6;
	if (offload->segment > NETWORK_TCP6 || offload->size < SEGMENT_MIN || !offload->checksum ||
	    offload->offset != TCP_CHECKSUM || load_be(&bytes[ip - 2], 2) != (six ? TYPE_IP6 : TYPE_IP4))
		return false;
	if (tcp < ip + (six ? IP6_HEADER : IP4_HEADER) || tcp + TCP_HEADER > frame->length)
		return false;
	if (!six && (bytes[ip + IP4_PROTOCOL] != PROTOCOL_TCP || tcp != ip + 4 * (bytes[ip] & 15u)))
		return false;
	uint32_t header = 4u * (bytes[tcp + TCP_OFFSET] >> 4);
	return header >= TCP_HEADER && tcp + header <= frame->length;
}

bool network_offload_check(const struct network_frame *frame)
{
	const struct network_offload *offload = &frame->offload;
	if (offload->segment != NETWORK_WHOLE)
		return check_segment(frame);
	return !offload->checksum || (offload->start >= NETWORK_HEADER_SIZE &&
				      (uint32_t)offload->start + offload->offset + 2 <= frame->length);
}

void network_offload_checksum(uint8_t *bytes, uint32_t length, const struct network_offload *offload)
{
	uint8_t *at = &bytes[offload->start + offload->offset];
	uint16_t sum = sum_finish(sum_bytes(0, &bytes[offload->start], length - offload->start));
	/* RFC 768: a UDP checksum of 0 means none. All ones is the same number, and TCP does not mind. */
	store_le(at, sum == 0 ? 0xffff : sum, 2);
}

/* TCP's checksum with that of its pseudo-header. */
static void finish_tcp(uint8_t *bytes, uint32_t length, uint32_t ip, uint32_t tcp, bool six)
{
	uint8_t pseudo[4] = {0, PROTOCOL_TCP};
	store_be(&pseudo[2], length - tcp, 2); /* at most 65,535, as a segment is of one IP packet */
	store_le(&bytes[tcp + TCP_CHECKSUM], 0, 2);
	uint64_t sum = sum_bytes(0, pseudo, 4);
	sum = six ? sum_bytes(sum, &bytes[ip + IP6_SOURCE], 32) : sum_bytes(sum, &bytes[ip + IP4_SOURCE], 8);
	sum = sum_bytes(sum, &bytes[tcp], length - tcp);
	store_le(&bytes[tcp + TCP_CHECKSUM], sum_finish(sum), 2);
}

static void finish_ip(uint8_t *bytes, uint32_t length, uint32_t ip, uint32_t tcp, bool six, uint32_t number)
{
	if (six) {
		store_be(&bytes[ip + IP6_LENGTH], length - ip - IP6_HEADER, 2);
		return;
	}
	store_be(&bytes[ip + IP4_LENGTH], length - ip, 2);
	store_be(&bytes[ip + IP4_ID], load_be(&bytes[ip + IP4_ID], 2) + number, 2);
	store_le(&bytes[ip + IP4_CHECKSUM], 0, 2);
	store_le(&bytes[ip + IP4_CHECKSUM], sum_finish(sum_bytes(0, &bytes[ip], tcp - ip)), 2);
}

bool network_offload_cut(const struct network_frame *frame, uint8_t *scratch, network_segment_taker *take, void *opaque)
{
	bool six = frame->offload.segment == NETWORK_TCP6;
	uint32_t ip = type_offset(frame->bytes, frame->length) + 2, tcp = frame->offload.start;
	uint32_t headers = tcp + 4u * (frame->bytes[tcp + TCP_OFFSET] >> 4);
	uint32_t sequence = load_be(&frame->bytes[tcp + TCP_SEQUENCE], 4);
	uint32_t payload = frame->length - headers, done = 0, number = 0;
	do {
		uint32_t size = payload - done < frame->offload.size ? payload - done : frame->offload.size;
		struct network_frame segment = {.bytes = scratch, .length = headers + size, .offload.trusted = true};
		memcpy(scratch, frame->bytes, headers);
		memcpy(&scratch[headers], &frame->bytes[headers + done], size);
		store_be(&scratch[tcp + TCP_SEQUENCE], sequence + done, 4);
		if (done + size < payload)
			scratch[tcp + TCP_FLAGS] &= (uint8_t)~TCP_FIN_PSH;
		if (done > 0)
			scratch[tcp + TCP_FLAGS] &= (uint8_t)~TCP_CWR;
		finish_ip(scratch, segment.length, ip, tcp, six, number);
		finish_tcp(scratch, segment.length, ip, tcp, six);
		/* The rest of a frame that has begun is lost, as on a wire. */
		if (!take(opaque, &segment))
			return number > 0;
		done += size;
		number++;
	} while (done < payload);
	return true;
}
