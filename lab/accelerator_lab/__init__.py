# SPDX-License-Identifier: Apache-2.0
"""The lab: a real Kubernetes cluster whose nodes are virtual machines. See lab/README.md."""
