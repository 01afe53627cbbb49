/* SPDX-License-Identifier: MIT */
/* The MC146818: any registers, any time. The line is register C's IRQF, and the time is one after the next update. */
#include "devices/rtc.h"
#include "fuzz-rig.h"

static uint8_t rtc_get(struct fuzz_rig *rig, uint8_t index)
{
	io_write(&rig->ports, 0x70, 1, index);
	return (uint8_t)io_read(&rig->ports, 0x71, 1);
}

static void rtc_put(struct fuzz_rig *rig, uint8_t index, uint8_t value)
{
	io_write(&rig->ports, 0x70, 1, index);
	io_write(&rig->ports, 0x71, 1, value);
}

static void check_irq(struct fuzz_rig *rig)
{
	bool level = fuzz_level(rig, 0);
	assert(level == ((rtc_get(rig, 0x0c) & 0x80) != 0));
	assert(!fuzz_level(rig, 0));
}

static void check_time(struct fuzz_rig *rig)
{
	rtc_put(rig, 0x0a, 0x20);
	rtc_put(rig, 0x0b, 0x06); /* binary, 24 hours, running */
	clock_advance(&rig->clock, CLOCK_SECOND);
	assert(rtc_get(rig, 0) < 60 && rtc_get(rig, 2) < 60 && rtc_get(rig, 4) < 24);
	assert(rtc_get(rig, 6) >= 1 && rtc_get(rig, 6) <= 7);
	assert(rtc_get(rig, 7) >= 1 && rtc_get(rig, 7) <= 31);
	assert(rtc_get(rig, 8) >= 1 && rtc_get(rig, 8) <= 12 && rtc_get(rig, 9) < 100);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct fuzz_window windows[] = {{false, 0x70, 2}};
	struct fuzz_rig rig;
	fuzz_init(&rig, data, size);
	const struct rtc_config config = {
	    .clock = &rig.clock, .irq = fuzz_line(&rig, 0), .unix_seconds = (int64_t)fuzz_number(&rig, 4)};
	struct rtc *rtc = rtc_create(&config, NULL);
	assert(rtc != NULL && rtc_map(rtc, &rig.ports, NULL));
	while (rig.left > 0) {
		uint8_t action = fuzz_byte(&rig);
		if (action < 0x60)
			rtc_put(&rig, fuzz_byte(&rig) % 16, fuzz_byte(&rig));
		else if (action < 0x80)
			fuzz_access(&rig, windows, 1, true);
		else if (action < 0xa0)
			fuzz_access(&rig, windows, 1, false);
		else if (action < 0xe0)
			fuzz_advance(&rig, 28);
		else if (action < 0xf0)
			check_irq(&rig);
		else if (action < 0xff)
			check_time(&rig);
		else
			rtc_reset(rtc);
	}
	rtc_destroy(rtc);
	assert(rig.clock.timers == NULL);
	return 0;
}
