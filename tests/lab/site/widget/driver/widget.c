// SPDX-License-Identifier: GPL-2.0-only
/*
 * widget - the smallest driver of another accelerator: two devices that say their name.
 *
 *   cat /dev/widget-0
 *
 * It shows that the collection needs no change for a driver that it has never seen.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/fs.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/string.h>

static ssize_t widget_read(struct file *file, char __user *to, size_t count, loff_t *pos)
{
	/* misc_open() leaves the device that was opened here. */
	const struct miscdevice *widget = file->private_data;

	return simple_read_from_buffer(to, count, pos, widget->name, strlen(widget->name));
}

static const struct file_operations widget_fops = {
	.owner = THIS_MODULE,
	.read = widget_read,
	.llseek = default_llseek,
};

static struct miscdevice widgets[] = {
	{.minor = MISC_DYNAMIC_MINOR, .name = "widget-0", .fops = &widget_fops, .mode = 0600},
	{.minor = MISC_DYNAMIC_MINOR, .name = "widget-1", .fops = &widget_fops, .mode = 0600},
};

static int __init widget_init(void)
{
	int error = misc_register(&widgets[0]);

	if (error)
		return error;
	error = misc_register(&widgets[1]);
	if (error)
		misc_deregister(&widgets[0]);
	return error;
}

static void __exit widget_exit(void)
{
	misc_deregister(&widgets[1]);
	misc_deregister(&widgets[0]);
}

module_init(widget_init);
module_exit(widget_exit);

MODULE_AUTHOR("The ecosystem_edge.accelerator maintainers");
MODULE_DESCRIPTION("Two devices that say their name");
MODULE_LICENSE("GPL");
MODULE_VERSION("0.1.0");
