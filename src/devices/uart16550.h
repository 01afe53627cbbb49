/* SPDX-License-Identifier: MIT */
/*
 * National Semiconductor PC16550D universal asynchronous receiver/transmitter with FIFOs.
 *
 *             +-----------+
 *   D7..D0 <->|           |--> SOUT  \  struct chardev
 *   A2..A0 -->|  16550A   |<-- SIN   /
 *   RD, WR -->|           |--> RTS, DTR, OUT1        (visible in loopback only)
 *   CTS DSR ->|           |--> INTR, gated by OUT2   (struct irq_line)
 *   DCD RI -->|           |
 *             +-----------+
 *
 * Implemented: all registers (RBR THR DLL DLM IER IIR FCR LCR MCR LSR MSR SCR), both 16-byte FIFOs and
 * 16450 mode, trigger levels, character timeout, interrupt priorities, the THRE interrupt's own
 * rules (raised when THR empties and when IER bit 1 is set while THR is empty; cleared by writing THR and by
 * reading IIR while it is the source shown), loopback with modem control, flow control towards the back,
 * and the PC's gate of INTR by OUT2.
 *
 * Not implemented: parity and framing errors (the back carries bytes, not bits), break detection, DMA mode
 * signalling. Characters take no time: what the back accepts has been sent, so THRE and TEMT stay clear only
 * while the back is full. Received bytes come as fast as the guest takes them; only the timeout interrupt knows the
 * baud rate. CTS, DSR and DCD are always asserted, RI never.
 *
 * Source: PC16550D data sheet, National Semiconductor, June 1995.
 */
#ifndef NFOLD_DEVICES_UART16550_H
#define NFOLD_DEVICES_UART16550_H

#include <stdbool.h>
#include <stdint.h>

#include "backend/chardev.h"
#include "io/bus.h"
#include "io/clock.h"
#include "io/irq.h"

#define UART16550_PORTS 8

struct uart16550;

struct uart16550_config {
	struct clock *clock;
	struct irq_line irq;
	struct chardev *chardev; /* the caller's; NULL: output is lost, no input */
};

struct uart16550 *uart16550_create(const struct uart16550_config *config, struct error *error);
void uart16550_destroy(struct uart16550 *uart);
void uart16550_reset(struct uart16550 *uart);

/* Claims the eight registers from port `base` on. */
bool uart16550_map(struct uart16550 *uart, struct io_map *ports, uint16_t base, struct error *error);

#endif
