/* SPDX-License-Identifier: MIT */
/*
 * Whether all guests fit H hosts, as a program in zeros and ones: x(i,j) is 1 when guest i is on host j.
 *
 *	for each guest		sum over j of x(i,j) = 1
 *	for each host, resource and sample	sum over i of demand(i) / capacity * x(i,j) <= 1
 *	apart			sum over the group of x(i,j) <= 1
 *	together		x(i,j) = x(k,j)
 *
 * Hosts are alike, so guest i only needs the hosts up to i, in the order of size. Thousands of samples would make
 *thousands of rows for each host, nearly all of them idle. So it starts with the fullest sample of each resource; where
 *a solution is over capacity, that sample is added and the program solved again. A program without a solution has none
 *with more rows: then fewer hosts cannot do. The right side is a millionth above 1, so that the solver's tolerance
 *never makes a false proof.
 */
#include <fcntl.h>
#include <math.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/bits.h"
#include "plan/fit-exact.h"

#define ROUNDS_MAX 400
/* For one program, should its nodes be slow. Whether it gives up may then depend on the machine. */
#define SECONDS "300"
#define SLACK 1e-6

extern char **environ;

struct row {
	enum resource resource;
	unsigned sample;
};

struct exact {
	const struct fit_task *task;
	unsigned guests, hosts, nodes;
	float *value;	/* [guest][resource][sample] */
	unsigned *rank; /* by guest, its place in the order of size, the largest first */
	unsigned *host_of;
	struct row *row;
	unsigned rows, room;
	char folder[64], program[80], solution[80];
};

enum verdict { VERDICT_FITS, VERDICT_NO_FIT, VERDICT_UNKNOWN, VERDICT_ERROR };

static double demand_at(const struct exact *exact, unsigned guest, const struct row *row)
{
	size_t series = (size_t)guest * RESOURCE_COUNT + row->resource;
	return (double)exact->value[series * exact->task->demand->samples + row->sample];
}

/* False without memory; a row that is there already is not added and *known is set. */
static bool row_add(struct exact *exact, enum resource resource, unsigned sample, bool *known)
{
	for (unsigned i = 0; i < exact->rows; i++)
		if (exact->row[i].resource == resource && exact->row[i].sample == sample) {
			*known = true;
			return true;
		}
	if (exact->rows == exact->room) {
		unsigned room = exact->room != 0 ? 2 * exact->room : 64;
		struct row *grown = realloc(exact->row, room * sizeof *grown);
		if (grown == NULL)
			return false;
		exact->row = grown;
		exact->room = room;
	}
	exact->row[exact->rows++] = (struct row){resource, sample};
	return true;
}

static bool may_use(const struct exact *exact, unsigned guest, unsigned host)
{
	return host < exact->hosts && host <= exact->rank[guest];
}

/* What symmetry rules out is 0 and not written. Each row begins with "0 none", so that none is empty. */
static void write_term(const struct exact *exact, FILE *to, double factor, unsigned guest, unsigned host)
{
	if (may_use(exact, guest, host) && (factor < 0 || factor > 0))
		(void)fprintf(to, "\n %c %.12g x%u_%u", factor < 0 ? '-' : '+', fabs(factor), guest, host);
}

static void write_rows(const struct exact *exact, FILE *to)
{
	for (unsigned i = 0; i < exact->rows; i++) {
		const struct row *row = &exact->row[i];
		double capacity = exact->task->host_class[0].capacity[row->resource];
		for (unsigned host = 0; host < exact->hosts; host++) {
			(void)fprintf(to, " r%u_%u: 0 none", i, host);
			for (unsigned guest = 0; guest < exact->guests; guest++)
				write_term(exact, to, demand_at(exact, guest, row) / capacity, guest, host);
			(void)fprintf(to, "\n <= %.9g\n", 1 + SLACK);
		}
	}
}

static void write_groups(const struct exact *exact, FILE *to)
{
	for (unsigned g = 0; g < exact->task->groups; g++) {
		const struct fit_group *group = &exact->task->group[g];
		for (unsigned host = 0; host < exact->hosts; host++) {
			for (unsigned i = 1; !group->apart && i < group->count; i++) {
				(void)fprintf(to, " g%u_%u_%u: 0 none", g, host, i);
				write_term(exact, to, 1, group->guest[0], host);
				write_term(exact, to, -1, group->guest[i], host);
				(void)fprintf(to, "\n = 0\n");
			}
			if (!group->apart)
				continue;
			(void)fprintf(to, " g%u_%u: 0 none", g, host);
			for (unsigned i = 0; i < group->count; i++)
				write_term(exact, to, 1, group->guest[i], host);
			(void)fprintf(to, "\n <= 1\n");
		}
	}
}

/* In CPLEX's LP format. */
static bool program_write(const struct exact *exact)
{
	FILE *to = fopen(exact->program, "w");
	if (to == NULL)
		return false;
	(void)fprintf(to, "Minimize\n cost: 0 none\nSubject To\n");
	for (unsigned guest = 0; guest < exact->guests; guest++) {
		(void)fprintf(to, " one%u: 0 none", guest);
		for (unsigned host = 0; host < exact->hosts; host++)
			write_term(exact, to, 1, guest, host);
		(void)fprintf(to, "\n = 1\n");
	}
	write_rows(exact, to);
	write_groups(exact, to);
	(void)fprintf(to, "Bounds\n none <= 0\nBinaries\n");
	for (unsigned guest = 0; guest < exact->guests; guest++)
		for (unsigned host = 0; may_use(exact, guest, host); host++)
			(void)fprintf(to, " x%u_%u\n", guest, host);
	(void)fprintf(to, "End\n");
	bool good = ferror(to) == 0;
	return fclose(to) == 0 && good;
}

static bool solver_run(const struct exact *exact, struct error *error)
{
	char nodes[16], program[80], solution[80];
	(void)snprintf(nodes, sizeof nodes, "%u", exact->nodes);
	memcpy(program, exact->program, sizeof program);
	memcpy(solution, exact->solution, sizeof solution);
	char words[][12] = {"cbc", "-seconds", SECONDS, "-maxN", "-solve", "-solution"};
	char *argv[] = {words[0], program, words[1], words[2], words[3], nodes, words[4], words[5], solution, NULL};
	posix_spawn_file_actions_t actions;
	pid_t child;
	int status = 0;
	if (posix_spawn_file_actions_init(&actions) != 0)
		return error_set(error, ERROR_HOST, "out of memory");
	(void)posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
	(void)posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
	int failed = posix_spawnp(&child, "cbc", &actions, NULL, argv, environ);
	(void)posix_spawn_file_actions_destroy(&actions);
	if (failed != 0)
		return error_set(error, ERROR_HOST, "cannot run cbc (%s): install coinor-cbc, or leave out --exact",
				 strerror(failed));
	while (waitpid(child, &status, 0) < 0)
		;
	return (WIFEXITED(status) && WEXITSTATUS(status) == 0) ||
	       error_set(error, ERROR_HOST, "cbc failed (status %d)", status);
}

/* The first line says how it ended; then for each variable a number, its name, its value and its cost. */
static enum verdict solution_read(struct exact *exact)
{
	char line[256];
	FILE *from = fopen(exact->solution, "r");
	if (from == NULL)
		return VERDICT_UNKNOWN;
	enum verdict verdict = VERDICT_UNKNOWN;
	if (fgets(line, sizeof line, from) != NULL) {
		if (strncmp(line, "Optimal", 7) == 0)
			verdict = VERDICT_FITS;
		else if (strncmp(line, "Infeasible", 10) == 0 || strncmp(line, "Integer infeasible", 18) == 0)
			verdict = VERDICT_NO_FIT;
	}
	for (unsigned i = 0; i < exact->guests; i++)
		exact->host_of[i] = FIT_NONE;
	while (verdict == VERDICT_FITS && fgets(line, sizeof line, from) != NULL) {
		unsigned number, guest, host;
		double value;
		if (sscanf(line, " %u x%u_%u %lf", &number, &guest, &host, &value) == 4 && value > 0.5 &&
		    guest < exact->guests && host < exact->hosts)
			exact->host_of[guest] = host;
	}
	for (unsigned i = 0; i < exact->guests && verdict == VERDICT_FITS; i++)
		if (exact->host_of[i] == FIT_NONE)
			verdict = VERDICT_UNKNOWN;
	(void)fclose(from);
	return verdict;
}

/* Adds the fullest sample of each host and resource that is over. VERDICT_FITS: none is. */
static enum verdict violations_add(struct exact *exact)
{
	unsigned samples = exact->task->demand->samples;
	double *sum = malloc(samples * sizeof *sum);
	bool over = false, known = false, good = sum != NULL;
	for (unsigned host = 0; good && host < exact->hosts; host++)
		for (unsigned r = 0; r < RESOURCE_COUNT && good; r++) {
			double capacity = exact->task->host_class[0].capacity[r];
			unsigned worst = 0;
			memset(sum, 0, samples * sizeof *sum);
			for (unsigned i = 0; i < exact->guests; i++)
				for (unsigned t = 0; exact->host_of[i] == host && t < samples; t++)
					sum[t] += demand_at(exact, i, &(struct row){(enum resource)r, t});
			for (unsigned t = 1; t < samples; t++)
				worst = sum[t] > sum[worst] ? t : worst;
			if (!(capacity > 0) || sum[worst] <= capacity * (1 + SLACK / 20))
				continue;
			over = true;
			good = row_add(exact, (enum resource)r, worst, &known);
		}
	free(sum);
	/* Over in a row that is there: within the solver's tolerance, but not within ours. */
	return !good ? VERDICT_ERROR : !over ? VERDICT_FITS : known ? VERDICT_UNKNOWN : VERDICT_NO_FIT;
}

static enum verdict hosts_try(struct exact *exact, struct error *error)
{
	for (unsigned round = 0; round < ROUNDS_MAX; round++) {
		(void)unlink(exact->solution);
		if (!program_write(exact)) {
			(void)error_set_errno(error, "cannot write %s", exact->program);
			return VERDICT_ERROR;
		}
		if (!solver_run(exact, error))
			return VERDICT_ERROR;
		enum verdict verdict = solution_read(exact);
		if (verdict != VERDICT_FITS)
			return verdict;
		verdict = violations_add(exact);
		if (verdict == VERDICT_ERROR)
			(void)error_set(error, ERROR_HOST, "out of memory");
		if (verdict != VERDICT_NO_FIT)
			return verdict;
	}
	return VERDICT_UNKNOWN;
}

/* A plan of the same task with the solution's placement. */
static struct fit_plan *plan_make(const struct exact *exact, const struct fit_plan *old, struct error *error)
{
	unsigned spares = exact->task->spares;
	struct fit_plan *plan = calloc(1, sizeof *plan);
	if (plan != NULL) {
		*plan = *old;
		plan->host = calloc(exact->hosts + spares + 1, sizeof *plan->host);
		plan->host_of = malloc((exact->guests + 1) * sizeof *plan->host_of);
	}
	bool good = plan != NULL && plan->host != NULL && plan->host_of != NULL;
	for (unsigned h = 0; good && h < exact->hosts; h++) {
		struct fit_host *host = &plan->host[h];
		host->guest = malloc((exact->guests + 1) * sizeof *host->guest);
		good = host->guest != NULL;
		for (unsigned i = 0; good && i < exact->guests; i++)
			if (exact->host_of[i] == h)
				host->guest[host->guests++] = i;
	}
	if (!good) {
		if (plan != NULL)
			plan->hosts = exact->hosts;
		fit_plan_free(plan);
		(void)error_set(error, ERROR_HOST, "out of memory");
		return NULL;
	}
	memcpy(plan->host_of, exact->host_of, exact->guests * sizeof *plan->host_of);
	plan->hosts = exact->hosts + spares;
	for (unsigned s = 0; s < spares; s++)
		plan->host[exact->hosts + s] = (struct fit_host){.spare = true};
	plan->cost = plan->hosts * exact->task->host_class[0].cost;
	return plan;
}

static bool exact_search(struct exact *exact, struct fit_plan **plan, struct error *error)
{
	while ((*plan)->hosts > (*plan)->bound.hosts) {
		exact->hosts = (*plan)->hosts - exact->task->spares - 1;
		enum verdict verdict = hosts_try(exact, error);
		if (verdict == VERDICT_ERROR)
			return false;
		if (verdict == VERDICT_UNKNOWN)
			return true;
		if (verdict == VERDICT_NO_FIT) {
			(*plan)->bound.hosts = (*plan)->hosts;
			(*plan)->bound.cost = (*plan)->cost;
			(*plan)->bound.proof = FIT_PROOF_EXACT;
			return true;
		}
		struct fit_plan *better = plan_make(exact, *plan, error);
		if (better == NULL)
			return false;
		fit_plan_free(*plan);
		*plan = better;
	}
	return true;
}

static bool task_check(const struct fit_task *task, const struct fit_plan *plan, struct error *error)
{
	if (task->demand->guests > FIT_EXACT_GUESTS_MAX || plan->hosts > FIT_EXACT_HOSTS_MAX)
		return error_set(error, ERROR_INPUT, "--exact is for up to %d guests on %d hosts", FIT_EXACT_GUESTS_MAX,
				 FIT_EXACT_HOSTS_MAX);
	if (task->classes != 1 || task->percentile < 100 || task->pin != NULL || task->now != NULL ||
	    task->classes_barred != NULL)
		return error_set(
		    error, ERROR_INPUT,
		    "--exact is for one kind of host, every sample, and rules with 'together' and 'apart' only");
	return true;
}

struct sized {
	double size;
	unsigned guest;
};

static int size_compare(const void *a, const void *b)
{
	const struct sized *one = a, *two = b;
	if (one->size > two->size || one->size < two->size)
		return one->size > two->size ? -1 : 1;
	return one->guest < two->guest ? -1 : 1;
}

/* Reads all demand; the order is by the largest share of a host, and the first rows are the fullest samples. */
static bool exact_read(struct exact *exact, struct error *error)
{
	const struct demand *demand = exact->task->demand;
	struct sized *sized = calloc(exact->guests, sizeof *sized);
	double *sum = malloc(demand->samples * sizeof *sum);
	bool good = sized != NULL && sum != NULL, known = false;
	if (!good)
		(void)error_set(error, ERROR_HOST, "out of memory");
	for (unsigned r = 0; good && r < RESOURCE_COUNT; r++) {
		double capacity = exact->task->host_class[0].capacity[r];
		unsigned worst = 0;
		memset(sum, 0, demand->samples * sizeof *sum);
		for (unsigned i = 0; good && capacity > 0 && i < exact->guests; i++) {
			float *value = exact->value + ((size_t)i * RESOURCE_COUNT + r) * demand->samples;
			bug_if(exact->value == NULL);
			sized[i].guest = i;
			good = demand->read(demand, i, (enum resource)r, value, error);
			for (unsigned t = 0; good && t < demand->samples; t++) {
				sum[t] += (double)value[t];
				sized[i].size = fmax(sized[i].size, (double)value[t] / capacity);
			}
		}
		for (unsigned t = 1; t < demand->samples; t++)
			worst = sum[t] > sum[worst] ? t : worst;
		if (good && capacity > 0 && !row_add(exact, (enum resource)r, worst, &known))
			good = error_set(error, ERROR_HOST, "out of memory");
	}
	if (good)
		qsort(sized, exact->guests, sizeof *sized, size_compare);
	for (unsigned i = 0; good && i < exact->guests; i++)
		exact->rank[sized[i].guest] = i;
	free(sized);
	free(sum);
	return good;
}

bool fit_exact(const struct fit_task *task, struct fit_plan **plan, unsigned nodes, struct error *error)
{
	if (!task_check(task, *plan, error))
		return false;
	struct exact exact = {.task = task, .guests = task->demand->guests, .nodes = nodes};
	const char *folder = getenv("TMPDIR");
	int length =
	    snprintf(exact.folder, sizeof exact.folder, "%s/nfold-plan-XXXXXX", folder != NULL ? folder : P_tmpdir);
	if (length < 0 || (size_t)length >= sizeof exact.folder || mkdtemp(exact.folder) == NULL)
		return error_set_errno(error, "cannot make a folder in %.200s", folder != NULL ? folder : P_tmpdir);
	(void)snprintf(exact.program, sizeof exact.program, "%s/fit.lp", exact.folder);
	(void)snprintf(exact.solution, sizeof exact.solution, "%s/fit.sol", exact.folder);
	exact.value = calloc((size_t)exact.guests * RESOURCE_COUNT * task->demand->samples, sizeof *exact.value);
	exact.rank = malloc((exact.guests + 1) * sizeof *exact.rank);
	exact.host_of = malloc((exact.guests + 1) * sizeof *exact.host_of);
	bool good = (exact.value != NULL && exact.rank != NULL && exact.host_of != NULL) ||
		    error_set(error, ERROR_HOST, "out of memory");
	good = good && exact_read(&exact, error) && exact_search(&exact, plan, error);
	(void)unlink(exact.program);
	(void)unlink(exact.solution);
	(void)rmdir(exact.folder);
	free(exact.value);
	free(exact.rank);
	free(exact.host_of);
	free(exact.row);
	return good;
}
