/* SPDX-License-Identifier: MIT */
#include "devices/uart16550.h"

#include <stdlib.h>
#include <string.h>

enum uart_register { UART_DATA, UART_IER, UART_IIR_FCR, UART_LCR, UART_MCR, UART_LSR, UART_MSR, UART_SCR };

#define IER_RECEIVE 0x01u
#define IER_TRANSMIT 0x02u
#define IER_LINE 0x04u
#define IER_MODEM 0x08u
#define IER_ALL 0x0fu

#define IIR_NONE 0x01u
#define IIR_MODEM 0x00u
#define IIR_TRANSMIT 0x02u
#define IIR_RECEIVE 0x04u
#define IIR_LINE 0x06u
#define IIR_TIMEOUT 0x0cu
#define IIR_FIFOS 0xc0u

#define FCR_ENABLE 0x01u
#define FCR_CLEAR_RECEIVE 0x02u
#define FCR_CLEAR_TRANSMIT 0x04u
#define FCR_TRIGGER_SHIFT 6

#define LCR_WORD 0x03u
#define LCR_STOP 0x04u
#define LCR_PARITY 0x08u
#define LCR_DLAB 0x80u

#define MCR_DTR 0x01u
#define MCR_RTS 0x02u
#define MCR_OUT1 0x04u
#define MCR_OUT2 0x08u
#define MCR_LOOP 0x10u
#define MCR_ALL 0x1fu

#define LSR_DATA 0x01u
#define LSR_OVERRUN 0x02u
#define LSR_ERRORS 0x1eu
#define LSR_THRE 0x20u
#define LSR_TEMT 0x40u

#define MSR_CTS 0x10u
#define MSR_DSR 0x20u
#define MSR_RI 0x40u
#define MSR_DCD 0x80u
#define MSR_TRAILING_RI 0x04u

#define UART_FIFO 16u
#define UART_CLOCK_HZ 115200u /* 1.8432 MHz / 16: the baud rate of divisor 1 */

struct uart_fifo {
	uint8_t byte[UART_FIFO];
	unsigned head; /* of the oldest byte */
	unsigned count;
};

struct uart16550 {
	struct clock_timer timeout;
	struct irq_line irq;
	struct chardev *chardev;
	struct uart_fifo receive, transmit; /* in 16450 mode one byte of each is used */
	uint8_t ier, lcr, mcr, lsr, msr, scr;
	uint8_t trigger; /* bytes in the receive FIFO that raise the interrupt */
	uint16_t divisor;
	bool fifos;
	bool transmit_interrupt; /* the THRE interrupt is pending */
	bool timeout_interrupt;
};

/* ---- FIFOs ---- */

static void fifo_clear(struct uart_fifo *fifo)
{
	fifo->head = 0;
	fifo->count = 0;
}

static void fifo_push(struct uart_fifo *fifo, uint8_t byte)
{
	fifo->byte[(fifo->head + fifo->count) % UART_FIFO] = byte;
	fifo->count++;
}

static uint8_t fifo_pop(struct uart_fifo *fifo)
{
	uint8_t byte = fifo->byte[fifo->head];
	fifo->head = (fifo->head + 1) % UART_FIFO;
	fifo->count--;
	return byte;
}

static unsigned uart_fifo_depth(const struct uart16550 *uart)
{
	return uart->fifos ? UART_FIFO : 1;
}

/* ---- interrupts ---- */

/* The interrupt of highest priority, as IIR shows it (data sheet, table III). */
static uint8_t uart_interrupt_id(const struct uart16550 *uart)
{
	if ((uart->ier & IER_LINE) && (uart->lsr & LSR_ERRORS))
		return IIR_LINE;
	if ((uart->ier & IER_RECEIVE) && uart->receive.count >= (uart->fifos ? uart->trigger : 1u))
		return IIR_RECEIVE;
	if ((uart->ier & IER_RECEIVE) && uart->timeout_interrupt)
		return IIR_TIMEOUT;
	if ((uart->ier & IER_TRANSMIT) && uart->transmit_interrupt)
		return IIR_TRANSMIT;
	if ((uart->ier & IER_MODEM) && (uart->msr & 0x0f))
		return IIR_MODEM;
	return IIR_NONE;
}

/* On a PC OUT2 enables the driver of the interrupt line; loopback forces the pin inactive. */
static void uart_update_irq(struct uart16550 *uart)
{
	bool enabled = (uart->mcr & MCR_OUT2) && !(uart->mcr & MCR_LOOP);
	irq_set(&uart->irq, enabled && uart_interrupt_id(uart) != IIR_NONE);
}

/* Four character times at the programmed baud rate and frame. */
static uint64_t uart_timeout_ns(const struct uart16550 *uart)
{
	unsigned bits =
	    1 + 5 + (uart->lcr & LCR_WORD) + ((uart->lcr & LCR_PARITY) ? 1 : 0) + ((uart->lcr & LCR_STOP) ? 2 : 1);
	uint64_t divisor = uart->divisor != 0 ? uart->divisor : 1;
	return 4 * bits * divisor * CLOCK_SECOND / UART_CLOCK_HZ;
}

/* The receive FIFO was filled or read: the timeout starts anew while it holds anything. */
static void uart_restart_timeout(struct uart16550 *uart)
{
	uart->timeout_interrupt = false;
	if (uart->fifos && uart->receive.count > 0)
		clock_timer_set(&uart->timeout, clock_now(uart->timeout.clock) + uart_timeout_ns(uart));
	else
		clock_timer_cancel(&uart->timeout);
}

static void uart_timeout_fire(void *opaque)
{
	struct uart16550 *uart = opaque;
	uart->timeout_interrupt = uart->receive.count > 0;
	uart_update_irq(uart);
}

/* ---- receiving ---- */

static void uart_receive(struct uart16550 *uart, uint8_t byte)
{
	if (uart->receive.count == uart_fifo_depth(uart)) {
		/* With FIFOs the new byte is lost, without them the old one. */
		uart->lsr |= LSR_OVERRUN;
		if (uart->fifos)
			return;
		fifo_clear(&uart->receive);
	}
	fifo_push(&uart->receive, byte);
	uart->lsr |= LSR_DATA;
}

static unsigned uart_room(void *opaque)
{
	struct uart16550 *uart = opaque;
	return (uart->mcr & MCR_LOOP) ? 0 : uart_fifo_depth(uart) - uart->receive.count;
}

static void uart_input(void *opaque, const uint8_t *bytes, unsigned count)
{
	struct uart16550 *uart = opaque;
	for (unsigned i = 0; i < count; i++)
		uart_receive(uart, bytes[i]);
	uart_restart_timeout(uart);
	uart_update_irq(uart);
}

static void uart_accept_input(struct uart16550 *uart)
{
	if (uart->chardev != NULL && uart_room(uart) > 0)
		chardev_input_ready(uart->chardev);
}

static uint8_t uart_read_data(struct uart16550 *uart)
{
	if (uart->receive.count == 0)
		return 0;
	uint8_t byte = fifo_pop(&uart->receive);
	if (uart->receive.count == 0)
		uart->lsr &= (uint8_t)~LSR_DATA;
	uart_restart_timeout(uart);
	uart_accept_input(uart);
	return byte;
}

static void uart_clear_receive(struct uart16550 *uart)
{
	fifo_clear(&uart->receive);
	uart->lsr &= (uint8_t)~LSR_DATA;
	uart_restart_timeout(uart);
}

/* ---- sending ---- */

static bool uart_send(struct uart16550 *uart, uint8_t byte)
{
	if (uart->mcr & MCR_LOOP) {
		uart_receive(uart, byte);
		uart_restart_timeout(uart);
		return true;
	}
	return uart->chardev == NULL || chardev_write(uart->chardev, &byte, 1) == 1;
}

/* Sends what the back takes; THRE rises when nothing is left. */
static void uart_drain(struct uart16550 *uart)
{
	struct uart_fifo *fifo = &uart->transmit;
	while (fifo->count > 0 && uart_send(uart, fifo->byte[fifo->head]))
		(void)fifo_pop(fifo);
	if (fifo->count > 0 || (uart->lsr & LSR_THRE))
		return;
	uart->lsr |= LSR_THRE | LSR_TEMT;
	uart->transmit_interrupt = true;
}

static void uart_output_ready(void *opaque)
{
	struct uart16550 *uart = opaque;
	uart_drain(uart);
	uart_update_irq(uart);
}

static void uart_write_data(struct uart16550 *uart, uint8_t byte)
{
	if (uart->transmit.count == uart_fifo_depth(uart)) {
		if (uart->fifos)
			return; /* a full FIFO takes no more */
		fifo_clear(&uart->transmit);
	}
	fifo_push(&uart->transmit, byte);
	uart->lsr &= (uint8_t) ~(LSR_THRE | LSR_TEMT);
	uart->transmit_interrupt = false;
	uart_drain(uart);
}

static void uart_clear_transmit(struct uart16550 *uart)
{
	fifo_clear(&uart->transmit);
	uart_drain(uart);
}

/* ---- registers ---- */

/* The modem inputs: the outputs in loopback (data sheet 8.7), else the lines of a connected cable. */
static uint8_t uart_modem_lines(const struct uart16550 *uart)
{
	if (!(uart->mcr & MCR_LOOP))
		return MSR_CTS | MSR_DSR | MSR_DCD;
	return (uint8_t)(((uart->mcr & MCR_RTS) ? MSR_CTS : 0) | ((uart->mcr & MCR_DTR) ? MSR_DSR : 0) |
			 ((uart->mcr & MCR_OUT1) ? MSR_RI : 0) | ((uart->mcr & MCR_OUT2) ? MSR_DCD : 0));
}

/* Sets the delta bits for lines that changed; RI counts only when it falls. */
static void uart_update_modem(struct uart16550 *uart)
{
	uint8_t lines = uart_modem_lines(uart);
	uint8_t changed = (uint8_t)((lines ^ uart->msr) >> 4);
	if (lines & MSR_RI)
		changed &= (uint8_t)~MSR_TRAILING_RI;
	uart->msr = (uint8_t)(lines | (uart->msr & 0x0f) | changed);
}

static uint8_t uart_read_iir(struct uart16550 *uart)
{
	uint8_t id = uart_interrupt_id(uart);
	if (id == IIR_TRANSMIT)
		uart->transmit_interrupt = false;
	return uart->fifos ? id | IIR_FIFOS : id;
}

static uint8_t uart_read_lsr(struct uart16550 *uart)
{
	uint8_t lsr = uart->lsr;
	uart->lsr &= (uint8_t)~LSR_ERRORS;
	return lsr;
}

static uint8_t uart_read_msr(struct uart16550 *uart)
{
	uint8_t msr = uart->msr;
	uart->msr &= 0xf0;
	return msr;
}

static uint8_t uart_read_register(struct uart16550 *uart, enum uart_register offset)
{
	bool divisor = (uart->lcr & LCR_DLAB) != 0;
	switch (offset) {
	case UART_DATA:
		return divisor ? (uint8_t)uart->divisor : uart_read_data(uart);
	case UART_IER:
		return divisor ? (uint8_t)(uart->divisor >> 8) : uart->ier;
	case UART_IIR_FCR:
		return uart_read_iir(uart);
	case UART_LCR:
		return uart->lcr;
	case UART_MCR:
		return uart->mcr;
	case UART_LSR:
		return uart_read_lsr(uart);
	case UART_MSR:
		return uart_read_msr(uart);
	default:
		return uart->scr;
	}
}

static uint64_t uart_read(void *opaque, uint64_t offset, unsigned size)
{
	struct uart16550 *uart = opaque;
	(void)size;
	uint8_t value = uart_read_register(uart, (enum uart_register)offset);
	uart_update_irq(uart);
	return value;
}

static void uart_write_ier(struct uart16550 *uart, uint8_t value)
{
	uint8_t enabled = value & (uint8_t)~uart->ier;
	uart->ier = value & IER_ALL;
	if ((enabled & IER_TRANSMIT) && (uart->lsr & LSR_THRE))
		uart->transmit_interrupt = true;
}

/* The other bits count only while bit 0 is written as one; changing bit 0 clears both FIFOs. */
static void uart_write_fcr(struct uart16550 *uart, uint8_t value)
{
	static const uint8_t triggers[4] = {1, 4, 8, 14};
	bool fifos = (value & FCR_ENABLE) != 0;
	bool toggled = fifos != uart->fifos;
	uart->fifos = fifos;
	if (toggled || (fifos && (value & FCR_CLEAR_RECEIVE)))
		uart_clear_receive(uart);
	if (toggled || (fifos && (value & FCR_CLEAR_TRANSMIT)))
		uart_clear_transmit(uart);
	if (fifos)
		uart->trigger = triggers[value >> FCR_TRIGGER_SHIFT];
	uart_accept_input(uart);
}

static void uart_write_mcr(struct uart16550 *uart, uint8_t value)
{
	bool left_loop = (uart->mcr & MCR_LOOP) && !(value & MCR_LOOP);
	uart->mcr = value & MCR_ALL;
	uart_update_modem(uart);
	if (uart->mcr & MCR_LOOP)
		uart_drain(uart);
	if (left_loop)
		uart_accept_input(uart);
}

static void uart_write_divisor(struct uart16550 *uart, unsigned shift, uint8_t value)
{
	uart->divisor = (uint16_t)((uart->divisor & ~(0xffu << shift)) | ((unsigned)value << shift));
}

static void uart_write_register(struct uart16550 *uart, enum uart_register offset, uint8_t value)
{
	bool divisor = (uart->lcr & LCR_DLAB) != 0;
	switch (offset) {
	case UART_DATA:
		if (divisor)
			uart_write_divisor(uart, 0, value);
		else
			uart_write_data(uart, value);
		break;
	case UART_IER:
		if (divisor)
			uart_write_divisor(uart, 8, value);
		else
			uart_write_ier(uart, value);
		break;
	case UART_IIR_FCR:
		uart_write_fcr(uart, value);
		break;
	case UART_LCR:
		uart->lcr = value;
		break;
	case UART_MCR:
		uart_write_mcr(uart, value);
		break;
	case UART_LSR: /* writing is for factory tests only */
	case UART_MSR:
		break;
	case UART_SCR:
		uart->scr = value;
		break;
	}
}

static void uart_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
	struct uart16550 *uart = opaque;
	(void)size;
	uart_write_register(uart, (enum uart_register)offset, (uint8_t)value);
	uart_update_irq(uart);
}

static const struct io_ops uart_io_ops = {.read = uart_read, .write = uart_write, .max_size = 1};

/* ---- life ---- */

static void uart_attach(struct uart16550 *uart)
{
	const struct chardev_front front = {
	    .input_room = uart_room, .input = uart_input, .output_ready = uart_output_ready, .opaque = uart};
	if (uart->chardev != NULL)
		chardev_attach(uart->chardev, &front);
}

struct uart16550 *uart16550_create(const struct uart16550_config *config, struct error *error)
{
	struct uart16550 *uart = calloc(1, sizeof *uart);
	if (uart == NULL) {
		error_set(error, ERROR_HOST, "out of memory for a UART");
		return NULL;
	}
	uart->irq = config->irq;
	uart->chardev = config->chardev;
	clock_timer_init(&uart->timeout, config->clock, uart_timeout_fire, uart);
	uart16550_reset(uart);
	uart_attach(uart);
	return uart;
}

void uart16550_destroy(struct uart16550 *uart)
{
	if (uart == NULL)
		return;
	if (uart->chardev != NULL)
		chardev_attach(uart->chardev, &(struct chardev_front){0});
	clock_timer_cancel(&uart->timeout);
	free(uart);
}

/* Data sheet, table I. The divisor, SCR and the FIFO memory are not affected by the pin, but start clear. */
void uart16550_reset(struct uart16550 *uart)
{
	uart->ier = 0;
	uart->lcr = 0;
	uart->mcr = 0;
	uart->lsr = LSR_THRE | LSR_TEMT;
	uart->msr = uart_modem_lines(uart);
	uart->fifos = false;
	uart->trigger = 1;
	uart->transmit_interrupt = false;
	fifo_clear(&uart->transmit);
	uart_clear_receive(uart);
	uart_update_irq(uart);
}

bool uart16550_map(struct uart16550 *uart, struct io_map *ports, uint16_t base, struct error *error)
{
	return io_map_add(ports, base, UART16550_PORTS, &uart_io_ops, uart, "uart16550", error);
}
