/* SPDX-License-Identifier: MIT */
/* IDE channel with drives of the test's own: who answers, who is selected, resets, interrupts, the data port. */
#include "ide-rig.h"

struct toy {
	struct ide_drive drive;
	uint8_t bytes[8];
	unsigned commands, transferred, resets;
};

struct fixture {
	struct rig rig;
	struct probe irq;
	struct ide_channel *channel;
	struct toy toy[2];
	unsigned dma_requests;
};

static void toy_command(struct ide_drive *drive, uint8_t command)
{
	struct toy *toy = (struct toy *)drive;
	toy->commands++;
	if (command == 0x01)
		ide_transfer(drive, IDE_PIO_IN, toy->bytes, 6, true);
	else if (command == 0x02)
		ide_transfer(drive, IDE_PIO_OUT, toy->bytes, 6, false);
	else if (command == 0x03)
		ide_transfer(drive, IDE_DMA_IN, toy->bytes, 6, false);
	else if (command == 0x04)
		ide_host_begin(drive);
	else
		ide_finish(drive, command == 0x05 ? IDE_ERROR_ABRT : 0, true);
}

static void toy_transferred(struct ide_drive *drive)
{
	((struct toy *)drive)->transferred++;
	ide_finish(drive, 0, true);
}

static void toy_reset(struct ide_drive *drive, bool power_on)
{
	(void)power_on;
	((struct toy *)drive)->resets++;
}

static const struct ide_drive_ops toy_ops = {.command = toy_command,
					     .transferred = toy_transferred,
					     .reset = toy_reset,
					     .idle_status = IDE_STATUS_DRDY,
					     .signature = {0x12, 0x34}};

static void count_request(void *opaque)
{
	((struct fixture *)opaque)->dma_requests++;
}

static int setup(void **state)
{
	struct fixture *f = test_calloc(1, sizeof *f);
	rig_init(&f->rig);
	const struct ide_channel_config channel = {.irq = probe_line(&f->irq, 0), .master = {count_request, f}};
	f->channel = ide_channel_create(&channel, NULL);
	channel_map(&f->rig, f->channel);
	*state = f;
	return 0;
}

static void attach(struct fixture *f, unsigned number)
{
	assert_true(ide_attach(f->channel, &f->toy[number].drive, number, &toy_ops, NULL));
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	for (unsigned i = 0; i < 2; i++)
		if (f->toy[i].drive.channel != NULL)
			ide_detach(&f->toy[i].drive);
	ide_channel_destroy(f->channel);
	test_free(f);
	return 0;
}

static void empty_channel_floats(void **state)
{
	struct fixture *f = *state;
	for (uint16_t port = FEATURES; port <= COMMAND; port++) {
		out8(&f->rig, port, 0x55);
		assert_int_equal(in8(&f->rig, port), 0x7f);
	}
	assert_int_equal(in8(&f->rig, CONTROL), 0x7f);
	assert_int_equal(io_read(&f->rig.ports, DATA, 2), 0xffff);
	out8(&f->rig, CONTROL, 4);
	out8(&f->rig, CONTROL, 0);
	assert_int_equal(f->irq.rises, 0);
}

static void drive_0_answers_for_1(void **state)
{
	struct fixture *f = *state;
	attach(f, 0);
	out8(&f->rig, DEVICE, 0x10);
	assert_int_equal(in8(&f->rig, COMMAND), 0);
	assert_int_equal(in8(&f->rig, DEVICE), 0x10);
	out8(&f->rig, COUNT, 0x5a);
	assert_int_equal(in8(&f->rig, COUNT), 0x5a);
	out8(&f->rig, COMMAND, 0x00);
	assert_int_equal(f->toy[0].commands, 0);
	out8(&f->rig, DEVICE, 0);
	assert_int_equal(in8(&f->rig, COMMAND), 0x40);
	assert_false(ide_has_other_drive(&f->toy[0].drive));
	attach(f, 1);
	assert_true(ide_has_other_drive(&f->toy[0].drive));
	assert_true(ide_has_other_drive(&f->toy[1].drive));
}

/* Of all commands to a drive 1 that is not there (9.16.1). */
static void drive_0_executes_the_diagnostic_for_1(void **state)
{
	struct fixture *f = *state;
	attach(f, 0);
	unsigned resets = f->toy[0].resets;
	out8(&f->rig, DEVICE, 0x10);
	out8(&f->rig, COUNT, 0x5a);
	out8(&f->rig, COMMAND, 0x90);
	assert_int_equal(f->toy[0].resets, resets + 1);
	assert_int_equal(f->toy[0].commands, 0);
	assert_true(f->irq.level);
	assert_int_equal(in8(&f->rig, DEVICE), 0); /* selected again */
	assert_int_equal(in8(&f->rig, COUNT), 1);
	assert_int_equal(in8(&f->rig, FEATURES), 1);
}

static void drive_1_alone_does_not_answer_for_0(void **state)
{
	struct fixture *f = *state;
	attach(f, 1);
	assert_int_equal(in8(&f->rig, COMMAND), 0x7f);
	out8(&f->rig, DEVICE, 0x10);
	assert_int_equal(in8(&f->rig, COMMAND), 0x40);
}

static void commands_go_to_the_selected_drive(void **state)
{
	struct fixture *f = *state;
	attach(f, 0);
	attach(f, 1);
	assert_false(ide_attach(f->channel, &f->toy[0].drive, 0, &toy_ops, NULL));
	out8(&f->rig, DEVICE, 0x10);
	out8(&f->rig, COMMAND, 0x05);
	assert_int_equal(f->toy[0].commands, 0);
	assert_int_equal(f->toy[1].commands, 1);
	assert_true(f->irq.level);
	out8(&f->rig, DEVICE, 0); /* the other drive has no interrupt */
	assert_false(f->irq.level);
	assert_int_equal(in8(&f->rig, FEATURES), 1);
	out8(&f->rig, DEVICE, 0x10);
	assert_true(f->irq.level);
	out8(&f->rig, CONTROL, 2); /* nIEN */
	assert_false(f->irq.level);
	assert_int_equal(in8(&f->rig, CONTROL), 0x41);
	out8(&f->rig, CONTROL, 0);
	assert_true(f->irq.level);
	assert_int_equal(in8(&f->rig, FEATURES), IDE_ERROR_ABRT);
	assert_int_equal(in8(&f->rig, COMMAND), 0x41);
	assert_false(f->irq.level);
}

static void data_port_moves_words(void **state)
{
	struct fixture *f = *state;
	attach(f, 0);
	memcpy(f->toy[0].bytes, "abcdef--", 8);
	out8(&f->rig, COMMAND, 0x01);
	io_write(&f->rig.ports, DATA, 2, 0); /* the wrong direction */
	out8(&f->rig, COMMAND, 0x02);	     /* in the middle of a transfer */
	assert_int_equal(f->toy[0].commands, 1);
	assert_int_equal(io_read(&f->rig.ports, DATA, 2), 'a' | 'b' << 8);
	assert_int_equal(io_read(&f->rig.ports, DATA, 4), 'c' | 'd' << 8 | 'e' << 16 | 'f' << 24);
	assert_int_equal(f->toy[0].transferred, 1);
	assert_int_equal(io_read(&f->rig.ports, DATA, 2), 0xffff);
	out8(&f->rig, COMMAND, 0x02);
	io_write(&f->rig.ports, DATA, 4, 0x34333231);
	io_write(&f->rig.ports, DATA, 4, 0x38373635); /* half of it is too much */
	assert_memory_equal(f->toy[0].bytes, "123456--", 8);
	assert_int_equal(f->toy[0].transferred, 2);
}

static void dma_is_offered(void **state)
{
	struct fixture *f = *state;
	size_t size = 0;
	bool to_memory = false;
	attach(f, 0);
	assert_null(ide_dma_window(f->channel, &size, &to_memory));
	out8(&f->rig, COMMAND, 0x03);
	assert_int_equal(f->dma_requests, 1);
	assert_ptr_equal(ide_dma_window(f->channel, &size, &to_memory), f->toy[0].bytes);
	assert_int_equal(size, 6);
	assert_true(to_memory);
	ide_dma_advance(f->channel, 8); /* more than there is */
	ide_dma_advance(f->channel, 4);
	assert_ptr_equal(ide_dma_window(f->channel, &size, &to_memory), f->toy[0].bytes + 4);
	assert_int_equal(io_read(&f->rig.ports, DATA, 2), 0xffff);
	ide_dma_advance(f->channel, 2);
	assert_int_equal(f->toy[0].transferred, 1);
	assert_true(f->irq.level);
}

static void reset_and_diagnostic_leave_signatures(void **state)
{
	struct fixture *f = *state;
	attach(f, 0);
	attach(f, 1);
	out8(&f->rig, DEVICE, 0x10);
	out8(&f->rig, COMMAND, 0x01);
	out8(&f->rig, CONTROL, 4);
	assert_int_equal(in8(&f->rig, CONTROL), 0x80);
	assert_false(f->irq.level);
	out8(&f->rig, COMMAND, 0x01); /* not while in reset */
	out8(&f->rig, CONTROL, 0);
	assert_int_equal(f->toy[1].commands, 1);
	assert_int_equal(in8(&f->rig, DEVICE), 0);
	out8(&f->rig, DEVICE, 0x10);
	assert_int_equal(in8(&f->rig, LBA_MID), 0x12);
	assert_int_equal(in8(&f->rig, LBA_HIGH), 0x34);
	out8(&f->rig, COMMAND, 0x90); /* drive 1 is selected: both do it, drive 0 interrupts */
	assert_true(f->irq.level);
	assert_int_equal(in8(&f->rig, DEVICE), 0);
	assert_int_equal(in8(&f->rig, FEATURES), 1);
	assert_int_equal(in8(&f->rig, LBA_HIGH), 0x34);
	assert_int_equal(in8(&f->rig, COMMAND), 0x40);
}

static void abandoned_work_ends_before_the_next(void **state)
{
	struct fixture *f = *state;
	attach(f, 0);
	out8(&f->rig, COMMAND, 0x04);
	ide_channel_reset(f->channel);
	assert_int_equal(in8(&f->rig, COMMAND), 0x80);
	out8(&f->rig, COMMAND, 0x04);
	assert_int_equal(f->toy[0].commands, 1);
	assert_false(ide_host_end(&f->toy[0].drive));
	assert_int_equal(in8(&f->rig, COMMAND), 0x40);
	out8(&f->rig, COMMAND, 0x04);
	assert_true(ide_host_end(&f->toy[0].drive));
	ide_finish(&f->toy[0].drive, 0, false);
	out8(&f->rig, COMMAND, 0x04);
	out8(&f->rig, CONTROL, 4);
	assert_false(ide_host_end(&f->toy[0].drive)); /* answered while SRST is set */
	assert_int_equal(in8(&f->rig, CONTROL), 0x80);
	out8(&f->rig, CONTROL, 0);
	assert_int_equal(in8(&f->rig, CONTROL), 0x40);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(empty_channel_floats, setup, teardown),
	    cmocka_unit_test_setup_teardown(drive_0_answers_for_1, setup, teardown),
	    cmocka_unit_test_setup_teardown(drive_0_executes_the_diagnostic_for_1, setup, teardown),
	    cmocka_unit_test_setup_teardown(drive_1_alone_does_not_answer_for_0, setup, teardown),
	    cmocka_unit_test_setup_teardown(commands_go_to_the_selected_drive, setup, teardown),
	    cmocka_unit_test_setup_teardown(data_port_moves_words, setup, teardown),
	    cmocka_unit_test_setup_teardown(dma_is_offered, setup, teardown),
	    cmocka_unit_test_setup_teardown(reset_and_diagnostic_leave_signatures, setup, teardown),
	    cmocka_unit_test_setup_teardown(abandoned_work_ends_before_the_next, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
