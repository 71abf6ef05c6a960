// SPDX-License-Identifier: GPL-2.0-only
/*
 * ptemplate: virtual accelerators, each a character device that behaves like a file of bounded size
 * in memory.
 *
 *	# insmod ptemplate_char_dev.ko max_dev=2 default_msg=hello
 *	# cat /dev/ptemplate-0
 *	hello
 *	# echo world > /dev/ptemplate-0		(replaces the content, as with a file)
 *
 * What read, write and lseek do is told in README.md; the arithmetic is in ptemplate_core.c.
 *
 * Lifetime: devices, their buffers and /dev nodes exist from init to exit. An open file holds the
 * module (file_operations.owner), so no file can outlive them.
 *
 * Locking: ptemplate_device.lock protects what .content holds. It is held while user memory is
 * copied, so that each read sees each write whole or not at all; since such a copy may wait for a
 * page, waiting for the lock can be interrupted by a signal. Everything else is constant once init
 * has returned.
 *
 * Why not miscdevice: Linux 6.1 has 128 dynamic minors (DYNAMIC_MINORS in drivers/char/misc.c) for
 * all drivers of the machine together, and max_dev goes to 1024. A region and a class of our own
 * have room on every kernel.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/cdev.h>
#include <linux/device.h>
#include <linux/fs.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/slab.h>
#include <linux/uio.h>

#include "ptemplate_core.h"
#include "ptemplate_probed.h"

#define PTEMPLATE_NAME "ptemplate"

static int max_dev = PTEMPLATE_DEVICES_DEFAULT;
module_param(max_dev, int, 0444);
MODULE_PARM_DESC(max_dev, "Number of devices, 1 to 1024 (default 5)");

static int buffersize = PTEMPLATE_BUFFERSIZE_DEFAULT;
module_param(buffersize, int, 0444);
MODULE_PARM_DESC(buffersize, "Size of each device in bytes, 1 to 1048576 (default 100)");

static char *default_msg = "uninitialised";
module_param(default_msg, charp, 0444);
MODULE_PARM_DESC(default_msg,
		 "What each device holds at first, cut at buffersize (default \"uninitialised\")");

static unsigned int mode = PTEMPLATE_MODE_DEFAULT;

static int mode_get(char *text, const struct kernel_param *param)
{
	return scnprintf(text, PAGE_SIZE, "0%o\n", mode);
}

static const struct kernel_param_ops mode_ops = {
	.set = param_set_uint,
	.get = mode_get,
};
module_param_cb(mode, &mode_ops, &mode, 0444);
__MODULE_PARM_TYPE(mode, "uint");
MODULE_PARM_DESC(mode, "Permissions of the device nodes, read and write bits only (default 0660)");

struct ptemplate_device {
	struct mutex lock; /* protects what content holds, not its place and capacity */
	struct ptemplate_content content;
};

static struct ptemplate_device *devices; /* max_dev of them; the minor number is the index */
static dev_t first_number;
static struct cdev *cdev;

static int ptemplate_open(struct inode *inode, struct file *file)
{
	struct ptemplate_device *ptdev = &devices[iminor(inode)];

	file->private_data = ptdev;
	/* As for a regular file: threads that share it do not use one position twice. */
	file->f_mode |= FMODE_ATOMIC_POS;

	if ((file->f_mode & FMODE_WRITE) && (file->f_flags & O_TRUNC)) {
		if (mutex_lock_interruptible(&ptdev->lock))
			return -ERESTARTSYS;
		ptdev->content.size = 0;
		mutex_unlock(&ptdev->lock);
	}
	return 0;
}

static ssize_t ptemplate_read_iter(struct kiocb *iocb, struct iov_iter *to)
{
	struct ptemplate_device *ptdev = iocb->ki_filp->private_data;
	struct ptemplate_content *content = &ptdev->content;
	size_t count, done = 0;

	if (mutex_lock_interruptible(&ptdev->lock))
		return -ERESTARTSYS;
	count = ptemplate_readable(content, iocb->ki_pos, iov_iter_count(to));
	if (count)
		done = copy_to_iter(content->data + iocb->ki_pos, count, to);
	mutex_unlock(&ptdev->lock);

	if (count && !done)
		return -EFAULT;
	iocb->ki_pos += done;
	return done;
}

static ssize_t ptemplate_write_iter(struct kiocb *iocb, struct iov_iter *from)
{
	struct ptemplate_device *ptdev = iocb->ki_filp->private_data;
	struct ptemplate_content *content = &ptdev->content;
	size_t count, done = 0;

	if (!iov_iter_count(from))
		return 0;

	if (mutex_lock_interruptible(&ptdev->lock))
		return -ERESTARTSYS;
	if (iocb->ki_flags & IOCB_APPEND)
		iocb->ki_pos = content->size;
	count = ptemplate_writable(content, iocb->ki_pos, iov_iter_count(from));
	if (count) {
		done = copy_from_iter(content->data + iocb->ki_pos, count, from);
		ptemplate_written(content, iocb->ki_pos, done);
	}
	mutex_unlock(&ptdev->lock);

	if (!count)
		return -ENOSPC;
	if (!done)
		return -EFAULT;
	iocb->ki_pos += done;
	return done;
}

static loff_t ptemplate_llseek(struct file *file, loff_t offset, int whence)
{
	struct ptemplate_device *ptdev = file->private_data;
	size_t size;

	if (mutex_lock_interruptible(&ptdev->lock))
		return -ERESTARTSYS;
	size = ptdev->content.size;
	mutex_unlock(&ptdev->lock);
	return generic_file_llseek_size(file, offset, whence, ptdev->content.capacity, size);
}

static const struct file_operations ptemplate_fops = {
	.owner = THIS_MODULE,
	.open = ptemplate_open,
	.read_iter = ptemplate_read_iter,
	.write_iter = ptemplate_write_iter,
	.llseek = ptemplate_llseek,
};

#ifdef HAVE_CLASS_DEVNODE_CONST
static char *ptemplate_devnode(const struct device *dev, umode_t *node_mode)
#else
static char *ptemplate_devnode(struct device *dev, umode_t *node_mode)
#endif
{
	if (node_mode)
		*node_mode = mode;
	return NULL;
}

static struct class ptemplate_class = {
	.name = PTEMPLATE_NAME,
	.devnode = ptemplate_devnode,
};

static void __init check_parameters(void)
{
	int wanted_devices = max_dev, wanted_size = buffersize;
	unsigned int wanted_mode = mode;

	if (ptemplate_clamp(&max_dev, PTEMPLATE_DEVICES_MIN, PTEMPLATE_DEVICES_MAX))
		pr_warn("max_dev=%d is not in 1 to %d: using %d\n", wanted_devices,
			PTEMPLATE_DEVICES_MAX, max_dev);
	if (ptemplate_clamp(&buffersize, PTEMPLATE_BUFFERSIZE_MIN, PTEMPLATE_BUFFERSIZE_MAX))
		pr_warn("buffersize=%d is not in 1 to %d: using %d\n", wanted_size,
			PTEMPLATE_BUFFERSIZE_MAX, buffersize);
	if (ptemplate_check_mode(&mode))
		pr_warn("mode=0%o is not made of read and write bits (0001 to 0666): using 0%o\n",
			wanted_mode, mode);
}

static void free_devices(void)
{
	int i;

	for (i = 0; i < max_dev; i++)
		kvfree(devices[i].content.data);
	kvfree(devices);
}

/* __GFP_RETRY_MAYFAIL: too much fails the load and does not call the OOM killer. */
static int __init allocate_devices(void)
{
	bool cut = false;
	int i;

	devices = kvcalloc(max_dev, sizeof(*devices), GFP_KERNEL);
	if (!devices)
		return -ENOMEM;
	for (i = 0; i < max_dev; i++) {
		struct ptemplate_content *content = &devices[i].content;

		mutex_init(&devices[i].lock);
		content->capacity = buffersize;
		content->data =
			kvzalloc(buffersize, GFP_KERNEL | __GFP_RETRY_MAYFAIL | __GFP_NOWARN);
		if (!content->data) {
			pr_err("no memory for %d devices of %d bytes: got %d\n", max_dev,
			       buffersize, i);
			free_devices();
			return -ENOMEM;
		}
		cut |= ptemplate_fill(content, default_msg);
	}
	if (cut)
		pr_warn("default_msg is longer than buffersize=%d: cut\n", buffersize);
	return 0;
}

static void remove_nodes(int count)
{
	while (count--)
		device_destroy(&ptemplate_class, first_number + count);
}

static int __init create_nodes(void)
{
	struct device *node;
	int i;

	for (i = 0; i < max_dev; i++) {
		node = device_create(&ptemplate_class, NULL, first_number + i, NULL,
				     PTEMPLATE_NAME "-%d", i);
		if (IS_ERR(node)) {
			pr_err("cannot create /dev/" PTEMPLATE_NAME "-%d: error %ld\n", i,
			       PTR_ERR(node));
			remove_nodes(i);
			return PTR_ERR(node);
		}
	}
	return 0;
}

static int __init add_cdev(void)
{
	int err;

	cdev = cdev_alloc();
	if (!cdev)
		return -ENOMEM;
	cdev->owner = THIS_MODULE;
	cdev->ops = &ptemplate_fops;
	err = cdev_add(cdev, first_number, max_dev);
	if (err)
		kobject_put(&cdev->kobj);
	return err;
}

static int __init ptemplate_init(void)
{
	int err;

	check_parameters();
	err = allocate_devices();
	if (err)
		return err;
	err = alloc_chrdev_region(&first_number, 0, max_dev, PTEMPLATE_NAME);
	if (err)
		goto err_devices;
	err = class_register(&ptemplate_class);
	if (err)
		goto err_region;
	err = create_nodes();
	if (err)
		goto err_class;
	/*
	 * Last, and for all devices in one step: from here on files can be open, and nothing can
	 * fail any more that would pull the module away under them. Until here opening a node gives
	 * ENXIO.
	 */
	err = add_cdev();
	if (err)
		goto err_nodes;
	return 0;

err_nodes:
	remove_nodes(max_dev);
err_class:
	class_unregister(&ptemplate_class);
err_region:
	unregister_chrdev_region(first_number, max_dev);
err_devices:
	free_devices();
	return err;
}

static void __exit ptemplate_exit(void)
{
	cdev_del(cdev);
	remove_nodes(max_dev);
	class_unregister(&ptemplate_class);
	unregister_chrdev_region(first_number, max_dev);
	free_devices();
}

module_init(ptemplate_init);
module_exit(ptemplate_exit);

MODULE_LICENSE("GPL");
MODULE_AUTHOR("The ecosystem_edge.accelerator maintainers");
MODULE_DESCRIPTION("Virtual accelerator devices that are files of bounded size in memory");
MODULE_VERSION(DRIVER_VERSION);
