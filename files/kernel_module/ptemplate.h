/* SPDX-License-Identifier: GPL-2.0-only WITH Linux-syscall-note */
/*
 * What a program needs to use /dev/ptemplate-N. It may be copied into any program.
 *
 * A device behaves like a file of bounded size:
 *
 *	open	O_TRUNC together with writing empties it. ENODEV: it was removed.
 *	read	pread, readv, ...: up to the end of the data; 0 there and after it.
 *	write	pwrite, writev, ...: up to the end of the device. A write across it is short; one at
 *		or after it is ENOSPC. Between the old end of the data and the write come zeros.
 *		With O_APPEND each write goes to the end of the data.
 *	lseek	SEEK_SET, SEEK_CUR, SEEK_END (the end of the data), 0 to the capacity; else EINVAL.
 *	poll	POLLIN and POLLOUT: a read or write would not wait. POLLERR: it would fail with EIO.
 *		POLLERR and POLLHUP: the device was removed. None: the device hangs.
 *	ioctl	PTEMPLATE_IOC_QUERY and PTEMPLATE_IOC_RESET, below. All others are ENOTTY.
 *
 * Errors of read, write and PTEMPLATE_IOC_RESET:
 *
 *	EAGAIN	the device hangs and the file is O_NONBLOCK. Without O_NONBLOCK the call waits until
 *		the device goes on or a signal comes.
 *	EFAULT	a bad address. What was copied before it counts.
 *	EINTR	a signal came while the call waited, and the process asked not to start it again.
 *	EIO	the device failed.
 *	ENODEV	the device was removed since the file was opened, perhaps it is back since. Only
 *		another open helps. This is the answer of lseek and of all ioctls too.
 *
 * Each read sees each write whole or not at all, also between processes. Threads that share an open
 * file share its position without losing a write.
 *
 * The rest is in sysfs, below /sys/class/ptemplate/ptemplate-N: health ("ok", "failed" or "hung",
 * which can be polled with POLLPRI), statistics/, and reset: root writes 1 while no program has the
 * device open, and it holds again what it held when it appeared. Each change of health is a uevent
 * "change" with HEALTH=, also HEALTH=removed before the uevent "remove".
 */
#ifndef PTEMPLATE_H
#define PTEMPLATE_H

#include <linux/ioctl.h>
#include <linux/types.h>

/* Grows with each addition. What there was before stays as it is. */
#define PTEMPLATE_API_VERSION 1

#define PTEMPLATE_HEALTH_OK	0
#define PTEMPLATE_HEALTH_FAILED 1 /* reads and writes fail with EIO */
#define PTEMPLATE_HEALTH_HUNG	2 /* reads and writes wait */

struct ptemplate_info {
	__u32 version;	   /* PTEMPLATE_API_VERSION of the driver */
	__u32 devices;	   /* how many devices the driver has; the parameter max_dev */
	__u32 index;	   /* N of /dev/ptemplate-N */
	__u32 health;	   /* PTEMPLATE_HEALTH_... */
	__u64 capacity;	   /* bytes that the device can hold; the parameter buffersize */
	__u64 size;	   /* bytes that it holds */
	__u32 reserved[8]; /* zero */
};

#define PTEMPLATE_IOC_MAGIC 0xe7

/* Fills struct ptemplate_info. Any open file will do, and a hung device answers. */
#define PTEMPLATE_IOC_QUERY _IOR(PTEMPLATE_IOC_MAGIC, 0, struct ptemplate_info)

/*
 * The device holds again what it held when it appeared (the parameter default_msg). The file must
 * be open for writing, else EBADF. Positions, counters and health stay.
 */
#define PTEMPLATE_IOC_RESET _IO(PTEMPLATE_IOC_MAGIC, 1)

#endif
