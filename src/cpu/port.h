/* SPDX-License-Identifier: MIT */
/* Port accesses on the guest's behalf. */
#ifndef NFOLD_CPU_PORT_H
#define NFOLD_CPU_PORT_H

#include "cpu/cpu.h"

/* May the current code use these ports? IOPL and the TSS's I/O permission bitmap (SDM 1, 19.5). False: fault recorded.
 */
bool port_check(struct cpu *cpu, uint16_t port, unsigned size);

/* Both park the guest's vector state and hold the device lock. I/O breakpoints are noted as traps. */
uint64_t port_read(struct cpu *cpu, uint16_t port, unsigned size);
void port_write(struct cpu *cpu, uint16_t port, unsigned size, uint64_t value);

/* Up to `count` reads of one port in one turn at the devices, for INS; ends early when something waits for the vCPU.
 * Returns how many there were, at least one. I/O breakpoints are not looked for. */
uint64_t port_read_run(struct cpu *cpu, uint16_t port, unsigned size, uint8_t *to, uint64_t count);

#endif
