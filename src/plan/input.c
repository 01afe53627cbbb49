/* SPDX-License-Identifier: MIT */
#include "plan/input.h"

#include <errno.h>
#include <fcntl.h>
#include <iconv.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#define CHUNK 65536u

struct input {
	char *path;
	gzFile gz; /* NULL: bytes are from memory */
	const char *memory;
	size_t memory_left;
	iconv_t converter; /* from UTF-16, or (iconv_t)-1 */
	char raw[CHUNK];   /* UTF-16 that is not converted yet */
	size_t raw_size;
	char *text;
	size_t at, end, room; /* what is read and not used: text[at..end) */
	uint64_t line;
	bool started, eof, cut;
};

static struct input *input_make(const char *path, struct error *error)
{
	struct input *input = calloc(1, sizeof *input);
	if (input != NULL) {
		input->converter = (iconv_t)-1;
		input->room = 2 * CHUNK;
		input->path = strdup(path);
		input->text = malloc(input->room + 1);
		if (input->path != NULL && input->text != NULL)
			return input;
		input_close(input);
	}
	(void)error_set(error, ERROR_HOST, "%s: out of memory", path);
	return NULL;
}

struct input *input_open(const char *path, int fd, struct error *error)
{
	struct stat status;
	if (fd < 0)
		fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0) {
		(void)error_set(error, ERROR_INPUT, "%s: %s", path, strerror(errno));
		return NULL;
	}
	/* Opening must not wait for a device or a pipe's other end; reading a pipe may. */
	(void)fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK);
	if (fstat(fd, &status) == 0 && !S_ISREG(status.st_mode) && !S_ISFIFO(status.st_mode)) {
		(void)error_set(error, ERROR_INPUT, "%s: not a file", path);
		(void)close(fd);
		return NULL;
	}
	struct input *input = input_make(path, error);
	if (input != NULL && (input->gz = gzdopen(fd, "rb")) != NULL) {
		(void)gzbuffer(input->gz, CHUNK);
		return input;
	}
	if (input != NULL)
		(void)error_set(error, ERROR_HOST, "%s: out of memory", path);
	(void)close(fd);
	input_close(input);
	return NULL;
}

struct input *input_from_bytes(const char *path, const void *bytes, size_t size, struct error *error)
{
	struct input *input = input_make(path, error);
	if (input != NULL) {
		input->memory = bytes;
		input->memory_left = size;
	}
	return input;
}

void input_close(struct input *input)
{
	if (input == NULL)
		return;
	if (input->gz != NULL)
		(void)gzclose_r(input->gz);
	if (input->converter != (iconv_t)-1)
		(void)iconv_close(input->converter);
	free(input->text);
	free(input->path);
	free(input);
}

const char *input_path(const struct input *input)
{
	return input->path;
}

uint64_t input_line_number(const struct input *input)
{
	return input->line;
}

bool input_cut(const struct input *input)
{
	return input->cut;
}

/* Bytes as they are in the file; 0: its end, -1: *error is filled. */
static ssize_t read_raw(struct input *input, char *to, size_t size, struct error *error)
{
	if (input->gz == NULL) {
		size = size < input->memory_left ? size : input->memory_left;
		if (size > 0)
			memcpy(to, input->memory, size);
		input->memory += size;
		input->memory_left -= size;
		return (ssize_t)size;
	}
	int got = gzread(input->gz, to, (unsigned)size);
	if (got > 0)
		return got;
	int number = Z_OK;
	const char *why = gzerror(input->gz, &number);
	if (number == Z_ERRNO)
		(void)error_set_errno(error, "%s: cannot read", input->path);
	else if (number == Z_BUF_ERROR)
		(void)error_set(error, ERROR_INPUT, "%s: its compressed data end too early", input->path);
	else if (number != Z_OK && number != Z_STREAM_END)
		(void)error_set(error, ERROR_INPUT, "%s: its compressed data are damaged: %.100s", input->path, why);
	else
		return 0;
	return -1;
}

/* A byte order mark decides what the file's characters are. */
static bool start(struct input *input, struct error *error)
{
	input->started = true;
	while (input->raw_size < 3) {
		ssize_t got = read_raw(input, input->raw + input->raw_size, sizeof input->raw - input->raw_size, error);
		if (got < 0)
			return false;
		if (got == 0)
			break;
		input->raw_size += (size_t)got;
	}
	const unsigned char *mark = (const unsigned char *)input->raw;
	size_t skip = 0;
	if (input->raw_size >= 3 && mark[0] == 0xef && mark[1] == 0xbb && mark[2] == 0xbf) {
		skip = 3;
	} else if (input->raw_size >= 2 && mark[0] + mark[1] == 0xff + 0xfe && (mark[0] | 1) == 0xff) {
		skip = 2;
		input->converter = iconv_open("UTF-8", mark[0] == 0xff ? "UTF-16LE" : "UTF-16BE");
		if (input->converter == (iconv_t)-1)
			return error_set_errno(error, "%s: UTF-16", input->path);
	}
	input->raw_size -= skip;
	memmove(input->raw, input->raw + skip, input->raw_size);
	return true;
}

/* Room for `size` bytes behind `end`. */
static bool make_room(struct input *input, size_t size, struct error *error)
{
	if (input->at > 0) {
		memmove(input->text, input->text + input->at, input->end - input->at);
		input->end -= input->at;
		input->at = 0;
	}
	if (input->end > INPUT_LINE_MAX)
		return error_set(error, ERROR_INPUT, "%s:%llu: a line of more than %u MiB: not a file of measurements",
				 input->path, (unsigned long long)input->line + 1, INPUT_LINE_MAX >> 20);
	if (input->room - input->end >= size)
		return true;
	char *grown = realloc(input->text, 2 * input->room + 1);
	if (grown == NULL)
		return error_set(error, ERROR_HOST, "%s: out of memory", input->path);
	input->text = grown;
	input->room *= 2;
	return true;
}

/* Converts what there is of UTF-16; the rest of a character waits. */
static bool convert(struct input *input, struct error *error)
{
	char *in = input->raw, *out = input->text + input->end;
	size_t in_left = input->raw_size, out_left = input->room - input->end;
	size_t done = iconv(input->converter, &in, &in_left, &out, &out_left);
	if (done == (size_t)-1 && (errno == EILSEQ || (errno == EINVAL && input->eof)))
		return error_set(error, ERROR_INPUT, "%s:%llu: broken UTF-16", input->path,
				 (unsigned long long)input->line + 1);
	input->end = (size_t)(out - input->text);
	memmove(input->raw, in, in_left);
	input->raw_size = in_left;
	return true;
}

/* Reads more; false: error, or with input->eof set nothing more. */
static bool fill(struct input *input, struct error *error)
{
	if (!input->started && !start(input, error))
		return false;
	if (!make_room(input, 2 * CHUNK, error))
		return false;
	if (input->converter == (iconv_t)-1 && input->raw_size > 0) {
		memcpy(input->text + input->end, input->raw, input->raw_size);
		input->end += input->raw_size;
		input->raw_size = 0;
		return true;
	}
	bool converted = input->converter != (iconv_t)-1;
	char *to = converted ? input->raw + input->raw_size : input->text + input->end;
	ssize_t got = read_raw(input, to, converted ? sizeof input->raw - input->raw_size : CHUNK, error);
	if (got < 0)
		return false;
	input->eof = got == 0;
	if (!converted)
		input->end += (size_t)got;
	else
		input->raw_size += (size_t)got;
	return !converted || input->raw_size == 0 || convert(input, error);
}

bool input_head(struct input *input, const char **head, size_t *size, struct error *error)
{
	while (input->end - input->at < INPUT_HEAD && !input->eof)
		if (!fill(input, error))
			return false;
	*head = input->text + input->at;
	*size = input->end - input->at < INPUT_HEAD ? input->end - input->at : INPUT_HEAD;
	return true;
}

enum input_result input_line(struct input *input, char **line, size_t *length, struct error *error)
{
	size_t searched = 0;
	char *end;
	while ((end = memchr(input->text + input->at + searched, '\n', input->end - input->at - searched)) == NULL) {
		searched = input->end - input->at;
		if (input->eof)
			break;
		if (!fill(input, error))
			return INPUT_ERROR;
	}
	if (end == NULL && searched == 0)
		return INPUT_END;
	*line = input->text + input->at;
	*length = end != NULL ? (size_t)(end - *line) : searched;
	input->at += *length + (end != NULL);
	input->cut = end == NULL;
	input->line++;
	if (*length > 0 && (*line)[*length - 1] == '\r')
		--*length;
	(*line)[*length] = '\0';
	if (memchr(*line, '\0', *length) == NULL)
		return INPUT_LINE;
	(void)error_set(error, ERROR_INPUT, "%s:%llu: a zero byte: not a text file", input->path,
			(unsigned long long)input->line);
	return INPUT_ERROR;
}

enum input_result input_bytes(struct input *input, const char **bytes, size_t *size, struct error *error)
{
	while (input->at == input->end && !input->eof)
		if (!fill(input, error))
			return INPUT_ERROR;
	*bytes = input->text + input->at;
	*size = input->end - input->at;
	input->at = input->end;
	return *size > 0 ? INPUT_LINE : INPUT_END;
}
