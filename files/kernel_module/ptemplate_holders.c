// SPDX-License-Identifier: GPL-2.0-only
/*
 * Who has the devices open: what lsmod's count does not tell. One line for each open file in
 * debugfs, /sys/kernel/debug/ptemplate/holders; README.md has its format.
 */
#include <linux/cgroup.h>
#include <linux/debugfs.h>
#include <linux/module.h>
#include <linux/seq_file.h>
#include <linux/slab.h>
#include <linux/timekeeping.h>

#include "ptemplate_driver.h"

/* The number of the cgroup's folder in the hierarchy of cgroup v2; 1 is its root. */
static u64 current_cgroup(void)
{
	u64 id = 0;

#ifdef HAVE_TASK_DFL_CGROUP
	rcu_read_lock();
	id = cgroup_id(task_dfl_cgroup(current));
	rcu_read_unlock();
#endif
	return id;
}

struct ptemplate_file *ptemplate_file_new(struct ptemplate_device *ptdev)
{
	unsigned int generation = READ_ONCE(ptdev->generation);
	struct ptemplate_file *ptfile;

	if (generation % 2)
		return ERR_PTR(-ENODEV);
	/* For the pod's account, since a pod decides how many there are. */
	ptfile = kzalloc(sizeof(*ptfile), GFP_KERNEL_ACCOUNT);
	if (!ptfile)
		return ERR_PTR(-ENOMEM);
	ptfile->device = ptdev;
	ptfile->generation = generation;
	INIT_LIST_HEAD(&ptfile->entry);
	ptfile->tgid = task_tgid_nr(current);
	get_task_comm(ptfile->comm, current);
	ptfile->cgroup = current_cgroup();
	ptfile->since = ktime_get_real_seconds();
	return ptfile;
}

void ptemplate_file_add(struct ptemplate_file *ptfile)
{
	struct ptemplate_device *ptdev = ptfile->device;

	mutex_lock(&ptdev->files_lock);
	list_add_tail(&ptfile->entry, &ptdev->files);
	mutex_unlock(&ptdev->files_lock);
}

void ptemplate_file_free(struct ptemplate_file *ptfile)
{
	struct ptemplate_device *ptdev = ptfile->device;

	mutex_lock(&ptdev->files_lock);
	list_del(&ptfile->entry);
	mutex_unlock(&ptdev->files_lock);
	kfree(ptfile);
}

/* A file of a device that was removed since does not count: it never gets there again. */
bool ptemplate_is_open(struct ptemplate_device *ptdev)
{
	const struct ptemplate_file *ptfile;
	bool found = false;

	mutex_lock(&ptdev->files_lock);
	list_for_each_entry(ptfile, &ptdev->files, entry)
		found |= ptfile->generation == READ_ONCE(ptdev->generation);
	mutex_unlock(&ptdev->files_lock);
	return found;
}

static void show_files(struct seq_file *seq, const struct ptemplate_device *ptdev)
{
	const struct ptemplate_file *ptfile;

	lockdep_assert_held(&ptdev->files_lock);
	list_for_each_entry(ptfile, &ptdev->files, entry) {
		seq_printf(seq, "device=" PTEMPLATE_NAME "-%u tgid=%d cgroup=%llu since=%lld comm=",
			   ptdev->index, ptfile->tgid, ptfile->cgroup, ptfile->since);
		seq_escape(seq, ptfile->comm, " \t\n\v\f\r\033\\");
		seq_putc(seq, '\n');
	}
}

static int holders_show(struct seq_file *seq, void *unused)
{
	unsigned int i;

	for (i = 0; i < ptemplate.count; i++) {
		struct ptemplate_device *ptdev = &ptemplate.devices[i];

		mutex_lock(&ptdev->files_lock);
		show_files(seq, ptdev);
		mutex_unlock(&ptdev->files_lock);
	}
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(holders);

void ptemplate_holders_init(struct dentry *folder)
{
	debugfs_create_file("holders", 0400, folder, NULL, &holders_fops);
}
