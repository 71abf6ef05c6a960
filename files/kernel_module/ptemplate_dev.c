// SPDX-License-Identifier: GPL-2.0-only
/* The file operations. What they do is told in ptemplate.h, the locks in ptemplate_driver.h. */
#include <linux/fs.h>
#include <linux/module.h>
#include <linux/poll.h>
#include <linux/uaccess.h>
#include <linux/uio.h>

#include "ptemplate_driver.h"

static bool is_gone(struct ptemplate_file *ptfile)
{
	return READ_ONCE(ptfile->device->generation) != ptfile->generation;
}

static bool must_wait(struct ptemplate_file *ptfile)
{
	return READ_ONCE(ptfile->device->fault) == PTEMPLATE_FAULT_HANG && !is_gone(ptfile);
}

/* Takes io if the file's device is still there. */
static int lock_present(struct ptemplate_file *ptfile)
{
	if (mutex_lock_interruptible(&ptfile->device->io))
		return -ERESTARTSYS;
	if (!is_gone(ptfile))
		return 0;
	mutex_unlock(&ptfile->device->io);
	return -ENODEV;
}

/* Takes io for a transfer, when the device takes part in one: waits while it hangs. */
static int begin_transfer(struct ptemplate_file *ptfile, const struct file *file)
{
	struct ptemplate_device *ptdev = ptfile->device;
	int err;

	for (;;) {
		err = lock_present(ptfile);
		if (err)
			return err;
		switch (READ_ONCE(ptdev->fault)) {
		case PTEMPLATE_FAULT_ERROR:
			mutex_unlock(&ptdev->io);
			ptemplate_count(ptdev, PTEMPLATE_ERRORS, 1);
			return -EIO;
		case PTEMPLATE_FAULT_HANG:
			mutex_unlock(&ptdev->io);
			if (file->f_flags & O_NONBLOCK)
				return -EAGAIN;
			if (wait_event_interruptible(ptdev->wait, !must_wait(ptfile)))
				return -ERESTARTSYS;
			break;
		default:
			return 0;
		}
	}
}

static void end_transfer(struct ptemplate_file *ptfile)
{
	lockdep_assert_held(&ptfile->device->io);
	mutex_unlock(&ptfile->device->io);
}

static size_t copy_out(struct ptemplate_device *ptdev, size_t pos, size_t count,
		       struct iov_iter *to)
{
	struct ptemplate_content *content = &ptdev->content;
	bool corrupt = READ_ONCE(ptdev->fault) == PTEMPLATE_FAULT_CORRUPT;
	size_t done;

	lockdep_assert_held(&ptdev->io);
	/* Wrong for this reader alone: nobody else sees content until io is free again. */
	if (corrupt)
		ptemplate_flip(content, pos, count);
	done = copy_to_iter(content->data + pos, count, to);
	if (corrupt)
		ptemplate_flip(content, pos, count);
	return done;
}

static ssize_t ptemplate_read_iter(struct kiocb *iocb, struct iov_iter *to)
{
	struct ptemplate_file *ptfile = iocb->ki_filp->private_data;
	struct ptemplate_device *ptdev = ptfile->device;
	size_t count, done = 0;
	int err;

	err = begin_transfer(ptfile, iocb->ki_filp);
	if (err)
		return err;
	count = ptemplate_readable(&ptdev->content, iocb->ki_pos, iov_iter_count(to));
	if (count)
		done = copy_out(ptdev, iocb->ki_pos, count, to);
	end_transfer(ptfile);

	if (count && !done)
		return -EFAULT;
	iocb->ki_pos += done;
	ptemplate_count(ptdev, PTEMPLATE_READS, 1);
	ptemplate_count(ptdev, PTEMPLATE_BYTES_READ, done);
	return done;
}

static ssize_t ptemplate_write_iter(struct kiocb *iocb, struct iov_iter *from)
{
	struct ptemplate_file *ptfile = iocb->ki_filp->private_data;
	struct ptemplate_device *ptdev = ptfile->device;
	struct ptemplate_content *content = &ptdev->content;
	size_t count, done = 0;
	int err;

	err = begin_transfer(ptfile, iocb->ki_filp);
	if (err)
		return err;
	if (iocb->ki_flags & IOCB_APPEND)
		iocb->ki_pos = content->size;
	count = ptemplate_writable(content, iocb->ki_pos, iov_iter_count(from));
	if (count) {
		done = copy_from_iter(content->data + iocb->ki_pos, count, from);
		ptemplate_written(content, iocb->ki_pos, done);
	}
	end_transfer(ptfile);

	if (iov_iter_count(from) && !count)
		return -ENOSPC;
	if (count && !done)
		return -EFAULT;
	iocb->ki_pos += done;
	ptemplate_count(ptdev, PTEMPLATE_WRITES, 1);
	ptemplate_count(ptdev, PTEMPLATE_BYTES_WRITTEN, done);
	return done;
}

static loff_t ptemplate_llseek(struct file *file, loff_t offset, int whence)
{
	struct ptemplate_file *ptfile = file->private_data;
	struct ptemplate_content *content = &ptfile->device->content;
	size_t size;
	int err;

	err = lock_present(ptfile);
	if (err)
		return err;
	size = content->size;
	mutex_unlock(&ptfile->device->io);
	return generic_file_llseek_size(file, offset, whence, content->capacity, size);
}

static __poll_t ptemplate_poll(struct file *file, poll_table *table)
{
	struct ptemplate_file *ptfile = file->private_data;
	const __poll_t ready = EPOLLIN | EPOLLRDNORM | EPOLLOUT | EPOLLWRNORM;

	poll_wait(file, &ptfile->device->wait, table);
	if (is_gone(ptfile))
		return EPOLLERR | EPOLLHUP;
	switch (READ_ONCE(ptfile->device->fault)) {
	case PTEMPLATE_FAULT_ERROR:
		return EPOLLERR | ready;
	case PTEMPLATE_FAULT_HANG:
		return 0;
	default:
		return ready;
	}
}

static long query(struct ptemplate_file *ptfile, struct ptemplate_info __user *to)
{
	struct ptemplate_device *ptdev = ptfile->device;
	struct ptemplate_info info = {
		.version = PTEMPLATE_API_VERSION,
		.devices = ptemplate.count,
		.index = ptdev->index,
		.health = ptemplate_health(READ_ONCE(ptdev->fault)),
		.capacity = ptdev->content.capacity,
	};
	int err;

	err = lock_present(ptfile);
	if (err)
		return err;
	info.size = ptdev->content.size;
	mutex_unlock(&ptdev->io);
	return copy_to_user(to, &info, sizeof(info)) ? -EFAULT : 0;
}

static long reset(struct ptemplate_file *ptfile, const struct file *file)
{
	int err;

	if (!(file->f_mode & FMODE_WRITE))
		return -EBADF;
	err = begin_transfer(ptfile, file);
	if (err)
		return err;
	ptemplate_fill(&ptfile->device->content, ptemplate.text);
	end_transfer(ptfile);
	return 0;
}

/*
 * For whoever hands the device on to the next user. Waits for nobody: a removal waits for it, and
 * a transfer lasts as long as its process likes.
 */
int ptemplate_reset_unused(struct ptemplate_device *ptdev)
{
	int err = 0;

	if (!mutex_trylock(&ptdev->io))
		return -EBUSY;
	if (ptemplate_is_open(ptdev))
		err = -EBUSY;
	else if (READ_ONCE(ptdev->fault) == PTEMPLATE_FAULT_ERROR)
		err = -EIO;
	else if (READ_ONCE(ptdev->fault) == PTEMPLATE_FAULT_HANG)
		err = -EAGAIN;
	else
		ptemplate_fill(&ptdev->content, ptemplate.text);
	mutex_unlock(&ptdev->io);
	if (err == -EIO)
		ptemplate_count(ptdev, PTEMPLATE_ERRORS, 1);
	return err;
}

static long ptemplate_ioctl(struct file *file, unsigned int command, unsigned long argument)
{
	struct ptemplate_file *ptfile = file->private_data;

	if (is_gone(ptfile))
		return -ENODEV;
	switch (command) {
	case PTEMPLATE_IOC_QUERY:
		return query(ptfile, (struct ptemplate_info __user *)argument);
	case PTEMPLATE_IOC_RESET:
		return reset(ptfile, file);
	default:
		return -ENOTTY;
	}
}

static int empty(struct ptemplate_file *ptfile)
{
	int err;

	err = lock_present(ptfile);
	if (err)
		return err;
	ptfile->device->content.size = 0;
	mutex_unlock(&ptfile->device->io);
	return 0;
}

static int ptemplate_open(struct inode *inode, struct file *file)
{
	struct ptemplate_file *ptfile;
	int err;

	ptfile = ptemplate_file_new(&ptemplate.devices[iminor(inode)]);
	if (IS_ERR(ptfile))
		return PTR_ERR(ptfile);
	/* First, so that nobody resets the device between its emptying and the end of the open. */
	ptemplate_file_add(ptfile);
	if ((file->f_mode & FMODE_WRITE) && (file->f_flags & O_TRUNC)) {
		err = empty(ptfile);
		if (err) {
			ptemplate_file_free(ptfile);
			return err;
		}
	}
	/* As for a regular file: threads that share it do not use one position twice. */
	file->f_mode |= FMODE_ATOMIC_POS;
	file->private_data = ptfile;
	ptemplate_count(ptfile->device, PTEMPLATE_OPENS, 1);
	return 0;
}

static int ptemplate_release(struct inode *inode, struct file *file)
{
	ptemplate_file_free(file->private_data);
	return 0;
}

const struct file_operations ptemplate_fops = {
	.owner = THIS_MODULE,
	.open = ptemplate_open,
	.release = ptemplate_release,
	.read_iter = ptemplate_read_iter,
	.write_iter = ptemplate_write_iter,
	.llseek = ptemplate_llseek,
	.poll = ptemplate_poll,
	.unlocked_ioctl = ptemplate_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
};
