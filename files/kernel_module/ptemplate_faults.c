// SPDX-License-Identifier: GPL-2.0-only
/*
 * Faults on demand, for tests of health checks and for drills. With the parameter faults=1 each
 * device has a file /sys/kernel/debug/ptemplate/ptemplate-N/fault, for root:
 *
 *	# echo hang > /sys/kernel/debug/ptemplate/ptemplate-0/fault
 *	# echo none > /sys/kernel/debug/ptemplate/ptemplate-0/fault
 */
#include <linux/debugfs.h>
#include <linux/fs.h>
#include <linux/module.h>
#include <linux/uaccess.h>

#include "ptemplate_driver.h"

static ssize_t fault_read(struct file *file, char __user *to, size_t count, loff_t *pos)
{
	const struct ptemplate_device *ptdev = file->private_data;
	char text[16];
	int length;

	length = scnprintf(text, sizeof(text), "%s\n",
			   ptemplate_fault_name(READ_ONCE(ptdev->fault)));
	return simple_read_from_buffer(to, count, pos, text, length);
}

static ssize_t fault_write(struct file *file, const char __user *from, size_t count, loff_t *pos)
{
	struct ptemplate_device *ptdev = file->private_data;
	char text[16] = "";
	int fault, err;

	if (count >= sizeof(text))
		return -EINVAL;
	if (copy_from_user(text, from, count))
		return -EFAULT;
	fault = ptemplate_parse_fault(text);
	if (fault < 0)
		return -EINVAL;

	if (mutex_lock_interruptible(&ptdev->plug))
		return -ERESTARTSYS;
	err = ptemplate_set_fault(ptdev, fault);
	mutex_unlock(&ptdev->plug);
	return err ? err : count;
}

static const struct file_operations fault_fops = {
	.owner = THIS_MODULE,
	.open = simple_open,
	.read = fault_read,
	.write = fault_write,
	.llseek = default_llseek,
};

void ptemplate_faults_init(struct dentry *folder)
{
	char name[32];
	unsigned int i;

	for (i = 0; i < ptemplate.count; i++) {
		snprintf(name, sizeof(name), PTEMPLATE_NAME "-%u", i);
		debugfs_create_file("fault", 0600, debugfs_create_dir(name, folder),
				    &ptemplate.devices[i], &fault_fops);
	}
}
