/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The part of the driver that knows nothing of the kernel: limits, and the arithmetic of a file of
 * bounded size. Compiled twice: into the module, and into a user-space test (tests/test_core.c).
 *
 * Nothing here locks. The caller holds whatever protects the content.
 */
#ifndef PTEMPLATE_CORE_H
#define PTEMPLATE_CORE_H

#ifdef __KERNEL__
#include <linux/string.h>
#include <linux/types.h>
#else
#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#endif

#define PTEMPLATE_DEVICES_MIN	     1
#define PTEMPLATE_DEVICES_DEFAULT    5
#define PTEMPLATE_DEVICES_MAX	     1024
#define PTEMPLATE_BUFFERSIZE_MIN     1
#define PTEMPLATE_BUFFERSIZE_DEFAULT 100
#define PTEMPLATE_BUFFERSIZE_MAX     (1024 * 1024)
/* root and root's group: on OpenShift a pod has an arbitrary user but group 0. */
#define PTEMPLATE_MODE_DEFAULT 0660

/* What goes wrong with a device, and what is seen of it. */
enum ptemplate_fault {
	PTEMPLATE_FAULT_NONE,
	PTEMPLATE_FAULT_ERROR,	 /* reads and writes fail with EIO */
	PTEMPLATE_FAULT_HANG,	 /* reads and writes wait */
	PTEMPLATE_FAULT_CORRUPT, /* each read has one bit wrong; the driver does not notice */
	PTEMPLATE_FAULT_REMOVED, /* not there */
	PTEMPLATE_FAULTS
};

/* What a device holds: @size bytes of data in a buffer of @capacity. Always @size <= @capacity. */
struct ptemplate_content {
	unsigned char *data;
	size_t capacity;
	size_t size;
};

/* Moves *@value into @min … @max; true if it had to. */
bool ptemplate_clamp(int *value, int min, int max);

/* Bits other than read and write, or none, give the default; true if so. */
bool ptemplate_check_mode(unsigned int *mode);

/* How many of @count bytes can be read at @pos: 0 at or after the end of the data. */
size_t ptemplate_readable(const struct ptemplate_content *content, unsigned long long pos,
			  size_t count);

/* How many of @count bytes can be written at @pos: 0 at or after the end of the buffer. */
size_t ptemplate_writable(const struct ptemplate_content *content, unsigned long long pos,
			  size_t count);

/*
 * Records that @count bytes, at most what ptemplate_writable() said, were put at @pos.
 * A hole between the old end of the data and @pos reads as zeros, whatever was there before.
 */
void ptemplate_written(struct ptemplate_content *content, size_t pos, size_t count);

/* Flips one bit of the @count bytes at @pos; doing it twice undoes it. */
void ptemplate_flip(struct ptemplate_content *content, size_t pos, size_t count);

/* The name of a fault, and the fault of a name, which may end in white space; negative if none. */
const char *ptemplate_fault_name(enum ptemplate_fault fault);
int ptemplate_parse_fault(const char *text);

/* PTEMPLATE_HEALTH_... of a device with that fault, as far as the driver can tell, and its name. */
unsigned int ptemplate_health(enum ptemplate_fault fault);
const char *ptemplate_health_name(enum ptemplate_fault fault);

/* Replaces the content by @text, as much as fits; true if it had to be cut. */
bool ptemplate_fill(struct ptemplate_content *content, const char *text);

#endif
