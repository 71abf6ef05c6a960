/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the driver's files share. ptemplate.h is for programs, ptemplate_core.h is free of the
 * kernel.
 *
 * Lifetime: struct ptemplate_device, its buffer and its number exist from init to exit, also while
 * the device is removed. An open file holds the module (file_operations.owner), so none can outlive
 * them. What comes and goes with a hot removal is the node alone; a file that was opened before
 * knows by its generation that its device is not there any more.
 *
 * The lock rule:
 *
 *	plug	presence and health. Held while the node is made or removed, which waits for whoever
 *		is in one of its sysfs attributes, so these must not take plug, nor wait for io.
 *	io	content. Held while user memory is copied, so that each read sees each write whole
 *		or not at all. Such a copy may wait for a page as long as a process likes, so
 *		whoever waits for io can be interrupted by a signal.
 *	files_lock
 *		the list of open files. A leaf, held for moments: close and the list of holders must
 *		go on whatever the device does.
 *
 * Order: plug, then io, then files_lock. Members marked "read without" may be read without the
 * lock, by READ_ONCE; they are written with it, by WRITE_ONCE. Everything else is constant after
 * init.
 */
#ifndef PTEMPLATE_DRIVER_H
#define PTEMPLATE_DRIVER_H

#include <linux/atomic.h>
#include <linux/cdev.h>
#include <linux/device.h>
#include <linux/list.h>
#include <linux/mutex.h>
#include <linux/sched.h>
#include <linux/wait.h>

#include "ptemplate.h"
#include "ptemplate_core.h"
#include "ptemplate_probed.h"

#define PTEMPLATE_NAME "ptemplate"

enum ptemplate_counter {
	PTEMPLATE_OPENS,
	PTEMPLATE_READS,
	PTEMPLATE_WRITES,
	PTEMPLATE_BYTES_READ,
	PTEMPLATE_BYTES_WRITTEN,
	PTEMPLATE_ERRORS,
	PTEMPLATE_COUNTERS
};

struct ptemplate_device {
	unsigned int index; /* also the minor number */

	struct mutex plug;	 /* protects node, generation and fault */
	struct device *node;	 /* NULL while removed */
	unsigned int generation; /* odd while removed; read without */
	unsigned int fault;	 /* enum ptemplate_fault; read without */

	struct mutex io;		  /* protects content */
	struct ptemplate_content content; /* its place and capacity are constant */

	struct mutex files_lock; /* protects files */
	struct list_head files;	 /* of struct ptemplate_file */

	wait_queue_head_t wait; /* woken when generation or fault has changed */
	atomic64_t counters[PTEMPLATE_COUNTERS];
};

/* An open file. All but entry is constant. */
struct ptemplate_file {
	struct ptemplate_device *device;
	unsigned int generation;
	struct list_head entry; /* protected by device->files_lock */
	/* Who opened it. */
	pid_t tgid;
	char comm[TASK_COMM_LEN];
	u64 cgroup;
	time64_t since;
};

struct ptemplate_driver {
	struct ptemplate_device *devices;
	unsigned int count;
	dev_t first_number;
	struct class *class;
	const char *text; /* what a device holds when it appears */
};

extern struct ptemplate_driver ptemplate;

static inline void ptemplate_count(struct ptemplate_device *ptdev, enum ptemplate_counter counter,
				   size_t by)
{
	atomic64_add(by, &ptdev->counters[counter]);
}

/* ptemplate_dev.c */
extern const struct file_operations ptemplate_fops;
int ptemplate_reset_unused(struct ptemplate_device *ptdev);

/* ptemplate_plug.c: the caller holds plug. */
int ptemplate_appear(struct ptemplate_device *ptdev);
void ptemplate_disappear(struct ptemplate_device *ptdev);
int ptemplate_set_fault(struct ptemplate_device *ptdev, enum ptemplate_fault fault);

/* ptemplate_holders.c */
struct ptemplate_file *ptemplate_file_new(struct ptemplate_device *ptdev);
void ptemplate_file_add(struct ptemplate_file *ptfile);
void ptemplate_file_free(struct ptemplate_file *ptfile);
bool ptemplate_is_open(struct ptemplate_device *ptdev);
void ptemplate_holders_init(struct dentry *folder);

/* ptemplate_faults.c */
void ptemplate_faults_init(struct dentry *folder);

/* ptemplate_stats.c */
extern const struct attribute_group *ptemplate_groups[];

#endif
