/* SPDX-License-Identifier: MIT */
/* The 16550A: FIFOs, interrupt priorities and rules, timeout, loopback, flow control; against a stream in memory. */
#include <stddef.h>

#include "backend/chardev-impl.h"
#include "devices/uart16550.h"
#include "rig.h"

#define BASE 0x3f8
enum { DATA, IER, IIR, LCR, MCR, LSR, MSR, SCR };
#define FCR IIR
#define OUT2 0x08u

/* A back that takes `room` more bytes and holds input until the device takes it. */
struct memory_stream {
	struct chardev base;
	unsigned room;
	char output[64];
	unsigned output_count;
	const char *input;
};

struct fixture {
	struct rig rig;
	struct uart16550 *uart;
	struct probe irq;
	struct memory_stream stream;
};

static unsigned stream_write(struct chardev *chardev, const uint8_t *bytes, unsigned count)
{
	struct memory_stream *stream = (struct memory_stream *)chardev;
	unsigned taken = 0;
	for (; taken < count && stream->room > 0; taken++, stream->room--)
		stream->output[stream->output_count++] = (char)bytes[taken];
	return taken;
}

static void stream_feed(struct chardev *chardev)
{
	struct memory_stream *stream = (struct memory_stream *)chardev;
	unsigned count;
	while (stream->input != NULL && (count = (unsigned)strlen(stream->input)) > 0) {
		unsigned room = chardev_input_room(chardev);
		if (room == 0)
			return;
		count = count < room ? count : room;
		const char *from = stream->input;
		stream->input += count;
		chardev_push_input(chardev, (const uint8_t *)from, count);
	}
}

static const struct chardev_ops stream_ops = {.write = stream_write, .input_ready = stream_feed};

static unsigned get(struct fixture *f, unsigned reg)
{
	return in8(&f->rig, (uint16_t)(BASE + reg));
}

static void put(struct fixture *f, unsigned reg, unsigned value)
{
	out8(&f->rig, (uint16_t)(BASE + reg), value);
}

static void feed(struct fixture *f, const char *input)
{
	f->stream.input = input;
	stream_feed(&f->stream.base);
}

static int setup(void **state)
{
	struct fixture *f = test_calloc(1, sizeof *f);
	rig_init(&f->rig);
	f->stream.base.ops = &stream_ops;
	f->stream.room = 60;
	const struct uart16550_config config = {
	    .clock = &f->rig.clock, .irq = probe_line(&f->irq, 0), .chardev = &f->stream.base};
	f->uart = uart16550_create(&config, NULL);
	assert_true(uart16550_map(f->uart, &f->rig.ports, BASE, NULL));
	put(f, LCR, 0x03);
	put(f, MCR, OUT2);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	uart16550_destroy(f->uart);
	assert_null(f->rig.clock.timers);
	assert_null(f->stream.base.front.input);
	test_free(f);
	return 0;
}

static void registers_read_back(void **state)
{
	struct fixture *f = *state;
	put(f, LCR, 0x83);
	put(f, DATA, 0x0c);
	put(f, IER, 0x01);
	assert_int_equal(get(f, DATA), 0x0c);
	assert_int_equal(get(f, IER), 0x01);
	put(f, LCR, 0x03);
	put(f, IER, 0xff);
	assert_int_equal(get(f, IER), 0x0f);
	put(f, IER, 0);
	put(f, SCR, 0xa5);
	assert_int_equal(get(f, SCR), 0xa5);
	put(f, MCR, 0xff);
	assert_int_equal(get(f, MCR), 0x1f);
	put(f, MCR, 0);
	assert_int_equal(get(f, LSR), 0x60);
	assert_int_equal(get(f, MSR) & 0xf0, 0xb0);
	put(f, LSR, 0xff);
	assert_int_equal(get(f, LSR), 0x60);
	assert_int_equal(f->stream.output_count, 0); /* the divisor was not sent */
}

static void sends_what_is_written(void **state)
{
	struct fixture *f = *state;
	put(f, DATA, 'h');
	put(f, DATA, 'i');
	assert_memory_equal(f->stream.output, "hi", 2);
	assert_int_equal(get(f, LSR), 0x60);
}

static void thre_interrupt_has_its_own_rules(void **state)
{
	struct fixture *f = *state;
	put(f, IER, 0x02);
	assert_true(f->irq.level); /* enabled while THR is empty */
	assert_int_equal(get(f, IIR), 0x02);
	assert_false(f->irq.level); /* reading IIR as the source shown clears it */
	assert_int_equal(get(f, IIR), 0x01);
	put(f, IER, 0x02); /* was enabled before: no new one */
	assert_false(f->irq.level);
	put(f, DATA, 'x');
	assert_true(f->irq.level); /* emptied again */
	/* Not cleared by reading IIR while a higher source hides it. */
	put(f, IER, 0x03);
	feed(f, "a");
	assert_int_equal(get(f, IIR), 0x04);
	assert_int_equal(get(f, DATA), 'a');
	assert_int_equal(get(f, IIR), 0x02);
	assert_int_equal(get(f, IIR), 0x01);
	put(f, IER, 0x00);
	put(f, IER, 0x02);
	assert_true(f->irq.level);
	f->stream.room = 0;
	put(f, DATA, 'y'); /* writing THR clears it */
	assert_false(f->irq.level);
}

static void a_full_back_holds_thre_down(void **state)
{
	struct fixture *f = *state;
	put(f, FCR, 0x01);
	put(f, IER, 0x02);
	f->stream.room = 0;
	for (unsigned i = 0; i < 20; i++) /* four more than fit */
		put(f, DATA, 'a' + i);
	assert_int_equal(get(f, LSR), 0x00);
	assert_false(f->irq.level);
	f->stream.room = 10;
	chardev_push_ready(&f->stream.base);
	assert_int_equal(f->stream.output_count, 10);
	assert_int_equal(get(f, LSR), 0x00);
	f->stream.room = 40;
	chardev_push_ready(&f->stream.base);
	assert_memory_equal(f->stream.output, "abcdefghijklmnop", 16);
	assert_int_equal(f->stream.output_count, 16);
	assert_int_equal(get(f, LSR), 0x60);
	assert_true(f->irq.level);
}

static void fifo_enable_and_resets_come_from_fcr(void **state)
{
	struct fixture *f = *state;
	put(f, FCR, 0x01);
	assert_int_equal(get(f, IIR), 0xc1);
	feed(f, "abc");
	/* IER with the bits that would reset FIFOs in FCR. */
	put(f, IER, 0x06);
	put(f, IER, 0x00);
	assert_int_equal(get(f, DATA), 'a');
	put(f, FCR, 0x05); /* clears the transmitter's only */
	assert_int_equal(get(f, DATA), 'b');
	put(f, FCR, 0x03);
	assert_int_equal(get(f, LSR) & 1, 0);
	feed(f, "d");
	put(f, FCR, 0x00); /* changing the enable clears both */
	assert_int_equal(get(f, LSR) & 1, 0);
	assert_int_equal(get(f, IIR), 0x01);
	f->stream.room = 0;
	put(f, FCR, 0x01);
	put(f, DATA, 'x');
	put(f, FCR, 0x05);
	assert_int_equal(get(f, LSR), 0x60);
	f->stream.room = 5;
	chardev_push_ready(&f->stream.base);
	assert_int_equal(f->stream.output_count, 0);
}

static void trigger_levels(void **state)
{
	static const unsigned levels[4] = {1, 4, 8, 14};
	struct fixture *f = *state;
	put(f, IER, 0x01);
	for (unsigned i = 0; i < 4; i++) {
		put(f, FCR, 0x03 | i << 6);
		for (unsigned n = 1; n < levels[i]; n++)
			feed(f, "x");
		assert_false(f->irq.level);
		feed(f, "x");
		assert_true(f->irq.level);
		assert_int_equal(get(f, IIR), 0xc4);
		(void)get(f, DATA); /* below the level again */
		assert_false(f->irq.level);
	}
}

static void timeout_after_four_characters(void **state)
{
	struct fixture *f = *state;
	put(f, LCR, 0x83);
	put(f, DATA, 1); /* 115,200 baud: a character of ten bits takes 86.8 us */
	put(f, IER, 0);
	put(f, LCR, 0x03);
	put(f, FCR, 0xc1);
	put(f, IER, 0x01);
	feed(f, "ab");
	clock_advance(&f->rig.clock, 347221);
	assert_false(f->irq.level);
	clock_advance(&f->rig.clock, 2);
	assert_true(f->irq.level);
	assert_int_equal(get(f, IIR), 0xcc);
	assert_int_equal(get(f, DATA), 'a'); /* clears it and starts anew */
	assert_false(f->irq.level);
	clock_advance(&f->rig.clock, 347223);
	assert_true(f->irq.level);
	assert_int_equal(get(f, DATA), 'b');
	clock_advance(&f->rig.clock, 10 * CLOCK_SECOND);
	assert_false(f->irq.level);
	assert_null(f->rig.clock.timers);
}

static void input_waits_for_room(void **state)
{
	struct fixture *f = *state;
	const char *text = "The quick brown fox jumps over the lazy dog.";
	char got[64] = {0};
	feed(f, text);
	assert_int_equal(strlen(f->stream.input), strlen(text) - 1); /* 16450 mode: one byte */
	put(f, FCR, 0x01);					     /* and that one is lost by enabling */
	assert_int_equal(strlen(f->stream.input), strlen(text) - 17);
	unsigned count = 0;
	while (get(f, LSR) & 1)
		got[count++] = (char)get(f, DATA);
	assert_string_equal(got, text + 1);
	assert_int_equal(get(f, LSR) & 0x1e, 0); /* never an overrun */
	assert_int_equal(get(f, DATA), 0);
}

static void loopback_returns_bytes_and_modem_lines(void **state)
{
	struct fixture *f = *state;
	static const struct {
		uint8_t mcr, msr;
	} lines[] = {{0x01, 0x20}, {0x02, 0x10}, {0x04, 0x40}, {0x08, 0x80}};
	(void)get(f, MSR);
	for (unsigned i = 0; i < 4; i++) {
		put(f, MCR, 0x10u | lines[i].mcr);
		assert_int_equal(get(f, MSR) & 0xf0, lines[i].msr);
	}
	put(f, MCR, 0x10);
	put(f, DATA, 'q');
	assert_int_equal(f->stream.output_count, 0);
	assert_int_equal(get(f, LSR), 0x61);
	feed(f, "outside"); /* the receiver is not connected to the line */
	put(f, DATA, 'r');
	assert_int_equal(get(f, LSR), 0x63); /* overrun */
	assert_int_equal(get(f, LSR), 0x61); /* reading clears it */
	assert_int_equal(get(f, DATA), 'r');
	put(f, MCR, 0x00);
	assert_int_equal(get(f, DATA), 'o');
}

static void overrun_in_fifo_mode_keeps_the_old(void **state)
{
	struct fixture *f = *state;
	put(f, FCR, 0x01);
	put(f, MCR, 0x10);
	for (unsigned i = 0; i < 17; i++)
		put(f, DATA, 'a' + i);
	assert_int_equal(get(f, LSR) & 0x02, 0x02);
	for (unsigned i = 0; i < 16; i++)
		assert_int_equal(get(f, DATA), 'a' + i);
	assert_int_equal(get(f, LSR) & 1, 0);
}

static void priorities_of_interrupts(void **state)
{
	struct fixture *f = *state;
	put(f, FCR, 0x01);
	put(f, IER, 0x0f);
	put(f, MCR, 0x1b); /* loopback: DTR, RTS, OUT2 */
	for (unsigned i = 0; i < 17; i++)
		put(f, DATA, 'a');
	assert_false(f->irq.level); /* OUT2's pin is off in loopback */
	assert_int_equal(get(f, IIR), 0xc6);
	(void)get(f, LSR);
	assert_int_equal(get(f, IIR), 0xc4);
	for (unsigned i = 0; i < 16; i++)
		(void)get(f, DATA);
	assert_int_equal(get(f, IIR), 0xc2);
	put(f, MCR, OUT2); /* out of loopback and back: the modem lines change */
	put(f, MCR, 0x10 | OUT2);
	assert_int_equal(get(f, IIR), 0xc0);
	(void)get(f, MSR);
	assert_int_equal(get(f, IIR), 0xc1);
}

static void ring_counts_when_it_ends(void **state)
{
	struct fixture *f = *state;
	put(f, MCR, 0x10);
	(void)get(f, MSR);
	put(f, MCR, 0x14);
	assert_int_equal(get(f, MSR), 0x40);
	put(f, MCR, 0x10);
	assert_int_equal(get(f, MSR), 0x04);
}

static void out2_gates_the_line(void **state)
{
	struct fixture *f = *state;
	put(f, MCR, 0);
	put(f, IER, 0x02);
	assert_false(f->irq.level);
	put(f, MCR, OUT2);
	assert_true(f->irq.level);
	uart16550_reset(f->uart);
	assert_false(f->irq.level);
	assert_int_equal(get(f, IIR), 0x01);
}

static void reset_forgets(void **state)
{
	struct fixture *f = *state;
	put(f, FCR, 0xc1);
	feed(f, "ab");
	f->stream.room = 0;
	put(f, DATA, 'x');
	put(f, IER, 0x0f);
	put(f, MCR, 0x1f);
	put(f, LCR, 0x9b);
	uart16550_reset(f->uart);
	assert_null(f->rig.clock.timers); /* no timeout */
	assert_int_equal(get(f, LCR), 0);
	assert_int_equal(get(f, IER), 0);
	assert_int_equal(get(f, MCR), 0);
	assert_int_equal(get(f, IIR), 0x01);
	assert_int_equal(get(f, LSR), 0x60);
	assert_int_equal(get(f, MSR), 0xb0);
	f->stream.room = 9;
	chardev_push_ready(&f->stream.base);
	assert_int_equal(f->stream.output_count, 0);
	put(f, FCR, 0x01); /* the trigger level is 1 again */
	put(f, IER, 0x01);
	put(f, MCR, OUT2);
	feed(f, "c");
	assert_true(f->irq.level);
	assert_int_equal(get(f, DATA), 'c');
}

/* What could not be sent leaves through the loop when that is closed. */
static void loopback_takes_what_waits(void **state)
{
	struct fixture *f = *state;
	put(f, FCR, 0x01);
	f->stream.room = 0;
	put(f, DATA, 'w');
	put(f, IER, 0x03);
	put(f, MCR, 0x10);
	assert_int_equal(get(f, LSR), 0x61);
	clock_advance(&f->rig.clock, CLOCK_SECOND);
	assert_int_equal(get(f, IIR), 0xc4);
	assert_int_equal(get(f, DATA), 'w');
	put(f, LCR, 0x80); /* a divisor of zero divides nothing */
	put(f, DATA, 0);
	put(f, IER, 0);
	put(f, LCR, 0);
	put(f, DATA, 'v');
	assert_non_null(f->rig.clock.timers);
	put(f, FCR, 0x03);
	assert_null(f->rig.clock.timers);
}

/* Nothing is connected: output vanishes, there is no input. */
static void a_uart_without_a_stream(void **state)
{
	struct fixture *f = *state;
	const struct uart16550_config config = {.clock = &f->rig.clock};
	struct uart16550 *other = uart16550_create(&config, NULL);
	assert_true(uart16550_map(other, &f->rig.ports, 0x2f8, NULL));
	out8(&f->rig, 0x2f8, 'z');
	assert_int_equal(in8(&f->rig, 0x2f8 + LSR), 0x60);
	assert_int_equal(in8(&f->rig, 0x2f8), 0);
	out8(&f->rig, 0x2f8 + FCR, 0x01);
	uart16550_destroy(other);
}

/* Two UARTs in one process share nothing. */
static void two_uarts_are_apart(void **state)
{
	struct fixture *f = *state;
	struct probe irq = {0};
	struct memory_stream stream = {.base = {.ops = &stream_ops}, .room = 8};
	const struct uart16550_config config = {
	    .clock = &f->rig.clock, .irq = probe_line(&irq, 0), .chardev = &stream.base};
	struct uart16550 *other = uart16550_create(&config, NULL);
	assert_true(uart16550_map(other, &f->rig.ports, 0x2f8, NULL));
	out8(&f->rig, 0x2f8, 'z');
	put(f, DATA, 'a');
	assert_memory_equal(stream.output, "z", 2);
	assert_memory_equal(f->stream.output, "a", 2);
	out8(&f->rig, 0x2f8 + FCR, 0x01);
	assert_int_equal(get(f, IIR), 0x01);
	uart16550_destroy(other);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(registers_read_back),
	    TEST(sends_what_is_written),
	    TEST(thre_interrupt_has_its_own_rules),
	    TEST(a_full_back_holds_thre_down),
	    TEST(fifo_enable_and_resets_come_from_fcr),
	    TEST(trigger_levels),
	    TEST(timeout_after_four_characters),
	    TEST(input_waits_for_room),
	    TEST(loopback_returns_bytes_and_modem_lines),
	    TEST(overrun_in_fifo_mode_keeps_the_old),
	    TEST(priorities_of_interrupts),
	    TEST(ring_counts_when_it_ends),
	    TEST(out2_gates_the_line),
	    TEST(reset_forgets),
	    TEST(loopback_takes_what_waits),
	    TEST(a_uart_without_a_stream),
	    TEST(two_uarts_are_apart),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
