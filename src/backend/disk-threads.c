/* SPDX-License-Identifier: MIT */
/*
 * Work done by a few threads of one image, where the kernel has no io_uring for us.
 *
 * Threads are made as work piles up. They know only the two lists, under the mutex; finished work is handed over by
 * whoever holds the device lock, told by the eventfd.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "backend/disk-impl.h"

#define THREADS_MAX 4u

struct work_list {
	struct disk_work *first, **end;
};

struct threads {
	struct disk_aio base;
	pthread_mutex_t mutex; /* guards all below */
	pthread_cond_t wanted, finished;
	struct work_list waiting, done;
	pthread_t thread[THREADS_MAX];
	unsigned count, idle;
	bool ends;
};

static void list_init(struct work_list *list)
{
	list->first = NULL;
	list->end = &list->first;
}

static void list_append(struct work_list *list, struct disk_work *work)
{
	work->next = NULL;
	*list->end = work;
	list->end = &work->next;
}

static struct disk_work *list_take(struct work_list *list)
{
	struct disk_work *work = list->first;
	if (work == NULL)
		return NULL;
	list->first = work->next;
	if (list->first == NULL)
		list->end = &list->first;
	return work;
}

/* The mutex is held, but while the host works. */
static void work_one(struct threads *threads, struct disk_work *work)
{
	uint64_t one = 1;
	(void)pthread_mutex_unlock(&threads->mutex);
	work->result = disk_work_do(work);
	(void)pthread_mutex_lock(&threads->mutex);
	list_append(&threads->done, work);
	(void)pthread_cond_signal(&threads->finished);
	ssize_t put = write(threads->base.event_fd, &one, sizeof one);
	(void)put; /* full means that it is readable */
}

static void *thread_main(void *opaque)
{
	struct threads *threads = opaque;
	(void)pthread_mutex_lock(&threads->mutex);
	while (!threads->ends) {
		struct disk_work *work = list_take(&threads->waiting);
		if (work != NULL) {
			work_one(threads, work);
			continue;
		}
		threads->idle++;
		(void)pthread_cond_wait(&threads->wanted, &threads->mutex);
		threads->idle--;
	}
	(void)pthread_mutex_unlock(&threads->mutex);
	return NULL;
}

/* Signals are for the event loop's thread. */
static void add_thread(struct threads *threads)
{
	sigset_t all, before;
	(void)sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &before);
	if (pthread_create(&threads->thread[threads->count], NULL, thread_main, threads) == 0)
		threads->count++;
	(void)pthread_sigmask(SIG_SETMASK, &before, NULL);
}

static void hand_over(struct threads *threads)
{
	for (;;) {
		(void)pthread_mutex_lock(&threads->mutex);
		struct disk_work *work = list_take(&threads->done);
		(void)pthread_mutex_unlock(&threads->mutex);
		if (work == NULL)
			return;
		work->finished(work);
	}
}

static void threads_submit(struct disk_aio *aio, struct disk_work *work)
{
	struct threads *threads = (struct threads *)aio;
	(void)pthread_mutex_lock(&threads->mutex);
	list_append(&threads->waiting, work);
	if (threads->idle == 0 && threads->count < THREADS_MAX)
		add_thread(threads);
	bool nobody = threads->count == 0;
	if (nobody)
		(void)list_take(&threads->waiting);
	(void)pthread_cond_signal(&threads->wanted);
	(void)pthread_mutex_unlock(&threads->mutex);
	if (!nobody)
		return;
	work->result = disk_work_do(work); /* the host has no thread for us: slower, but right */
	work->finished(work);
}

static void threads_wait(struct disk_aio *aio)
{
	struct threads *threads = (struct threads *)aio;
	(void)pthread_mutex_lock(&threads->mutex);
	while (threads->done.first == NULL)
		(void)pthread_cond_wait(&threads->finished, &threads->mutex);
	(void)pthread_mutex_unlock(&threads->mutex);
	hand_over(threads);
}

static void threads_ready(void *opaque, int fd, uint32_t events)
{
	uint64_t count;
	ssize_t got = read(fd, &count, sizeof count);
	(void)got; /* wait() may have been faster */
	(void)events;
	hand_over(opaque);
}

static void threads_close(struct disk_aio *aio)
{
	struct threads *threads = (struct threads *)aio;
	(void)pthread_mutex_lock(&threads->mutex);
	threads->ends = true;
	(void)pthread_cond_broadcast(&threads->wanted);
	(void)pthread_mutex_unlock(&threads->mutex);
	for (unsigned i = 0; i < threads->count; i++)
		(void)pthread_join(threads->thread[i], NULL);
	disk_aio_unwatch(aio);
	(void)pthread_cond_destroy(&threads->finished);
	(void)pthread_cond_destroy(&threads->wanted);
	(void)pthread_mutex_destroy(&threads->mutex);
	free(threads);
}

static const struct disk_aio_ops threads_ops = {.submit = threads_submit, .wait = threads_wait, .close = threads_close};

struct disk_aio *disk_threads_open(const struct disk_host *host, struct error *error)
{
	struct threads *threads = calloc(1, sizeof *threads);
	if (threads == NULL) {
		(void)error_set(error, ERROR_HOST, "out of memory for a disk's threads");
		return NULL;
	}
	threads->base = (struct disk_aio){.ops = &threads_ops, .host = *host};
	(void)pthread_mutex_init(&threads->mutex, NULL);
	(void)pthread_cond_init(&threads->wanted, NULL);
	(void)pthread_cond_init(&threads->finished, NULL);
	list_init(&threads->waiting);
	list_init(&threads->done);
	threads->base.event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (threads->base.event_fd < 0)
		(void)error_set_errno(error, "cannot create an eventfd for a disk");
	else if (disk_aio_watch(&threads->base, threads_ready, error))
		return &threads->base;
	threads_close(&threads->base);
	return NULL;
}
