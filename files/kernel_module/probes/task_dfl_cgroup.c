// SPDX-License-Identifier: GPL-2.0-only
/* Can a module tell the cgroup of a task? Needs cgroups in the kernel. */
#include <linux/cgroup.h>

u64 ptemplate_probe(struct task_struct *task);
u64 ptemplate_probe(struct task_struct *task)
{
	return cgroup_id(task_dfl_cgroup(task));
}
