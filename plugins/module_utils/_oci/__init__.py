# SPDX-License-Identifier: Apache-2.0
"""Container images as data: layers are read, never extracted. PRIVATE to this collection.

proxy: skopeo, which alone speaks to registries. streams, tar, layers: bounded, because an image may be hostile.
"""
