// SPDX-License-Identifier: GPL-2.0-only
/*
 * How many bytes a second go through files of one MiB, by threads with one file each.
 * Usage: bench read|write BLOCK MILLISECONDS FILE...	a thread for each FILE, which may be named
 * twice Prints the bytes a second of all threads together.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { SIZE = 1024 * 1024, THREADS = 16 };

struct worker {
	pthread_t thread;
	const char *path;
	size_t done;
};

static bool writes;
static size_t block;
static pthread_barrier_t start;
static atomic_bool stop;

static void die(const char *what, const char *path)
{
	fprintf(stderr, "bench: %s %s: %s\n", what, path, strerror(errno));
	exit(1);
}

static void *work(void *argument)
{
	struct worker *worker = argument;
	char *buffer = malloc(block);
	int file = open(worker->path, O_RDWR);
	off_t pos = 0;
	ssize_t count;

	if (file < 0)
		die("open", worker->path);
	memset(buffer, 'x', block);
	/* All of it is there before the clock runs, also in tmpfs. */
	for (off_t at = 0; at < SIZE; at += block)
		if (pwrite(file, buffer, block, at) != (ssize_t)block)
			die("first write to", worker->path);
	pthread_barrier_wait(&start);
	while (!stop) {
		count = writes ? pwrite(file, buffer, block, pos) : pread(file, buffer, block, pos);
		if (count != (ssize_t)block)
			die(writes ? "write to" : "read from", worker->path);
		worker->done += count;
		pos = (pos + block) % SIZE;
	}
	close(file);
	free(buffer);
	return NULL;
}

static double now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec + time.tv_nsec / 1e9;
}

int main(int argc, char **argv)
{
	struct worker workers[THREADS] = {0};
	int threads = argc - 4;
	double begin, total = 0;

	if (threads < 1 || threads > THREADS) {
		fprintf(stderr, "usage: bench read|write BLOCK MILLISECONDS FILE...\n");
		return 2;
	}
	writes = !strcmp(argv[1], "write");
	block = strtoul(argv[2], NULL, 10);
	if (!block || SIZE % block) {
		fprintf(stderr, "bench: expected a BLOCK that divides %d, seen: %s\n", SIZE,
			argv[2]);
		return 2;
	}
	pthread_barrier_init(&start, NULL, threads + 1);
	for (int i = 0; i < threads; i++) {
		workers[i].path = argv[4 + i];
		if (pthread_create(&workers[i].thread, NULL, work, &workers[i]))
			die("thread for", workers[i].path);
	}
	pthread_barrier_wait(&start);
	begin = now();
	usleep(strtoul(argv[3], NULL, 10) * 1000);
	stop = true;
	for (int i = 0; i < threads; i++) {
		pthread_join(workers[i].thread, NULL);
		total += workers[i].done;
	}
	printf("%.0f\n", total / (now() - begin));
	return 0;
}
