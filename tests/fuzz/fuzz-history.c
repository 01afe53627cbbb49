/* SPDX-License-Identifier: MIT */
/*
 * A history of nfold record with bytes changed, as an import reads it: four input bytes each, where and what. What is
 * delivered goes through the collector; what is refused has one line of reason.
 */
#include <assert.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "plan/parse.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char schema[] =
    "PRAGMA page_size=512; PRAGMA application_id=1852204136; PRAGMA user_version=1;"
    "CREATE TABLE reading(id INTEGER PRIMARY KEY,end_ns,interval_ns);"
    "CREATE TABLE guest(id INTEGER PRIMARY KEY,name,started_ns,vcpus,memory_bytes);"
    "CREATE TABLE guest_sample(reading,guest,interval_ns,system_ns,resident_bytes,PRIMARY KEY(reading,guest))WITHOUT "
    "ROWID;"
    "CREATE TABLE vcpu_sample(reading,guest,vcpu,guest_ns,exit_ns,translate_ns,device_ns,ready_ns,preempted_ns,"
    "PRIMARY KEY(reading,guest,vcpu))WITHOUT ROWID;"
    "CREATE TABLE disk_sample(reading,guest,disk,reads,read_bytes,writes,write_bytes,PRIMARY KEY(reading,guest,disk))"
    "WITHOUT ROWID;"
    "CREATE TABLE network_sample(reading,guest,network,received_bytes,sent_bytes,PRIMARY KEY(reading,guest,network))"
    "WITHOUT ROWID;"
    "INSERT INTO guest VALUES(1,'a',0,1,1000000),(2,'b',0,2,3000000);"
    "WITH RECURSIVE x(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM x WHERE i<20) INSERT INTO reading SELECT i,"
    "1772445600000000000+i*10000000000,10000000000 FROM x;"
    "INSERT INTO guest_sample SELECT r.id,g.id,r.interval_ns,5,900000 FROM reading r,guest g;"
    "INSERT INTO vcpu_sample SELECT r.id,g.id,0,1,2,3,4,5,6 FROM reading r,guest g;"
    "INSERT INTO disk_sample SELECT r.id,g.id,0,1,2,3,4 FROM reading r,guest g;"
    "INSERT INTO network_sample SELECT r.id,g.id,0,1,2 FROM reading r,guest g;";

static unsigned char *history_make(size_t *size)
{
	sqlite3 *database;
	sqlite3_int64 bytes;
	assert(sqlite3_open(":memory:", &database) == SQLITE_OK);
	assert(sqlite3_exec(database, schema, NULL, NULL, NULL) == SQLITE_OK);
	unsigned char *made = sqlite3_serialize(database, "main", &bytes, 0);
	assert(made != NULL && bytes > 0);
	(void)sqlite3_close(database);
	*size = (size_t)bytes;
	return made;
}

static void remark_ignore(void *owner, const char *path, const char *text)
{
	(void)owner;
	(void)path;
	(void)text;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static unsigned char *whole;
	static size_t length;
	static char path[] = "/tmp/nfold-fuzz-history-XXXXXX";
	struct error error = {0};
	if (whole == NULL)
		whole = history_make(&length);
	unsigned char *bytes = malloc(length);
	assert(bytes != NULL);
	memcpy(bytes, whole, length);
	for (size_t i = 0; i + 4 <= size && i < 64; i += 4)
		bytes[(data[i] | (size_t)data[i + 1] << 8 | (size_t)(data[i + 2] & 1) << 16) % length] = data[i + 3];
	memcpy(path + sizeof path - 7, "XXXXXX", 6);
	int fd = mkstemp(path);
	assert(fd >= 0 && write(fd, bytes, length) == (ssize_t)length);
	(void)close(fd);
	struct input *input = input_open(path, -1, &error);
	struct collector *collector = collector_create(path, &error);
	assert(input != NULL && collector != NULL);
	struct parse parse = {.collector = collector, .input = input, .stem = "x", .remark = remark_ignore};
	if (!format_history.read(&parse, &error))
		assert(error.text[0] != '\0' && strchr(error.text, '\n') == NULL);
	collector_destroy(collector);
	input_close(input);
	(void)unlink(path);
	free(bytes);
	return 0;
}
