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
 * ptemplate.h says what a program can do with them. Here: parameters, init and exit.
 * ptemplate_driver.h has the structures, their lifetime and the lock rule.
 *
 * Why not miscdevice: Linux 6.1 has 128 dynamic minors (DYNAMIC_MINORS in drivers/char/misc.c) for
 * all drivers of the machine together, and max_dev goes to 1024. A region and a class of our own
 * have room on every kernel.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/debugfs.h>
#include <linux/fs.h>
#include <linux/module.h>
#include <linux/slab.h>

#include "ptemplate_driver.h"

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

static bool faults;
module_param(faults, bool, 0444);
MODULE_PARM_DESC(faults, "Let root make devices fail by debugfs, for tests and drills (default N)");

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

struct ptemplate_driver ptemplate = {.class = &ptemplate_class};
static struct cdev *cdev;
static struct dentry *debugfs;

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
	if (strlen(default_msg) > buffersize)
		pr_warn("default_msg is longer than buffersize=%d: cut\n", buffersize);
	ptemplate.count = max_dev;
	ptemplate.text = default_msg;
}

static void free_devices(void)
{
	unsigned int i;

	for (i = 0; i < ptemplate.count; i++)
		kvfree(ptemplate.devices[i].content.data);
	kvfree(ptemplate.devices);
}

static void __init init_device(struct ptemplate_device *ptdev, unsigned int index)
{
	ptdev->index = index;
	mutex_init(&ptdev->plug);
	mutex_init(&ptdev->io);
	mutex_init(&ptdev->files_lock);
	INIT_LIST_HEAD(&ptdev->files);
	init_waitqueue_head(&ptdev->wait);
	ptdev->generation = 1; /* odd: not there yet */
	ptdev->content.capacity = buffersize;
	/* __GFP_RETRY_MAYFAIL: too much fails the load and does not call the OOM killer. */
	ptdev->content.data = kvzalloc(buffersize, GFP_KERNEL | __GFP_RETRY_MAYFAIL | __GFP_NOWARN);
}

static int __init allocate_devices(void)
{
	unsigned int i;

	ptemplate.devices = kvcalloc(ptemplate.count, sizeof(*ptemplate.devices), GFP_KERNEL);
	if (!ptemplate.devices)
		return -ENOMEM;
	for (i = 0; i < ptemplate.count; i++) {
		init_device(&ptemplate.devices[i], i);
		if (!ptemplate.devices[i].content.data) {
			pr_err("no memory for %u devices of %d bytes: got %u\n", ptemplate.count,
			       buffersize, i);
			free_devices();
			return -ENOMEM;
		}
	}
	return 0;
}

static void remove_nodes(void)
{
	unsigned int i;

	for (i = 0; i < ptemplate.count; i++) {
		struct ptemplate_device *ptdev = &ptemplate.devices[i];

		mutex_lock(&ptdev->plug);
		ptemplate_disappear(ptdev);
		mutex_unlock(&ptdev->plug);
	}
}

static int __init create_nodes(void)
{
	unsigned int i;
	int err;

	for (i = 0; i < ptemplate.count; i++) {
		struct ptemplate_device *ptdev = &ptemplate.devices[i];

		mutex_lock(&ptdev->plug);
		err = ptemplate_appear(ptdev);
		mutex_unlock(&ptdev->plug);
		if (err) {
			remove_nodes();
			return err;
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
	err = cdev_add(cdev, ptemplate.first_number, ptemplate.count);
	if (err)
		kobject_put(&cdev->kobj);
	return err;
}

/* For people and tests: that it cannot be made must not stop the driver, so nothing is checked. */
static void __init init_debugfs(void)
{
	debugfs = debugfs_create_dir(PTEMPLATE_NAME, NULL);
	ptemplate_holders_init(debugfs);
	if (faults)
		ptemplate_faults_init(debugfs);
}

static int __init ptemplate_init(void)
{
	int err;

	check_parameters();
	err = allocate_devices();
	if (err)
		return err;
	err = alloc_chrdev_region(&ptemplate.first_number, 0, ptemplate.count, PTEMPLATE_NAME);
	if (err) {
		pr_err("no numbers for %u devices: error %d\n", ptemplate.count, err);
		goto err_devices;
	}
	err = class_register(&ptemplate_class);
	if (err) {
		pr_err("cannot create /sys/class/" PTEMPLATE_NAME ": error %d\n", err);
		goto err_region;
	}
	err = create_nodes();
	if (err)
		goto err_class;
	/*
	 * Last, and for all devices in one step: from here on files can be open, and nothing can
	 * fail any more that would pull the module away under them. Until here opening a node gives
	 * ENXIO.
	 */
	err = add_cdev();
	if (err) {
		pr_err("cannot add the character devices: error %d\n", err);
		goto err_nodes;
	}
	init_debugfs();
	return 0;

err_nodes:
	remove_nodes();
err_class:
	class_unregister(&ptemplate_class);
err_region:
	unregister_chrdev_region(ptemplate.first_number, ptemplate.count);
err_devices:
	free_devices();
	return err;
}

static void __exit ptemplate_exit(void)
{
	/* First: it waits for its readers and writers, and lets none in after it. */
	debugfs_remove_recursive(debugfs);
	cdev_del(cdev);
	remove_nodes();
	class_unregister(&ptemplate_class);
	unregister_chrdev_region(ptemplate.first_number, ptemplate.count);
	free_devices();
}

module_init(ptemplate_init);
module_exit(ptemplate_exit);

MODULE_LICENSE("GPL");
MODULE_AUTHOR("The ecosystem_edge.accelerator maintainers");
MODULE_DESCRIPTION("Virtual accelerator devices that are files of bounded size in memory");
MODULE_VERSION(DRIVER_VERSION);
