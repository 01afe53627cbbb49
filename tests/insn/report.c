/* SPDX-License-Identifier: MIT */
#include "report.h"

#include <string.h>
#include <unistd.h>

static const char *const class_names[FORM_CLASS_COUNT] = {"compared", "by LDT", "system", "undefined"};

void report_forms(const struct harness *harness, FILE *out)
{
	for (size_t i = 0; i < harness->forms.count; i++) {
		const struct form *form = &harness->forms.form[i];
		fprintf(out, "%016llx %s %-9s %-18s ", (unsigned long long)form->key, insn_code_names[form->code],
			class_names[form->class], form->group);
		for (unsigned byte = 0; byte < form->sample_length; byte++)
			fprintf(out, "%02x", form->sample[byte]);
		fprintf(out, "  %s ", form->text);
		for (unsigned variant = 0; variant < VARIANT_COUNT; variant++) {
			if (harness->progress->form[i].cases[variant] != 0)
				fprintf(out, " %s=%u/%u", variant_names[variant],
					harness->progress->form[i].completed[variant],
					harness->progress->form[i].cases[variant]);
		}
		if (harness->progress->form[i].mmio != 0)
			fprintf(out, " touched-mmio=%u", harness->progress->form[i].mmio);
		if (form->class == FORM_SYSTEM)
			fprintf(out, " -- %s; tests/system: %s", form->system->reason, form->system->test);
		fputc('\n', out);
	}
}

struct tally {
	const char *group;
	enum insn_code code;
	enum form_class class;
	unsigned forms;
	uint64_t cases[VARIANT_COUNT];
};

#define TALLIES 160

static struct tally *tally_for(struct tally *tallies, unsigned *count, const struct form *form)
{
	for (unsigned i = 0; i < *count; i++) {
		if (tallies[i].group == form->group && tallies[i].code == form->code && tallies[i].class == form->class)
			return &tallies[i];
	}
	if (*count == TALLIES)
		return NULL;
	tallies[*count] = (struct tally){.group = form->group, .code = form->code, .class = form->class};
	return &tallies[(*count)++];
}

/* Hints and cache control name an address but move no data. */
static bool moves_data(const struct form *form)
{
	return form->mnemonic != ZYDIS_MNEMONIC_NOP && strcmp(form->group, "hints") != 0 &&
	       strcmp(form->group, "cache control") != 0;
}

/* Too few cases of a kind, or cases for MMIO that never reached it although they completed. */
static unsigned form_shortfall(const struct harness *harness, const struct form *form,
			       const struct harness_count *count, unsigned minimum)
{
	if (form->class == FORM_SYSTEM)
		return 0;
	for (unsigned variant = 0; variant < VARIANT_COUNT; variant++) {
		if (harness_applies(harness, form, (enum variant)variant) && count->cases[variant] < minimum)
			return 1;
	}
	return harness->engine != NULL && moves_data(form) && minimum >= 10 && count->completed[VARIANT_MMIO] >= 10 &&
	       count->mmio == 0;
}

static void print_tally(const struct tally *tally, FILE *out)
{
	fprintf(out, "%-10s %s %-20s %6u", class_names[tally->class], insn_code_names[tally->code], tally->group,
		tally->forms);
	for (unsigned variant = 0; variant < VARIANT_COUNT; variant++)
		fprintf(out, " %9llu", (unsigned long long)tally->cases[variant]);
	fputc('\n', out);
}

/* The test that is said to cover a form must exist. */
static bool system_test_exists(const char *name)
{
	char path[512];
	snprintf(path, sizeof path, "%s/%s.c", INSN_SYSTEM_TESTS, name);
	return access(path, R_OK) == 0;
}

/* Returns the number of forms whose covering test is missing. */
static unsigned print_system(const struct harness *harness, FILE *out)
{
	fprintf(out, "\nNot compared in user mode:\n");
	ZydisMnemonic last = ZYDIS_MNEMONIC_INVALID;
	unsigned missing = 0;
	for (size_t i = 0; i < harness->forms.count; i++) {
		const struct form *form = &harness->forms.form[i];
		if (form->class != FORM_SYSTEM)
			continue;
		bool exists = system_test_exists(form->system->test);
		missing += !exists;
		if (form->mnemonic == last)
			continue;
		last = form->mnemonic;
		fprintf(out, "  %-10s %s %s: tests/system/%s.c%s\n", ZydisMnemonicGetString(form->mnemonic),
			insn_code_names[form->code], form->system->reason, form->system->test,
			exists ? "" : " IS MISSING");
	}
	return missing;
}

unsigned report_summary(const struct harness *harness, unsigned minimum, FILE *out)
{
	struct tally tallies[TALLIES];
	unsigned count = 0, short_of = 0;
	for (size_t i = 0; i < harness->forms.count; i++) {
		const struct form *form = &harness->forms.form[i];
		struct tally *tally = tally_for(tallies, &count, form);
		if (tally == NULL)
			continue;
		tally->forms++;
		for (unsigned variant = 0; variant < VARIANT_COUNT; variant++)
			tally->cases[variant] += harness->progress->form[i].cases[variant];
		if (harness_takes(harness, form))
			short_of += form_shortfall(harness, form, &harness->progress->form[i], minimum);
	}
	fprintf(out, "class      mode   group                 forms");
	for (unsigned variant = 0; variant < VARIANT_COUNT; variant++)
		fprintf(out, " %9s", variant_names[variant]);
	fputc('\n', out);
	for (unsigned i = 0; i < count; i++)
		print_tally(&tallies[i], out);
	short_of += print_system(harness, out);
	if (!harness_runs(harness, CODE_32))
		fprintf(out,
			"\nSKIPPED: this host does not run 32-bit code segments; 32-bit forms were not compared\n");
	else if (!native_has_segments(harness->native))
		fprintf(out,
			"\nSKIPPED: this host has no LDT, or no 16-bit segments in it; 16-bit forms and limits were "
			"not compared\n");
	return short_of;
}
