/* SPDX-License-Identifier: MIT */
/* The machine on the double engine: threads, halting, pausing, resets and ends, without a line of translated code. */
#include "machine-fixture.h"

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "cpu/cpuid.h"
#include "cpu/msr.h"

#define DEBUG_EXIT 0xf4
#define LAPIC_SVR 0xfee000f0u
#define LAPIC_LVT_TIMER 0xfee00320u
#define LAPIC_ICR_LOW 0xfee00300u
#define LAPIC_ICR_HIGH 0xfee00310u

static enum engine_exit guest_powers_off(struct guest *guest, struct cpu *cpu)
{
	guest_power_off(cpu);
	return guest_spin(guest, cpu);
}

static enum engine_exit guest_resets_by_keyboard(struct guest *guest, struct cpu *cpu)
{
	if (guest->resets > 1)
		return guest_powers_off(guest, cpu);
	guest_out(cpu, 0x64, 1, 0xfe);
	return guest_spin(guest, cpu);
}

static enum engine_exit guest_resets_by_cf9(struct guest *guest, struct cpu *cpu)
{
	if (guest->resets > 1)
		return guest_powers_off(guest, cpu);
	guest_out(cpu, 0xcf9, 1, 0x02);
	guest_out(cpu, 0xcf9, 1, 0x06);
	return guest_spin(guest, cpu);
}

static enum engine_exit guest_resets_by_port_92(struct guest *guest, struct cpu *cpu)
{
	if (guest->resets > 1)
		return guest_powers_off(guest, cpu);
	guest_out(cpu, 0x92, 1, 0x01);
	return guest_spin(guest, cpu);
}

static enum engine_exit guest_triple_faults(struct guest *guest, struct cpu *cpu)
{
	return guest->resets > 1 ? guest_powers_off(guest, cpu) : ENGINE_SHUTDOWN;
}

static enum engine_exit guest_exits(struct guest *guest, struct cpu *cpu)
{
	guest_out(cpu, DEBUG_EXIT, 4, 0x21);
	return guest_spin(guest, cpu);
}

#define TIMES 0x780u
#define TIMES_ALL 0xffffffffu

static uint64_t times_in(struct cpu *cpu, unsigned offset)
{
	return guest_in(cpu, (uint16_t)(TIMES + offset), 4) | guest_in(cpu, (uint16_t)(TIMES + offset + 4), 4) << 32;
}

/* Asks for all processors' times for so long that some have passed. `spins`: how often something was wrong. */
static enum engine_exit guest_asks_for_times(struct guest *guest, struct cpu *cpu)
{
	uint64_t used = 0, before = 0;
	while (used < 20000000 && !guest_must_stop(cpu)) {
		uint64_t sum = 0;
		guest_out(cpu, TIMES, 4, TIMES_ALL);
		guest->entries = (uint32_t)guest_in(cpu, TIMES + 4, 4);
		used = times_in(cpu, 8);
		for (unsigned offset = 8; offset < 40; offset += 8)
			sum += times_in(cpu, offset);
		guest->spins += used < before || sum != times_in(cpu, 40);
		before = used;
	}
	guest->tsc = used;
	guest_power_off(cpu);
	return guest_spin(guest, cpu);
}

static enum engine_exit guest_looks_for_times(struct guest *guest, struct cpu *cpu)
{
	guest->tsc = guest_in(cpu, TIMES + 4, 4);
	guest_power_off(cpu);
	return guest_spin(guest, cpu);
}

static enum engine_exit guest_halts_for_ticks(struct guest *guest, struct cpu *cpu)
{
	if (guest->entries == 1)
		guest_start_ticks(cpu);
	for (int vector = guest_take_interrupt(cpu); vector >= 0; vector = guest_take_interrupt(cpu)) {
		assert_int_equal(vector, 0x20);
		guest->ticks++;
	}
	if (guest->ticks >= 20)
		return guest_powers_off(guest, cpu);
	cpu->halted = true;
	return ENGINE_HALTED;
}

/* Echoes its input in upper case, one interrupt for each, until a dot. */
static enum engine_exit guest_echoes(struct guest *guest, struct cpu *cpu)
{
	if (guest->entries == 1) {
		guest_start_ticks(cpu);
		guest_out(cpu, 0x21, 1, 0xef);
		guest_out(cpu, DOUBLE_COM1 + 4, 1, 0x0b);
		guest_out(cpu, DOUBLE_COM1 + 1, 1, 0x01);
	}
	while (guest_take_interrupt(cpu) >= 0) {
		while ((guest_in(cpu, DOUBLE_COM1 + 5, 1) & 1) != 0) {
			char c = (char)guest_in(cpu, DOUBLE_COM1, 1);
			if (guest->input_count < sizeof guest->input)
				guest->input[guest->input_count++] = c;
			guest_out(cpu, DOUBLE_COM1, 1, (uint8_t)(c & ~0x20));
			if (c == '.')
				return guest_powers_off(guest, cpu);
		}
	}
	cpu->halted = true;
	return ENGINE_HALTED;
}

/* Waits for the power button's event. */
static enum engine_exit guest_waits_for_button(struct guest *guest, struct cpu *cpu)
{
	guest_out(cpu, DOUBLE_PM_ENABLE, 2, 1u << 8);
	while (!guest_must_stop(cpu)) {
		__atomic_store_n(&guest->ticks, 1, __ATOMIC_SEQ_CST);
		if ((guest_in(cpu, DOUBLE_PM_STATUS, 2) & 1u << 8) != 0)
			guest_power_off(cpu);
	}
	return ENGINE_STOPPED;
}

/* Has its local APIC wait for a time-stamp an hour from now, then writes it into the counter. */
static enum engine_exit guest_moves_its_tsc(struct guest *guest, struct cpu *cpu)
{
	uint64_t deadline = ledger_tsc() + cpu->tsc_offset + 3600 * cpu->clock->tsc_hz;
	guest_write_mmio(cpu, LAPIC_SVR, 0x1ff);
	guest_write_mmio(cpu, LAPIC_LVT_TIMER, 0x40040);
	assert_true(cpu_msr_write(cpu, 0x6e0, deadline));
	assert_int_equal(guest_take_interrupt(cpu), -1);
	assert_true(cpu_msr_write(cpu, 0x10, deadline));
	guest->ticks = guest_take_interrupt(cpu) == 0x40;
	return guest_powers_off(guest, cpu);
}

/* Leaves an NMI and an INIT behind for itself, then resets. */
static enum engine_exit guest_resets_with_signals_pending(struct guest *guest, struct cpu *cpu)
{
	if (guest->resets > 1) {
		guest->ticks = __atomic_load_n(&cpu->requests, __ATOMIC_SEQ_CST);
		return guest_powers_off(guest, cpu);
	}
	guest_write_mmio(cpu, LAPIC_ICR_HIGH, 0);
	guest_write_mmio(cpu, LAPIC_ICR_LOW, 0x4400); /* NMI */
	guest_write_mmio(cpu, LAPIC_ICR_LOW, 0x4500); /* INIT, asserted */
	assert_int_equal(__atomic_load_n(&cpu->requests, __ATOMIC_SEQ_CST), CPU_REQUEST_NMI | CPU_REQUEST_INIT);
	guest_out(cpu, 0xcf9, 1, 0x02);
	guest_out(cpu, 0xcf9, 1, 0x06);
	return guest_spin(guest, cpu);
}

/* The first processor starts the second, which ends the machine. */
static enum engine_exit guest_starts_another(struct guest *guest, struct cpu *cpu)
{
	if (cpu->index == 1) {
		guest_power_off(cpu);
		return guest_spin(guest, cpu);
	}
	guest_write_mmio(cpu, LAPIC_ICR_HIGH, 1u << 24);
	guest_write_mmio(cpu, LAPIC_ICR_LOW, 0x4500); /* INIT, asserted */
	guest_write_mmio(cpu, LAPIC_ICR_LOW, 0x4600 | 0x9a);
	return guest_spin(guest, cpu);
}

/* ---- ends ---- */

static void guest_can_power_off(void **state)
{
	struct fixture *f = *state;
	assert_int_equal(run(f, guest_powers_off), MACHINE_POWERED_OFF);
	assert_int_equal(f->guest.resets, 1);
	assert_int_equal(machine_state(f->machine), MACHINE_ENDED);
}

static void every_way_to_reset_starts_over(void **state)
{
	struct fixture *f = *state;
	enum engine_exit (*const guests[])(struct guest *, struct cpu *) = {
	    guest_resets_by_keyboard, guest_resets_by_cf9, guest_resets_by_port_92, guest_triple_faults};
	for (unsigned i = 0; i < 4; i++) {
		f->guest = (struct guest){0};
		assert_int_equal(run(f, guests[i]), MACHINE_POWERED_OFF);
		assert_int_equal(f->guest.resets, 2);
		machine_destroy(f->machine);
		f->machine = NULL;
	}
}

static void no_reboot_ends_instead(void **state)
{
	struct fixture *f = *state;
	f->config.no_reboot = true;
	assert_int_equal(run(f, guest_resets_by_keyboard), MACHINE_REBOOTED);
	machine_destroy(f->machine);
	f->machine = NULL;
	f->guest = (struct guest){0};
	assert_int_equal(run(f, guest_triple_faults), MACHINE_SHUTDOWN);
	machine_destroy(f->machine);
	f->machine = NULL;
	f->guest = (struct guest){0};
	pthread_t thread = run_beside(f, guest_spin);
	await_past(&f->guest.spins, 0);
	machine_reset(f->machine);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_int_equal(f->end, MACHINE_REBOOTED);
	assert_int_equal(f->guest.resets, 1);
}

static void signals_do_not_outlive_a_reset(void **state)
{
	struct fixture *f = *state;
	assert_int_equal(run(f, guest_resets_with_signals_pending), MACHINE_POWERED_OFF);
	assert_int_equal(f->guest.resets, 2);
	assert_int_equal(f->guest.ticks, 0);
}

static void debug_exit_has_a_code(void **state)
{
	struct fixture *f = *state;
	f->config.debug_exit_port = DEBUG_EXIT;
	assert_int_equal(run(f, guest_exits), MACHINE_DEBUG_EXIT);
	assert_int_equal(machine_debug_exit_code(f->machine), 0x43);
}

static void guest_is_told_its_times(void **state)
{
	struct fixture *f = *state;
	assert_int_equal(run(f, guest_asks_for_times), MACHINE_POWERED_OFF);
	assert_int_equal(f->guest.entries, 1);
	assert_true(f->guest.tsc >= 20000000);
	assert_int_equal(f->guest.spins, 0);
}

/* They are not the same in each run. */
static void deterministic_guest_is_told_no_times(void **state)
{
	struct fixture *f = *state;
	f->config.deterministic = true;
	assert_int_equal(run(f, guest_looks_for_times), MACHINE_POWERED_OFF);
	assert_int_equal(f->guest.tsc, 0xffffffff);
}

static void kernel_is_read_again_at_reset(void **state)
{
	struct fixture *f = *state;
	f->guest.run = guest_resets_by_keyboard;
	create(f);
	assert_int_equal(truncate(f->kernel, 100), 0);
	assert_int_equal(machine_run(f->machine), MACHINE_FAILED);
	assert_non_null(strstr(machine_failure(f->machine), "shorter"));
}

static void failing_to_attach_ends_the_machine(void **state)
{
	struct fixture *f = *state;
	f->guest.attach_fails = true;
	assert_int_equal(run(f, guest_powers_off), MACHINE_FAILED);
	assert_string_equal(machine_failure(f->machine), "no stack for signals");
	assert_int_equal(f->guest.entries, 0);
}

static void a_written_tsc_meets_its_deadline(void **state)
{
	struct fixture *f = *state;
	assert_int_equal(run(f, guest_moves_its_tsc), MACHINE_POWERED_OFF);
	assert_int_equal(f->guest.ticks, 1);
}

/* ---- halting, pausing, killing ---- */

static void interrupts_end_halts(void **state)
{
	struct fixture *f = *state;
	struct ledger_reading reading;
	assert_int_equal(run(f, guest_halts_for_ticks), MACHINE_POWERED_OFF);
	assert_true(f->guest.ticks >= 20);
	ledger_read(machine_ledger(f->machine), 0, &reading);
	assert_true(reading.state_ns[LEDGER_IDLE] > 5000000);
	assert_true(reading.state_ns[LEDGER_IDLE] > reading.state_ns[LEDGER_GUEST]);
}

static void pausing_stops_guest_and_clock(void **state)
{
	struct fixture *f = *state;
	pthread_t thread = run_beside(f, guest_spin);
	await_past(&f->guest.spins, 1000);
	uint64_t host_tsc = ledger_tsc();
	machine_pause(f->machine);
	await_state(f, MACHINE_PAUSED);
	uint32_t spins = __atomic_load_n(&f->guest.spins, __ATOMIC_SEQ_CST);
	uint64_t guest_tsc = f->guest.tsc;
	sleep_ms(500);
	assert_int_equal(__atomic_load_n(&f->guest.spins, __ATOMIC_SEQ_CST), spins);

	machine_resume(f->machine);
	await_past(&f->guest.spins, spins);
	machine_pause(f->machine);
	await_state(f, MACHINE_PAUSED);
	assert_true(f->guest.tsc > guest_tsc);
	/* The pause of 500 ms is missing in the guest's time; half of it is left for a busy host's delays. */
	uint64_t host = ledger_tsc() - host_tsc, guest = f->guest.tsc - guest_tsc;
	assert_true(guest < host - machine_ledger(f->machine)->tsc_hz / 4);

	machine_reset(f->machine); /* while paused: starts over when resumed */
	machine_resume(f->machine);
	await_past(&f->guest.resets, 1);
	machine_kill(f->machine);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_int_equal(f->end, MACHINE_KILLED);
	assert_int_equal(f->guest.resets, 2);
}

static void idle_guests_can_be_killed(void **state)
{
	struct fixture *f = *state;
	pthread_t thread = run_beside(f, guest_echoes);
	await_past(&f->guest.entries, 0);
	machine_kill(f->machine);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_int_equal(f->end, MACHINE_KILLED);
}

static void a_machine_can_start_paused(void **state)
{
	struct fixture *f = *state;
	f->guest.run = guest_powers_off;
	create(f);
	machine_pause(f->machine);
	pthread_t thread;
	assert_int_equal(pthread_create(&thread, NULL, run_thread, f), 0);
	await_state(f, MACHINE_PAUSED);
	sleep_ms(20);
	assert_int_equal(f->guest.entries, 0);
	machine_resume(f->machine);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_int_equal(f->end, MACHINE_POWERED_OFF);
}

static void power_button_reaches_the_guest(void **state)
{
	struct fixture *f = *state;
	pthread_t thread = run_beside(f, guest_waits_for_button);
	await_past(&f->guest.ticks, 0);
	machine_power_button(f->machine);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_int_equal(f->end, MACHINE_POWERED_OFF);
}

static unsigned open_descriptors(void)
{
	unsigned count = 0;
	for (int fd = 0; fd < 1024; fd++)
		count += fcntl(fd, F_GETFD) != -1;
	return count;
}

/* Kills at every moment of a start, and descriptors are all given back. */
static void machines_can_be_killed_at_any_moment(void **state)
{
	struct fixture *f = *state;
	unsigned before = open_descriptors();
	f->config.serial = SERIAL_UNIX;
	f->config.serial_path = f->path;
	for (unsigned i = 0; i < 40; i++) {
		f->guest = (struct guest){0};
		pthread_t thread = run_beside(f, i % 2 == 0 ? guest_halts_for_ticks : guest_spin);
		struct timespec wait = {.tv_nsec = (long)(i * i * 1000)};
		(void)nanosleep(&wait, NULL);
		if (i % 3 == 0)
			machine_pause(f->machine);
		if (i % 4 == 0)
			machine_reset(f->machine);
		machine_kill(f->machine);
		assert_int_equal(pthread_join(thread, NULL), 0);
		assert_true(f->end == MACHINE_KILLED || f->end == MACHINE_POWERED_OFF);
		machine_destroy(f->machine);
		f->machine = NULL;
	}
	assert_int_equal(open_descriptors(), before);
	assert_int_not_equal(access(f->path, F_OK), 0);
}

/* ---- streams and watches ---- */

static void read_exactly(int fd, char *to, size_t size)
{
	for (size_t done = 0; done < size;) {
		ssize_t got = read(fd, to + done, size - done);
		assert_true(got > 0);
		done += (size_t)got;
	}
}

static void serial_goes_through_descriptors(void **state)
{
	struct fixture *f = *state;
	int in_pipe[2], out_pipe[2];
	char text[64] = {0};
	assert_int_equal(pipe(in_pipe), 0);
	assert_int_equal(pipe(out_pipe), 0);
	f->config.serial = SERIAL_STDIO;
	f->config.serial_fd_in = in_pipe[0];
	f->config.serial_fd_out = out_pipe[1];
	pthread_t thread = run_beside(f, guest_echoes);
	const char *sent = "more than sixteen bytes fit into a fifo.";
	assert_int_equal(write(in_pipe[1], sent, strlen(sent)), strlen(sent));
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_int_equal(f->end, MACHINE_POWERED_OFF);
	assert_memory_equal(f->guest.input, sent, strlen(sent));
	read_exactly(out_pipe[0], text, strlen(sent));
	assert_memory_equal(text, "MORE", 4);
	for (unsigned i = 0; i < 2; i++) {
		(void)close(in_pipe[i]);
		(void)close(out_pipe[i]);
	}
}

static void serial_goes_through_a_socket(void **state)
{
	struct fixture *f = *state;
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	char text[16];
	f->config.serial = SERIAL_UNIX;
	f->config.serial_path = f->path;
	pthread_t thread = run_beside(f, guest_echoes);
	memcpy(address.sun_path, f->path, strlen(f->path) + 1);
	for (unsigned i = 0; i < 2; i++) { /* a second client after the first */
		int client = socket(AF_UNIX, SOCK_STREAM, 0);
		assert_int_equal(connect(client, (struct sockaddr *)&address, sizeof address), 0);
		assert_int_equal(write(client, i == 0 ? "ab" : "cd", 2), 2);
		read_exactly(client, text, 2);
		assert_memory_equal(text, i == 0 ? "AB" : "CD", 2);
		(void)close(client);
	}
	int client = socket(AF_UNIX, SOCK_STREAM, 0);
	assert_int_equal(connect(client, (struct sockaddr *)&address, sizeof address), 0);
	assert_int_equal(write(client, ".", 1), 1);
	(void)close(client); /* what it sent is delivered all the same */
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_int_equal(f->end, MACHINE_POWERED_OFF);
	machine_destroy(f->machine);
	f->machine = NULL;
	assert_int_not_equal(access(f->path, F_OK), 0);
}

struct watched {
	struct machine *machine;
	int fd;
	unsigned calls;
};

static void kill_on_third(void *opaque, int fd, uint32_t events)
{
	struct watched *watched = opaque;
	char byte;
	assert_int_equal(fd, watched->fd);
	assert_true((events & EPOLLIN) != 0);
	assert_int_equal(read(fd, &byte, 1), 1);
	if (++watched->calls == 2)
		machine_pause(watched->machine);
	if (watched->calls < 3)
		return;
	/* On the loop's own thread requests take effect at once. */
	assert_int_equal(machine_state(watched->machine), MACHINE_PAUSED);
	machine_unwatch(watched->machine, fd);
	machine_kill(watched->machine);
	assert_int_equal(machine_state(watched->machine), MACHINE_ENDED);
}

static void owners_watch_descriptors(void **state)
{
	struct fixture *f = *state;
	int ends[2];
	assert_int_equal(pipe(ends), 0);
	f->guest.run = guest_spin;
	create(f);
	struct watched watched = {.machine = f->machine, .fd = ends[0]};
	assert_true(machine_watch(f->machine, ends[0], EPOLLIN, kill_on_third, &watched, &f->error));
	assert_false(machine_watch(f->machine, 9999, EPOLLIN, kill_on_third, &watched, &f->error));
	assert_int_equal(write(ends[1], "abcd", 4), 4);
	assert_int_equal(machine_run(f->machine), MACHINE_KILLED);
	assert_int_equal(watched.calls, 3);
	(void)close(ends[0]);
	(void)close(ends[1]);
}

static void processors_wait_for_their_start(void **state)
{
	struct fixture *f = *state;
	struct ledger_reading reading;
	f->config.cpus = 2;
	assert_int_equal(run(f, guest_starts_another), MACHINE_POWERED_OFF);
	assert_int_equal(f->guest.startup_vector, 0x9a);
	assert_int_equal(f->guest.resets, 1);
	ledger_read(machine_ledger(f->machine), 1, &reading);
	assert_true(reading.state_ns[LEDGER_GUEST] > 0);
}

/* ---- two at once: nothing is global ---- */

static void machines_do_not_know_each_other(void **state)
{
	struct fixture *f = *state;
	struct fixture other = {.config = f->config};
	pthread_t first = run_beside(f, guest_halts_for_ticks);
	pthread_t second = run_beside(&other, guest_resets_by_keyboard);
	assert_int_equal(pthread_join(second, NULL), 0);
	assert_int_equal(pthread_join(first, NULL), 0);
	assert_int_equal(f->end, MACHINE_POWERED_OFF);
	assert_int_equal(other.end, MACHINE_POWERED_OFF);
	assert_int_equal(f->guest.resets, 1);
	assert_int_equal(other.guest.resets, 2);
	assert_true(machine_overhead_bytes(f->machine) > 12345);
	machine_destroy(other.machine);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(guest_can_power_off, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(every_way_to_reset_starts_over, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(no_reboot_ends_instead, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(a_written_tsc_meets_its_deadline, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(signals_do_not_outlive_a_reset, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(debug_exit_has_a_code, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(guest_is_told_its_times, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(deterministic_guest_is_told_no_times, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(kernel_is_read_again_at_reset, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(failing_to_attach_ends_the_machine, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(interrupts_end_halts, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(pausing_stops_guest_and_clock, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(idle_guests_can_be_killed, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(a_machine_can_start_paused, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(machines_can_be_killed_at_any_moment, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(power_button_reaches_the_guest, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(serial_goes_through_descriptors, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(serial_goes_through_a_socket, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(owners_watch_descriptors, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(processors_wait_for_their_start, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(machines_do_not_know_each_other, set_up, tear_down),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
