/* SPDX-License-Identifier: MIT */
#include "machine/pc.h"

#include <stdlib.h>
#include <time.h>

#include "cpu/cpuid.h"
#include "devices/debugexit.h"
#include "devices/i440fx.h"
#include "devices/i8042.h"
#include "devices/i8254.h"
#include "devices/i8259.h"
#include "devices/ioapic.h"
#include "devices/lapic.h"
#include "devices/pci.h"
#include "devices/piix4isa.h"
#include "devices/piix4pm.h"
#include "devices/port92.h"
#include "devices/rtc.h"
#include "devices/uart16550.h"
#include "machine/layout.h"
#include "machine/pci-assign.h"

#define HOST_BRIDGE_DEVICE 0
#define PIIX4_DEVICE 1
#define PIIX4_ROUTE 0x60 /* PIRQRCA; the other three follow */
#define KEYBOARD_IRQ 1
#define AUXILIARY_IRQ 12
#define TIMER_IRQ 0

_Static_assert(CPU_APIC_TIMER_HZ == LAPIC_TIMER_HZ, "what CPUID 15h says of the local APIC's timer is true");

struct pc {
	struct pc_config config;
	struct lapic_bus *apic_bus;
	struct lapic *lapic[LEDGER_MAX_VCPUS];
	struct ioapic *ioapic;
	struct i8259 *pic;
	struct i8254 *pit;
	struct rtc *rtc;
	struct uart16550 *com1;
	struct i8042 *i8042;
	struct port92 port92;
	struct pci_bus *pci;
	struct i440fx *host_bridge;
	struct piix4isa *isa_bridge;
	struct piix4pm *pm;
	struct debugexit debug_exit;
};

/* ---- wires that are more than a line from one chip to one other ---- */

/* ISA interrupts reach both kinds of controller; the guest uses one of them. */
static void isa_irq(void *opaque, int irq, bool level)
{
	struct pc *pc = opaque;
	i8259_input(pc->pic, irq, level);
	ioapic_input(pc->ioapic, irq == TIMER_IRQ ? LAYOUT_TIMER_INPUT : irq, level);
}

/* PCI interrupts have IOAPIC inputs of their own and, through the PIIX4's router, 8259 inputs. */
static void pci_irq(void *opaque, int pirq, bool level)
{
	struct pc *pc = opaque;
	piix4isa_pirq(pc->isa_bridge, pirq, level);
	ioapic_input(pc->ioapic, LAYOUT_PCI_INPUT + pirq, level);
}

static uint8_t acknowledge_8259(void *opaque)
{
	const struct pc *pc = opaque;
	return i8259_acknowledge(pc->pic);
}

static void broadcast_eoi(void *opaque, uint8_t vector)
{
	struct pc *pc = opaque;
	ioapic_eoi(pc->ioapic, vector);
}

static struct irq_line isa_line(struct pc *pc, int irq)
{
	return (struct irq_line){.set = isa_irq, .opaque = pc, .input = irq};
}

/* ---- the board, from the processors down ---- */

static bool wire_lapics(struct pc *pc, struct error *error)
{
	const struct pc_config *config = &pc->config;
	pc->apic_bus = lapic_bus_create(broadcast_eoi, pc, error);
	if (pc->apic_bus == NULL)
		return false;
	for (unsigned i = 0; i < config->sockets; i++) {
		const struct pc_socket *socket = &config->socket[i];
		const struct lapic_config lapic = {.clock = config->clock,
						   .bus = pc->apic_bus,
						   .id = i,
						   .bootstrap = i == 0,
						   .physical_bits = config->physical_bits,
						   .pin = socket->pin,
						   .lock = config->lock,
						   .mmio = socket->mmio,
						   .extint_acknowledge = i == 0 ? acknowledge_8259 : NULL,
						   .extint_opaque = pc,
						   .tsc = socket->tsc,
						   .tsc_opaque = socket->tsc_opaque};
		pc->lapic[i] = lapic_create(&lapic, error);
		if (pc->lapic[i] == NULL)
			return false;
	}
	return true;
}

static bool wire_interrupt_controllers(struct pc *pc, struct error *error)
{
	const struct apic_sink sink = lapic_bus_sink(pc->apic_bus);
	const struct irq_line lint0 = {.set = lapic_lint, .opaque = pc->lapic[0], .input = 0};
	pc->ioapic = ioapic_create(&sink, (uint8_t)pc->config.sockets, error);
	pc->pic = i8259_create(&lint0, error);
	return pc->ioapic != NULL && pc->pic != NULL &&
	       ioapic_map(pc->ioapic, pc->config.mmio, LAYOUT_IOAPIC_BASE, error) &&
	       i8259_map(pc->pic, pc->config.ports, error);
}

static bool wire_timers(struct pc *pc, struct error *error)
{
	const struct irq_line timer_irq = isa_line(pc, TIMER_IRQ);
	struct timespec now;
	(void)clock_gettime(CLOCK_REALTIME, &now);
	const struct rtc_config rtc = {.clock = pc->config.clock,
				       .irq = isa_line(pc, LAYOUT_RTC_IRQ),
				       .unix_seconds = now.tv_sec,
				       .nanoseconds = (uint32_t)now.tv_nsec};
	pc->pit = i8254_create(pc->config.clock, &timer_irq, error);
	pc->rtc = rtc_create(&rtc, error);
	return pc->pit != NULL && pc->rtc != NULL && i8254_map(pc->pit, pc->config.ports, error) &&
	       rtc_map(pc->rtc, pc->config.ports, error);
}

static bool wire_pci(struct pc *pc, struct error *error)
{
	const struct pc_config *config = &pc->config;
	struct pci_bus_config bus = {.ports = config->ports, .mmio = config->mmio};
	for (int i = 0; i < (int)PCI_PINS; i++)
		bus.pirq[i] = (struct irq_line){.set = pci_irq, .opaque = pc, .input = i};
	pc->pci = pci_bus_create(&bus, error);
	if (pc->pci == NULL)
		return false;

	struct piix4isa_config isa = {
	    .bus = pc->pci, .device = PIIX4_DEVICE, .reset = config->reset, .reset_opaque = config->opaque};
	for (int i = 0; i < PIIX4ISA_IRQS; i++)
		isa.isa_irq[i] = (struct irq_line){.set = i8259_input, .opaque = pc->pic, .input = i};
	const struct piix4pm_config pm = {.bus = pc->pci,
					  .device = PIIX4_DEVICE,
					  .ports = config->ports,
					  .clock = config->clock,
					  .sci = isa_line(pc, LAYOUT_SCI_IRQ),
					  .base = LAYOUT_PM_PORT,
					  .power_off = config->power_off,
					  .power_off_opaque = config->opaque};
	pc->host_bridge = i440fx_create(pc->pci, HOST_BRIDGE_DEVICE, error);
	pc->isa_bridge = piix4isa_create(&isa, error);
	pc->pm = piix4pm_create(&pm, error);
	return pc->host_bridge != NULL && pc->isa_bridge != NULL && pc->pm != NULL;
}

static bool wire_isa(struct pc *pc, struct error *error)
{
	const struct pc_config *config = &pc->config;
	const struct uart16550_config com1 = {
	    .clock = config->clock, .irq = isa_line(pc, LAYOUT_COM1_IRQ), .chardev = config->serial};
	const struct i8042_config i8042 = {.keyboard_irq = isa_line(pc, KEYBOARD_IRQ),
					   .auxiliary_irq = isa_line(pc, AUXILIARY_IRQ),
					   .reset = config->reset,
					   .reset_opaque = config->opaque};
	pc->com1 = uart16550_create(&com1, error);
	pc->i8042 = i8042_create(&i8042, error);
	port92_init(&pc->port92, config->reset, config->opaque);
	return pc->com1 != NULL && pc->i8042 != NULL &&
	       uart16550_map(pc->com1, config->ports, LAYOUT_COM1_PORT, error) &&
	       i8042_map(pc->i8042, config->ports, error) && port92_map(&pc->port92, config->ports, error);
}

static bool wire_debug_exit(struct pc *pc, struct error *error)
{
	int port = pc->config.debug_exit_port;
	pc->debug_exit = (struct debugexit){.exit = pc->config.debug_exit, .opaque = pc->config.opaque};
	if (port < 0)
		return true;
	struct error why;
	if (port <= 0x10000 - DEBUGEXIT_PORTS && debugexit_map(&pc->debug_exit, pc->config.ports, (uint16_t)port, &why))
		return true;
	return error_set(error, ERROR_INPUT,
			 "the debug exit cannot be at port 0x%x: it is beyond the last port or in use", (unsigned)port);
}

struct pc *pc_create(const struct pc_config *config, struct error *error)
{
	struct pc *pc = calloc(1, sizeof *pc);
	if (pc == NULL) {
		(void)error_set(error, ERROR_HOST, "out of memory");
		return NULL;
	}
	pc->config = *config;
	if (wire_lapics(pc, error) && wire_interrupt_controllers(pc, error) && wire_timers(pc, error) &&
	    wire_pci(pc, error) && wire_isa(pc, error) && wire_debug_exit(pc, error))
		return pc;
	pc_destroy(pc);
	return NULL;
}

/* Whatever has been made so far, the last first. */
void pc_destroy(struct pc *pc)
{
	if (pc == NULL)
		return;
	if (pc->i8042 != NULL)
		i8042_destroy(pc->i8042);
	if (pc->com1 != NULL)
		uart16550_destroy(pc->com1);
	if (pc->pm != NULL)
		piix4pm_destroy(pc->pm);
	if (pc->isa_bridge != NULL)
		piix4isa_destroy(pc->isa_bridge);
	if (pc->host_bridge != NULL)
		i440fx_destroy(pc->host_bridge);
	if (pc->pci != NULL)
		pci_bus_destroy(pc->pci);
	if (pc->rtc != NULL)
		rtc_destroy(pc->rtc);
	if (pc->pit != NULL)
		i8254_destroy(pc->pit);
	if (pc->pic != NULL)
		i8259_destroy(pc->pic);
	if (pc->ioapic != NULL)
		ioapic_destroy(pc->ioapic);
	for (unsigned i = 0; i < pc->config.sockets; i++)
		if (pc->lapic[i] != NULL)
			lapic_destroy(pc->lapic[i]);
	if (pc->apic_bus != NULL)
		lapic_bus_destroy(pc->apic_bus);
	free(pc);
}

/* ---- reset, and firmware's part ---- */

static void reset_chips(struct pc *pc)
{
	for (unsigned i = 0; i < pc->config.sockets; i++)
		lapic_reset(pc->lapic[i]);
	ioapic_reset(pc->ioapic);
	i8259_reset(pc->pic);
	i8254_reset(pc->pit);
	rtc_reset(pc->rtc);
	pci_bus_reset(pc->pci);
	i440fx_reset(pc->host_bridge);
	piix4isa_reset(pc->isa_bridge);
	piix4pm_reset(pc->pm);
	uart16550_reset(pc->com1);
	i8042_reset(pc->i8042);
	port92_reset(&pc->port92);
}

/* PIRQs go where the DSDT says; those inputs and the SCI are level-triggered. */
static void route_interrupts(struct pc *pc)
{
	unsigned bridge = PCI_DEVFN(PIIX4_DEVICE, 0);
	uint16_t level = 1u << LAYOUT_SCI_IRQ;
	for (unsigned pirq = 0; pirq < PCI_PINS; pirq++) {
		pci_config_write(pc->pci, bridge, PIIX4_ROUTE + pirq, 1, LAYOUT_PCI_IRQ(pirq));
		level = (uint16_t)(level | 1u << LAYOUT_PCI_IRQ(pirq));
	}
	i8259_set_level_triggered(pc->pic, level);
	lapic_virtual_wire(pc->lapic[0]);
}

void pc_reset(struct pc *pc)
{
	reset_chips(pc);
	route_interrupts(pc);
	pci_assign(pc->pci);
}

void pc_power_button(struct pc *pc)
{
	(void)piix4pm_power_button(pc->pm);
}

struct interrupt_controller pc_interrupt_controller(struct pc *pc, unsigned socket)
{
	return lapic_controller(pc->lapic[socket]);
}
