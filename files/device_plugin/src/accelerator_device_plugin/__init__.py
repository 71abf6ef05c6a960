# SPDX-License-Identifier: Apache-2.0
"""A kubelet device plugin for character devices, found by a glob. It holds no name of any accelerator."""
