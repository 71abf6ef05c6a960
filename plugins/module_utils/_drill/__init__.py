# SPDX-License-Identifier: Apache-2.0
"""Drills: a device is made to fail, and it is measured how fast each part notices. PRIVATE to this collection.

pod       definition, plugin's pod -> the pod that makes the fault    pure
metrics   text of /metrics, an alert's expression -> whether it is true    pure
outcome   what was seen when -> times, against the budgets    pure
What talks to the cluster is _drill_run.
"""
