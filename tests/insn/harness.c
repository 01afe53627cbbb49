/* SPDX-License-Identifier: MIT */
#include "harness.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "cpu/cpu.h"
#include "translate/engine.h"

/* ---- life ---- */

static void find_pages(struct harness *harness)
{
	for (unsigned page = 0; page < GUEST_DATA_PAGES; page++)
		harness->got_page[page] = harness->engine != NULL
					      ? engine_runner_guest(harness->engine)->data_page[page]
					      : harness->shadow + (size_t)page * LAYOUT_PAGE;
}

static void fill_golden(struct harness *harness)
{
	struct random random = {.state = 1};
	random_bytes(&random, harness->golden, LAYOUT_DATA_SIZE);
	memcpy(native_data(harness->native), harness->golden, LAYOUT_DATA_SIZE);
	for (unsigned page = 0; page < GUEST_DATA_PAGES; page++)
		memcpy(harness->got_page[page], harness->golden + (size_t)page * LAYOUT_PAGE, LAYOUT_PAGE);
}

struct harness *harness_create(const struct harness_options *options, struct error *error)
{
	struct harness *harness = calloc(1, sizeof *harness);
	if (harness == NULL) {
		error_set_errno(error, "out of memory");
		return NULL;
	}
	struct engine_options engine = {
	    .off = options->engine_off, .counted = options->counted, .code_cache_bytes = options->code_cache};
	harness->seed = options->seed;
	harness->self = options->self;
	harness->plant = options->plant;
	harness->failures_shown_limit = options->failures_shown_limit;
	harness->golden = malloc(LAYOUT_DATA_SIZE);
	harness->shadow = malloc(LAYOUT_DATA_SIZE);
	insn_decoder_init(&harness->decoder);
	bool ok =
	    harness->golden != NULL && harness->shadow != NULL &&
	    cpu_model_init(&harness->model, options->model, 1, UINT64_C(1000000000), error) &&
	    form_list_build(&harness->forms, &harness->decoder, &harness->model, error) &&
	    (options->self || (harness->engine = engine_runner_create(&harness->model, &engine, error)) != NULL) &&
	    (harness->native = native_create(error)) != NULL;
	if (!ok) {
		harness_destroy(harness);
		return NULL;
	}
	harness->progress_size = sizeof *harness->progress + harness->forms.count * sizeof harness->progress->form[0];
	void *shared = mmap(NULL, harness->progress_size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (shared == MAP_FAILED) {
		error_set_errno(error, "out of memory");
		harness_destroy(harness);
		return NULL;
	}
	harness->progress = shared;
	harness->segments = native_has_segments(harness->native) ? options->segments : SEGMENTS_NONE;
	find_pages(harness);
	fill_golden(harness);
	return harness;
}

void harness_destroy(struct harness *harness)
{
	native_destroy(harness->native);
	engine_runner_destroy(harness->engine);
	form_list_free(&harness->forms);
	if (harness->progress != NULL)
		munmap(harness->progress, harness->progress_size);
	free(harness->golden);
	free(harness->shadow);
	free(harness);
}

/* ---- memory ---- */

typedef uint64_t page_set;
_Static_assert(GUEST_DATA_PAGES <= 64, "a bit for each page");

static void set_add(page_set *set, const struct insn_case *insn_case, uint64_t linear, uint64_t size)
{
	uint64_t last = linear + size + 512;
	for (uint64_t at = linear - 512;; at += LAYOUT_PAGE) {
		uint64_t offset = layout_offset(at < last ? at : last, insn_case->mode64);
		if (offset != UINT64_MAX)
			*set |= UINT64_C(1) << offset / LAYOUT_PAGE;
		if (at >= last)
			return;
	}
}

/* Pages that the case may have changed. */
static page_set pages_of(const struct insn_case *insn_case)
{
	page_set set = 0;
	for (unsigned i = 0; i < insn_case->access_count; i++)
		set_add(&set, insn_case, insn_case->access[i].linear, insn_case->access[i].size);
	for (unsigned i = 0; i < insn_case->poke_count; i++)
		set_add(&set, insn_case, insn_case->poke[i].linear, insn_case->poke[i].size);
	if (insn_case->variant == VARIANT_LIMIT) /* stack pointers wrap */
		set_add(&set, insn_case, layout_area_base(AREA_STACK, insn_case->mode64), LAYOUT_AREA_SIZE);
	return set;
}

static void poke_both(struct harness *harness, const struct insn_case *insn_case)
{
	uint8_t *data = native_data(harness->native);
	for (unsigned i = 0; i < insn_case->poke_count; i++) {
		const struct case_poke *poke = &insn_case->poke[i];
		for (unsigned byte = 0; byte < poke->size; byte++) {
			uint64_t offset = layout_offset(poke->linear + byte, insn_case->mode64);
			if (offset == UINT64_MAX)
				continue;
			data[offset] = insn_case->blob[poke->at + byte];
			if (harness->engine != NULL)
				harness->got_page[offset / LAYOUT_PAGE][offset % LAYOUT_PAGE] = data[offset];
		}
	}
}

/* Shows this processor BSF or BSR, by a prefix that means nothing to them. */
static void native_without_f3(uint8_t *bytes, size_t size, const ZydisDecodedInstruction *insn)
{
	for (size_t i = 0; i < insn->raw.prefix_count && i < size; i++) {
		if (bytes[i] == 0xf3)
			bytes[i] = 0xf2;
	}
}

static void write_code(struct harness *harness, const struct insn_case *insn_case, bool restore)
{
	static const uint8_t breakpoints[INSN_MAX_BYTES] = {0xcc, 0xcc, 0xcc, 0xcc, 0xcc, 0xcc, 0xcc, 0xcc,
							    0xcc, 0xcc, 0xcc, 0xcc, 0xcc, 0xcc, 0xcc};
	uint64_t offset = case_code_base(insn_case) + insn_case->initial.rip - LAYOUT_CODE;
	size_t room = LAYOUT_CODE_SIZE - offset;
	size_t size = insn_case->length < room ? insn_case->length : room;
	const uint8_t *bytes = restore ? breakpoints : insn_case->bytes;
	uint8_t *native = native_code(harness->native) + offset;
	memcpy(native, bytes, size);
	if (!restore && !insn_case->raw && table_runs_as_scan(&harness->model, &insn_case->decoded.insn))
		native_without_f3(native, size, &insn_case->decoded.insn);
	if (harness->engine != NULL)
		engine_runner_write_code(harness->engine, offset, bytes, size);
}

static void compare_and_restore(struct harness *harness, const struct insn_case *insn_case, page_set pages)
{
	uint8_t *data = native_data(harness->native);
	for (; pages != 0; pages &= pages - 1) {
		unsigned page = (unsigned)__builtin_ctzll(pages);
		uint8_t *expected = data + (size_t)page * LAYOUT_PAGE, *got = harness->got_page[page];
		const uint8_t *golden = harness->golden + (size_t)page * LAYOUT_PAGE;
		compare_page(insn_case, page, expected, got, &harness->difference);
		if (memcmp(expected, golden, LAYOUT_PAGE) != 0)
			memcpy(expected, golden, LAYOUT_PAGE);
		if (memcmp(got, golden, LAYOUT_PAGE) != 0)
			memcpy(got, golden, LAYOUT_PAGE);
	}
}

void harness_reset_memory(struct harness *harness)
{
	uint8_t breakpoints[LAYOUT_PAGE];
	native_populate(harness->native);
	memset(breakpoints, 0xcc, sizeof breakpoints);
	for (unsigned page = 0; page < LAYOUT_CODE_PAGES; page++) {
		memcpy(native_code(harness->native) + (size_t)page * LAYOUT_PAGE, breakpoints, LAYOUT_PAGE);
		if (harness->engine != NULL)
			engine_runner_write_code(harness->engine, page * (uint64_t)LAYOUT_PAGE, breakpoints,
						 LAYOUT_PAGE);
	}
	harness_check_memory(harness);
}

bool harness_check_memory(struct harness *harness)
{
	bool clean = true;
	for (unsigned page = 0; page < GUEST_DATA_PAGES; page++) {
		const uint8_t *golden = harness->golden + (size_t)page * LAYOUT_PAGE;
		uint8_t *expected = native_data(harness->native) + (size_t)page * LAYOUT_PAGE;
		clean &= memcmp(golden, expected, LAYOUT_PAGE) == 0 &&
			 memcmp(golden, harness->got_page[page], LAYOUT_PAGE) == 0;
		memcpy(expected, golden, LAYOUT_PAGE);
		memcpy(harness->got_page[page], golden, LAYOUT_PAGE);
	}
	return clean;
}

/* ---- running ---- */

/* The real CPU as its own opponent: memory as it was, then once more, the first outcome kept as the second side's. */
static void run_self(struct harness *harness, const struct insn_case *insn_case)
{
	uint8_t *data = native_data(harness->native);
	native_run(harness->native, insn_case->mode64, insn_case->raw, &insn_case->initial, &harness->got);
	page_set pages = pages_of(insn_case);
	for (page_set left = pages; left != 0; left &= left - 1) {
		size_t at = (size_t)__builtin_ctzll(left) * LAYOUT_PAGE;
		memcpy(harness->shadow + at, data + at, LAYOUT_PAGE);
		memcpy(data + at, harness->golden + at, LAYOUT_PAGE);
	}
	poke_both(harness, insn_case);
	native_run(harness->native, insn_case->mode64, insn_case->raw, &insn_case->initial, &harness->expected);
}

/* Turns one bit over where the comparison must see it. */
static void plant_error(struct harness *harness, const struct insn_case *insn_case, uint64_t number)
{
	struct insn_state *state = &harness->got.state;
	unsigned chosen = (unsigned)(number % 6);
	/* What a fault leaves behind is not compared everywhere. */
	if ((chosen != 1 && harness->expected.outcome != OUTCOME_DONE) || (chosen == 4 && insn_case->access_count == 0))
		chosen = 5;
	switch (chosen) {
	case 0:
		/* Two, since one may be random by nature (RDRAND). */
		state->gpr[CPU_RBX] ^= 1u << (number >> 3) % 32;
		state->gpr[CPU_RSI] ^= 1u << (number >> 3) % 32;
		break;
	case 1:
		state->rflags ^= FLAG_ID;
		break;
	case 2:
		state->xsave[160 + (number >> 3) % 128] ^= 0x10;
		state->xsave[STATE_XSAVE_HEADER] |= 2;
		break;
	case 3:
		state->xsave[24] ^= 4;
		break;
	case 4: {
		uint64_t offset = layout_offset(insn_case->access[0].linear, insn_case->mode64);
		if (offset != UINT64_MAX)
			harness->got_page[offset / LAYOUT_PAGE][offset % LAYOUT_PAGE] ^= 1;
		else
			state->rip ^= 1;
		break;
	}
	default:
		state->rip ^= 2;
		break;
	}
}

static void run_both(struct harness *harness, const struct insn_case *insn_case)
{
	write_code(harness, insn_case, false);
	poke_both(harness, insn_case);
	if (harness->self) {
		run_self(harness, insn_case);
	} else {
		native_run(harness->native, insn_case->mode64, insn_case->raw, &insn_case->initial, &harness->expected);
		engine_runner_run(harness->engine, insn_case, &harness->got);
	}
	write_code(harness, insn_case, true);
	harness->progress->outcome[harness->expected.outcome]++;
}

static void difference_clear(struct difference *difference)
{
	difference->count = 0;
	difference->length = 0;
	difference->text[0] = 0;
}

static void run_and_compare(struct harness *harness, const struct insn_case *insn_case, uint64_t number)
{
	difference_clear(&harness->difference);
	run_both(harness, insn_case);
	compare_memory_mask(insn_case, &harness->expected, native_data(harness->native), harness->got_page,
			    &harness->difference);
	if (harness->plant)
		plant_error(harness, insn_case, number);
	compare_results(insn_case, &harness->expected, &harness->got, &harness->difference);
	compare_and_restore(harness, insn_case, pages_of(insn_case));
}

/* Not promised, or not an instruction at all: #UD, and nothing else has happened. The real CPU is not asked. */
static void run_undefined(struct harness *harness, const struct insn_case *insn_case)
{
	difference_clear(&harness->difference);
	harness->expected.state = insn_case->initial;
	harness->expected.outcome = OUTCOME_FAULT;
	harness->expected.vector = VECTOR_UD;
	harness->expected.error_code = 0;
	if (harness->self) {
		harness->got = harness->expected;
	} else {
		write_code(harness, insn_case, false);
		engine_runner_run(harness->engine, insn_case, &harness->got);
		write_code(harness, insn_case, true);
	}
	bool fetch_fault =
	    harness->got.outcome == OUTCOME_FETCH &&
	    case_code_base(insn_case) + insn_case->initial.rip + INSN_MAX_BYTES > LAYOUT_CODE + LAYOUT_CODE_SIZE;
	if (fetch_fault)
		return; /* the last bytes were missing */
	if (harness->plant)
		harness->got.outcome = OUTCOME_DONE;
	compare_results(insn_case, &harness->expected, &harness->got, &harness->difference);
}

/* ---- reporting a difference ---- */

static void print_bytes(const struct insn_case *insn_case)
{
	printf("  bytes:");
	for (unsigned i = 0; i < insn_case->length; i++)
		printf(" %02x", insn_case->bytes[i]);
	ZydisFormatter formatter;
	char text[120] = "(not an instruction)";
	ZydisFormatterInit(&formatter, ZYDIS_FORMATTER_STYLE_INTEL);
	if (insn_case->decoded.insn.length != 0)
		ZydisFormatterFormatInstruction(&formatter, &insn_case->decoded.insn, insn_case->decoded.operand,
						insn_case->decoded.insn.operand_count_visible, text, sizeof text,
						insn_case->initial.rip, NULL);
	printf("  %s\n", text);
}

static void print_segments(const struct insn_case *insn_case)
{
	static const char letters[6] = {'e', 'c', 's', 'd', 'f', 'g'};
	for (unsigned i = 0; i < 6; i++) {
		const struct segment_entry *entry = segment_find(insn_case->initial.selector[i]);
		uint64_t first = 1, last = 0;
		if (entry != NULL)
			segment_range(entry, &first, &last);
		printf("\n    %cs %02x: base %08x, offsets %llx to %llx%s%s%s", letters[i],
		       insn_case->initial.selector[i], entry == NULL ? 0 : entry->base, (unsigned long long)first,
		       (unsigned long long)last, entry != NULL && entry->big ? ", big" : "",
		       entry != NULL && entry->code ? ", code" : "", entry != NULL && entry->locked ? ", locked" : "");
	}
	printf("\n   ");
}

static void print_case(const struct insn_case *insn_case)
{
	static const char *const paging[PAGING_COUNT] = {"64-bit", "compatibility mode", "32-bit, PAE",
							 "32-bit, two levels"};
	printf("  at %llx, %s", (unsigned long long)insn_case->initial.rip, paging[insn_case->paging]);
	if (insn_case->setting.segmented)
		print_segments(insn_case);
	for (unsigned i = 0; i < insn_case->access_count; i++)
		printf(", %s%s %u bytes at %llx", insn_case->access[i].read ? "reads" : "",
		       insn_case->access[i].write ? "writes" : "", insn_case->access[i].size,
		       (unsigned long long)insn_case->access[i].linear);
	printf("\n");
}

static enum harness_verdict judge(struct harness *harness, const struct insn_case *insn_case, const char *title,
				  const char *replay)
{
	harness->progress->cases++;
	if (harness->difference.count == 0) {
		if (harness->plant)
			printf("NOT FOUND %s\n  replay: %s\n", title, replay);
		return VERDICT_SAME;
	}
	harness->progress->failures++;
	if (!harness->plant)
		harness_check_memory(harness);
	if (harness->progress->failures_shown >= harness->failures_shown_limit || harness->plant)
		return VERDICT_DIFFERS;
	harness->progress->failures_shown++;
	printf("DIFFERS %s\n", title);
	print_bytes(insn_case);
	print_case(insn_case);
	fputs(harness->difference.text, stdout);
	printf("  replay: %s\n", replay);
	fflush(stdout);
	return VERDICT_DIFFERS;
}

/* ---- cases ---- */

bool harness_runs(const struct harness *harness, enum insn_code code)
{
	switch (code) {
	case CODE_16:
		return harness->segments != SEGMENTS_NONE;
	case CODE_32:
		return native_has_mode32(harness->native);
	default:
		return harness->segments != SEGMENTS_ALL;
	}
}

bool harness_takes(const struct harness *harness, const struct form *form)
{
	if (form->class == FORM_DESCRIPTOR && harness->segments == SEGMENTS_NONE)
		return false;
	return form->class != FORM_SYSTEM && harness_runs(harness, form->code);
}

bool harness_applies(const struct harness *harness, const struct form *form, enum variant variant)
{
	return case_variant_applies(form, variant) && (variant != VARIANT_LIMIT || harness->segments != SEGMENTS_NONE);
}

static enum insn_paging paging_for(enum insn_code code, unsigned number)
{
	/* Runs of the same mode: each change flushes. */
	return code == CODE_64 ? PAGING_4_LEVEL
			       : (enum insn_paging)(PAGING_COMPATIBILITY + number / 17 % (PAGING_COUNT - 1));
}

static struct case_maker maker_of(const struct harness *harness)
{
	return (struct case_maker){
	    .decoder = &harness->decoder, .model = &harness->model, .segments = harness->segments};
}

static bool draw_case(struct harness *harness, const struct form *form, enum variant variant, unsigned number)
{
	struct case_maker maker = maker_of(harness);
	maker.random.state =
	    random_mix(harness->seed ^ random_mix(form->key + variant * 0x10001u + ((uint64_t)number << 32)));
	struct insn_setting setting = case_setting(&maker, form->code, variant, number);
	if (form->class == FORM_DESCRIPTOR)
		setting.segmented = true;
	if (case_build(&maker, form, variant, setting, &harness->current) != CASE_BUILT)
		return false;
	harness->current.paging = paging_for(form->code, number);
	return true;
}

void harness_show_case(struct harness *harness, const struct form *form, enum variant variant, unsigned number)
{
	if (!draw_case(harness, form, variant, number))
		return;
	print_bytes(&harness->current);
	print_case(&harness->current);
}

static void count_case(struct harness *harness, const struct form *form, enum variant variant)
{
	struct harness_count *count = &harness->progress->form[form - harness->forms.form];
	count->cases[variant]++;
	count->completed[variant] += harness->expected.outcome == OUTCOME_DONE;
	if (harness->engine == NULL)
		return;
	struct guest *guest = engine_runner_guest(harness->engine);
	count->mmio += guest->mmio_accesses != 0;
	guest->mmio_accesses = 0;
}

enum harness_verdict harness_case(struct harness *harness, struct form *form, enum variant variant, unsigned number)
{
	struct insn_case *insn_case = &harness->current;
	if (!draw_case(harness, form, variant, number)) {
		harness->progress->undrawn++;
		return VERDICT_NOT_DRAWN;
	}
	if (form->class == FORM_UNDEFINED)
		run_undefined(harness, insn_case);
	else
		run_and_compare(harness, insn_case, number);
	count_case(harness, form, variant);
	char title[160], replay[120];
	snprintf(title, sizeof title, "%s, %s, form: %s", insn_code_names[form->code], variant_names[variant],
		 form->text);
	snprintf(replay, sizeof replay, "--seed %llu --replay %016llx/%u/%u", (unsigned long long)harness->seed,
		 (unsigned long long)form->key, variant, number);
	return judge(harness, insn_case, title, replay);
}

static void hostile_bytes(struct random *random, enum insn_code code, uint8_t bytes[INSN_MAX_BYTES])
{
	static const uint8_t prefixes[] = {0x66, 0x67, 0xf0, 0xf2, 0xf3, 0x2e, 0x36, 0x3e, 0x26, 0x64, 0x65};
	random_bytes(random, bytes, INSN_MAX_BYTES);
	unsigned at = 0;
	for (unsigned count = random_below(random, 4); count > 0; count--)
		bytes[at++] = prefixes[random_below(random, sizeof prefixes)];
	if (code == CODE_64 && random_percent(random, 30))
		bytes[at++] = (uint8_t)(0x40 | random_below(random, 16));
	static const uint8_t escapes[] = {0x0f, 0xc4, 0xc5, 0x62, 0x8f};
	if (random_percent(random, 60))
		bytes[at++] = escapes[random_percent(random, 60) ? 0 : random_below(random, sizeof escapes)];
	if (random_percent(random, 20))
		bytes[at] = random_percent(random, 50) ? 0x38 : 0x3a;
}

/* What random bytes turn out to be. */
struct hostile {
	struct insn_setting setting;
	uint8_t bytes[INSN_MAX_BYTES];
	struct insn_decoded decoded; /* length 0: not an instruction */
	struct form *form; /* of bytes that are a promised instruction; NULL with `skip` or where they are none */
	enum variant variant;
	bool skip; /* a system instruction, or one that this host cannot run */
};

/* Bytes that the decoder refuses but that this processor may yet run, prefixes ignored, as something the guest was not
 * promised: hypercalls, EVEX. Only the engine is asked about them. */
static bool hides_unpromised(const struct harness *harness, struct insn_setting setting,
			     const uint8_t bytes[INSN_MAX_BYTES])
{
	static const uint8_t prefixes[] = {0x66, 0x67, 0xf0, 0xf2, 0xf3, 0x2e, 0x36, 0x3e, 0x26, 0x64, 0x65};
	unsigned at = 0;
	while (at < INSN_MAX_BYTES && (memchr(prefixes, bytes[at], sizeof prefixes) != NULL ||
				       (setting.code == CODE_64 && (bytes[at] & 0xf0) == 0x40)))
		at++;
	if (at == INSN_MAX_BYTES)
		return false;
	struct insn_decoded decoded;
	return bytes[at] == 0x62 ||
	       (insn_decode(&harness->decoder, setting, bytes + at, INSN_MAX_BYTES - at, &decoded) &&
		(!table_promised(&harness->model, &decoded.insn) ||
		 table_system(&decoded.insn, decoded.operand) != NULL));
}

static unsigned hostile_number(uint64_t number)
{
	return (unsigned)(number | 0x80000000u);
}

static struct hostile draw_hostile(struct harness *harness, enum insn_code code, uint64_t number,
				   struct case_maker *maker)
{
	struct hostile hostile = {.variant = VARIANT_REGISTER};
	*maker = maker_of(harness);
	maker->random.state = random_mix(harness->seed ^ random_mix(number * 4 + code));
	hostile.setting = case_setting(maker, code, VARIANT_REGISTER, hostile_number(number));
	hostile_bytes(&maker->random, code, hostile.bytes);
	if (!insn_decode(&harness->decoder, hostile.setting, hostile.bytes, INSN_MAX_BYTES, &hostile.decoded)) {
		memset(&hostile.decoded, 0, sizeof hostile.decoded);
		return hostile;
	}
	bool promised = table_promised(&harness->model, &hostile.decoded.insn);
	struct form *form = form_find(&harness->forms, form_key(&hostile.decoded, code, promised));
	hostile.skip = form == NULL || form->class == FORM_SYSTEM || form->class == FORM_DESCRIPTOR;
	if (hostile.skip || !promised)
		return hostile;
	if (form->accesses_memory)
		hostile.variant = (enum variant)(VARIANT_HIT + (number >> 8) % (VARIANT_COUNT - 1));
	hostile.skip = !harness_applies(harness, form, hostile.variant);
	hostile.form = form;
	return hostile;
}

static void build_hostile(struct case_maker *maker, const struct hostile *hostile, uint64_t number,
			  struct insn_case *insn_case)
{
	case_build_raw(maker, hostile->setting, hostile->bytes, insn_case);
	insn_case->decoded = hostile->decoded;
	insn_case->paging = paging_for(hostile->setting.code, (unsigned)(number >> 16));
}

void harness_show_hostile(struct harness *harness, enum insn_code code, uint64_t number)
{
	struct case_maker maker;
	struct hostile hostile = draw_hostile(harness, code, number, &maker);
	if (hostile.form != NULL) {
		harness_show_case(harness, hostile.form, hostile.variant, hostile_number(number));
		return;
	}
	build_hostile(&maker, &hostile, number, &harness->current);
	print_bytes(&harness->current);
	print_case(&harness->current);
}

/* Bytes that are an instruction are tried with operands of their own by their form; what remains must be #UD on both.
 */
enum harness_verdict harness_hostile(struct harness *harness, enum insn_code code, uint64_t number)
{
	struct insn_case *insn_case = &harness->current;
	struct case_maker maker;
	struct hostile hostile = draw_hostile(harness, code, number, &maker);
	if (hostile.skip)
		return VERDICT_NOT_DRAWN;
	if (hostile.form != NULL)
		return harness_case(harness, hostile.form, hostile.variant, hostile_number(number));
	build_hostile(&maker, &hostile, number, insn_case);
	if (hostile.decoded.insn.length != 0 || hides_unpromised(harness, hostile.setting, hostile.bytes))
		run_undefined(harness, insn_case);
	else
		run_and_compare(harness, insn_case, number);
	char title[80], replay[80];
	snprintf(title, sizeof title, "%s, random bytes", insn_code_names[code]);
	snprintf(replay, sizeof replay, "--seed %llu --hostile-case %u/%llu", (unsigned long long)harness->seed,
		 insn_code_bits[code], (unsigned long long)number);
	return judge(harness, insn_case, title, replay);
}
