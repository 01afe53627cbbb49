/* SPDX-License-Identifier: MIT */
/*
 * A conventional PCI bus (PCI 2.3) with configuration mechanism #1.
 *
 *   ports CF8h-CFBh, CFCh-CFFh <-> configuration space of up to 32 devices x 8 functions on bus 0
 *   base address registers      -> ranges of the port and MMIO maps, while decoding is enabled
 *   INTA#-INTD# of each device  -> PIRQA-PIRQD: line (device + pin) mod 4 (struct irq_line[4])
 *   MSI-X messages              -> whoever takes them (struct pci_msi_sink)
 *
 * This is the bus, not a chip: host bridge, ISA bridge and all PCI devices are functions on it, and this header is
 * the contract between them. A function embeds `struct pci_function` and describes its configuration space by its bytes
 * and, for each byte, which bits the guest can write and which it clears by writing ones.
 *
 * Implemented: type 0 headers, memory (32 and 64 bits) and I/O BARs and the expansion ROM's with sizing, command bits
 * for decoding and INTx disable, interrupt status, byte accesses to CF9h handed to whoever has the reset control
 * register; the list of capabilities, and MSI-X (pci-msix.c). Ranges that overlap one another are resolved in favour of
 * who was there first.
 *
 * Not implemented: bridges to other buses, MSI without X, parity and error reporting, master abort bits. The bus-master
 * bit is kept; it gates MSI-X messages and, by pci_may_master(), what functions do in memory.
 *
 * Sources: PCI Local Bus Specification 2.3, chapter 6 and section 3.2.2.3; 3.0, section 6.8.2 (MSI-X).
 */
#ifndef NFOLD_DEVICES_PCI_H
#define NFOLD_DEVICES_PCI_H

#include <stdbool.h>
#include <stdint.h>

#include "io/bus.h"
#include "io/irq.h"

#define PCI_DEVICES 32u
#define PCI_FUNCTIONS 8u
#define PCI_BARS 6u
#define PCI_ROM                                                                                                        \
	PCI_BARS /* the expansion ROM's place among the BARs: 32 bits of memory, with an enable bit of its own */
#define PCI_PINS 4u
#define PCI_CONFIG_SIZE 256u
#define PCI_DEVFN(device, function) ((device) << 3 | (function))

/* Offsets in the header. */
enum pci_config {
	PCI_VENDOR = 0x00,
	PCI_DEVICE = 0x02,
	PCI_COMMAND = 0x04,
	PCI_STATUS = 0x06,
	PCI_REVISION = 0x08,
	PCI_CLASS = 0x09,
	PCI_HEADER_TYPE = 0x0e,
	PCI_BAR0 = 0x10,
	PCI_SUBSYSTEM_VENDOR = 0x2c,
	PCI_SUBSYSTEM = 0x2e,
	PCI_ROM_ADDRESS = 0x30,
	PCI_CAPABILITIES = 0x34,
	PCI_INTERRUPT_LINE = 0x3c,
	PCI_INTERRUPT_PIN = 0x3d,
};

#define PCI_COMMAND_IO 0x0001u
#define PCI_COMMAND_MEMORY 0x0002u
#define PCI_COMMAND_MASTER 0x0004u
#define PCI_COMMAND_INTX_DISABLE 0x0400u
#define PCI_STATUS_INTERRUPT 0x0008u
#define PCI_STATUS_CAPABILITIES 0x0010u

#define PCI_CAPABILITY_VENDOR 0x09u
#define PCI_CAPABILITY_MSIX 0x11u

struct pci_bus;
struct pci_msix;

struct pci_bar {
	uint64_t size; /* a power of two; 0: no such BAR. At least 4 for I/O, 16 for memory, 2048 for the ROM */
	bool io;
	bool wide; /* 64 bits: takes the next BAR's place too */
	const struct io_ops *ops;
	void *opaque;
	const char *name;
	void (*placed)(void *opaque, bool mapped, uint64_t base); /* told when it comes and goes; may be NULL */
	/* Kept by the bus. */
	bool mapped;
	uint64_t base;
};

struct pci_function {
	uint8_t config[PCI_CONFIG_SIZE];
	uint8_t writable[PCI_CONFIG_SIZE]; /* bits that the guest writes */
	uint8_t clears[PCI_CONFIG_SIZE];   /* bits that a written one clears */
	struct pci_bar bar[PCI_BARS + 1];  /* the last one is the expansion ROM */
	/* Called after the guest wrote `size` bytes at `offset`; may be NULL. */
	void (*config_written)(struct pci_function *function, unsigned offset, unsigned size);
	/* Called before the guest reads, to bring `config` up to date; may be NULL. */
	void (*config_reading)(struct pci_function *function, unsigned offset, unsigned size);
	struct pci_msix *msix; /* NULL: has none */
	/* Kept by the bus. */
	struct pci_bus *bus;
	uint8_t devfn;
	bool interrupt; /* what the function drives on its pin */
	bool asserted;	/* what the bus sees: gated by the command register */
};

struct pci_identity {
	uint16_t vendor, device;
	uint32_t class_code; /* base class, subclass, interface: 0x060000 */
	uint8_t revision;
	uint16_t subsystem_vendor, subsystem;
	uint8_t interrupt_pin; /* 0: none, 1: INTA# */
};

/* Where messages go: a dword written to an address. */
struct pci_msi_sink {
	void (*send)(void *opaque, uint64_t address, uint32_t data);
	void *opaque;
};

struct pci_bus_config {
	struct io_map *ports, *mmio;
	struct irq_line pirq[PCI_PINS];
	struct pci_msi_sink msi; /* send NULL: messages are lost */
};

struct pci_bus *pci_bus_create(const struct pci_bus_config *config, struct error *error);
void pci_bus_destroy(struct pci_bus *bus); /* after its functions */
void pci_bus_reset(struct pci_bus *bus);   /* the address register; functions reset themselves */

/* Who answers byte accesses to port CF9h. Nobody by default. */
void pci_bus_set_reset_control(struct pci_bus *bus, const struct io_ops *ops, void *opaque);

/* Fills the header and its masks. BARs and registers of its own are added by the function afterwards. */
void pci_function_init(struct pci_function *function, const struct pci_identity *identity);
void pci_function_set_bar(struct pci_function *function, unsigned index, const struct pci_bar *bar);
bool pci_bus_attach(struct pci_bus *bus, struct pci_function *function, unsigned device, unsigned number,
		    struct error *error);
void pci_bus_detach(struct pci_function *function);

/* Command, status, BARs and the interrupt line register as after RST#. */
void pci_function_reset(struct pci_function *function);

/* Puts a capability of `size` bytes at `offset`, in front of those there are. Its bytes after the first two are the
 * caller's to fill. */
void pci_function_add_capability(struct pci_function *function, unsigned offset, uint8_t id, unsigned size);

/* Whether the function may reach memory by itself. */
bool pci_may_master(const struct pci_function *function);

/* Ignored in effect while MSI-X is enabled: a function signals by one or the other. */
void pci_set_interrupt(struct pci_function *function, bool level);

/* Configuration accesses as the guest makes them; for those who boot without firmware. size is 1, 2 or 4 and divides
 * offset. */
uint32_t pci_config_read(struct pci_bus *bus, unsigned devfn, unsigned offset, unsigned size);
void pci_config_write(struct pci_bus *bus, unsigned devfn, unsigned offset, unsigned size, uint32_t value);

/* Where BAR `index` is in the machine's maps; false while it is not decoded. */
bool pci_bar_address(const struct pci_function *function, unsigned index, uint64_t *address);

/*
 * MSI-X. The function embeds `struct pci_msix` and has room for table and pending bits in one of its memory BARs; it
 * hands accesses there on. A message that is masked, or may not be sent because the function must not master the bus,
 * is kept pending.
 */
#define PCI_MSIX_VECTORS_MAX 64u
#define PCI_MSIX_ENTRY 16u

struct pci_msix {
	struct pci_function *function;
	unsigned capability; /* its offset */
	unsigned vectors;
	uint8_t table[PCI_MSIX_VECTORS_MAX * PCI_MSIX_ENTRY];
	uint64_t pending;
};

/* Adds the capability, 12 bytes at `capability`. `table` and `pending` are offsets into BAR `bar`, multiples of 8. */
void pci_msix_init(struct pci_msix *msix, struct pci_function *function, unsigned capability, unsigned vectors,
		   unsigned bar, uint32_t table, uint32_t pending);
void pci_msix_reset(struct pci_msix *msix); /* before pci_function_reset() */
bool pci_msix_enabled(const struct pci_msix *msix);
void pci_msix_signal(struct pci_msix *msix, unsigned vector); /* a vector beyond the last is ignored */

/* Accesses of 1, 2, 4 or 8 bytes at an offset into the table or the pending bits. */
uint64_t pci_msix_read_table(const struct pci_msix *msix, uint64_t offset, unsigned size);
void pci_msix_write_table(struct pci_msix *msix, uint64_t offset, unsigned size, uint64_t value);
uint64_t pci_msix_read_pending(const struct pci_msix *msix, uint64_t offset, unsigned size);

/* ---- for pci.c and pci-msix.c ---- */

void pci_msix_update(struct pci_msix *msix); /* the control word or the command register changed */
void pci_bus_send_message(const struct pci_function *function, uint64_t address, uint32_t data);

/* The PIRQ line (0-3) of a device's interrupt pin (1-4): device 1 has them in order, as firmware for this chip set
 * knows, and each device begins one further. */
static inline unsigned pci_pirq(unsigned device, unsigned pin)
{
	return (device + pin + PCI_PINS - 2) % PCI_PINS;
}

#endif
