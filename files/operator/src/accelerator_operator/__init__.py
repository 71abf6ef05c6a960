# SPDX-License-Identifier: Apache-2.0
"""Keeps an accelerator usable: reconciles its custom resource into Module, device plugin and consumer."""
