/* SPDX-License-Identifier: MIT */
#include "machine/pc.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cpu/cpuid.h"
#include "devices/ata.h"
#include "devices/atapi.h"
#include "devices/coprocessor.h"
#include "devices/cputimes.h"
#include "devices/debugexit.h"
#include "devices/fwcfg.h"
#include "devices/hpet.h"
#include "devices/i440fx.h"
#include "devices/i8042.h"
#include "devices/i82077.h"
#include "devices/i8237.h"
#include "devices/i8254.h"
#include "devices/i8259.h"
#include "devices/ioapic.h"
#include "devices/lapic.h"
#include "devices/pci.h"
#include "devices/pcnet.h"
#include "devices/piix4ide.h"
#include "devices/piix4isa.h"
#include "devices/piix4pm.h"
#include "devices/port92.h"
#include "devices/ps2keyboard.h"
#include "devices/ps2mouse.h"
#include "devices/rtc.h"
#include "devices/uart16550.h"
#include "devices/vga.h"
#include "devices/virtioblk.h"
#include "devices/virtioconsole.h"
#include "devices/virtionet.h"
#include "devices/virtiorng.h"
#include "machine/isa-irqs.h"
#include "machine/layout.h"
#include "machine/pci-assign.h"
#include "machine/timer-ears.h"
#include "machine/vga-text-mode.h"

#define HOST_BRIDGE_DEVICE 0
#define PIIX4_DEVICE 1
#define VGA_DEVICE 2
#define NETWORK_DEVICE 16 /* and the next seven */
#define ENTROPY_DEVICE 24
#define CONSOLE_DEVICE 25
#define PIIX4_IDE_FUNCTION 1
#define PIIX4_IDE_TIMING 0x40	     /* IDETIM of both channels */
#define PIIX4_IDE_DECODE 0x80008000u /* bit 15 of each */
#define PIIX4_ROUTE 0x60	     /* PIRQRCA; the other three follow */
#define KEYBOARD_IRQ 1
#define COPROCESSOR_IRQ 13
#define AUXILIARY_IRQ 12
#define TIMER_IRQ 0
#define IDE_IRQ 14 /* and 15 */
#define FLOPPY_DMA 2

_Static_assert(CPU_APIC_TIMER_HZ == LAPIC_TIMER_HZ, "what CPUID 15h says of the local APIC's timer is true");

struct pc {
	struct pc_config config;
	struct lapic_bus *apic_bus;
	struct lapic *lapic[LEDGER_MAX_VCPUS];
	struct ioapic *ioapic;
	struct i8259 *pic;
	struct isa_irqs isa_irqs;
	struct i8254 *pit;
	struct hpet *hpet; /* or NULL */
	struct timer_ears timer_ears;
	struct rtc *rtc;
	struct uart16550 *com[2];
	struct i8042 *i8042;
	struct ps2keyboard *keyboard;
	struct ps2mouse *mouse;
	struct i8237 *dma;
	struct i82077 *floppy;
	struct fwcfg *fwcfg;
	struct port92 port92;
	struct coprocessor coprocessor;
	struct cputimes cputimes;
	struct pci_bus *pci;
	struct i440fx *host_bridge;
	struct piix4isa *isa_bridge;
	struct piix4pm *pm;
	struct vga *vga;
	struct piix4ide *ide;
	struct pcnet *pcnet[PC_NETWORKS]; /* each network has one or the other */
	struct virtionet *virtionet[PC_NETWORKS];
	struct ata *disk[PC_IDE_DRIVES];
	struct atapi *cdrom[PC_IDE_DRIVES];
	struct virtioblk *virtio_disk[PC_VIRTIO_DISKS];
	struct virtiorng *rng;	       /* or NULL */
	struct virtioconsole *console; /* or NULL */
	struct debugexit debug_exit;
	struct debugcon debug_console;
};

/* ---- wires that are more than a line from one chip to one other ---- */

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

/* A message to where no local APIC is changes nothing. */
static void send_message(void *opaque, uint64_t address, uint32_t data)
{
	const struct pc *pc = opaque;
	(void)lapic_bus_msi(pc->apic_bus, address, data);
}

/* PAM registers, and the framebuffer's BAR. */
static void shadow_segment(void *opaque, uint32_t base, uint32_t size, bool ram_read, bool ram_write)
{
	struct pc *pc = opaque;
	memory_map_shadow(pc->config.map, base, size, ram_read, ram_write);
}

static void place_framebuffer(void *opaque, bool mapped, uint64_t base)
{
	struct pc *pc = opaque;
	memory_map_place_video(pc->config.map, mapped, base);
}

static struct irq_line isa_line(struct pc *pc, int irq)
{
	return isa_irqs_line(&pc->isa_irqs, irq);
}

/* Where the ledger counts a timer's ticks. */
static struct ledger_ticks *ticks_of(const struct pc *pc, enum ledger_timer timer)
{
	return pc->config.ledger != NULL ? &pc->config.ledger->ticks[timer] : NULL;
}

static struct ledger_vcpu *ledger_of(const struct pc *pc, unsigned socket)
{
	return pc->config.ledger != NULL ? &pc->config.ledger->vcpu[socket] : NULL;
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
						   .lock = socket->lock,
						   .mmio = socket->mmio,
						   .extint_acknowledge = i == 0 ? acknowledge_8259 : NULL,
						   .extint_opaque = pc,
						   .tsc = socket->tsc,
						   .tsc_opaque = socket->tsc_opaque,
						   .ledger = ledger_of(pc, i),
						   .ticks = ticks_of(pc, LEDGER_TIMER_LAPIC)};
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
	if (pc->ioapic == NULL || pc->pic == NULL)
		return false;
	isa_irqs_init(&pc->isa_irqs, pc->pic, pc->ioapic, ledger_of(pc, 0));
	return ioapic_map(pc->ioapic, pc->config.mmio, LAYOUT_IOAPIC_BASE, error) &&
	       i8259_map(pc->pic, pc->config.ports, error);
}

static void ioapic_irq(void *opaque, int input, bool level)
{
	struct pc *pc = opaque;
	ioapic_input(pc->ioapic, input, level);
}

static bool wire_hpet(struct pc *pc, struct error *error)
{
	struct hpet_config hpet = {
	    .clock = pc->config.clock,
	    .ticks = ticks_of(pc, LEDGER_TIMER_HPET),
	    .legacy = {[HPET_TIMER_IRQ] = isa_line(pc, TIMER_IRQ), [HPET_RTC_IRQ] = isa_line(pc, LAYOUT_RTC_IRQ)}};
	for (unsigned i = 0; i < HPET_ROUTES; i++)
		hpet.route[i] =
		    (struct irq_line){.set = ioapic_irq, .opaque = pc, .input = (int)(HPET_ROUTE_FIRST + i)};
	if (!pc->config.hpet)
		return true;
	pc->hpet = hpet_create(&hpet, error);
	return pc->hpet != NULL && hpet_map(pc->hpet, pc->config.mmio, LAYOUT_HPET_BASE, error);
}

/* The interrupt of a timer that the HPET may replace. */
static struct irq_line timer_line(struct pc *pc, int irq, enum hpet_legacy which)
{
	return pc->hpet != NULL ? hpet_input(pc->hpet, which) : isa_line(pc, irq);
}

static bool wire_timers(struct pc *pc, struct error *error)
{
	const struct irq_line timer_irq = timer_line(pc, TIMER_IRQ, HPET_TIMER_IRQ);
	struct timespec now;
	(void)clock_gettime(CLOCK_REALTIME, &now);
	if (pc->config.rtc_given)
		now = (struct timespec){.tv_sec = pc->config.rtc_seconds};
	const struct rtc_config rtc = {.clock = pc->config.clock,
				       .irq = timer_line(pc, LAYOUT_RTC_IRQ, HPET_RTC_IRQ),
				       .unix_seconds = now.tv_sec,
				       .nanoseconds = (uint32_t)now.tv_nsec,
				       .ticks = ticks_of(pc, LEDGER_TIMER_RTC)};
	pc->pit = i8254_create(pc->config.clock, &timer_irq, error);
	pc->rtc = rtc_create(&rtc, error);
	if (pc->pit == NULL || pc->rtc == NULL)
		return false;
	pc->timer_ears = (struct timer_ears){.pit = pc->pit, .hpet = pc->hpet, .irqs = &pc->isa_irqs};
	timer_ears_connect(&pc->timer_ears, ticks_of(pc, LEDGER_TIMER_I8254));
	return i8254_map(pc->pit, pc->config.ports, error) && rtc_map(pc->rtc, pc->config.ports, error);
}

static bool wire_pci(struct pc *pc, struct error *error)
{
	const struct pc_config *config = &pc->config;
	struct pci_bus_config bus = {
	    .ports = config->ports, .mmio = config->mmio, .msi = {.send = send_message, .opaque = pc}};
	for (int i = 0; i < (int)PCI_PINS; i++)
		bus.pirq[i] = (struct irq_line){.set = pci_irq, .opaque = pc, .input = i};
	pc->pci = pci_bus_create(&bus, error);
	if (pc->pci == NULL)
		return false;

	struct piix4isa_config isa = {
	    .bus = pc->pci, .device = PIIX4_DEVICE, .reset = config->reset, .reset_opaque = config->opaque};
	for (int i = 0; i < PIIX4ISA_IRQS; i++)
		isa.isa_irq[i] = isa_line(pc, i); /* the IOAPIC sees them too: so says the MP table of SeaBIOS */
	const struct piix4pm_config pm = {.bus = pc->pci,
					  .device = PIIX4_DEVICE,
					  .ports = config->ports,
					  .clock = config->clock,
					  .sci = isa_line(pc, LAYOUT_SCI_IRQ),
					  .base = LAYOUT_PM_PORT,
					  .power_off = config->power_off,
					  .power_off_opaque = config->opaque};
	const struct i440fx_shadow shadow = {.set = shadow_segment, .opaque = pc};
	pc->host_bridge = i440fx_create(pc->pci, HOST_BRIDGE_DEVICE, &shadow, error);
	pc->isa_bridge = piix4isa_create(&isa, error);
	pc->pm = piix4pm_create(&pm, error);
	return pc->host_bridge != NULL && pc->isa_bridge != NULL && pc->pm != NULL;
}

static bool wire_vga(struct pc *pc, struct error *error)
{
	const struct pc_config *config = &pc->config;
	const struct image *rom = config->vga_rom;
	const struct vga_config vga = {.bus = pc->pci,
				       .device = VGA_DEVICE,
				       .clock = config->clock,
				       .display = config->display,
				       .memory_size = (uint32_t)config->map->config.video_size,
				       .memory = memory_map_video(config->map),
				       .place = place_framebuffer,
				       .place_opaque = pc,
				       .rom = rom != NULL ? rom->bytes : NULL,
				       .rom_size = rom != NULL ? (uint32_t)rom->size : 0};
	pc->vga = vga_create(&vga, error);
	return pc->vga != NULL && vga_map(pc->vga, config->ports, config->mmio, error);
}

static bool wire_serial(struct pc *pc, struct error *error)
{
	static const struct {
		uint16_t port;
		int irq;
	} at[] = {{LAYOUT_COM1_PORT, LAYOUT_COM1_IRQ}, {LAYOUT_COM2_PORT, LAYOUT_COM2_IRQ}};
	for (unsigned i = 0; i < sizeof at / sizeof at[0]; i++) {
		const struct uart16550_config uart = {
		    .clock = pc->config.clock, .irq = isa_line(pc, at[i].irq), .chardev = pc->config.serial[i]};
		pc->com[i] = uart16550_create(&uart, error);
		if (pc->com[i] == NULL || !uart16550_map(pc->com[i], pc->config.ports, at[i].port, error))
			return false;
	}
	return true;
}

static bool wire_keyboard(struct pc *pc, struct error *error)
{
	const struct pc_config *config = &pc->config;
	const struct i8042_config i8042 = {.keyboard_irq = isa_line(pc, KEYBOARD_IRQ),
					   .auxiliary_irq = isa_line(pc, AUXILIARY_IRQ),
					   .reset = config->reset,
					   .reset_opaque = config->opaque,
					   .a20 = config->a20,
					   .a20_opaque = config->opaque,
					   .clock = config->clock};
	pc->i8042 = i8042_create(&i8042, error);
	if (pc->i8042 == NULL || !i8042_map(pc->i8042, config->ports, error))
		return false;
	const struct ps2_port keyboard_port = i8042_port(pc->i8042, I8042_KEYBOARD);
	const struct ps2_port mouse_port = i8042_port(pc->i8042, I8042_AUXILIARY);
	pc->keyboard = ps2keyboard_create(config->clock, &keyboard_port, error);
	pc->mouse = ps2mouse_create(config->clock, &mouse_port, error);
	if (pc->keyboard == NULL || pc->mouse == NULL)
		return false;
	const struct ps2_device keyboard = ps2keyboard_device(pc->keyboard);
	const struct ps2_device mouse = ps2mouse_device(pc->mouse);
	i8042_attach(pc->i8042, I8042_KEYBOARD, &keyboard);
	i8042_attach(pc->i8042, I8042_AUXILIARY, &mouse);
	port92_init(&pc->port92, config->reset, config->opaque);
	pc->port92.a20 = config->a20;
	pc->port92.a20_opaque = config->opaque;
	return port92_map(&pc->port92, config->ports, error);
}

static bool wire_coprocessor(struct pc *pc, struct error *error)
{
	const struct irq_line irq = isa_line(pc, COPROCESSOR_IRQ);
	coprocessor_init(&pc->coprocessor, &irq);
	return coprocessor_map(&pc->coprocessor, pc->config.ports, error);
}

static bool wire_processor_times(struct pc *pc, struct error *error)
{
	cputimes_init(&pc->cputimes, pc->config.processor_times, pc->config.opaque);
	return pc->config.processor_times == NULL ||
	       cputimes_map(&pc->cputimes, pc->config.ports, LAYOUT_TIMES_PORT, error);
}

static bool wire_floppy(struct pc *pc, struct error *error)
{
	const struct pc_config *config = &pc->config;
	const struct irq_line irq = isa_line(pc, LAYOUT_FLOPPY_IRQ);
	pc->dma = i8237_create(config->memory, error);
	pc->floppy = i82077_create(config->clock, &irq, error);
	if (pc->dma == NULL || pc->floppy == NULL || !i8237_map(pc->dma, config->ports, error) ||
	    !i82077_map(pc->floppy, config->ports, error))
		return false;
	const struct dma_device device = i82077_dma_device(pc->floppy);
	const struct dma_request request = i8237_attach(pc->dma, FLOPPY_DMA, &device);
	i82077_set_dma(pc->floppy, &request);
	for (unsigned i = 0; i < PC_FLOPPY_DRIVES; i++)
		if (config->floppy[i] != NULL)
			i82077_insert(pc->floppy, i, config->floppy[i]);
	return true;
}

static bool wire_drive(struct pc *pc, unsigned place, struct error *error)
{
	const struct pc_drive *drive = &pc->config.ide[place];
	struct ide_channel *channel = piix4ide_channel(pc->ide, place / IDE_DRIVES);
	const struct ata_config disk = {
	    .channel = channel, .number = place % IDE_DRIVES, .disk = drive->image, .serial = drive->serial};
	const struct atapi_config cdrom = {
	    .channel = channel, .number = place % IDE_DRIVES, .disk = drive->image, .serial = drive->serial};
	switch (drive->kind) {
	case PC_DISK:
		return (pc->disk[place] = ata_create(&disk, error)) != NULL;
	case PC_CDROM:
		return (pc->cdrom[place] = atapi_create(&cdrom, error)) != NULL;
	case PC_NO_DRIVE:
		break;
	}
	return true;
}

static bool wire_ide(struct pc *pc, struct error *error)
{
	const struct piix4ide_config ide = {.bus = pc->pci,
					    .device = PIIX4_DEVICE,
					    .ports = pc->config.ports,
					    .memory = pc->config.memory,
					    .irq = {isa_line(pc, IDE_IRQ), isa_line(pc, IDE_IRQ + 1)}};
	pc->ide = piix4ide_create(&ide, error);
	for (unsigned i = 0; pc->ide != NULL && i < PC_IDE_DRIVES; i++)
		if (!wire_drive(pc, i, error))
			return false;
	return pc->ide != NULL;
}

static bool wire_network(struct pc *pc, unsigned index, struct error *error)
{
	const struct pc_config *config = &pc->config;
	const struct pc_network *network = &config->network[index];
	struct pcnet_config pcnet = {.bus = pc->pci,
				     .device = NETWORK_DEVICE + index,
				     .clock = config->clock,
				     .memory = config->memory,
				     .network = network->network};
	struct virtionet_config virtio = {.bus = pc->pci,
					  .device = NETWORK_DEVICE + index,
					  .clock = config->clock,
					  .memory = config->memory,
					  .network = network->network};
	memcpy(pcnet.mac, network->mac, sizeof pcnet.mac);
	memcpy(virtio.mac, network->mac, sizeof virtio.mac);
	if (network->virtio)
		return (pc->virtionet[index] = virtionet_create(&virtio, error)) != NULL;
	return (pc->pcnet[index] = pcnet_create(&pcnet, error)) != NULL;
}

static bool wire_networks(struct pc *pc, struct error *error)
{
	for (unsigned i = 0; i < pc->config.networks; i++)
		if (!wire_network(pc, i, error))
			return false;
	return true;
}

static void reset_networks(struct pc *pc)
{
	for (unsigned i = 0; i < PC_NETWORKS; i++) {
		if (pc->pcnet[i] != NULL)
			pcnet_reset(pc->pcnet[i]);
		if (pc->virtionet[i] != NULL)
			virtionet_reset(pc->virtionet[i]);
	}
}

static bool wire_virtio_disks(struct pc *pc, struct error *error)
{
	for (unsigned i = 0; i < PC_VIRTIO_DISKS; i++) {
		const struct pc_drive *drive = &pc->config.virtio[i];
		if (drive->kind == PC_NO_DRIVE)
			continue;
		const struct virtioblk_config config = {.bus = pc->pci,
							.device = PC_VIRTIO_DISK_DEVICE + i,
							.memory = pc->config.memory,
							.disk = drive->image,
							.serial = drive->serial};
		pc->virtio_disk[i] = virtioblk_create(&config, error);
		if (pc->virtio_disk[i] == NULL)
			return false;
	}
	return true;
}

static bool wire_entropy(struct pc *pc, struct error *error)
{
	const struct virtiorng_config config = {.bus = pc->pci,
						.device = ENTROPY_DEVICE,
						.clock = pc->config.clock,
						.memory = pc->config.memory,
						.fill = pc->config.entropy};
	return config.fill == NULL || (pc->rng = virtiorng_create(&config, error)) != NULL;
}

static bool wire_console(struct pc *pc, struct error *error)
{
	const struct virtioconsole_config config = {
	    .bus = pc->pci,
	    .device = CONSOLE_DEVICE,
	    .clock = pc->config.clock,
	    .memory = pc->config.memory,
	    .port = {[VIRTIOCONSOLE_CONSOLE] = pc->config.console, [VIRTIOCONSOLE_CHANNEL] = pc->config.agent},
	    .channel_name = PC_AGENT_PORT};
	if (pc->config.console == NULL && pc->config.agent == NULL)
		return true;
	return (pc->console = virtioconsole_create(&config, error)) != NULL;
}

static bool wire_firmware(struct pc *pc, struct error *error)
{
	pc->fwcfg = fwcfg_create(pc->config.memory, error);
	cmos_fill(pc->rtc, &pc->config.cmos);
	return pc->fwcfg != NULL && firmware_config_add(pc->fwcfg, &pc->config.firmware_config, error) &&
	       fwcfg_map(pc->fwcfg, pc->config.ports, error);
}

static void put_debug(void *opaque, uint8_t character)
{
	struct pc *pc = opaque;
	(void)chardev_write(pc->config.debug_console, &character, 1);
}

/* Bochs' port, and the one that SeaBIOS writes to. */
static bool wire_debug_console(struct pc *pc, struct error *error)
{
	pc->debug_console = (struct debugcon){.put = put_debug, .opaque = pc};
	return pc->config.debug_console == NULL ||
	       (debugcon_map(&pc->debug_console, pc->config.ports, LAYOUT_BOCHS_DEBUG_PORT, error) &&
		debugcon_map(&pc->debug_console, pc->config.ports, LAYOUT_SEABIOS_DEBUG_PORT, error));
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
	if (wire_lapics(pc, error) && wire_interrupt_controllers(pc, error) && wire_hpet(pc, error) &&
	    wire_timers(pc, error) && wire_pci(pc, error) && wire_vga(pc, error) && wire_serial(pc, error) &&
	    wire_keyboard(pc, error) && wire_coprocessor(pc, error) && wire_processor_times(pc, error) &&
	    wire_floppy(pc, error) && wire_ide(pc, error) && wire_virtio_disks(pc, error) && wire_networks(pc, error) &&
	    wire_entropy(pc, error) && wire_console(pc, error) && wire_firmware(pc, error) &&
	    wire_debug_console(pc, error) && wire_debug_exit(pc, error))
		return pc;
	pc_destroy(pc);
	return NULL;
}

/* Whatever has been made so far, the last first. */
void pc_destroy(struct pc *pc)
{
	if (pc == NULL)
		return;
	if (pc->fwcfg != NULL)
		fwcfg_destroy(pc->fwcfg);
	for (unsigned i = 0; i < PC_IDE_DRIVES; i++) {
		ata_destroy(pc->disk[i]);
		atapi_destroy(pc->cdrom[i]);
	}
	for (unsigned i = 0; i < PC_NETWORKS; i++) {
		pcnet_destroy(pc->pcnet[i]);
		virtionet_destroy(pc->virtionet[i]);
	}
	piix4ide_destroy(pc->ide);
	for (unsigned i = 0; i < PC_VIRTIO_DISKS; i++)
		virtioblk_destroy(pc->virtio_disk[i]);
	virtiorng_destroy(pc->rng);
	virtioconsole_destroy(pc->console);
	if (pc->floppy != NULL)
		i82077_destroy(pc->floppy);
	i8237_destroy(pc->dma);
	if (pc->mouse != NULL)
		ps2mouse_destroy(pc->mouse);
	if (pc->keyboard != NULL)
		ps2keyboard_destroy(pc->keyboard);
	if (pc->i8042 != NULL)
		i8042_destroy(pc->i8042);
	for (unsigned i = 0; i < 2; i++)
		if (pc->com[i] != NULL)
			uart16550_destroy(pc->com[i]);
	vga_destroy(pc->vga);
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
	hpet_destroy(pc->hpet);
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
	if (pc->hpet != NULL)
		hpet_reset(pc->hpet);
	rtc_reset(pc->rtc);
	pci_bus_reset(pc->pci);
	i440fx_reset(pc->host_bridge);
	piix4isa_reset(pc->isa_bridge);
	piix4pm_reset(pc->pm);
	vga_reset(pc->vga);
	piix4ide_reset(pc->ide);
	reset_networks(pc);
	for (unsigned i = 0; i < PC_VIRTIO_DISKS; i++)
		if (pc->virtio_disk[i] != NULL)
			virtioblk_reset(pc->virtio_disk[i]);
	if (pc->rng != NULL)
		virtiorng_reset(pc->rng);
	if (pc->console != NULL)
		virtioconsole_reset(pc->console);
	uart16550_reset(pc->com[0]);
	uart16550_reset(pc->com[1]);
	i8042_reset(pc->i8042);
	ps2keyboard_reset(pc->keyboard);
	ps2mouse_reset(pc->mouse);
	i8237_reset(pc->dma);
	i82077_reset(pc->floppy);
	fwcfg_reset(pc->fwcfg);
	port92_reset(&pc->port92);
	coprocessor_reset(&pc->coprocessor);
	cputimes_reset(&pc->cputimes);
}

/* All of memory is RAM: nothing has to be copied out of a ROM. */
static void shadow_all(struct pc *pc)
{
	for (unsigned offset = I440FX_PAM_FIRST; offset <= I440FX_PAM_LAST; offset++)
		pci_config_write(pc->pci, PCI_DEVFN(HOST_BRIDGE_DEVICE, 0), offset, 1, I440FX_PAM_RAM);
}

/* Both channels decoded, and allowed to master the bus. */
static void enable_ide(struct pc *pc)
{
	unsigned devfn = PCI_DEVFN(PIIX4_DEVICE, PIIX4_IDE_FUNCTION);
	pci_config_write(pc->pci, devfn, PIIX4_IDE_TIMING, 4, PIIX4_IDE_DECODE);
	pci_config_write(pc->pci, devfn, PCI_COMMAND, 2, PCI_COMMAND_IO | PCI_COMMAND_MASTER);
}

/* Channels 0-3 reach the bus through channel 4; firmware opens it once, and drivers rely on that. */
static void open_dma_cascade(struct pc *pc)
{
	io_write(pc->config.ports, 0xd6, 1, 0xc0); /* mode: cascade, channel 4 */
	io_write(pc->config.ports, 0xd4, 1, 0x00); /* which is not masked */
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
	if (pc->config.firmware)
		return;
	shadow_all(pc);
	route_interrupts(pc);
	enable_ide(pc);
	open_dma_cascade(pc);
	pci_assign(pc->pci);
	if (pc->config.vga_rom != NULL)
		(void)vga_text_mode(pc->config.ports, pc->config.mmio, pc->config.vga_rom->bytes,
				    pc->config.vga_rom->size);
}

bool pc_agent_is_open(const struct pc *pc)
{
	return pc->console != NULL && virtioconsole_is_open(pc->console, VIRTIOCONSOLE_CHANNEL);
}

void pc_power_button(struct pc *pc)
{
	(void)piix4pm_power_button(pc->pm);
}

struct ps2keyboard *pc_keyboard(struct pc *pc)
{
	return pc->keyboard;
}

struct ps2mouse *pc_mouse(struct pc *pc)
{
	return pc->mouse;
}

struct irq_line pc_coprocessor_error(struct pc *pc)
{
	return coprocessor_error(&pc->coprocessor);
}

struct interrupt_controller pc_interrupt_controller(struct pc *pc, unsigned socket)
{
	return lapic_controller(pc->lapic[socket]);
}
