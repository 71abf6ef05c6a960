# SPDX-License-Identifier: Apache-2.0
"""What a pod does with its devices: a program that uses them, and a small tool for the hand."""
