// SPDX-License-Identifier: GPL-2.0-only
/* A device appears, disappears, fails and recovers; and user space learns of it. */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/kobject.h>
#include <linux/sysfs.h>

#include "ptemplate_driver.h"

static void tell(struct ptemplate_device *ptdev, enum ptemplate_fault fault)
{
	char health[32];
	char *environment[2] = {health, NULL};
	int err;

	lockdep_assert_held(&ptdev->plug);
	snprintf(health, sizeof(health), "HEALTH=%s", ptemplate_health_name(fault));
	sysfs_notify(&ptdev->node->kobj, NULL, "health");
	err = kobject_uevent_env(&ptdev->node->kobj, KOBJ_CHANGE, environment);
	if (err)
		pr_warn(PTEMPLATE_NAME "-%u: no uevent for %s: error %d\n", ptdev->index, health,
			err);
}

/* Who waits for the device looks at it again; who opened it before finds it gone. */
static void set_generation(struct ptemplate_device *ptdev, unsigned int generation)
{
	lockdep_assert_held(&ptdev->plug);
	WRITE_ONCE(ptdev->generation, generation);
	wake_up_interruptible_all(&ptdev->wait);
}

int ptemplate_appear(struct ptemplate_device *ptdev)
{
	struct device *node;

	lockdep_assert_held(&ptdev->plug);
	/* A file that was opened before the removal may be in the midst of a write. */
	if (mutex_lock_interruptible(&ptdev->io))
		return -ERESTARTSYS;
	ptemplate_fill(&ptdev->content, ptemplate.text);
	mutex_unlock(&ptdev->io);

	set_generation(ptdev, ptdev->generation + 1);
	node = device_create_with_groups(ptemplate.class, NULL,
					 ptemplate.first_number + ptdev->index, ptdev,
					 ptemplate_groups, PTEMPLATE_NAME "-%u", ptdev->index);
	if (IS_ERR(node)) {
		pr_err("cannot create /dev/" PTEMPLATE_NAME "-%u: error %ld\n", ptdev->index,
		       PTR_ERR(node));
		set_generation(ptdev, ptdev->generation + 1);
		return PTR_ERR(node);
	}
	ptdev->node = node;
	return 0;
}

void ptemplate_disappear(struct ptemplate_device *ptdev)
{
	lockdep_assert_held(&ptdev->plug);
	if (!ptdev->node)
		return;
	set_generation(ptdev, ptdev->generation + 1);
	tell(ptdev, PTEMPLATE_FAULT_REMOVED);
	device_destroy(ptemplate.class, ptemplate.first_number + ptdev->index);
	ptdev->node = NULL;
}

int ptemplate_set_fault(struct ptemplate_device *ptdev, enum ptemplate_fault fault)
{
	enum ptemplate_fault before = ptdev->fault;
	int err;

	lockdep_assert_held(&ptdev->plug);
	WRITE_ONCE(ptdev->fault, fault);
	if (fault == PTEMPLATE_FAULT_REMOVED) {
		ptemplate_disappear(ptdev);
		return 0;
	}
	if (!ptdev->node) {
		err = ptemplate_appear(ptdev);
		if (err) {
			WRITE_ONCE(ptdev->fault, PTEMPLATE_FAULT_REMOVED);
			return err;
		}
	}
	wake_up_interruptible_all(&ptdev->wait);
	if (ptemplate_health(before) != ptemplate_health(fault) ||
	    before == PTEMPLATE_FAULT_REMOVED)
		tell(ptdev, fault);
	return 0;
}
