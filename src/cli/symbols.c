/* SPDX-License-Identifier: MIT */
#include "cli/symbols.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <gelf.h>
#include <inttypes.h>
#include <libelf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SYMBOLS_MAX (4u << 20)		 /* a kernel has a quarter of a million */
#define UNBOUNDED_SIZE UINT64_C(0x10000) /* of the last symbol, when it has no size */
#define KERNEL_64 (UINT64_C(1) << 63)
#define KERNEL_32 UINT64_C(0xc0000000)

struct symbol {
	uint64_t address;
	uint64_t size; /* 0: up to the next one */
	char *name;
	uint32_t order; /* in the files: of several names for one address, the first is taken */
	bool code;
};

struct symbols {
	struct symbol *item;
	size_t count, room;
	uint64_t shift; /* of kernel symbols */
};

struct symbols *symbols_create(void)
{
	return calloc(1, sizeof(struct symbols));
}

static void forget_from(struct symbols *symbols, size_t first)
{
	for (size_t i = first; i < symbols->count; i++)
		free(symbols->item[i].name);
	symbols->count = first;
}

void symbols_destroy(struct symbols *symbols)
{
	if (symbols == NULL)
		return;
	forget_from(symbols, 0);
	free(symbols->item);
	free(symbols);
}

static bool add(struct symbols *symbols, const struct symbol *symbol, const char *path, struct error *error)
{
	if (symbols->count == SYMBOLS_MAX)
		return error_set(error, ERROR_INPUT, "%s: more than %u symbols", path, SYMBOLS_MAX);
	if (symbols->count == symbols->room) {
		size_t room = symbols->room == 0 ? 4096 : symbols->room * 2;
		struct symbol *item = realloc(symbols->item, room * sizeof *item);
		if (item == NULL)
			return error_set(error, ERROR_HOST, "out of memory for symbols");
		symbols->item = item;
		symbols->room = room;
	}
	struct symbol *place = &symbols->item[symbols->count];
	*place = *symbol;
	place->order = (uint32_t)symbols->count;
	place->name = strdup(symbol->name);
	if (place->name == NULL)
		return error_set(error, ERROR_HOST, "out of memory for symbols");
	symbols->count++;
	return true;
}

/* ---- System.map: "ffffffff81000000 T _text"; /proc/kallsyms has a module's name after it ---- */

static bool parse_line(char *line, struct symbol *symbol)
{
	char *end, *name;
	if (!isxdigit((unsigned char)line[0]))
		return false;
	errno = 0;
	symbol->address = strtoull(line, &end, 16);
	if (errno != 0 || end[0] != ' ' || end[1] == '\0' || end[2] != ' ')
		return false;
	symbol->code = strchr("tTwW", end[1]) != NULL;
	name = end + 3;
	name[strcspn(name, " \t\r\n")] = '\0';
	symbol->name = name;
	return name[0] != '\0';
}

static bool add_lines(struct symbols *symbols, FILE *file, const char *path, struct error *error)
{
	char *line = NULL;
	size_t room = 0;
	bool good = true;
	for (unsigned number = 1; good && getline(&line, &room, file) >= 0; number++) {
		struct symbol symbol = {0};
		if (parse_line(line, &symbol))
			good = add(symbols, &symbol, path, error);
		else
			good =
			    error_set(error, ERROR_INPUT,
				      "%s: neither an ELF file nor a System.map: line %u is no symbol", path, number);
	}
	free(line);
	return good;
}

/* ---- ELF ---- */

static bool is_code(Elf *elf, const GElf_Sym *symbol)
{
	GElf_Shdr header;
	unsigned type = GELF_ST_TYPE(symbol->st_info);
	if (type != STT_FUNC && type != STT_NOTYPE && type != STT_GNU_IFUNC)
		return false;
	Elf_Scn *section = symbol->st_shndx < SHN_LORESERVE ? elf_getscn(elf, symbol->st_shndx) : NULL;
	return section != NULL && gelf_getshdr(section, &header) != NULL && (header.sh_flags & SHF_EXECINSTR) != 0;
}

static bool add_table(struct symbols *symbols, Elf *elf, Elf_Scn *section, const GElf_Shdr *header, const char *path,
		      struct error *error)
{
	Elf_Data *data = elf_getdata(section, NULL);
	GElf_Sym found;
	for (int i = 1; data != NULL && gelf_getsym(data, i, &found) != NULL; i++) {
		char *name = elf_strptr(elf, header->sh_link, found.st_name);
		if (name == NULL || name[0] == '\0' || found.st_shndx == SHN_UNDEF || !is_code(elf, &found))
			continue;
		struct symbol symbol = {.address = found.st_value, .size = found.st_size, .name = name, .code = true};
		if (!add(symbols, &symbol, path, error))
			return false;
	}
	return true;
}

/* The full table, or else the one for dynamic linking. */
static Elf_Scn *find_table(Elf *elf, GElf_Shdr *header)
{
	static const GElf_Word types[] = {SHT_SYMTAB, SHT_DYNSYM};
	for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
		for (Elf_Scn *section = elf_nextscn(elf, NULL); section != NULL; section = elf_nextscn(elf, section)) {
			if (gelf_getshdr(section, header) != NULL && header->sh_type == types[i])
				return section;
		}
	}
	return NULL;
}

static bool add_elf(struct symbols *symbols, int fd, const char *path, struct error *error)
{
	GElf_Shdr header;
	(void)elf_version(EV_CURRENT);
	Elf *elf = elf_begin(fd, ELF_C_READ, NULL);
	if (elf == NULL)
		return error_set(error, ERROR_INPUT, "%s: %s", path, elf_errmsg(-1));
	Elf_Scn *section = find_table(elf, &header);
	bool good = section != NULL
			? add_table(symbols, elf, section, &header, path, error)
			: error_set(error, ERROR_INPUT, "%s: it has no symbol table: was it stripped?", path);
	(void)elf_end(elf);
	return good;
}

/* ---- both ---- */

static int compare(const void *a, const void *b)
{
	const struct symbol *one = a, *other = b;
	if (one->address != other->address)
		return one->address < other->address ? -1 : 1;
	return one->order < other->order ? -1 : one->order > other->order;
}

static bool read_file(struct symbols *symbols, FILE *file, const char *path, struct error *error)
{
	char magic[SELFMAG];
	struct stat status;
	if (fstat(fileno(file), &status) != 0 || !S_ISREG(status.st_mode))
		return error_set(error, ERROR_INPUT, "%s: not a regular file", path);
	bool is_elf = fread(magic, 1, sizeof magic, file) == sizeof magic && memcmp(magic, ELFMAG, SELFMAG) == 0;
	rewind(file);
	if (is_elf)
		return add_elf(symbols, fileno(file), path, error);
	return add_lines(symbols, file, path, error);
}

/* Debian's System.map, for one, is a line that says where the real one is. */
static bool has_code(const struct symbols *symbols, size_t first)
{
	for (size_t i = first; i < symbols->count; i++) {
		if (symbols->item[i].code)
			return true;
	}
	return false;
}

bool symbols_add_file(struct symbols *symbols, const char *path, struct error *error)
{
	size_t before = symbols->count;
	FILE *file = fopen(path, "re");
	if (file == NULL)
		return error_set(error, ERROR_INPUT, "%s: %s", path, strerror(errno));
	bool good = read_file(symbols, file, path, error);
	(void)fclose(file);
	if (good && !has_code(symbols, before))
		good = error_set(error, ERROR_INPUT, "%s: it has no symbols of code", path);
	if (!good)
		forget_from(symbols, before);
	else
		qsort(symbols->item, symbols->count, sizeof symbols->item[0], compare);
	return good;
}

bool symbols_address(const struct symbols *symbols, const char *name, uint64_t *address)
{
	for (size_t i = 0; i < symbols->count; i++) {
		if (strcmp(symbols->item[i].name, name) == 0) {
			*address = symbols->item[i].address;
			return true;
		}
	}
	return false;
}

void symbols_shift_kernel(struct symbols *symbols, uint64_t distance)
{
	symbols->shift = distance;
}

/* The index of the first symbol beyond an address. */
static size_t search(const struct symbols *symbols, uint64_t address)
{
	size_t low = 0, high = symbols->count;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (symbols->item[middle].address <= address)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static bool holds(const struct symbols *symbols, size_t index, size_t after, uint64_t address)
{
	const struct symbol *symbol = &symbols->item[index];
	uint64_t size = symbol->size;
	if (size == 0)
		size = after < symbols->count ? symbols->item[after].address - symbol->address : UNBOUNDED_SIZE;
	return symbol->code && address - symbol->address < size;
}

static bool is_kernel(uint64_t address)
{
	return address >= KERNEL_64 || (address >= KERNEL_32 && address <= UINT32_MAX);
}

const char *symbols_find(const struct symbols *symbols, uint64_t address, uint64_t *start)
{
	uint64_t shift = is_kernel(address) ? symbols->shift : 0;
	uint64_t linked = address - shift;
	size_t after = search(symbols, linked);
	size_t first = after;
	if (after == 0)
		return NULL;
	uint64_t nearest = symbols->item[after - 1].address;
	while (first > 0 && symbols->item[first - 1].address == nearest)
		first--;
	for (size_t i = first; i < after; i++) {
		if (holds(symbols, i, after, linked)) {
			*start = symbols->item[i].address + shift;
			return symbols->item[i].name;
		}
	}
	return NULL;
}
