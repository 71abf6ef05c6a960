// SPDX-License-Identifier: GPL-2.0-only
/*
 * Threads that do to devices whatever can be done, all at once, while faults come and go.
 * Usage: stress THREADS MILLISECONDS SIZE FAULT-FILE|- DEVICE...
 *
 * Each device must hold SIZE equal bytes when it appears. All writes are whole and of equal bytes,
 * so every read must see nothing, or SIZE equal bytes. The first thread writes to FAULT-FILE, which
 * is of the first DEVICE. Prints how often what was done; exit status 1 if something else was seen.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "ptemplate.h"

enum { THREADS = 64, BUFFER = 4096 };

struct worker {
	pthread_t thread;
	unsigned int seed;
};

static char **devices;
static int device_count;
static size_t size;
static const char *fault_file;
static atomic_bool stop;
static atomic_long reads, writes, opens, others, refused, faults, wrong;

/* After ten complaints more say nothing new. */
static void complain(void)
{
	if (++wrong >= 10)
		exit(1);
}

/* What a device that fails, or is not there, may answer. */
static void refuse(const char *what)
{
	switch (errno) {
	case EIO:
	case ENODEV:
	case ENOENT:
	case ENXIO:
	case EAGAIN:
		refused++;
		return;
	}
	fprintf(stderr, "stress: %s: %s\n", what, strerror(errno));
	complain();
}

static void check_read(int file)
{
	char data[BUFFER];
	ssize_t count = pread(file, data, sizeof(data), 0);

	if (count < 0) {
		refuse("read");
		return;
	}
	reads++;
	if (count && (count != (ssize_t)size || memcmp(data, data + 1, size - 1))) {
		fprintf(stderr, "stress: expected 0 or %zu equal bytes, seen: %zd, %d to %d\n",
			size, count, data[0], data[count - 1]);
		complain();
	}
}

static void do_write(int file, int value)
{
	char data[BUFFER];

	memset(data, 'a' + value % 26, size);
	if (pwrite(file, data, size, 0) == (ssize_t)size)
		writes++;
	else
		refuse("write");
}

static void do_other(int file, int what)
{
	struct pollfd poller = {.fd = file, .events = POLLIN | POLLOUT};
	struct ptemplate_info info;
	long result;

	switch (what % 4) {
	case 0:
		result = ioctl(file, PTEMPLATE_IOC_RESET);
		break;
	case 1:
		result = ioctl(file, PTEMPLATE_IOC_QUERY, &info);
		if (!result && (info.capacity != size || (info.size && info.size != size)))
			complain();
		break;
	case 2:
		result = lseek(file, 0, SEEK_END);
		break;
	default:
		result = poll(&poller, 1, 1);
	}
	if (result < 0)
		refuse("ioctl, lseek or poll");
	others++;
}

static void *use(void *argument)
{
	struct worker *worker = argument;

	while (!stop) {
		const char *path = devices[rand_r(&worker->seed) % device_count];
		int flags = O_RDWR | O_NONBLOCK | (rand_r(&worker->seed) % 8 ? 0 : O_TRUNC);
		int file = open(path, flags), turn, choice;

		if (file < 0) {
			refuse("open");
			continue;
		}
		opens++;
		for (turn = 0; turn < 20; turn++) {
			choice = rand_r(&worker->seed);
			if (choice % 8 < 4)
				check_read(file);
			else if (choice % 8 < 7)
				do_write(file, choice / 8);
			else
				do_other(file, choice / 8);
		}
		close(file);
	}
	return NULL;
}

static void set_fault(const char *name)
{
	int file = open(fault_file, O_WRONLY);

	if (file < 0 || write(file, name, strlen(name)) < 0) {
		perror(fault_file);
		complain();
	}
	close(file);
	faults++;
}

static void *break_it(void *argument)
{
	static const char *const names[] = {"removed", "none", "error", "none", "hang", "none"};
	struct worker *worker = argument;

	while (!stop) {
		set_fault(names[rand_r(&worker->seed) % 6]);
		usleep(rand_r(&worker->seed) % 3000);
	}
	set_fault("none");
	return NULL;
}

int main(int argc, char **argv)
{
	struct worker workers[THREADS];
	int threads = argc > 1 ? atoi(argv[1]) : 0;

	if (argc < 6 || threads < 2 || threads > THREADS || strtoul(argv[3], NULL, 10) > BUFFER) {
		fprintf(stderr, "usage: stress THREADS MILLISECONDS SIZE FAULT-FILE|- DEVICE...\n");
		return 2;
	}
	size = strtoul(argv[3], NULL, 10);
	fault_file = argv[4];
	devices = argv + 5;
	device_count = argc - 5;
	for (int i = 0; i < threads; i++) {
		int breaks = i == 0 && strcmp(fault_file, "-");

		workers[i].seed = 20260101 + i;
		if (pthread_create(&workers[i].thread, NULL, breaks ? break_it : use, &workers[i]))
			return 1;
	}
	usleep(strtoul(argv[2], NULL, 10) * 1000);
	stop = true;
	for (int i = 0; i < threads; i++)
		pthread_join(workers[i].thread, NULL);
	printf("%d threads: %ld opens, %ld reads, %ld writes, %ld others, %ld refused, %ld faults, "
	       "%ld wrong\n",
	       threads, opens, reads, writes, others, refused, faults, wrong);
	return wrong || !reads || !writes;
}
