# SPDX-License-Identifier: Apache-2.0
"""Kernel modules in an image: what they are, and whether a kernel would load them. Pure. PRIVATE to this collection.

elf, signature: the bytes. facts: of one file. image: which files. verdict: what follows for a kernel.
"""
